//! What happens, as it happens.

use model::event::{Event, EventKind};
use wire::docker::ApiVersion;

use super::time;
use crate::authority::Guard;
use crate::body::Chunks;
use crate::call::Call;
use crate::convert::event;
use crate::failure::Failure;
use crate::filters::Filters;
use crate::reply::{self, JSON, Reply};

const FILTERS: [&str; 16] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "label!",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "builder",
];

/// `GET /events`.
pub(crate) async fn events(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &FILTERS)?;
    let (since, until) = (time(&call.query, "since")?, time(&call.query, "until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Failure::invalid("`since` time cannot be after `until` time"));
    }
    let mut stream = call.engine.events.subscribe(since, until);
    let (chunks, response) = reply::stream(JSON);
    let (version, guard) = (call.version, call.guard.clone());
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = stream.recv() => next,
                () = chunks.gone() => return,
            };
            let Some(event) = next else { return };
            if !exists(&guard, &event) || !wants(&filters, &event) {
                continue;
            }
            if send(&chunks, event, version).await.is_none() {
                return;
            }
        }
    });
    Ok(response)
}

async fn send(chunks: &Chunks, happened: Event, version: ApiVersion) -> Option<()> {
    let line = reply::json_line(&event::to_wire(happened, version)).ok()?;
    chunks.send(line).await.ok()
}

/// Whether what an event is about exists for the client: events carry the owner's label.
fn exists(guard: &Guard, event: &Event) -> bool {
    use EventKind::{Container, Network, Volume};
    let owned = matches!(event.kind, Container | Network | Volume);
    !owned || !guard.narrows() || guard.sees(&event.attributes)
}

/// Whether an event was asked for.
fn wants(filters: &Filters, event: &Event) -> bool {
    // `exec_create: sh` is asked for as `exec_create`, `health_status: healthy` as either.
    let verb = event.action.split(':').next().unwrap_or_default();
    let object = |name: &str, kind: EventKind| {
        filters.values(name).is_empty()
            || event.kind == kind && filters.any(name, |wanted| is_object(event, wanted))
    };
    filters.any("event", |wanted| wanted == event.action || wanted == verb)
        && filters.any("type", |wanted| wanted == event.kind.name())
        && filters.any("scope", |wanted| wanted == "local")
        && filters.labels(&event.attributes)
        && object("container", EventKind::Container)
        && object("network", EventKind::Network)
        && object("volume", EventKind::Volume)
        && object("daemon", EventKind::Daemon)
        && object("plugin", EventKind::Plugin)
        && filters.any("image", |wanted| is_image(event, wanted))
        && ["config", "node", "secret", "service", "builder"]
            .iter()
            .all(|name| filters.values(name).is_empty())
}

fn is_object(event: &Event, wanted: &str) -> bool {
    let name = event.attributes.get("name").map(String::as_str).unwrap_or_default();
    event.actor.starts_with(wanted) || name == wanted.trim_start_matches('/')
}

/// An image event of that image, or a container event of a container made from it.
fn is_image(event: &Event, wanted: &str) -> bool {
    let attribute = match event.kind {
        EventKind::Image => "name",
        EventKind::Container => "image",
        _ => return false,
    };
    let name = event.attributes.get(attribute).map(String::as_str).unwrap_or_default();
    let untagged = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    let by_id = event.kind == EventKind::Image && event.actor.starts_with(wanted);
    by_id || name == wanted || untagged == wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use model::Timestamp;
    use std::collections::BTreeMap;

    fn wanted(filters: &str, event: &Event) -> bool {
        let query = Query::parse(&format!("filters={filters}")).unwrap();
        wants(&Filters::parse(&query, &FILTERS).unwrap(), event)
    }

    #[test]
    fn filters() {
        let attributes = [("name", "web"), ("image", "busybox:latest"), ("tier", "front")];
        let event = Event {
            time: Timestamp(1),
            kind: EventKind::Container,
            action: "exec_create: sh".to_owned(),
            actor: "abcdef".to_owned(),
            attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        for (filters, want) in [
            ("{}", true),
            (r#"{"event":["exec_create"]}"#, true),
            (r#"{"event":["exec_create: sh"]}"#, true),
            (r#"{"event":["start"]}"#, false),
            (r#"{"type":["container"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["abc"]}"#, true),
            (r#"{"container":["db"]}"#, false),
            (r#"{"network":["web"]}"#, false),
            (r#"{"image":["busybox"]}"#, true),
            (r#"{"image":["busybox:latest"]}"#, true),
            (r#"{"image":["debian"]}"#, false),
            (r#"{"label":["tier=front"]}"#, true),
            (r#"{"label":["tier=back"]}"#, false),
            (r#"{"service":["x"]}"#, false),
            (r#"{"container":["web"],"event":["die"]}"#, false),
        ] {
            assert_eq!(wanted(filters, &event), want, "{filters}");
        }
        let other = Event { kind: EventKind::Volume, attributes: BTreeMap::new(), ..event };
        assert!(!wanted(r#"{"container":["abc"]}"#, &other));
    }
}
