//! `inspect`, for any kind of object and for one.

use bytes::Bytes;

use super::Failures;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format;
use crate::invocation::Invocation;
use crate::terminal::print;

/// Kinds of objects that `--type` may name.
const KINDS: [&str; 10] = [
    "config",
    "container",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "task",
    "volume",
];

/// `inspect`.
pub(crate) async fn any(invocation: &Invocation) -> Outcome {
    let (client, matches) = (invocation.client()?, &invocation.matches);
    let (kind, size) = (matches.text("type"), matches.bool("size"));
    if matches.changed("type") && !KINDS.contains(&kind) {
        let known = KINDS.map(|kind| format!("\"{kind}\"")).join(", ");
        return Err(Failure::new(format!("unknown type: {kind:?}: must be one of {known}")));
    }
    each(invocation, async |name| match kind {
        "container" => client.container_inspect_raw(name, size).await.map_err(Failure::from),
        "image" => client.image_inspect_raw(name, None).await.map_err(Failure::from),
        "network" => client.network_inspect_raw(name, false).await.map_err(Failure::from),
        "volume" => client.volume_inspect_raw(name).await.map_err(Failure::from),
        "plugin" => client.plugin_inspect_raw(name).await.map_err(Failure::from),
        "" => {
            let missing = |error: &client::Error| error.is_not_found();
            match client.container_inspect_raw(name, size).await {
                Err(error) if missing(&error) => {}
                found => return found.map_err(Failure::from),
            }
            match client.image_inspect_raw(name, None).await {
                Err(error) if missing(&error) => {}
                found => return found.map_err(Failure::from),
            }
            match client.network_inspect_raw(name, false).await {
                Err(error) if missing(&error) => {}
                found => return found.map_err(Failure::from),
            }
            match client.volume_inspect_raw(name).await {
                Err(error) if missing(&error) => {}
                found => return found.map_err(Failure::from),
            }
            match client.plugin_inspect_raw(name).await {
                Err(error) if missing(&error) => {}
                found => return found.map_err(Failure::from),
            }
            Err(Failure::new(format!("Error: No such object: {name}")))
        }
        kind => Err(Failure::new(format!("{kind} objects are not available in this version"))),
    })
    .await
}

/// Prints what `look` finds for every argument, and then what it does not find.
pub(crate) async fn each<E: Into<Failure>>(
    invocation: &Invocation,
    mut look: impl AsyncFnMut(&str) -> Result<Bytes, E>,
) -> Outcome {
    let mut failures = Failures::default();
    let mut found = Vec::new();
    format::check(invocation.matches.text("format"))?;
    for name in invocation.matches.args() {
        found.extend(failures.note(look(name).await));
    }
    match format::documents(invocation.matches.text("format"), &found) {
        Ok(text) => print(text)?,
        Err(failure) => {
            // What a document prints before it fails is an empty line.
            print("\n")?;
            failures.0.push(failure.message);
        }
    }
    failures.outcome()
}
