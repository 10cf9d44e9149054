//! The environment that legacy links bring: what a container is told of those it is linked to.
//! Only on the default bridge, as with Docker; on other networks names are asked of the DNS.

use super::DEFAULT_NETWORK;
use crate::Result;
use crate::node::Node;
use crate::record::Definition;
use model::network::{Endpoint, NetworkMode, PortSpec};
use model::view::ContainerView;
use std::net::IpAddr;

/// Variables that are the other's own business.
const NOT_TOLD: [&str; 3] = ["HOME", "PATH", "HOSTNAME"];

/// Whom a legacy link (`container[:alias]`) leads to, and under which name.
pub fn parts(link: &str) -> (&str, &str) {
    let (other, alias) = link.split_once(':').unwrap_or((link, link));
    let other = other.strip_prefix('/').unwrap_or(other);
    (other, alias.rsplit('/').next().unwrap_or(alias))
}

/// `NAME=value` for every container that this one is linked to and that runs.
pub(super) fn environment(node: &Node, definition: &Definition) -> Vec<String> {
    if definition.spec.network != NetworkMode::Default
        && definition.spec.network != NetworkMode::Named(DEFAULT_NETWORK.to_owned())
    {
        return Vec::new();
    }
    let links = definition.draft.host.links.iter();
    let of = |link: &String| {
        let (other, alias) = parts(link);
        let view = node.registry.find(other).ok()?.view();
        let address = view.endpoints.iter().find_map(|endpoint| endpoint.ipv4)?.addr;
        Some(told(&view, address, definition.name.as_str(), alias))
    };
    let name = |entry: &str| entry.split('=').next().map(str::to_owned);
    // What the user or the image says of a variable of that name counts.
    let known: Vec<_> = definition.spec.env.iter().map(|entry| name(entry)).collect();
    links.filter_map(of).flatten().filter(|entry| !known.contains(&name(entry))).collect()
}

/// Opens the ways to those that a container is linked to, where its default network keeps
/// containers apart, and closes those that are no longer.
pub(super) fn open(node: &Node, endpoints: &[Endpoint], links: &[String]) -> Result<()> {
    let on_default = |it: &&Endpoint| it.network_name == DEFAULT_NETWORK && it.interface.is_some();
    let Some(own) = endpoints.iter().find(on_default) else { return Ok(()) };
    let reached = |link: &String| {
        let view = node.registry.find(parts(link).0).ok()?.view();
        let there = view.endpoints.iter().find(|it| it.network == own.network)?;
        Some((there.ipv4?.addr, view.spec.exposed_ports.clone()))
    };
    let reached: Vec<_> = links.iter().filter_map(reached).collect();
    Ok(node.net.link(own, &reached)?)
}

/// The same for every container that runs, once all of them are known again.
pub(crate) fn restore(node: &Node) -> Result<()> {
    for handle in node.registry.all() {
        let view = handle.view();
        open(node, &view.endpoints, &view.draft.host.links)?;
    }
    Ok(())
}

fn told(view: &ContainerView, address: IpAddr, own_name: &str, alias: &str) -> Vec<String> {
    let prefix = alias.replace('-', "_").to_uppercase();
    let mut ports: Vec<PortSpec> = view.spec.exposed_ports.to_vec();
    ports.sort_by_key(|port| (port.port, port.protocol.name()));
    let url = |port: &PortSpec| format!("{}://{address}:{}", port.protocol.name(), port.port);
    let mut out: Vec<String> =
        ports.first().map(|port| format!("{prefix}_PORT={}", url(port))).into_iter().collect();
    for port in &ports {
        let (number, protocol) = (port.port, port.protocol.name());
        let name = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        out.push(format!("{name}={}", url(port)));
        out.push(format!("{name}_ADDR={address}"));
        out.push(format!("{name}_PORT={number}"));
        out.push(format!("{name}_PROTO={protocol}"));
    }
    out.push(format!("{prefix}_NAME=/{own_name}/{alias}"));
    let theirs = view.spec.env.iter().filter_map(|entry| entry.split_once('='));
    let theirs = theirs.filter(|(name, _)| !NOT_TOLD.contains(name));
    out.extend(theirs.map(|(name, value)| format!("{prefix}_ENV_{name}={value}")));
    out
}
