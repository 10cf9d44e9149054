//! net: the networks of one host. Bridges, addresses, published ports, isolation and names.

mod apply;
mod bridge;
mod dns;
mod endpoints;
mod error;
pub mod files;
mod ipam;
mod netlink;
mod netns;
mod networks;
mod nft;
mod options;
mod plan;
mod ports;
mod service;
mod stats;
mod sysctl;

pub use dns::DnsSettings;
pub use endpoints::{Adopt, Attach};
pub use error::{Error, Result};
pub use options::{AddressPool, Options};
pub use service::Net;
pub use stats::InterfaceStats;
