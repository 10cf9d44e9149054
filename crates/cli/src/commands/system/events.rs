//! `events`.

use wire::docker::event::EventMessage;

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::template::{Data, Template};
use crate::terminal::print;
use crate::time;

/// `events`.
pub(crate) async fn events(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let source = match matches.text("format") {
        "json" => "{{json .}}",
        format => format,
    };
    let template =
        match source {
            "" => None,
            source => Some(Template::parse(source).map_err(|why| {
                Failure::new(format!("Error parsing format: {why}")).with_code(64)
            })?),
        };
    let moment = |flag: &str| match matches.text(flag) {
        "" => Ok(String::new()),
        text => time::since(text),
    };
    let (since, until) = (moment("since")?, moment("until")?);
    let client = invocation.client()?;
    let mut lines = client.events(&since, &until, &matches.filters("filter")).await?.lines();
    while let Some(line) = lines.next().await? {
        let unreadable = |error| Failure::new(format!("read an event: {error}"));
        let text = match &template {
            Some(template) => {
                let value = serde_json::from_slice(&line).map_err(unreadable)?;
                template.execute(&Data::document(value)).map_err(Failure::new)?
            }
            None => shown(&wire::docker::json::from_slice(&line).map_err(unreadable)?),
        };
        print(format!("{text}\n"))?;
    }
    Ok(0)
}

/// `<time> <type> <action> <id> (<attribute>=<value>, …)`.
fn shown(event: &EventMessage) -> String {
    let at = match event.time_nano {
        0 => time::rfc3339_nanos(event.time.saturating_mul(1_000_000_000)),
        nanos => time::rfc3339_nanos(nanos),
    };
    let mut text = format!("{at} {} {} {}", event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let attributes: Vec<String> =
            event.actor.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.push_str(&format!(" ({})", attributes.join(", ")));
    }
    text
}
