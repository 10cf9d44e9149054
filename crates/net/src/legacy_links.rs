//! What legacy links (`--link`) open: a container's way to the exposed ports of another, on a
//! bridge whose containers do not reach each other otherwise (`icc=false`). Knows addresses and
//! ports; which containers are linked is the engine's business.

use crate::error::Result;
use crate::nft::{Element, linked};
use crate::service::Net;
use model::network::{DriverKind, Endpoint, PortSpec};
use std::net::IpAddr;

impl Net {
    /// Lets an endpoint reach these ports, in place of those it was linked to before. Nothing
    /// where containers reach each other anyway, and for addresses of other networks.
    pub fn link(&self, from: &Endpoint, to: &[(IpAddr, Vec<PortSpec>)]) -> Result<()> {
        let network = self.network(&from.network)?;
        let spec = &network.spec;
        let closed = spec.driver == DriverKind::Bridge && !network.options.icc && !spec.internal;
        let own = [from.ipv4, from.ipv6].into_iter().flatten();
        let elements: Vec<Element> = own
            .filter(|_| closed)
            .flat_map(|own| {
                let reachable = to.iter().filter(move |(addr, _)| own.contains(*addr));
                reachable.flat_map(move |(addr, ports)| {
                    ports.iter().map(move |port| linked(own.addr, *addr, *port))
                })
            })
            .collect();
        let before = self.replace_links(from, elements.clone());
        match self.firewall() {
            Some(firewall) if before != elements => {
                let gone: Vec<Element> =
                    before.into_iter().filter(|it| !elements.contains(it)).collect();
                firewall.change(elements, &gone)
            }
            _ => Ok(()),
        }
    }

    /// What links opened for an endpoint, which is forgotten.
    pub(crate) fn replace_links(&self, from: &Endpoint, elements: Vec<Element>) -> Vec<Element> {
        let links = &mut self.lock().links;
        let before = match elements.is_empty() {
            true => links.remove(&from.id),
            false => links.insert(from.id.clone(), elements),
        };
        before.unwrap_or_default()
    }
}
