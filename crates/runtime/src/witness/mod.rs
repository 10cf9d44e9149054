//! Watching what a container asks of the kernel, through the kernel's own trace points: the
//! container is not touched, and does what it does when nobody looks.
//!
//! ```text
//!  tracefs instance ──lines──▶ line ──Event──▶ seen
//!  (one per watch)     fanotify ──files────────▶
//! ```
//! Never knows what is made of it: profiles and advice are the engine's.

mod files;
mod line;
mod seen;
mod tracefs;

pub use seen::{Denial, Seen};
pub use tracefs::{Since, available, begin};
