//! The nouns and laws of estiba: identifiers, image references, what a container is asked to be
//! ([`Draft`](draft::Draft)) and what it was resolved to ([`ContainerSpec`](spec::ContainerSpec)),
//! its life ([`Phase`](phase::Phase)), networks, volumes, events and the kinds of errors.
//!
//! This crate is pure: it never opens a file, reads a clock, draws a random number, spawns a
//! thread or knows a wire format. Everything here is a value.

pub mod digest;
pub mod draft;
pub mod error;
pub mod event;
pub mod exec;
pub mod id;
pub mod image;
pub mod log;
pub mod mount;
pub mod network;
pub mod phase;
pub mod policy;
pub mod publish;
pub mod reference;
pub mod resolve;
pub mod resources;
pub mod restart;
pub mod selinux;
pub mod signal;
pub mod size;
pub mod spec;
pub mod step;
pub mod time;
pub mod view;
pub mod volume;

pub use digest::Digest;
pub use draft::Draft;
pub use error::{Denied, ErrorKind};
pub use id::{ContainerId, ContainerName, ExecId, ImageId, NetworkId, VolumeName};
pub use reference::ImageRef;
pub use spec::ContainerSpec;
pub use time::Timestamp;
