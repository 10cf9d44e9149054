//! Published ports as they are named when they are to be taken back: by the host's side. Pure.

use crate::error::Denied;
use crate::network::{PortBinding, Protocol};
use std::fmt;
use std::net::IpAddr;

/// Ports of the host, on one address or on whichever they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPorts {
    /// The host's address; `None` for any.
    pub ip: Option<IpAddr>,
    /// First and last port.
    pub ports: (u16, u16),
    /// Their protocol.
    pub protocol: Protocol,
    /// The container's port behind them; `None` for any.
    pub container: Option<u16>,
}

impl HostPorts {
    /// Reads `[address:]port[-port][:container][/protocol]`: what `-p` takes, where the container's
    /// port may be left out.
    ///
    /// # Errors
    /// Invalid for anything else.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        let invalid = || {
            Denied::invalid(format!(
                "invalid published port {text:?}: it is \
                 [address:]port[-port][:container][/protocol]"
            ))
        };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
        let protocol = Protocol::parse(protocol)?;
        let (ip, rest) = match ports.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((ip, rest)) => (Some(ip), rest),
            None => match ports.split_once(':') {
                Some((ip, rest)) if ip.parse::<IpAddr>().is_ok() => (Some(ip), rest),
                _ => (None, ports),
            },
        };
        let ip = ip.map(str::parse).transpose().map_err(|_| invalid())?;
        let (ports, container) = match rest.split_once(':') {
            Some((ports, container)) => (ports, Some(number(container).ok_or_else(invalid)?)),
            None => (rest, None),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                Ok(Self { ip, ports: (first, last), protocol, container })
            }
            _ => Err(invalid()),
        }
    }

    fn names(&self, binding: &PortBinding) -> bool {
        let (first, last) = self.ports;
        let inside = |(low, high): (u16, u16)| first <= low && high <= last;
        let any = |ip: IpAddr| ip.is_unspecified();
        let here = match (self.ip, binding.host_ip) {
            (None, _) => true,
            (Some(ip), None) => any(ip),
            (Some(ip), Some(own)) => ip == own,
        };
        here && binding.container.protocol == self.protocol
            && self.container.is_none_or(|port| port == binding.container.port)
            && binding.host_ports.is_some_and(inside)
    }
}

/// Digits only, and not zero.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

impl fmt::Display for HostPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip @ IpAddr::V6(_)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        let (first, last) = self.ports;
        write!(f, "{first}")?;
        if first != last {
            write!(f, "-{last}")?;
        }
        if let Some(container) = self.container {
            write!(f, ":{container}")?;
        }
        write!(f, "/{}", self.protocol.name())
    }
}

/// Takes out of what was asked for every port that `what` names, in force or not, whole: a port
/// published on every address goes from all of them. Returns the bindings in force that go with
/// them.
///
/// # Errors
/// The first of `what` that names nothing.
pub fn take_out(
    asked: &mut Vec<PortBinding>,
    in_force: &[PortBinding],
    what: &[HostPorts],
) -> Result<Vec<PortBinding>, HostPorts> {
    let mut gone: Vec<PortBinding> = Vec::new();
    for named in what {
        let seen = |port: &PortBinding| named.names(port);
        let before = (asked.len(), gone.len());
        // In force: the port that was chosen, on every address it was chosen for.
        for port in in_force.iter().filter(|port| seen(port)) {
            let Some(at) = owner(asked, port).filter(|_| !gone.contains(port)) else { continue };
            let ask = asked.remove(at);
            let with =
                |other: &&PortBinding| other.host_ports == port.host_ports && is_of(other, &ask);
            gone.extend(in_force.iter().filter(with).cloned());
        }
        // Without a port of the host: what was asked for, unless one was chosen for it.
        let chosen =
            |ask: &PortBinding| in_force.iter().any(|it| it.host_ports.is_some() && is_of(it, ask));
        let goes = |ask: &PortBinding| seen(ask) && !chosen(ask);
        let (leaving, staying): (Vec<_>, Vec<_>) = asked.drain(..).partition(goes);
        let direct = in_force.iter().filter(|port| {
            let of = |asks: &[PortBinding]| asks.iter().any(|ask| is_of(port, ask));
            port.host_ports.is_none() && of(&leaving) && !of(&staying)
        });
        gone.extend(direct.cloned());
        *asked = staying;
        if before == (asked.len(), gone.len()) && !gone.iter().any(seen) {
            return Err(named.clone());
        }
    }
    Ok(gone)
}

/// The request that a binding in force came from: the one that says most.
fn owner(asked: &[PortBinding], binding: &PortBinding) -> Option<usize> {
    let candidates = asked.iter().enumerate().filter(|(_, ask)| is_of(binding, ask));
    let most = candidates.max_by_key(|(_, ask)| (ask.host_ports.is_some(), ask.host_ip.is_some()));
    most.map(|(at, _)| at)
}

/// Whether a binding in force may have come from a request.
fn is_of(binding: &PortBinding, ask: &PortBinding) -> bool {
    let port = match (ask.host_ports, binding.host_ports) {
        (Some((first, last)), Some((port, _))) => (first..=last).contains(&port),
        _ => true,
    };
    port && binding.container == ask.container
        && ask.host_ip.is_none_or(|ip| Some(ip) == binding.host_ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::PortSpec;

    fn named(text: &str) -> HostPorts {
        HostPorts::parse(text).unwrap()
    }

    fn binding(ip: &str, host_ports: Option<(u16, u16)>, port: u16) -> PortBinding {
        let container = PortSpec { port, protocol: Protocol::Tcp };
        PortBinding { container, host_ip: ip.parse().ok(), host_ports }
    }

    #[test]
    fn every_form_is_read_and_shown() {
        for (text, shown) in [
            ("8080", "8080/tcp"),
            ("8080-8090/udp", "8080-8090/udp"),
            ("8080:80", "8080:80/tcp"),
            ("127.0.0.1:8080", "127.0.0.1:8080/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("[::1]:53/udp", "[::1]:53/udp"),
        ] {
            assert_eq!(named(text).to_string(), shown, "{text}");
        }
        for text in ["", "0", "x", "80-", "90-80", "+80", "65536", "1.2.3:80", "80:", "80/xyz"] {
            assert!(HostPorts::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_port_goes_from_every_address_it_was_published_on() {
        let mut asked = vec![
            binding("", Some((8080, 8080)), 80),
            binding("", None, 80),
            binding("127.0.0.1", Some((9000, 9010)), 90),
        ];
        let both = |port| {
            let on = |ip: &str| binding(ip, Some((port, port)), 80);
            [on("0.0.0.0"), on("::")]
        };
        let mut in_force = [both(8080), both(32768)].concat();
        in_force.push(binding("127.0.0.1", Some((9001, 9001)), 90));
        let gone = take_out(&mut asked, &in_force, &[named("8080")]).unwrap();
        assert_eq!(gone, both(8080));
        assert_eq!(asked.len(), 2);
        // The one that was chosen, named by what was chosen.
        let gone = take_out(&mut asked, &in_force[2..], &[named("0.0.0.0:32768:80")]).unwrap();
        assert_eq!(gone, both(32768));
        let unknown = take_out(&mut asked, &in_force[4..], &[named("8080")]).unwrap_err();
        assert_eq!(unknown, named("8080"));
        assert!(take_out(&mut asked, &in_force[4..], &[named("9001:91")]).is_err());
        assert!(take_out(&mut asked, &in_force[4..], &[named("10.0.0.1:9001")]).is_err());
        let gone = take_out(&mut asked, &in_force[4..], &[named("9001-9005:90")]).unwrap();
        assert_eq!(gone, in_force[4..]);
        assert!(asked.is_empty());
        let mut range = vec![binding("", Some((9000, 9010)), 90)];
        assert!(take_out(&mut range, &[], &[named("9005")]).is_err(), "a part of what was asked");
        assert!(take_out(&mut range, &[], &[named("9000-9010")]).is_ok() && range.is_empty());
    }

    #[test]
    fn where_a_network_is_routed_to_there_is_no_port_of_the_host() {
        let mut asked =
            vec![binding("", Some((8080, 8080)), 80), binding("", Some((8081, 8081)), 80)];
        let in_force = [binding("172.18.0.2", None, 80)];
        assert_eq!(
            take_out(&mut asked, &in_force, &[named("8080")]),
            Ok(Vec::new()),
            "one needs it"
        );
        assert_eq!(take_out(&mut asked, &in_force, &[named("8081")]), Ok(in_force.to_vec()));
        assert!(asked.is_empty());
    }

    #[test]
    fn a_container_that_does_not_run_forgets_what_it_was_to_publish() {
        let mut asked = vec![binding("", Some((8080, 8080)), 80), binding("", None, 80)];
        assert_eq!(take_out(&mut asked, &[], &[named("8080")]), Ok(Vec::new()));
        assert_eq!(asked, [binding("", None, 80)]);
        assert!(take_out(&mut asked, &[], &[named("8080")]).is_err());
    }
}
