//! The monitor: one small process per container that holds what must outlive the daemon.
//!
//! It is the parent of the container's init and of its exec'd processes, and owns their stdio,
//! the container's log and its exit status. It knows nothing of images, networks or restart
//! policies: a daemon tells it what to launch and what to do.
//!
//! ```text
//!  daemon ──spawn, fd 3──▶ ┌─────────┐ ──create──▶ init (and execs)
//!  daemon ──monitor.sock─▶ │ monitor │ ◀─stdio──▶
//!  client ──its own fd───▶ └─────────┘ ──▶ <id>-json.log, exit.json
//! ```

mod attached;
pub mod client;
mod control;
mod detach;
mod ending;
mod frame;
pub mod log;
mod process;
pub mod protocol;
mod queue;
mod requests;
mod run;
mod sandbox;
mod server;
mod stdio;
pub mod zygote;

pub use frame::FrameError;
pub use run::run;

/// Where a monitor finds its first control connection.
const CONTROL_FD: i32 = 3;

/// Where a monitor finds its launch order: the JSON of [`crate::launch::Launch`].
const LAUNCH_FD: i32 = 4;

#[cfg(test)]
mod tests;
