//! What serves each operation: read the request, ask the engine, show the answer. No handler
//! decides what is allowed or how it is done.

pub(crate) mod archive;
pub(crate) mod build;
pub(crate) mod container;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
mod listing;
pub(crate) mod network;
pub(crate) mod refused;
pub(crate) mod registry;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod system;
pub(crate) mod volume;
pub(crate) mod websocket;

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

/// A terminal's size given as query parameters, rows and columns.
fn size(query: &Query) -> Result<(u16, u16), Failure> {
    let side = |name: &str| {
        query.number::<u16>(name)?.ok_or_else(|| {
            Failure::invalid(format!("invalid value \"\" for {name}: want a number"))
        })
    };
    Ok((side("h")?, side("w")?))
}
