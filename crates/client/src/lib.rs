//! The Engine API from the client's side: connections, version negotiation, typed calls, raw
//! streams. It never prints, never reads configuration files and never knows the command line.
//!
//! ```text
//! Client ── request(method, path) ── Request ── send() ──> Response ── json / bytes / lines
//!    │                                            └─ one kept-alive connection, reused in turn
//!    └──── hijack(path) ──> Raw: a connection of its own, bytes both ways, half-close
//! ```
//!
//! No round trip is spent on negotiation: the first request is sent in the newest version this
//! client speaks, and only an engine that refuses it as too new is asked again, in its own.

mod body;
mod calls;
mod connection;
mod endpoint;
mod error;
mod frames;
mod raw;
mod request;
mod ssh;
mod tls;

pub use body::{Body, BodySender};
pub use calls::{ListContainers, LogQuery};
pub use connection::Client;
pub use endpoint::Endpoint;
pub use error::Error;
pub use frames::{Demux, Output};
pub use raw::{Raw, RawReader, RawStream, RawWriter};
pub use request::{Lines, Request, Response};
pub use ssh::SshTarget;
pub use tls::TlsFiles;

/// What the client's calls return.
pub type Result<T> = std::result::Result<T, Error>;
