//! The outside's JSON, as types: what other programs send and expect, byte for byte.
//!
//! `wire` knows nobody and does nothing: no IO, no clocks, no randomness, no product nouns. What
//! a document *means* is decided by `model`; `api` and `client` convert.

pub mod build;
pub mod docker;
pub mod file_mode;
pub mod oci;
pub mod plugin;
pub mod policy;
pub mod profile;
