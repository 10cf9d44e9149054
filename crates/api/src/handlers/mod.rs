//! What serves each operation: read the request, ask the engine, show the answer. No handler
//! decides what is allowed or how it is done.

pub(crate) mod archive;
pub(crate) mod artifact;
pub(crate) mod attestation;
pub(crate) mod build;
pub(crate) mod container;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
mod listing;
pub(crate) mod network;
pub(crate) mod plugin;
pub(crate) mod refused;
pub(crate) mod registry;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod system;
pub(crate) mod volume;
pub(crate) mod websocket;
pub(crate) mod witness;

use model::Timestamp;
use model::signal::Signal;

use crate::clock;
use crate::failure::Failure;
use crate::filters::Filters;
use crate::moment;
use crate::query::Query;

/// A signal given by name or number.
fn signal(query: &Query) -> Result<Option<Signal>, Failure> {
    Ok(query.text("signal").map(Signal::parse).transpose()?)
}

/// A time given as a query parameter.
fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, Failure> {
    query.text(name).map(|text| moment::parse(text, clock::now())).transpose()
}

/// The `until` filter of prune: only what was made before.
fn until(filters: &Filters) -> Result<Option<Timestamp>, Failure> {
    match filters.values("until") {
        [] => Ok(None),
        [text] => moment::parse(text, clock::now()).map(Some),
        _ => Err(Failure::invalid("more than one until filter specified")),
    }
}

/// A terminal's size given as query parameters, rows and columns. The words are Docker's; a size
/// that only the kernel's terminals cannot have is the largest they can.
fn size(query: &Query) -> Result<(u16, u16), Failure> {
    let side = |name: &str, what: &str| {
        let text = query.text_or_empty(name);
        let why = match text.parse::<u32>() {
            Ok(value) => return Ok(u16::try_from(value).unwrap_or(u16::MAX)),
            Err(_) if text.parse::<i128>().is_ok() => "value out of range",
            Err(_) => "invalid syntax",
        };
        Err(Failure::invalid(format!("invalid resize {what} {text:?}: {why}")))
    };
    Ok((side("h", "height")?, side("w", "width")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_terminals() {
        let read = |text: &str| size(&Query::parse(text).unwrap());
        assert_eq!(read("h=24&w=80").unwrap(), (24, 80));
        assert_eq!(read("h=70000&w=0").unwrap(), (u16::MAX, 0));
        for (text, words) in [
            ("w=80", "invalid resize height \"\": invalid syntax"),
            ("h=24&w=", "invalid resize width \"\": invalid syntax"),
            ("h=x&w=80", "invalid resize height \"x\": invalid syntax"),
            ("h=24&w=-100", "invalid resize width \"-100\": value out of range"),
            ("h=4294967296&w=80", "invalid resize height \"4294967296\": value out of range"),
        ] {
            assert_eq!(read(text).unwrap_err().message, words);
        }
    }
}
