//! Dockerfile to graph to image. Runs its steps through a trait that the engine implements; never
//! knows how a container is started.

pub mod address;
pub mod attest;
pub mod cache;
pub mod call;
pub mod check;
pub mod client;
mod content;
pub mod dockerfile;
pub mod dockerfile_build;
mod error;
pub mod expand;
mod export;
mod files;
pub mod frontend;
#[doc(hidden)]
pub mod fuzz;
pub mod gitref;
pub mod glob;
pub mod graph;
pub mod ignore;
pub mod layout;
pub mod platform;
pub mod progress;
mod remote;
pub mod request;
mod solve;
mod source;
pub mod span;
mod text;
mod tree;
mod walk;
pub mod worker;

pub use error::{Error, Result};
pub use solve::Solver;
pub use store::{Compression, Packing};
