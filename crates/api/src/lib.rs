//! The Engine API: HTTP in, orders to the engine, Docker's JSON out.
//!
//! ```text
//! listener ─▶ connection ─▶ version gate ─▶ table ─▶ handler ─▶ engine
//!                                                     │  ▲
//!                                            convert: wire ◀─▶ model
//! attach, exec: 101 ─▶ the socket itself is given to the engine, which passes it on to the
//! container's monitor; the daemon is out of the data path.
//! ```
//!
//! Conversions between `wire` and `model` live here and nowhere else. A request is parsed once and
//! the typed value that was parsed is what is executed. This crate never touches containers,
//! files or the kernel's objects: it asks the engine.

mod authority;
mod base64;
mod body;
mod buildkit;
mod call;
mod clock;
mod convert;
mod failure;
mod filters;
#[doc(hidden)]
pub mod fuzz;
mod handlers;
mod hijack;
mod metrics;
mod moment;
mod query;
mod raw;
mod reply;
mod router;
mod routes;
mod server;
mod service;
mod tls;

pub use authority::{Authority, AuthorityConfig, AuthorityError};
pub use metrics::{Requests, serve_metrics};
pub use server::{Listener, ServeError, Shutdown, serve};
pub use tls::{Certificates, TlsError, TlsFiles};
