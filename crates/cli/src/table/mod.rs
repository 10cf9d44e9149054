//! The commands as data. What is not in these tables does not exist for the parser or for help.

mod artifact;
mod build;
#[cfg(test)]
mod buildx_tests;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod image;
mod manifest;
pub(crate) mod network;
mod own;
pub(crate) mod plugin;
mod profile;
mod root;
pub(crate) mod run;
pub(crate) mod system;
mod text;
pub(crate) mod volume;

pub(crate) use build::BUILD_FLAGS;
pub(crate) use root::{GLOBALS, SECTIONS, absent, find, is_unknown, reason};
