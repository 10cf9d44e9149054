//! Exposed and published ports: `80/tcp` and `PortBindings`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::Denied;
use model::network::{PortBinding, PortSpec, Protocol};
use wire::docker::container::Port;
use wire::docker::endpoint::{self as wire_endpoint, PortMap};

/// `80`, `80/tcp`, `53/udp`.
pub(crate) fn spec(text: &str) -> Result<PortSpec, Denied> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, ""));
    let invalid = || Denied::invalid(format!("invalid port specification: {text:?}"));
    let protocol = Protocol::parse(protocol)?;
    Ok(PortSpec { port: number(port).filter(|port| *port > 0).ok_or_else(invalid)?, protocol })
}

/// `80/tcp`.
pub(crate) fn spec_text(spec: PortSpec) -> String {
    format!("{}/{}", spec.port, spec.protocol.name())
}

/// Digits only: `u16`'s own parser would take `+80`.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `PortBindings`. A port with an empty list is published on an ephemeral port.
pub(crate) fn bindings(map: PortMap) -> Result<Vec<PortBinding>, Denied> {
    let mut ports = Vec::new();
    for (container, hosts) in map {
        let container = spec(&container)?;
        let hosts = hosts.unwrap_or_default();
        if hosts.is_empty() {
            ports.push(PortBinding { container, host_ip: None, host_ports: None });
        }
        for host in hosts {
            ports.push(PortBinding {
                container,
                host_ip: host_ip(&host.host_ip)?,
                host_ports: host_ports(&host.host_port)?,
            });
        }
    }
    Ok(ports)
}

fn host_ip(text: &str) -> Result<Option<IpAddr>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Some).map_err(|_| Denied::invalid(format!("invalid IP address: {text}")))
}

fn host_ports(text: &str) -> Result<Option<(u16, u16)>, Denied> {
    let invalid = || Denied::invalid(format!("invalid port specification: {text:?}"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    if text.is_empty() {
        return Ok(None);
    }
    match (number(first), number(last)) {
        (Some(0), Some(0)) => Ok(None),
        (Some(first), Some(last)) if 0 < first && first <= last => Ok(Some((first, last))),
        _ => Err(invalid()),
    }
}

/// `PortBindings` as asked.
pub(crate) fn bindings_map(ports: &[PortBinding]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        map.entry(spec_text(port.container)).or_default().get_or_insert_default().push(
            wire_endpoint::PortBinding {
                host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                host_port: ports_text(port.host_ports),
            },
        );
    }
    map
}

fn ports_text(ports: Option<(u16, u16)>) -> String {
    match ports {
        None => String::new(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    }
}

/// `NetworkSettings.Ports`: exposed ports with `null`, published ones with each host address;
/// a port on every address shows once for IPv4 and once for IPv6.
pub(crate) fn in_force(exposed: &[PortSpec], published: &[PortBinding]) -> PortMap {
    let mut map: PortMap = exposed.iter().map(|port| (spec_text(*port), None)).collect();
    for port in published {
        let list = map.entry(spec_text(port.container)).or_default().get_or_insert_default();
        for host_ip in shown_addresses(port.host_ip) {
            let host_port = ports_text(port.host_ports);
            list.push(wire_endpoint::PortBinding { host_ip, host_port });
        }
    }
    map
}

/// The `Ports` of the list.
pub(crate) fn listed(exposed: &[PortSpec], published: &[PortBinding]) -> Vec<Port> {
    let mut ports: BTreeMap<(PortSpec, String), Port> = BTreeMap::new();
    for port in published {
        for ip in shown_addresses(port.host_ip) {
            let public_port = port.host_ports.map_or(0, |(first, _)| first);
            let shown = port_of(port.container, ip.clone(), public_port);
            ports.insert((port.container, format!("{ip} {public_port}")), shown);
        }
    }
    let known: BTreeSet<PortSpec> = published.iter().map(|port| port.container).collect();
    for spec in exposed.iter().filter(|spec| !known.contains(spec)) {
        ports.insert((*spec, String::new()), port_of(*spec, String::new(), 0));
    }
    ports.into_values().collect()
}

fn port_of(spec: PortSpec, ip: String, public_port: u16) -> Port {
    let protocol = spec.protocol.name().to_owned();
    Port { ip, private_port: spec.port, public_port, protocol }
}

fn shown_addresses(ip: Option<IpAddr>) -> Vec<String> {
    match ip {
        Some(ip) => vec![ip.to_string()],
        None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(host_ip: &str, host_port: &str) -> PortMap {
        let binding = wire_endpoint::PortBinding {
            host_ip: host_ip.to_owned(),
            host_port: host_port.to_owned(),
        };
        PortMap::from([("80/tcp".to_owned(), Some(vec![binding]))])
    }

    #[test]
    fn published_ports_round_trip() {
        for (ip, port) in [("", ""), ("127.0.0.1", "8080"), ("::1", "8000-8010")] {
            let ports = bindings(map(ip, port)).unwrap();
            assert_eq!(bindings_map(&ports), map(ip, port));
        }
        assert_eq!(bindings(map("", "0")).unwrap()[0].host_ports, None);
        assert_eq!(bindings(PortMap::from([("80".to_owned(), None)])).unwrap().len(), 1);
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "0", "x", "80/xyz", "65536", "+80", "80-90", "-1/tcp"] {
            assert!(spec(text).is_err(), "{text}");
        }
        for (ip, port) in [("", "x"), ("", "9-8"), ("", "1-"), ("", "65536"), ("a", "1")] {
            assert!(bindings(map(ip, port)).is_err(), "{ip} {port}");
        }
    }

    #[test]
    fn a_port_on_every_address_shows_twice() {
        let ports = bindings(map("", "8080")).unwrap();
        let exposed = [spec("80/tcp").unwrap(), spec("53/udp").unwrap()];
        let shown = in_force(&exposed, &ports);
        assert_eq!(shown["53/udp"], None);
        let ips: Vec<_> =
            shown["80/tcp"].as_ref().unwrap().iter().map(|b| b.host_ip.as_str()).collect();
        assert_eq!(ips, ["0.0.0.0", "::"]);
        let listed = listed(&exposed, &ports);
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0].private_port, 53);
        assert_eq!(listed[1].public_port, 8080);
    }
}
