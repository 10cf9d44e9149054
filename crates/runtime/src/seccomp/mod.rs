//! System call filters: profiles, and a compiler from OCI's rules to classic BPF.
//!
//! ```text
//!  default_profile(caps) ─┐
//!  docker_profile(caps) ──┼─▶ wire Seccomp ──parse──▶ Policy ──assemble──▶ Program ──▶ sys loads
//!  user's JSON ───────────┘   (config.json)   names become numbers
//! ```
//! Pure: never loads a filter, never reads a file, never asks the kernel anything.

mod assemble;
mod docker;
mod file;
mod policy;
mod profile;
mod program;
mod table;

pub use docker::docker_profile;
pub use file::{ProfileError, ProfileFacts, parse_profile};
pub use policy::{SeccompError, filter_flags};
pub use profile::{ProfileOptions, default_profile};
pub use program::{Arch, Program, ProgramError, compile, notifies};
pub use table::Abi;

#[cfg(test)]
mod tests;
