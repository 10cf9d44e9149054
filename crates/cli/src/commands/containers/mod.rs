//! Commands about containers.

mod archive;
mod attach;
mod edit;
mod exec;
mod lifecycle;
mod list;
mod look;
mod run;
mod stats;

pub(crate) use archive::{cp, export};
pub(crate) use attach::{attach, start};
pub(crate) use edit::{commit, rename, update};
pub(crate) use exec::exec;
pub(crate) use lifecycle::{kill, pause, prune, remove, restart, stop, unpause, wait};
pub(crate) use list::{TABLE, list, row};
pub(crate) use look::{diff, inspect, logs, port, top};
pub(crate) use run::{create, run};
pub(crate) use stats::stats;
