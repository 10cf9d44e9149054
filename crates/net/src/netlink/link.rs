//! Links: bridges, veth pairs and their ports (rtnetlink(7), linux/if_link.h).

use super::socket::Socket;
use super::wire::{
    Attrs, Batch, Fields, Message, NLM_F_CREATE, NLM_F_EXCL, field, text, u32_at, u64_at,
};
use crate::error::Result;
use crate::stats::InterfaceStats;
use std::os::fd::{AsRawFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
/// `struct ifinfomsg` in bytes.
const IFINFO_LEN: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// No automatic link-local address (law F4).
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const AF_INET6: u16 = 10;

/// A link as the kernel lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// `bridge`, `veth`, …; empty for hardware and loopback.
    pub kind: String,
    /// The alias, by which ours are known.
    pub alias: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Index of its bridge, 0 for none.
    pub master: u32,
    /// Index of what it hangs on, in the namespace where that is: of a pair the other end; 0 for
    /// none.
    pub lower: u32,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Counters.
    pub stats: InterfaceStats,
}

/// A veth pair with one end in another namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Veth<'a> {
    /// Name of the end in the socket's namespace.
    pub host: &'a str,
    /// Its hardware address; the kernel's choice if there is none.
    pub host_mac: Option<[u8; 6]>,
    /// Name of the other end.
    pub peer: &'a str,
    /// The other end's namespace.
    pub netns: BorrowedFd<'a>,
    /// The other end's hardware address.
    pub mac: [u8; 6],
    /// MTU of both, bytes.
    pub mtu: u32,
}

/// How a link is plugged into a bridge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgePort<'a> {
    /// The link.
    pub link: &'a str,
    /// Index of the bridge.
    pub bridge: u32,
    /// May frames leave by the port they came from (needed where br_netfilter translates).
    pub hairpin: bool,
    /// Whether it is kept from other isolated ports.
    pub isolated: bool,
    /// Whether the link has IPv6, which is not its business on a bridge.
    pub ipv6: bool,
}

fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; IFINFO_LEN] {
    let mut fixed = [0; IFINFO_LEN];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// Creates a bridge, down. Its hardware address is fixed: otherwise it would change with its ports
/// and neighbours would lose their gateway. Without multicast snooping: it costs a timer per port
/// and containers never gain from it.
pub(crate) fn add_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: u32) {
    let act = format!("create bridge {name}");
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_MTU, mtu).bytes(IFLA_ADDRESS, &mac);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "bridge");
            a.nest(IFLA_INFO_DATA, |a| {
                a.u32(IFLA_BR_FORWARD_DELAY, 0).u8(IFLA_BR_MCAST_SNOOPING, 0);
            });
        });
    });
}

/// Creates a veth pair, both ends down, the peer directly in its namespace. Each has one queue,
/// which is what veth(4) uses of however many there are; it makes one for every processor
/// otherwise, and waits for a grace period of RCU to put the rest out of use (`veth_init_queues`).
pub(crate) fn add_veth(batch: &mut Batch, veth: &Veth<'_>) {
    let act = format!("create link {} with {} in the container", veth.host, veth.peer);
    let netns = u32::try_from(veth.netns.as_raw_fd()).unwrap_or(u32::MAX);
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, veth.host).u32(IFLA_MTU, veth.mtu);
        a.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
        if let Some(mac) = veth.host_mac {
            a.bytes(IFLA_ADDRESS, &mac);
        }
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "veth");
            a.nest(IFLA_INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    a.fixed(&ifinfo(0, 0, 0));
                    a.text(IFLA_IFNAME, veth.peer).u32(IFLA_MTU, veth.mtu);
                    a.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
                    a.bytes(IFLA_ADDRESS, &veth.mac).u32(IFLA_NET_NS_FD, netns);
                });
            });
        });
    });
}

/// Creates a veth pair within one namespace, both ends down, under one hardware address and
/// without neighbours to ask for: what one end sends is for the other.
pub(crate) fn add_pair(batch: &mut Batch, one: &str, other: &str, mac: [u8; 6]) {
    let act = format!("create links {one} and {other}");
    let quiet = ifinfo(0, IFF_NOARP, IFF_NOARP);
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &quiet, |a| {
        a.text(IFLA_IFNAME, one).bytes(IFLA_ADDRESS, &mac);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "veth");
            a.nest(IFLA_INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    a.fixed(&quiet);
                    a.text(IFLA_IFNAME, other).bytes(IFLA_ADDRESS, &mac);
                });
            });
        });
    });
}

/// How links under one parent see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `enum macvlan_mode`.
    Macvlan(u32),
    /// `enum ipvlan_mode` and `IPVLAN_F_*`.
    Ipvlan { mode: u16, flags: u16 },
}

/// A link under another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sublink<'a> {
    /// Its name.
    pub name: &'a str,
    /// The parent's index in the socket's namespace.
    pub parent: u32,
    /// How it sees its siblings.
    pub mode: Mode,
    /// The namespace it is made in; `None` for the socket's.
    pub netns: Option<BorrowedFd<'a>>,
    /// Hardware address; drawn, or the parent's, when `None`.
    pub mac: Option<[u8; 6]>,
    /// Bytes; the parent's when `None`.
    pub mtu: Option<u32>,
}

/// Creates a macvlan or ipvlan link, down.
pub(crate) fn add_sublink(batch: &mut Batch, link: &Sublink<'_>) {
    let act = format!("create link {}", link.name);
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, link.name).u32(IFLA_LINK, link.parent);
        if let Some(netns) = link.netns {
            a.u32(IFLA_NET_NS_FD, u32::try_from(netns.as_raw_fd()).unwrap_or(u32::MAX));
        }
        if let Some(mac) = link.mac {
            a.bytes(IFLA_ADDRESS, &mac);
        }
        if let Some(mtu) = link.mtu {
            a.u32(IFLA_MTU, mtu);
        }
        a.nest(IFLA_LINKINFO, |a| match link.mode {
            Mode::Macvlan(mode) => {
                a.text(IFLA_INFO_KIND, "macvlan").nest(IFLA_INFO_DATA, |a| _ = a.u32(1, mode));
            }
            Mode::Ipvlan { mode, flags } => {
                a.text(IFLA_INFO_KIND, "ipvlan").nest(IFLA_INFO_DATA, |a| {
                    a.bytes(1, &mode.to_ne_bytes()).bytes(2, &flags.to_ne_bytes());
                });
            }
        });
    });
}

/// Creates VLAN `id` of the link with index `parent`, down.
pub(crate) fn add_vlan(batch: &mut Batch, name: &str, (parent, id): (u32, u16)) {
    let act = format!("create VLAN link {name}");
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_LINK, parent);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "vlan");
            a.nest(IFLA_INFO_DATA, |a| _ = a.bytes(1, &id.to_ne_bytes()));
        });
    });
}

/// Creates a link that leads nowhere, down.
pub(crate) fn add_dummy(batch: &mut Batch, name: &str) {
    let act = format!("create dummy link {name}");
    batch.message(act, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
        a.nest(IFLA_LINKINFO, |a| _ = a.text(IFLA_INFO_KIND, "dummy"));
    });
}

/// Moves a link into another namespace and gives it its name there.
pub(crate) fn move_link(batch: &mut Batch, index: u32, (name, netns): (&str, BorrowedFd<'_>)) {
    let act = format!("move link {name} into the container");
    batch.message(act, RTM_SETLINK, 0, &ifinfo(index, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
        a.u32(IFLA_NET_NS_FD, u32::try_from(netns.as_raw_fd()).unwrap_or(u32::MAX));
    });
}

/// Gives a link a hardware address.
pub(crate) fn set_mac(batch: &mut Batch, name: &str, mac: [u8; 6]) {
    let act = format!("set the hardware address of link {name}");
    batch.message(act, RTM_SETLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, &mac);
    });
}

/// Plugs a link into a bridge, sets its port up and the link up, under an alias.
pub(crate) fn enslave(batch: &mut Batch, port: &BridgePort<'_>, alias: &str) {
    let act = format!("connect link {} to its bridge", port.link);
    batch.message(act, RTM_SETLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, port.link).text(IFLA_IFALIAS, alias).u32(IFLA_MASTER, port.bridge);
        if port.ipv6 {
            no_link_local(a);
        }
    });
    if port.hairpin || port.isolated {
        let act = format!("set bridge port {} up", port.link);
        batch.message(act, RTM_NEWLINK, 0, &ifinfo(0, 0, 0), |a| {
            a.text(IFLA_IFNAME, port.link);
            a.nest(IFLA_LINKINFO, |a| {
                a.text(IFLA_INFO_SLAVE_KIND, "bridge");
                a.nest(IFLA_INFO_SLAVE_DATA, |a| {
                    a.u8(IFLA_BRPORT_MODE, u8::from(port.hairpin));
                    a.u8(IFLA_BRPORT_ISOLATED, u8::from(port.isolated));
                });
            });
        });
    }
    set_up(batch, port.link);
}

/// Turns automatic IPv6 link-local addresses off.
fn no_link_local(a: &mut Attrs<'_>) {
    a.nest(IFLA_AF_SPEC, |a| {
        a.nest(AF_INET6, |a| {
            a.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        });
    });
}

/// Gives a link an alias.
pub(crate) fn set_alias(batch: &mut Batch, name: &str, alias: &str) {
    batch.message(format!("name link {name}"), RTM_SETLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).text(IFLA_IFALIAS, alias);
    });
}

/// Sets a link up.
pub(crate) fn set_up(batch: &mut Batch, name: &str) {
    batch.message(format!("set link {name} up"), RTM_SETLINK, 0, &ifinfo(0, IFF_UP, IFF_UP), |a| {
        a.text(IFLA_IFNAME, name);
    });
}

/// Sets a link down.
pub(crate) fn set_down(batch: &mut Batch, name: &str) {
    batch.message(format!("set link {name} down"), RTM_SETLINK, 0, &ifinfo(0, 0, IFF_UP), |a| {
        a.text(IFLA_IFNAME, name);
    });
}

/// Deletes a link.
pub(crate) fn delete_link(batch: &mut Batch, name: &str) {
    batch.message(format!("delete link {name}"), RTM_DELLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
    });
}

/// Puts a link into a group.
pub(crate) fn set_group(batch: &mut Batch, name: &str, group: u32) {
    batch.message(format!("group link {name}"), RTM_SETLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_GROUP, group);
    });
}

/// Deletes all links of a group, which must not be 0: everybody is in that.
pub(crate) fn delete_group(batch: &mut Batch, group: u32) {
    batch.message(
        format!("delete links of group {group}"),
        RTM_DELLINK,
        0,
        &ifinfo(0, 0, 0),
        |a| {
            a.u32(IFLA_GROUP, group);
        },
    );
}

/// The link of this name, if there is one.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::new();
    batch.message(format!("look for link {name}"), RTM_GETLINK, 0, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
    });
    find(socket, batch)
}

/// The link of this index, if there is one.
pub(crate) fn link_by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>> {
    let mut batch = Batch::new();
    let act = format!("look for link number {index}");
    batch.message(act, RTM_GETLINK, 0, &ifinfo(index, 0, 0), |_| {});
    find(socket, batch)
}

fn find(socket: &mut Socket, batch: Batch) -> Result<Option<Link>> {
    let mut found = None;
    match socket.query(batch, |message| found = parse(message)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}

/// Every link of the socket's namespace.
pub(crate) fn dump_links(socket: &mut Socket) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    socket.dump("list links", RTM_GETLINK, &ifinfo(0, 0, 0), |m| links.extend(parse(m)))?;
    Ok(links)
}

fn parse(message: Message<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let mut link = Link {
        index: u32_at(message.payload, 4)?,
        up: u32_at(message.payload, 8)? & IFF_UP != 0,
        ..Link::default()
    };
    for (kind, value) in message.fields(IFINFO_LEN) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_MASTER => link.master = u32_at(value, 0)?,
            IFLA_LINK => link.lower = u32_at(value, 0)?,
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_LINKINFO => {
                link.kind = field(Fields(value), IFLA_INFO_KIND).map(text).unwrap_or_default();
            }
            IFLA_STATS64 => link.stats = parse_stats(value)?,
            _ => {}
        }
    }
    link.stats.name.clone_from(&link.name);
    Some(link)
}

/// `struct rtnl_link_stats64`: eight-byte counters, packets before bytes, received before sent.
fn parse_stats(value: &[u8]) -> Option<InterfaceStats> {
    let at = |n: usize| u64_at(value, n * 8);
    Some(InterfaceStats {
        name: String::new(),
        rx_packets: at(0)?,
        tx_packets: at(1)?,
        rx_bytes: at(2)?,
        tx_bytes: at(3)?,
        rx_errors: at(4)?,
        tx_errors: at(5)?,
        rx_dropped: at(6)?,
        tx_dropped: at(7)?,
    })
}
