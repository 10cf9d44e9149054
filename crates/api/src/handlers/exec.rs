//! Further processes in containers.

use engine::StreamKind;
use hyper::StatusCode;
use wire::docker::exec::{ExecCreateBody, ExecStartBody};
use wire::docker::image::IdResponse;

use super::size;
use super::stream::content_type;
use crate::call::Call;
use crate::convert::{console_size, exec};
use crate::failure::describe;
use crate::hijack::Hijack;
use crate::reply::{self, Reply};

/// `POST /containers/{id}/exec`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let body: ExecCreateBody = call.json().await?;
    let draft = exec::from_wire(body)?;
    call.guard.exec(&call.target, &draft)?;
    call.guard.review_known(&call.engine, &call.target)?;
    let id = call.engine.execs.create(&call.target, draft).await?;
    reply::json_status(StatusCode::CREATED, &IdResponse { id: id.to_string() })
}

/// `POST /exec/{id}/start`.
pub(crate) async fn start(mut call: Call) -> Reply {
    let body: ExecStartBody = call.optional_json().await?.unwrap_or_default();
    let size = body.console_size.and_then(console_size);
    let made = call.engine.execs.view(&call.target).await?;
    call.guard.exec(&call.target, &made.draft)?;
    call.guard.review_known(&call.engine, &made.container.to_string())?;
    if body.detach {
        call.engine.execs.start(&call.target, true, size, None).await?;
        return reply::empty(StatusCode::OK);
    }
    call.engine.execs.check_start(&call.target).await?;
    // As with Docker, the start decides, whatever the exec was created with.
    let kind = if body.tty { StreamKind::Raw } else { StreamKind::Framed };
    let (engine, id) = (call.engine.clone(), call.target.clone());
    let content_type = content_type(kind, call.version);
    Hijack::of(call).answer(content_type, async move |client| {
        // The engine tells the client on its stream, the only place that is left.
        if let Err(error) = engine.execs.start(&id, false, size, Some((client, kind))).await {
            tracing::debug!(exec = id, error = describe(&error), "exec start");
        }
    })
}

/// `POST /exec/{id}/resize`.
pub(crate) async fn resize(call: Call) -> Reply {
    let (rows, cols) = size(&call.query)?;
    call.engine.execs.resize(&call.target, rows, cols).await?;
    reply::empty(StatusCode::OK)
}

/// `GET /exec/{id}/json`.
pub(crate) async fn inspect(call: Call) -> Reply {
    reply::json(&exec::to_wire(&call.engine.execs.view(&call.target).await?))
}
