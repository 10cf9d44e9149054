//! The API's calls by name, one file per noun. They never retry and never combine calls.

mod containers;
mod exec;
mod images;
mod networks;
mod plugins;
mod system;
mod volumes;

pub use containers::{ListContainers, LogQuery};
