//! The object that a path names, and whether it exists for the client. What was found is named by
//! its id from here on: between this look and the act, a name cannot become another's.

use engine::{Engine, EngineError};
use hyper::{Method, StatusCode};
use std::collections::BTreeMap;

use super::Guard;
use crate::failure::Failure;

/// Networks that always are: everybody sees and uses them.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// What a path names.
struct Found {
    /// What it is called from here on.
    id: String,
    labels: BTreeMap<String, String>,
}

/// The path's variable after the client's right to the object was looked at. What does not exist
/// is left to the handler, which has words for it.
pub(crate) async fn target(
    guard: &Guard,
    engine: &Engine,
    (method, pattern): (&Method, &str),
    target: String,
) -> Result<String, Failure> {
    if !guard.is_active() || target.is_empty() {
        return Ok(target);
    }
    let mut parts = pattern.trim_start_matches('/').split('/');
    let room = match parts.next() {
        Some("estiba") => parts.next(),
        room => room,
    };
    let found = match room {
        Some("containers") => container(engine, pattern, &target),
        Some("exec") => exec(engine, &target).await,
        Some("networks") => network(engine, &target),
        Some("volumes") => volume(engine, &target).await,
        _ => return Ok(target),
    };
    let Some(found) = found else { return Ok(target) };
    if !guard.sees(&found.labels) {
        // A record that cannot be written is a refusal of its own.
        return Err(match guard.hide(&target) {
            Err(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => refused,
            _ => unknown(room, &target),
        });
    }
    let looks = method == Method::GET || method == Method::HEAD;
    let uses = ["/connect", "/disconnect", "/copy", "/wait"];
    let uses = uses.iter().any(|act| pattern.ends_with(act));
    if !looks && !uses && !guard.changes(&found.labels) {
        guard.keep(&target)?;
    }
    Ok(found.id)
}

/// In the words for what does not exist.
fn unknown(room: Option<&str>, target: &str) -> Failure {
    let name = target.to_owned();
    match room {
        Some("networks") => EngineError::NoSuchNetwork(name),
        Some("volumes") => EngineError::NoSuchVolume(name),
        Some("exec") => EngineError::NoSuchExec(name),
        _ => EngineError::NoSuchContainer(name),
    }
    .into()
}

fn container(engine: &Engine, pattern: &str, target: &str) -> Option<Found> {
    // A legacy link is named `container/alias`.
    let (query, alias) = match pattern.ends_with("{link}") {
        true => target.rsplit_once('/')?,
        false => (target, ""),
    };
    let view = engine.containers.view(query).ok()?;
    let id = match alias {
        "" => view.id.to_string(),
        alias => format!("{}/{alias}", view.id),
    };
    Some(Found { id, labels: view.spec.labels.clone() })
}

async fn exec(engine: &Engine, target: &str) -> Option<Found> {
    let exec = engine.execs.view(target).await.ok()?;
    let view = engine.containers.view(&exec.container.to_string()).ok()?;
    Some(Found { id: exec.id.to_string(), labels: view.spec.labels.clone() })
}

fn network(engine: &Engine, target: &str) -> Option<Found> {
    let view = engine.networks.view(target).ok()?;
    let mut labels = view.spec.labels.clone();
    if PREDEFINED.contains(&view.spec.name.as_str()) {
        let owner = model::policy::OWNER_LABEL.to_owned();
        labels.insert(owner, model::policy::SHARED.to_owned());
    }
    Some(Found { id: view.spec.id.to_string(), labels })
}

async fn volume(engine: &Engine, target: &str) -> Option<Found> {
    let view = engine.volumes.view(target).await.ok()?;
    Some(Found { id: view.name.to_string(), labels: view.labels })
}
