//! The OCI runtime and the per-container monitor.
//!
//! A [`launch::Launch`] says everything about one container. From it a pure planner computes the
//! whole way to the container's first process as data ([`plan::InitPlan`]); the parent prepares
//! mounts and maps, and the child made by `clone3` only loops over the steps.
//!
//! ```text
//!  Launch ──plan──▶ InitPlan ──container::create──▶ Created ──start──▶ Running ──exec──▶ Execed
//!                                   │ abort                              │
//!                                   ▼                                    ▼
//!                                 (gone)                          exit, seen by pidfd
//! ```
//!
//! This crate never knows images, networks' drivers, the Engine API or the daemon: it is given
//! directories, a specification and file descriptors.

pub mod caps;
pub mod cgroup;
pub mod command;
pub mod container;
pub mod error;
pub mod exec;
mod facts;
mod failure;
mod foreign;
mod hooks;
pub mod idle;
mod init;
pub mod launch;
pub mod monitor;
mod netdev;
pub mod plan;
pub mod reaper;
mod resctrl;
mod rootfs;
pub mod seccomp;
pub mod user;
pub mod witness;

pub use rootfs::file_system;
pub use sys::landlock::has_scopes;
pub use sys::memfd::{sealed_data, sealed_program};
pub use sys::resident::inherited_fd;
pub use sys::socket::peer_groups;
pub use sys::userns;
