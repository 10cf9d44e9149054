//! The macvlan and ipvlan drivers' view of a network: their options read once, with Docker's
//! names and defaults, and the parent made real. Containers get links of their own under an
//! interface of the host, without bridge, translation or published ports.
//!
//! ```text
//!  parent=eth0      an interface of the host, as it is
//!  parent=eth0.50   a VLAN of it; made, and removed with the network, unless it is there
//!  no parent        a dummy: containers of the network reach each other and nobody else
//! ```

use crate::apply;
use crate::error::{Error, Result};
use crate::netlink::{self, Batch, Mode, Socket, Sublink};
use crate::plan::network_alias;
use model::NetworkId;
use model::error::Denied;
use model::network::{DriverKind, NetworkSpec};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// The host's interface.
const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";
const IPVLAN_FLAG: &str = "ipvlan_flag";
/// The highest VLAN (IEEE 802.1Q).
const VLAN_MAX: u16 = 4094;

/// A macvlan or ipvlan network's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SublinkOptions {
    /// Name of the parent, always.
    pub parent: String,
    /// How links under one parent see each other.
    pub mode: Mode,
    /// The parent is a dummy of ours.
    dummy: bool,
}

impl SublinkOptions {
    /// Reads a network's options; `None` for other drivers.
    pub(crate) fn read(
        driver: &DriverKind,
        options: &BTreeMap<String, String>,
        (id, internal): (&NetworkId, bool),
    ) -> Result<Option<Self>, Denied> {
        let option = |name: &str| options.get(name).map_or("", String::as_str);
        let mode = match driver {
            DriverKind::Macvlan => macvlan_mode(option(MACVLAN_MODE))?,
            DriverKind::Ipvlan => ipvlan_mode(option(IPVLAN_MODE), option(IPVLAN_FLAG))?,
            _ => return Ok(None),
        };
        let own = format!("dm-{}", id.short());
        let parent = match option(PARENT) {
            "" => own.clone(),
            // An internal network has no way out of the host.
            _ if internal => own.clone(),
            parent => parent.to_owned(),
        };
        crate::bridge::check_interface_name(&parent)?;
        if parent == "lo" {
            return Err(Denied::invalid("loopback interface is not a valid parent link"));
        }
        Ok(Some(Self { dummy: parent == own, parent, mode }))
    }

    /// The name under which the network shows its parent.
    pub(crate) fn shown(&self) -> (String, String) {
        (PARENT.to_owned(), self.parent.clone())
    }

    /// Whether links route by address alone (ipvlan in layer 3).
    pub(crate) fn routes_by_device(&self) -> bool {
        matches!(self.mode, Mode::Ipvlan { mode: 1 | 2, .. })
    }

    /// Whether links have a hardware address of their own.
    pub(crate) fn has_mac(&self) -> bool {
        matches!(self.mode, Mode::Macvlan(_))
    }

    /// Makes the parent and tries whether the kernel has such links at all.
    pub(crate) fn lay(&self, spec: &NetworkSpec) -> Result<()> {
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let made = self.lay_parent(&mut socket, spec)?;
        let tried = self.try_out(&mut socket, spec);
        if tried.is_err() && made {
            let _ = apply::delete_link(&mut socket, &self.parent);
        }
        tried
    }

    /// Returns whether it had to make one.
    fn lay_parent(&self, socket: &mut Socket, spec: &NetworkSpec) -> Result<bool> {
        if netlink::link_by_name(socket, &self.parent)?.is_some() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        if self.dummy {
            lay_dummy(socket, &self.parent)?;
        } else {
            let (device, vlan) = vlan(&self.parent)?;
            let parent = netlink::link_by_name(socket, device)?.ok_or_else(|| {
                Denied::invalid(format!("parent interface {device} was not found on the host"))
            })?;
            let mut batch = Batch::new();
            netlink::add_vlan(&mut batch, &self.parent, (parent.index, vlan));
            socket.transact(batch).map_err(|error| missing(error, "VLAN"))?;
        }
        netlink::set_alias(&mut batch, &self.parent, &network_alias(&spec.id));
        netlink::set_up(&mut batch, &self.parent);
        socket.transact(batch)?;
        Ok(true)
    }

    fn try_out(&self, socket: &mut Socket, spec: &NetworkSpec) -> Result<()> {
        let parent = self.parent_index(socket)?;
        let name = format!("try{}", spec.id.short().get(..8).unwrap_or_default());
        let mut batch = Batch::new();
        let link =
            Sublink { name: &name, parent, mode: self.mode, netns: None, mac: None, mtu: None };
        netlink::add_sublink(&mut batch, &link);
        socket.transact(batch).map_err(|error| missing(error, spec.driver.name()))?;
        apply::delete_link(socket, &name)
    }

    /// The parent's index now.
    pub(crate) fn parent_index(&self, socket: &mut Socket) -> Result<u32> {
        let link = netlink::link_by_name(socket, &self.parent)?;
        let found = link.map(|link| link.index);
        Ok(found.ok_or_else(|| {
            Denied::invalid(format!("parent interface {} was not found on the host", self.parent))
        })?)
    }

    /// Removes the parent if it was made for this network.
    pub(crate) fn remove(&self, id: &NetworkId) -> Result<()> {
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let link = netlink::link_by_name(&mut socket, &self.parent)?;
        match link.filter(|link| link.alias == network_alias(id)) {
            Some(_) => apply::delete_link(&mut socket, &self.parent),
            None => Ok(()),
        }
    }
}

/// A link that leads nowhere: a dummy, or a pair whose other end nobody uses.
fn lay_dummy(socket: &mut Socket, name: &str) -> Result<()> {
    let mut batch = Batch::new();
    netlink::add_dummy(&mut batch, name);
    match socket.transact(batch) {
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {}
        outcome => return outcome,
    }
    let other = name.replacen("dm-", "dp-", 1);
    let mut batch = Batch::new();
    netlink::add_pair(&mut batch, name, &other, [0x02, 0x42, 0, 0, 0, 0]);
    netlink::set_up(&mut batch, &other);
    socket.transact(batch)
}

fn macvlan_mode(text: &str) -> Result<Mode, Denied> {
    // linux/if_link.h: enum macvlan_mode.
    let mode = match text {
        "" | "bridge" => 4,
        "private" => 1,
        "vepa" => 2,
        "passthru" => 8,
        _ => return Err(Denied::invalid(format!("requested macvlan mode '{text}' is not valid"))),
    };
    Ok(Mode::Macvlan(mode))
}

fn ipvlan_mode(mode: &str, flag: &str) -> Result<Mode, Denied> {
    // linux/if_link.h: enum ipvlan_mode, IPVLAN_F_*.
    let mode = match mode {
        "" | "l2" => 0,
        "l3" => 1,
        "l3s" => 2,
        _ => return Err(Denied::invalid(format!("requested ipvlan mode '{mode}' is not valid"))),
    };
    let flags = match flag {
        "" | "bridge" => 0,
        "private" => 1,
        "vepa" => 2,
        _ => return Err(Denied::invalid(format!("requested ipvlan flag '{flag}' is not valid"))),
    };
    Ok(Mode::Ipvlan { mode, flags })
}

/// `eth0.50` is VLAN 50 of `eth0`.
fn vlan(parent: &str) -> Result<(&str, u16), Denied> {
    let missing = || {
        Denied::invalid(format!(
            "parent interface {parent} was not found on the host, and is not of the form \
             INTERFACE.VLAN"
        ))
    };
    let (device, vlan) = parent.rsplit_once('.').ok_or_else(missing)?;
    let vlan: u16 = vlan.parse().map_err(|_| missing())?;
    if device.is_empty() || !(1..=VLAN_MAX).contains(&vlan) {
        return Err(Denied::invalid(format!("vlan id must be between 1 and {VLAN_MAX}: {parent}")));
    }
    Ok((device, vlan))
}

/// A kernel that has no such links says so in few words.
fn missing(error: Error, what: &str) -> Error {
    match error.errno() {
        Some(Errno::OPNOTSUPP) => {
            Denied::unsupported(format!("this kernel has no support for {what} links")).into()
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: DriverKind, pairs: &[(&str, &str)]) -> Result<SublinkOptions, Denied> {
        let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let id = NetworkId::from_bytes([7; 32]);
        SublinkOptions::read(&driver, &options, (&id, false))
            .map(|it| it.expect("a sublink driver"))
    }

    #[test]
    fn options_have_dockers_names_and_defaults() {
        let plain = read(DriverKind::Macvlan, &[]).unwrap();
        assert_eq!((plain.parent.as_str(), plain.mode), ("dm-070707070707", Mode::Macvlan(4)));
        let l3 = read(DriverKind::Ipvlan, &[(PARENT, "eth0.7"), (IPVLAN_MODE, "l3s")]).unwrap();
        assert_eq!(l3.mode, Mode::Ipvlan { mode: 2, flags: 0 });
        assert!(l3.routes_by_device() && !l3.has_mac() && !l3.dummy);
        assert_eq!(vlan(&l3.parent).unwrap(), ("eth0", 7));
    }

    #[test]
    fn bad_values_are_named() {
        for (name, value) in [(MACVLAN_MODE, "magic"), (PARENT, "lo"), (PARENT, "a/b")] {
            assert!(read(DriverKind::Macvlan, &[(name, value)]).is_err(), "{name}={value}");
        }
        assert!(read(DriverKind::Ipvlan, &[(IPVLAN_MODE, "l4")]).is_err());
        for parent in ["eth0", "eth0.", "eth0.0", "eth0.4095", ".5", "eth0.x"] {
            assert!(vlan(parent).is_err(), "{parent}");
        }
    }
}
