//! What of this crate reads bytes from outside, one function each, for fuzzers and for the tests
//! that replay what fuzzers have found (`fuzz/corpus`). Not part of the interface.

use crate::buildkit::{llb, solve as solving};
use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::pb;
use prost::Message;

/// A function with its name.
pub type Target = (&'static str, fn(&[u8]));

/// The functions by name.
pub const TARGETS: &[Target] = &[("llb", definition), ("solve", solve)];

/// A definition of a BuildKit client.
fn definition(data: &[u8]) {
    if let Ok(definition) = pb::Definition::decode(data) {
        let _ = llb::decode(&definition);
    }
}

/// A whole build of a BuildKit client's: its definition or attributes, outputs and caches.
fn solve(data: &[u8]) {
    if let Ok(asked) = SolveRequest::decode(data) {
        let _ = solving::parse(asked);
    }
}
