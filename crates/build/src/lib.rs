//! Dockerfile to graph to image. Runs its steps through a trait that the engine implements; never
//! knows how a container is started.

pub mod cache;
pub mod client;
pub mod dockerfile;
pub mod dockerfile_build;
mod error;
pub mod expand;
pub mod frontend;
pub mod glob;
pub mod graph;
pub mod ignore;
pub mod platform;
pub mod progress;
pub mod request;
pub mod span;
mod text;
pub mod worker;

pub use error::{Error, Result};
