//! The way to a container's resolver, in the container's own namespace: what is asked at port 53
//! of its address reaches the ports that the resolver has, and what it answers comes from 53. So
//! nobody holds port 53 there, and a name server in the container may have it on every address.
//!
//! Ports are written into the packets themselves, in a table of its own: no connection is tracked,
//! and a daemon of ours inside the container has its table to itself.

use super::encode::Transaction;
use super::rules::{Base, Chain, Expr, Hook, Meta, Verdict, destination_is, source_is};
use super::sets::Family;
use crate::error::Result;
use crate::netlink::{self, Socket};
use std::net::Ipv4Addr;

const TABLE: &str = "estiba-names";
/// Where names are asked for.
const PORT: u16 = 53;

/// A transport protocol with ports.
struct Transport {
    /// Its number.
    number: u8,
    /// Where its header has the checksum.
    checksum: u8,
}

const UDP: Transport = Transport { number: 17, checksum: 6 };
const TCP: Transport = Transport { number: 6, checksum: 16 };
/// Where a header of either has its ports.
const SOURCE_PORT: u8 = 0;
const DESTINATION_PORT: u8 = 2;

/// Leads questions to `address` to these ports, in the calling thread's namespace, instead of what
/// led there before.
pub(crate) fn to_ports(address: Ipv4Addr, (udp, tcp): (u16, u16)) -> Result<()> {
    let mut transaction = Transaction::of_table(TABLE, 0);
    transaction.only(Family::V4, &chains(address, (udp, tcp)));
    Socket::open(netlink::Family::Netfilter, 0)?.transact(transaction.finish())
}

/// Of other packets no more is looked at than the addresses.
fn chains(address: Ipv4Addr, (udp, tcp): (u16, u16)) -> Vec<Chain> {
    let both = [(UDP, udp), (TCP, tcp)];
    let asked = both.iter().map(|(it, own)| rewrite(it, DESTINATION_PORT, (PORT, *own)));
    let answered = both.iter().map(|(it, own)| rewrite(it, SOURCE_PORT, (*own, PORT)));
    let jump = |is: [Expr; 2], chain| [&is[..], &[Expr::Verdict(Verdict::Jump(chain))]].concat();
    let rules = vec![jump(destination_is(address), "asked"), jump(source_is(address), "answered")];
    vec![
        Chain { name: "asked", base: None, rules: asked.collect() },
        Chain { name: "answered", base: None, rules: answered.collect() },
        Chain {
            name: "lead",
            base: Some(Base { kind: "filter", hook: Hook::Output, priority: -150 }),
            rules,
        },
    ]
}

/// One port instead of another.
fn rewrite(transport: &Transport, at: u8, (from, to): (u16, u16)) -> Vec<Expr> {
    let is = |bytes: &[u8]| Expr::Compare { reg: 0, equal: true, bytes: bytes.to_vec() };
    vec![
        Expr::Meta { key: Meta::L4Proto, reg: 0 },
        is(&[transport.number]),
        Expr::Transport { offset: at, len: 2, reg: 0 },
        is(&from.to_be_bytes()),
        Expr::WritePort { offset: at, checksum: transport.checksum, port: to },
    ]
}
