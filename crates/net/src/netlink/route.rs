//! Addresses and routes (rtnetlink(7), linux/if_addr.h, linux/rtnetlink.h).

use super::socket::Socket;
use super::wire::{Batch, Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, field, u32_at};
use crate::error::Result;
use model::network::Cidr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// `struct ifaddrmsg` in bytes.
const IFADDR_LEN: usize = 8;
/// `struct rtmsg` in bytes.
const RTMSG_LEN: usize = 12;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// No duplicate address detection: we are the one who hands addresses out.
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
/// As ip(8) does when it is not told otherwise.
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The link's index.
    pub index: u32,
    /// The address and its prefix.
    pub cidr: Cidr,
}

fn family(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn parse_addr(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| IpAddr::V4(Ipv4Addr::from(b))),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::V6(Ipv6Addr::from(b))),
        _ => None,
    }
}

/// Gives a link an address; IPv4 with its broadcast address.
pub(crate) fn add_address(batch: &mut Batch, index: u32, cidr: Cidr) {
    let mut fixed = [0; IFADDR_LEN];
    fixed[0] = family(cidr.addr);
    fixed[1] = cidr.prefix;
    fixed[2] = IFA_F_NODAD;
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let act = format!("add address {cidr}");
    batch.message(act, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed, |a| {
        let addr = octets(cidr.addr);
        a.bytes(IFA_LOCAL, &addr).bytes(IFA_ADDRESS, &addr);
        if let (IpAddr::V4(v4), 0..=30) = (cidr.addr, cidr.prefix) {
            let broadcast = u32::from(v4) | (u32::MAX >> cidr.prefix);
            a.bytes(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
    });
}

fn default_route(addr: IpAddr) -> [u8; RTMSG_LEN] {
    let mut fixed = [0; RTMSG_LEN];
    fixed[0] = family(addr);
    fixed[4] = RT_TABLE_MAIN;
    fixed[5] = RTPROT_BOOT;
    fixed[6] = RT_SCOPE_UNIVERSE;
    fixed[7] = RTN_UNICAST;
    fixed
}

/// Sets the default route, in place of the one there may be.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    let act = format!("set the default route via {gateway}");
    batch.message(act, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &default_route(gateway), |a| {
        a.bytes(RTA_GATEWAY, &octets(gateway)).u32(RTA_OIF, index);
    });
}

/// Sends what goes elsewhere out by a link, to whoever has the address there.
pub(crate) fn add_device_route(batch: &mut Batch, index: u32, v4: bool) {
    let any = match v4 {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut fixed = default_route(any);
    if v4 {
        fixed[6] = RT_SCOPE_LINK;
    }
    let act = "set the default route by link";
    batch.message(act, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &fixed, |a| {
        a.u32(RTA_OIF, index);
    });
}

/// Sends what goes to a block out by a link, through a gateway there if there is one.
pub(crate) fn add_route(batch: &mut Batch, index: u32, (to, via): (Cidr, Option<IpAddr>)) {
    let mut fixed = default_route(to.addr);
    fixed[1] = to.prefix;
    if via.is_none() && to.addr.is_ipv4() {
        fixed[6] = RT_SCOPE_LINK;
    }
    let act = format!("add a route to {to}");
    batch.message(act, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &fixed, |a| {
        a.bytes(RTA_DST, &octets(to.addr)).u32(RTA_OIF, index);
        if let Some(via) = via {
            a.bytes(RTA_GATEWAY, &octets(via));
        }
    });
}

/// Every address of the socket's namespace.
pub(crate) fn dump_addresses(socket: &mut Socket) -> Result<Vec<Address>> {
    let mut found = Vec::new();
    socket.dump("list addresses", RTM_GETADDR, &[0; IFADDR_LEN], |message| {
        found.extend(parse_address(message));
    })?;
    Ok(found)
}

fn parse_address(message: Message<'_>) -> Option<Address> {
    let prefix = *message.payload.get(1)?;
    let index = u32_at(message.payload, 4)?;
    let fields = message.fields(IFADDR_LEN);
    let addr = field(fields, IFA_LOCAL).or_else(|| field(fields, IFA_ADDRESS))?;
    Some(Address { index, cidr: Cidr { addr: parse_addr(addr)?, prefix } })
}

/// Every destination the host has a unicast route to, but the default, with the route's link.
pub(crate) fn dump_routes(socket: &mut Socket) -> Result<Vec<Address>> {
    let mut found = Vec::new();
    socket.dump("list routes", RTM_GETROUTE, &[0; RTMSG_LEN], |message| {
        found.extend(parse_route(message));
    })?;
    Ok(found)
}

/// What a notification says of a route that has come; `None` for anything else.
pub(crate) fn new_route(message: Message<'_>) -> Option<Address> {
    (message.kind == RTM_NEWROUTE).then(|| parse_route(message))?
}

fn parse_route(message: Message<'_>) -> Option<Address> {
    let (prefix, kind) = (*message.payload.get(1)?, *message.payload.get(7)?);
    if kind != RTN_UNICAST || prefix == 0 {
        return None;
    }
    let fields = message.fields(RTMSG_LEN);
    let index = field(fields, RTA_OIF).and_then(|v| u32_at(v, 0)).unwrap_or(0);
    Some(Address { index, cidr: Cidr { addr: parse_addr(field(fields, RTA_DST)?)?, prefix } })
}
