//! The Docker Engine API as types, shaped as Go's JSON encoder shapes them.
//!
//! The same types serve the server (`Serialize`) and the client (`Deserialize`). Out: zero values
//! and nulls appear exactly where `dockerd` emits them, because clients depend on them
//! (`Option<Vec<_>>` is a Go slice that may print as `null`, `Vec<_>` one that prints as `[]`).
//! In: use [`json::from_slice`], which reads as Go does: unknown fields are ignored, `null` means
//! absent, names match without regard to case, the last of duplicate names wins.
//!
//! Source: the Engine API specification, version 1.56, and the older shapes its clients still ask
//! for. Nothing here validates: a `MemorySwap` of -7 is a number like any other.

pub mod container;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod exec;
pub mod host_config;
pub mod image;
pub mod json;
pub mod network;
pub mod plugin;
pub mod progress;
pub mod registry;
pub mod stats;
pub mod syntax;
pub mod system;
pub mod version;
pub mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use version::ApiVersion;

/// A Go `map[string]string`; `None` prints as `null`.
pub type StringMap = Option<BTreeMap<String, String>>;
/// A Go `[]string`; `None` prints as `null`.
pub type Strings = Option<Vec<String>>;

/// An object without fields: the value of `ExposedPorts` and `Volumes` entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Empty {}

/// Go's `omitempty`: true for a type's zero value.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
