//! The outside's JSON as types: what Docker's Engine API and the Open Container Initiative's
//! documents look like on the wire. This crate is pure, knows no other crate of ours, and decides
//! nothing.

pub mod oci;
