//! The monitor's loop with plain processes: streams, clients, protocol, ends. Real containers are
//! in the crate's integration tests.

mod elders;
mod harness;
mod lifecycle;
mod streams;
mod wire_level;
