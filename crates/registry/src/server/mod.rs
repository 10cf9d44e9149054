//! A registry: OCI distribution 1.1 over HTTP and TLS.
//!
//! ```text
//! connection ── serve ── registry: which operation (route), who, may they (access)
//!                            │
//!          handle::{manifest, blob, upload, list} ── storage ─┬─ index, pure
//!                            │                                ├─ records
//!          upstream fetches what is missing                   └─ files
//!          collect lets go of what nothing names
//! ```
//!
//! Content belongs to repositories: a digest alone opens nothing. Nothing is believed before it is
//! verified, and nothing is answered before it is kept.

mod access;
mod answer;
mod collect;
mod config;
mod events;
pub(crate) mod fuzz;
mod handle;
mod index;
mod manifest;
mod metrics;
mod name;
mod record;
mod refusal;
mod registry;
mod route;
mod serve;
mod storage;
mod uploads;
mod upstream;

pub use config::{Auth, Config, Limits, Notify, Retention, Rule, Tls, Token, Upstream};
pub use serve::serve;
