//! Connection tracking entries that outlived the rules that made them
//! (linux/netfilter/nfnetlink_conntrack.h).

use super::sets::{Family, Publication, protocol_number};
use crate::error::Result;
use crate::netlink::{self, Batch, Fields, Socket, field};
use model::network::Protocol;
use rustix::io::Errno;
use std::net::IpAddr;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const NESTED: u16 = 1 << 15;

/// Deletes the UDP flows to these host ports, and those answered by these containers' ports; with
/// `connections`, those of the other protocols to these host ports, too: what comes next on one is
/// no longer translated, and the host answers that it knows no such connection.
pub(super) fn forget(ports: &[Publication], connections: bool) -> Result<()> {
    let wanted: Vec<&Publication> =
        ports.iter().filter(|p| connections || p.port.protocol == Protocol::Udp).collect();
    for family in Family::IP {
        let ports: Vec<_> = wanted.iter().filter(|p| Family::of(p.host) == family).collect();
        if ports.is_empty() {
            continue;
        }
        let mut socket = Socket::open(netlink::Family::Netfilter, 0)?;
        let mut stale = Vec::new();
        let fixed = [family.number(), 0, 0, 0];
        socket.dump("list tracked connections", GET, &fixed, |message| {
            let fields = message.fields(4);
            let original = field(fields, CTA_TUPLE_ORIG).unwrap_or_default();
            let reply = field(fields, CTA_TUPLE_REPLY).unwrap_or_default();
            let (original_tuple, reply_tuple) = (tuple(original), tuple(reply));
            let hit = |p: &&Publication| {
                original_tuple.is_some_and(|t| t.goes_to(p))
                    || reply_tuple.is_some_and(|t| t.comes_from(p))
            };
            if ports.iter().any(|p| hit(p)) {
                stale.push(original.to_vec());
            }
        })?;
        for original in stale {
            let mut batch = Batch::new();
            let act = "forget a tracked connection";
            batch.message(act, DELETE, 0, &fixed, |a| {
                a.bytes(CTA_TUPLE_ORIG | NESTED, &original);
            });
            match socket.transact(batch) {
                Err(error) if error.errno() != Some(Errno::NOENT) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    protocol: u8,
}

impl Tuple {
    fn goes_to(&self, p: &Publication) -> bool {
        self.protocol == protocol_number(p.port.protocol)
            && self.destination.1 == p.port.port
            && (p.host.is_unspecified() || p.host == self.destination.0)
    }

    fn comes_from(&self, p: &Publication) -> bool {
        let udp = protocol_number(Protocol::Udp);
        self.protocol == udp
            && p.port.protocol == Protocol::Udp
            && self.source == (p.addr, p.target)
    }
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let ip = Fields(field(Fields(bytes), 1)?);
    let proto = Fields(field(Fields(bytes), 2)?);
    let addr = |v4: u16| {
        let v4_addr = field(ip, v4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(IpAddr::from);
        let v6 = || field(ip, v4 + 2).and_then(|b| <[u8; 16]>::try_from(b).ok()).map(IpAddr::from);
        v4_addr.or_else(v6)
    };
    let port = |kind| field(proto, kind)?.try_into().ok().map(u16::from_be_bytes);
    Some(Tuple {
        source: (addr(1)?, port(2)?),
        destination: (addr(2)?, port(3)?),
        protocol: *field(proto, 1)?.first()?,
    })
}
