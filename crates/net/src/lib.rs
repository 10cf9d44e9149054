//! net: the networks of one host. Bridges, addresses, published ports, isolation and names.
//!
//! ```text
//!                      engine
//!                        │  service.rs  Net: open, sweep, reconcile, stats
//!                        │  networks.rs resolve, create, delete      endpoints.rs attach, publish
//!                        ▼                                           dns/ serve_dns
//!   decide   ipam.rs  ports.rs  publish.rs  bridge.rs  plan.rs  nft/rules.rs  nft/sets.rs
//!      │     default_bridge.rs  taken.rs  ways.rs  endpoint_options.rs  legacy_links.rs
//!      │     dns/names.rs         (pure but for ports.rs, which tries whether a port is free)
//!      ▼
//!   act      apply.rs  netns.rs  sysctl.rs  netlink/  nft/firewall.rs  round.rs  relay.rs
//!            alone.rs  outside.rs  removal.rs  carrier.rs (an ordinary user's ports)
//!            iptables/ (the administrator's DOCKER-USER)  dns/server.rs
//! ```
//!
//! **Order of a network's life**: `resolve` (chooses and reserves; record the answer) →
//! `create_network` → any number of `attach` → `publish` → … → `detach` → `delete_network`.
//! **After a restart**: `open` → `create_network` for each record → `adopt` for each endpoint of
//! a running container → `sweep`. Until `sweep`, the rules of the former daemon stay in force.
//!
//! **Never**: forks a program (`ip`, `nft`; `iptables-restore` once, where the administrator's
//! chain has to be laid); touches a table, link or address that is
//! not its own; opens a link before the rules that guard it (law F1); keeps records (the engine
//! does); knows what runs in a container.
//!
//! Everything relates to the network namespace of the thread that calls [`Net::open`]; later
//! calls must come from threads of the same namespace.

mod alone;
mod apply;
mod bridge;
mod carrier;
mod default_bridge;
mod dns;
mod endpoint_options;
mod endpoints;
mod error;
mod exposure;
pub mod files;
mod firewalld;
mod holder;
mod ipam;
mod iptables;
mod legacy_links;
mod netlink;
mod netns;
mod networks;
mod nft;
mod options;
mod outside;
mod plan;
mod ports;
mod publish;
mod relay;
mod reload;
mod remote;
mod removal;
mod round;
mod routes;
mod service;
mod stats;
mod sublink;
mod sysctl;
mod taken;
mod ways;

pub use carrier::run_carrier;
pub use dns::{DnsSettings, run_resolver};
pub use endpoint_options::asked_interface;
pub use endpoints::{Adopt, Attach};
pub use error::{Error, Result};
pub use exposure::Exposure;
pub use options::{AddressPool, FirewallMark, Iptables, Options, PublishPolicy};
pub use outside::Outside;
pub use remote::{AddressAsk, Joined, PoolAsk, Remote};
pub use routes::RouteNews;
pub use service::Net;
pub use stats::InterfaceStats;
pub use ways::{Lead, ways_out};
