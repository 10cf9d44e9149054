//! The distribution protocol, both sides: a client for every registry and a registry of our own.
//! Knows the store, never containers or the Engine API.
//!
//! ```text
//! reference ── client::hosts ──▶ endpoints (mirrors, then the registry itself)
//!                 │
//!   settings      ├─ transport   sockets, proxies, TLS, redirects
//!   credentials ──┼─ auth        challenges; who may see which secret
//!                 ├─ manifest    documents, checked before they are believed
//!                 ├─ pull        layers in parallel, resumable, unpacked while they come
//!                 └─ push        what is there is not sent again
//! ```
//!
//! Nothing that a registry says is believed before it is verified: documents and layers by length
//! and digest, media types by what the document is. Credentials go to the registry they are for
//! and to nobody else.

pub mod client;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod server;

pub use client::{
    BlobReader, Client, Credentials, Described, Download, Event, Events, Found, LayerState, Login,
    Parcel, Platform, Progress, Published, PullRequest, Pulled, PushRequest, Pushed, SearchHit,
    Settings, WantedLayer,
};
pub use error::{Error, Result};
