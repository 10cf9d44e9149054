//! The firewall: one nftables table `estiba` per address family and one for frames, laid and
//! changed in atomic transactions over netlink.
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
pub(crate) mod encode;
mod firewall;
pub(crate) mod lead;
mod rules;
mod sets;
mod watch;

pub(crate) use dump::exists;
pub(crate) use encode::kind;
pub(crate) use firewall::{Firewall, can_translate};
pub(crate) use rules::{ALLOWED, PASSED, Policy, ROUND_IN, ROUND_OUT};
pub(crate) use sets::{Claim, Element, Family, Gateway, Publication, Way, Zone, linked};
pub(crate) use watch::Watch;

/// The table's name, in every family.
pub(crate) const TABLE: &str = "estiba";
