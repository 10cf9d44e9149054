//! Netlink without an async runtime: an encoder, a blocking socket and the dozen rtnetlink
//! messages this product needs (rtnetlink(7), linux/if_link.h, linux/rtnetlink.h).
//!
//! Own rather than a crate: lengths are checked where they are written instead of truncated or
//! panicked on (law B7), and the same hundred lines carry nftables batches of 10,000 elements.
//! This module never knows what a container or a network is.

mod link;
mod route;
mod socket;
mod wire;

pub(crate) use link::{
    BridgePort, Link, Mode, Sublink, Veth, add_bridge, add_dummy, add_pair, add_sublink, add_veth,
    add_vlan, delete_group, delete_link, dump_links, enslave, link_by_index, link_by_name,
    move_link, set_alias, set_down, set_group, set_mac, set_up,
};
pub(crate) use route::{
    Address, add_address, add_default_route, add_device_route, add_route, dump_addresses,
    dump_routes, new_route,
};
pub(crate) use socket::{Family, Socket};
pub(crate) use wire::{Attrs, Batch, Fields, field, text, u32_at};
