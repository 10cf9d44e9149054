//! net: the networks of one host. Bridges, addresses, published ports, isolation and names.

mod error;
pub mod files;
mod options;
mod service;
mod stats;

pub use error::{Error, Result};
pub use options::{AddressPool, Options};
pub use service::{Adopt, Attach, DnsSettings, Net};
pub use stats::InterfaceStats;
