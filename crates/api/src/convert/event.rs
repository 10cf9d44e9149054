//! What happened.

use model::event::{Event, EventKind};
use wire::docker::ApiVersion;
use wire::docker::event::{EventActor, EventMessage};

/// One event; clients below 1.52 get some of it twice.
pub(crate) fn to_wire(event: Event, version: ApiVersion) -> EventMessage {
    let mut message = EventMessage {
        kind: event.kind.name().to_owned(),
        scope: "local".to_owned(),
        time: event.time.seconds(),
        time_nano: event.time.0,
        ..EventMessage::default()
    };
    let legacy = matches!(event.kind, EventKind::Container | EventKind::Image);
    if legacy && !version.at_least(52) {
        message.status.clone_from(&event.action);
        message.id.clone_from(&event.actor);
        if event.kind == EventKind::Container {
            message.from = event.attributes.get("image").cloned().unwrap_or_default();
        }
    }
    message.action = event.action;
    message.actor = EventActor { id: event.actor, attributes: event.attributes };
    message
}
