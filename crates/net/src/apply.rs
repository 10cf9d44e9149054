//! Carries plans out: as few netlink messages as possible, in order, undone on failure. Decides
//! nothing.

use crate::error::Result;
use crate::netlink::{self, Batch, BridgePort, Socket, Sublink, Veth};
use crate::plan::NetOp;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// Executes acts through a socket of the namespace they are for.
#[derive(Debug)]
pub(crate) struct Executor<'a> {
    socket: &'a mut Socket,
    netns: Option<BorrowedFd<'a>>,
    indices: BTreeMap<String, u32>,
    /// Other ends of links that were moved away, by their new names.
    far: BTreeMap<String, u32>,
    /// Links this executor asked the kernel to create.
    created: Vec<String>,
}

impl<'a> Executor<'a> {
    /// An executor; `netns` is where the far ends of pairs go.
    pub(crate) fn new(socket: &'a mut Socket, netns: Option<BorrowedFd<'a>>) -> Self {
        Self { socket, netns, indices: BTreeMap::new(), far: BTreeMap::new(), created: Vec::new() }
    }

    /// Does everything, or nothing.
    pub(crate) fn apply(&mut self, ops: &[NetOp]) -> Result<()> {
        let mut batch = Batch::new();
        let mut outcome = Ok(());
        for op in ops {
            outcome = self.step(op, &mut batch);
            if outcome.is_err() {
                break;
            }
        }
        let outcome = outcome.and_then(|()| self.flush(&mut batch));
        if outcome.is_err() {
            self.undo();
        }
        outcome
    }

    /// Deletes what was created, latest first; everything else goes with it.
    pub(crate) fn undo(&mut self) {
        for link in std::mem::take(&mut self.created).into_iter().rev() {
            if let Err(error) = delete_link(self.socket, &link) {
                tracing::warn!(%error, link, "cannot remove a link after a failure");
            }
        }
    }

    fn step(&mut self, op: &NetOp, batch: &mut Batch) -> Result<()> {
        match op {
            NetOp::Bridge { name, mac, mtu } => {
                self.flush(batch)?;
                netlink::add_bridge(batch, name, *mac, *mtu);
                self.create(name, batch)?;
            }
            NetOp::Veth { host, peer, mac, mtu } => {
                self.flush(batch)?;
                if let Some(netns) = self.netns {
                    let host_mac = crate::plan::host_end_mac(host);
                    let (mac, mtu) = (*mac, *mtu);
                    netlink::add_veth(batch, &Veth { host, host_mac, peer, netns, mac, mtu });
                    self.create(host, batch)?;
                }
            }
            NetOp::Alias { link, alias } => netlink::set_alias(batch, link, alias),
            NetOp::Set(sysctl) => {
                self.flush(batch)?;
                sysctl.apply()?;
            }
            NetOp::Address { link, cidr } => {
                let index = self.index(link, batch)?;
                netlink::add_address(batch, index, *cidr);
            }
            NetOp::Up { link } => netlink::set_up(batch, link),
            NetOp::Port { link, bridge, hairpin, isolated, ipv6, alias } => {
                let bridge = self.index(bridge, batch)?;
                let (hairpin, isolated, ipv6) = (*hairpin, *isolated, *ipv6);
                let port = BridgePort { link, bridge, hairpin, isolated, ipv6 };
                netlink::enslave(batch, &port, alias);
            }
            NetOp::Settle { link } => self.settle_near(link, batch)?,
            NetOp::SettleFar { peer } => self.settle_far(peer, batch)?,
            NetOp::Sublink { parent, peer, mode, mac, mtu } => {
                let parent = self.index(parent, batch)?;
                let netns = self.netns;
                let (mode, mac, mtu) = (*mode, *mac, *mtu);
                let link = Sublink { name: peer, parent, mode, netns, mac, mtu };
                netlink::add_sublink(batch, &link);
                self.flush(batch)?;
            }
            NetOp::Move { link, peer } => {
                let index = self.index(link, batch)?;
                if let Some(found) = netlink::link_by_index(self.socket, index)?
                    && found.kind == "veth"
                {
                    self.far.insert(peer.clone(), found.lower);
                }
                if let Some(netns) = self.netns {
                    netlink::move_link(batch, index, (peer, netns));
                }
            }
            NetOp::Mac { link, mac } => netlink::set_mac(batch, link, *mac),
            NetOp::Route { link, to, via } => {
                let index = self.index(link, batch)?;
                netlink::add_route(batch, index, (*to, *via));
            }
            NetOp::DeviceRoute { link, v4 } => {
                let index = self.index(link, batch)?;
                netlink::add_device_route(batch, index, *v4);
            }
            NetOp::DefaultRoute { link, gateway } => {
                let index = self.index(link, batch)?;
                netlink::add_default_route(batch, index, *gateway);
            }
        }
        Ok(())
    }

    /// Asking for a link's state makes the kernel (since 6.8) finish its pending change first.
    fn settle_near(&mut self, link: &str, batch: &mut Batch) -> Result<()> {
        self.flush(batch)?;
        netlink::link_by_name(self.socket, link).map(drop)
    }

    /// Lets the kernel finish the change of the other end of a pair, and then of its bridge.
    fn settle_far(&mut self, peer: &str, batch: &mut Batch) -> Result<()> {
        self.flush(batch)?;
        let Some(far) = self.far.get(peer) else { return Ok(()) };
        let end = netlink::link_by_index(self.socket, *far)?;
        match end.map(|end| end.master) {
            None | Some(0) => Ok(()),
            Some(bridge) => netlink::link_by_index(self.socket, bridge).map(drop),
        }
    }

    /// Sends a creation alone: a link that exists already is not ours to undo.
    fn create(&mut self, link: &str, batch: &mut Batch) -> Result<()> {
        self.flush(batch)?;
        sys::failpoint::hit("net.link.made");
        self.created.push(link.to_owned());
        Ok(())
    }

    fn flush(&mut self, batch: &mut Batch) -> Result<()> {
        self.socket.transact(std::mem::take(batch))
    }

    fn index(&mut self, link: &str, batch: &mut Batch) -> Result<u32> {
        if let Some(index) = self.indices.get(link) {
            return Ok(*index);
        }
        self.flush(batch)?;
        let found = netlink::link_by_name(self.socket, link)?;
        let index = found.map(|l| l.index).ok_or_else(|| crate::error::Error::Kernel {
            act: format!("find link {link}"),
            errno: Errno::NODEV,
            extack: None,
        })?;
        self.indices.insert(link.to_owned(), index);
        Ok(index)
    }
}

/// Deletes a link; fine when it is gone.
pub(crate) fn delete_link(socket: &mut Socket, name: &str) -> Result<()> {
    let mut batch = Batch::new();
    netlink::delete_link(&mut batch, name);
    match socket.transact(batch) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        other => other,
    }
}
