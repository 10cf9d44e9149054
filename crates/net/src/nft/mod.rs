//! The firewall: one nftables table `estiba` per address family, laid and changed in atomic
//! transactions over netlink.
//!
//! ```text
//!  networks, ports ──▶ Element (sets.rs, pure) ─┐
//!  options ──▶ Chain, Expr (rules.rs, pure) ────┴▶ transaction (encode.rs) ──▶ kernel
//!                                                        ▲                      │
//!                              Firewall (firewall.rs) ───┴──── verify (dump.rs) ┘
//! ```
//!
//! The rules are constant; what changes are elements of sets and maps. So a host with 10,000
//! published ports has as many rules as a host with none. This module never knows containers: it
//! knows interfaces, addresses and ports.

mod conntrack;
mod dump;
mod encode;
mod firewall;
mod rules;
mod sets;
mod watch;

pub(crate) use firewall::{Firewall, can_translate};
pub(crate) use rules::Policy;
pub(crate) use sets::{Publication, Zone};
pub(crate) use watch::Watch;

/// The table's name, in the `ip` and the `ip6` family.
pub(crate) const TABLE: &str = "estiba";
