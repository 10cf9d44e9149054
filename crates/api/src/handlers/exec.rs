//! Further processes in containers.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use engine::{ClientStream, Engine, StreamKind};
use hyper::StatusCode;
use wire::docker::exec::{ExecCreateBody, ExecStartBody};
use wire::docker::image::IdResponse;

use super::size;
use super::stream::{content_type, failure_frame};
use crate::call::Call;
use crate::convert::{console_size, exec};
use crate::failure::describe;
use crate::hijack::Hijack;
use crate::reply::{self, Reply};

/// `POST /containers/{id}/exec`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let body: ExecCreateBody = call.json().await?;
    let id = call.engine.execs.create(&call.target, exec::from_wire(body)?).await?;
    reply::json_status(StatusCode::CREATED, &IdResponse { id: id.to_string() })
}

/// `POST /exec/{id}/start`.
pub(crate) async fn start(mut call: Call) -> Reply {
    let body: ExecStartBody = call.optional_json().await?.unwrap_or_default();
    let size = body.console_size.and_then(console_size);
    if body.detach {
        call.engine.execs.start(&call.target, true, size, None).await?;
        return reply::empty(StatusCode::OK);
    }
    let kind = call.engine.execs.check_start(&call.target).await?;
    let (engine, id) = (call.engine.clone(), call.target.clone());
    let content_type = content_type(kind, call.version);
    Hijack::of(call).answer(content_type, async move |client| {
        run(engine, &id, (size, kind), client).await;
    })
}

/// Starts the exec on a stream whose status is out: a failure is told on the stream, as Docker
/// does.
async fn run(
    engine: Engine,
    id: &str,
    (size, kind): (Option<(u16, u16)>, StreamKind),
    client: ClientStream,
) {
    let spare = client.fd.try_clone();
    if let Err(error) = engine.execs.start(id, false, size, Some(client)).await {
        let message = describe(&error);
        tracing::debug!(exec = id, error = message, "exec start");
        if let Ok(fd) = spare {
            tell(fd, &failure_frame(&message, kind));
        }
    }
}

/// One small write to an idle socket does not block; if it does, the client misses the reason and
/// learns the failure from the exit code.
fn tell(fd: OwnedFd, text: &[u8]) {
    // The descriptor may be a TCP socket as well: writing and closing are the same for both.
    let mut socket = UnixStream::from(fd);
    let _ = socket.write_all(text);
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
