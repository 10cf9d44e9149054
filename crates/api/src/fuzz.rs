//! What of this crate reads bytes from outside, one function each, for fuzzers and for the tests
//! that replay what fuzzers have found (`fuzz/corpus`). Not part of the interface.

use crate::buildkit::llb;
use bollard_buildkit_proto::pb;
use prost::Message;

/// A function with its name.
pub type Target = (&'static str, fn(&[u8]));

/// The functions by name.
pub const TARGETS: &[Target] = &[("llb", definition)];

/// A definition of a BuildKit client.
fn definition(data: &[u8]) {
    if let Ok(definition) = pb::Definition::decode(data) {
        let _ = llb::decode(&definition);
    }
}
