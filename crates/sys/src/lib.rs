//! The kernel's doors: the only crate with `unsafe`.
//!
//! What rustix offers is used from rustix; here is what it does not have, and the few shapes that
//! make a wrong use hard: processes by descriptor, roots that names cannot leave, namespaces
//! entered and left in pairs. Nothing here decides anything or knows what a container is.
//!
//! Functions that return `rustix::io::Result` do not allocate and may be called in the child of a
//! fork; those that return [`SysError`] say all arguments and may not.

pub mod bpf;
pub mod clone;
pub mod cred;
#[cfg(target_arch = "x86_64")]
mod entry;
mod error;
pub mod failpoint;
pub mod fanotify;
pub mod landlock;
pub mod memfd;
pub mod mount;
pub mod netns;
pub mod notify;
pub mod process;
pub mod program;
pub mod quota;
pub mod resident;
pub mod root;
pub mod sandbox;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
#[cfg(target_arch = "x86_64")]
mod start;
pub mod tty;
pub mod userns;
pub mod writeback;
pub mod xtables;

pub use error::SysError;
pub use process::{Ended, Pidfd};
pub use root::Root;
