//! The way round: a pair of links in the host's own namespace by which a packet that the host's
//! input rules accepted comes in once more, this time to be translated (see `nft::rules`). It
//! decides nothing, and nobody but the firewall sends anything there.
//!
//! ```text
//!  neighbour ─▶ eth0 ─▶ input rules of ufw, firewalld, … ─▶ asked ─▶ estiba-round0
//!                                                                        │
//!  container ◀─ bridge ◀─ translated ◀─ arrive ◀── estiba-round1 ◀───────┘
//! ```

use crate::error::{Error, Result};
use crate::netlink::{self, Batch, Socket};
use crate::nft::{ROUND_IN, ROUND_OUT};
use crate::sysctl::Sysctl;
use model::network::Cidr;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Alias of the pair.
pub(crate) const ROUND_ALIAS: &str = "estiba round";
/// The hardware address of both ends: what leaves one is for the other.
const MAC: [u8; 6] = [0x02, 0x42, 0xe5, 0x71, 0xba, 0x01];
/// An interface without any address fails the check of source addresses (rp_filter); this one is
/// nobody's (RFC 7600).
const ADDRESS: Cidr = Cidr { addr: IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)), prefix: 32 };
/// Where copies of IPv6 packets are sent: the prefix that means nowhere (RFC 6666).
const NOWHERE: Cidr =
    Cidr { addr: IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), prefix: 64 };

/// Makes the pair unless it is there; returns the index of the link that packets leave by.
pub(crate) fn lay() -> Result<u32> {
    let mut socket = Socket::open(netlink::Family::Route, 0)?;
    if let Some(link) = netlink::link_by_name(&mut socket, ROUND_OUT)? {
        if link.alias == ROUND_ALIAS && link.up {
            return Ok(link.index);
        }
        // Half made, by a daemon that was killed.
        crate::apply::delete_link(&mut socket, ROUND_OUT)?;
    }
    let made = make(&mut socket);
    if made.is_err() {
        let _ = crate::apply::delete_link(&mut socket, ROUND_OUT);
    }
    made
}

fn make(socket: &mut Socket) -> Result<u32> {
    let mut batch = Batch::new();
    netlink::add_pair(&mut batch, ROUND_OUT, ROUND_IN, MAC);
    socket.transact(batch)?;
    for name in [ROUND_OUT, ROUND_IN] {
        Sysctl::new(format!("ipv4/conf/{name}/rp_filter"), "2").apply()?;
        Sysctl::optional(format!("ipv6/conf/{name}/accept_ra"), "0").apply()?;
        // No link-local address, no solicitations.
        Sysctl::optional(format!("ipv6/conf/{name}/addr_gen_mode"), "1").apply()?;
        Sysctl::optional(format!("ipv6/conf/{name}/disable_ipv6"), "0").apply()?;
    }
    let index = |socket: &mut Socket, name: &str| {
        let link = netlink::link_by_name(socket, name)?;
        link.map(|link| link.index).ok_or_else(|| Error::Kernel {
            act: format!("find link {name}"),
            errno: Errno::NODEV,
            extack: None,
        })
    };
    let (out, back) = (index(socket, ROUND_OUT)?, index(socket, ROUND_IN)?);
    let mut batch = Batch::new();
    netlink::add_address(&mut batch, back, ADDRESS);
    netlink::set_alias(&mut batch, ROUND_IN, ROUND_ALIAS);
    netlink::set_up(&mut batch, ROUND_IN);
    netlink::set_up(&mut batch, ROUND_OUT);
    socket.transact(batch)?;
    if crate::sysctl::has_ipv6() {
        let mut batch = Batch::new();
        netlink::add_route(&mut batch, out, (NOWHERE, None));
        socket.transact(batch)?;
    }
    // The last act: what has the alias is whole.
    let mut batch = Batch::new();
    netlink::set_alias(&mut batch, ROUND_OUT, ROUND_ALIAS);
    socket.transact(batch)?;
    Ok(out)
}
