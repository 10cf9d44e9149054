//! Managed plugins.

use std::time::Duration;

use engine::transfer::{Step, Steps};
use engine::{EngineError, PluginOrder, PluginView};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use model::ImageRef;
use wire::docker::plugin::{Plugin, PluginPrivilege};

use super::registry::{credentials, tell};
use crate::body::into_engine;
use crate::call::Call;
use crate::failure::Failure;
use crate::filters::Filters;
use crate::reply::{self, JSON, Reply};

/// Tells a client what the plugin that it installs is called.
const NAME_HEADER: HeaderName = HeaderName::from_static("docker-plugin-name");

fn to_wire(view: &PluginView) -> Plugin {
    Plugin {
        config: (*view.config).clone(),
        enabled: view.enabled,
        id: view.id.to_string(),
        name: view.name.clone(),
        plugin_reference: view.reference.clone(),
        settings: view.settings.clone(),
    }
}

/// `GET /plugins`.
pub(crate) async fn list(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &["capability", "enabled"])?;
    let enabled = filters.flag("enabled")?;
    let all = call.engine.managed.list();
    let wanted = all.iter().filter(|view| {
        enabled.is_none_or(|enabled| view.enabled == enabled)
            && filters.any("capability", |wanted| {
                view.capabilities.iter().any(|it| it.eq_ignore_ascii_case(wanted))
            })
    });
    reply::json(&wanted.map(|view| to_wire(view)).collect::<Vec<_>>())
}

/// `GET /plugins/{name}/json`.
pub(crate) async fn inspect(call: Call) -> Reply {
    reply::json(&to_wire(&*call.engine.managed.view(&call.target)?))
}

/// `GET /plugins/privileges?remote=…`.
pub(crate) async fn privileges(call: Call) -> Reply {
    let remote = remote(&call)?;
    let asked = call.engine.managed.privileges(&remote, credentials(&call)?).await?;
    reply::json(&asked)
}

fn remote(call: &Call) -> Result<ImageRef, Failure> {
    let remote = ImageRef::parse(call.query.text_or_empty("remote"))?.or_latest();
    call.guard.image(&remote.to_string())?;
    Ok(remote)
}

async fn order(call: &mut Call, name: &str) -> Result<PluginOrder, Failure> {
    let granted: Option<Vec<PluginPrivilege>> = call.optional_json().await?;
    Ok(PluginOrder {
        remote: remote(call)?,
        name: name.to_owned(),
        granted: granted.unwrap_or_default(),
        credentials: credentials(call)?,
    })
}

/// `POST /plugins/pull?remote=…&name=…`: what is granted is the body.
pub(crate) async fn pull(mut call: Call) -> Reply {
    let name = call.query.text_or_empty("name").to_owned();
    let order = order(&mut call, &name).await?;
    let shown = order.remote.familiar();
    let (name, steps) = call.engine.managed.pull(order).await?;
    let mut response = watched(steps, shown).await?;
    let value = HeaderValue::from_str(&name)
        .map_err(|_| Failure::invalid(format!("invalid plugin name {name:?}")))?;
    response.headers_mut().insert(NAME_HEADER, value);
    Ok(response)
}

/// `POST /plugins/{name}/upgrade?remote=…`: what is granted is the body.
pub(crate) async fn upgrade(mut call: Call) -> Reply {
    let order = order(&mut call, "").await?;
    let shown = order.remote.familiar();
    let steps = call.engine.managed.upgrade(&call.target, order).await?;
    watched(steps, shown).await
}

/// `POST /plugins/{name}/push`.
pub(crate) async fn push(call: Call) -> Reply {
    let view = call.engine.managed.view(&call.target)?;
    call.guard.image(&ImageRef::parse(&view.name)?.to_string())?;
    let steps = call.engine.managed.push(&call.target, credentials(&call)?)?;
    watched(steps, view.name.clone()).await
}

/// The lines of an operation, from its first on: while nothing was answered, a failure is told by
/// the status.
async fn watched(mut steps: Steps, shown: String) -> Reply {
    let head: Option<Result<Step, EngineError>> = match steps.recv().await {
        Some(Err(error)) => return Err(error.into()),
        head => head,
    };
    let (chunks, response) = reply::stream(JSON);
    tokio::spawn(async move {
        tell(head, &mut steps, &shown, &chunks).await;
    });
    Ok(response)
}

/// `POST /plugins/create?name=…`: the archive is the body.
pub(crate) async fn create(call: Call) -> Reply {
    let name = call.query.text_or_empty("name").to_owned();
    call.engine.managed.create(&name, into_engine(call.body)).await?;
    reply::no_content()
}

/// `POST /plugins/{name}/enable?timeout=…`, seconds.
pub(crate) async fn enable(call: Call) -> Reply {
    let timeout = match call.query.text_or_empty("timeout") {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| {
            Failure::invalid(format!("invalid timeout {text:?}: want a number of seconds"))
        })?,
    };
    call.engine.managed.enable(&call.target, Duration::from_secs(timeout)).await?;
    reply::empty(StatusCode::OK)
}

/// `POST /plugins/{name}/disable`.
pub(crate) async fn disable(call: Call) -> Reply {
    call.engine.managed.disable(&call.target, call.query.flag("force")).await?;
    reply::empty(StatusCode::OK)
}

/// `POST /plugins/{name}/set`: `NAME=value` words.
pub(crate) async fn set(mut call: Call) -> Reply {
    let words: Vec<String> = call.json().await?;
    call.engine.managed.set(&call.target, words).await?;
    reply::no_content()
}

/// `DELETE /plugins/{name}`.
pub(crate) async fn remove(call: Call) -> Reply {
    call.engine.managed.remove(&call.target, call.query.flag("force")).await?;
    reply::empty(StatusCode::OK)
}
