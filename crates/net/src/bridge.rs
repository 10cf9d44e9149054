//! The bridge driver's view of a network: its options read once, with Docker's names and
//! defaults. Pure.

use crate::nft::{Gateway, Zone};
use crate::options::{Options, PublishPolicy};
use model::error::Denied;
use model::network::NetworkSpec;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Name of the interface.
pub(crate) const NAME: &str = "com.docker.network.bridge.name";
/// Containers reach each other.
pub(crate) const ICC: &str = "com.docker.network.bridge.enable_icc";
/// What leaves gets the host's address.
pub(crate) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// Host address for ports published without one.
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Marks the predefined network `bridge`.
pub(crate) const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
/// MTU of the bridge and its interfaces.
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
/// Addresses of the family, where the request says nothing (in `default-network-opts`, too).
pub(crate) const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
/// The same for IPv6.
pub(crate) const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
const GATEWAY_MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// The bridge gets no IPv4 address.
const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
/// What the names of interfaces in containers begin with.
const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
/// Who reaches published ports (ours).
pub(crate) const PUBLISH_POLICY: &str = "estiba.publish_policy";
/// Links speak for their own addresses alone (ours).
const ANTI_SPOOFING: &str = "estiba.anti_spoofing";
/// How often neighbours are told of a new container's addresses; `0` for not at all.
const ANNOUNCE_COUNT: &str = "com.docker.network.advertise_addr_nmsgs";
/// How long is waited between two times, in milliseconds.
const ANNOUNCE_INTERVAL: &str = "com.docker.network.advertise_addr_ms";
/// The address that what leaves gets, where it is not the leaving interface's.
const SOURCES: [&str; 2] = ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"];
/// Interfaces, with colons between, from behind which containers are reached as if they were
/// routed to.
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
/// The longest prefix of an interface's name: room for three digits.
const PREFIX_MAX: usize = 12;
/// A link of a smaller MTU has no IPv6 (RFC 8200 5), and refuses to be asked about it.
const IPV6_MTU_MIN: u32 = 1280;
/// The longest interface name, in bytes (`IFNAMSIZ` less its NUL).
const INTERFACE_MAX: usize = 15;

/// A bridge network's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    /// The predefined network: no DNS, no static addresses.
    pub is_default: bool,
    /// Containers reach each other.
    pub icc: bool,
    /// What leaves gets the host's address.
    pub masquerade: bool,
    /// Bytes.
    pub mtu: u32,
    /// Host address for ports published without one.
    pub host_binding: IpAddr,
    /// For IPv4 and IPv6.
    pub gateways: [Gateway; 2],
    /// The bridge gets no IPv4 address.
    pub inhibit_ipv4: bool,
    /// What the names of interfaces in containers begin with.
    pub interface_prefix: String,
    /// Who reaches published ports.
    pub publish_policy: PublishPolicy,
    /// Links speak for their own addresses alone.
    pub anti_spoofing: bool,
    /// Neighbours are told of addresses whose hardware address cannot be foreseen.
    pub announce: bool,
    /// The addresses that what leaves gets, of IPv4 and IPv6; the leaving interface's if none.
    pub sources: [Option<IpAddr>; 2],
    /// Interfaces from behind which containers' own addresses are reached.
    pub trusted: Vec<String>,
}

impl BridgeOptions {
    /// Reads a network's options over the daemon's.
    pub(crate) fn read(
        options: &BTreeMap<String, String>,
        daemon: &Options,
    ) -> Result<Self, Denied> {
        let mut gateways = [Gateway::Nat; 2];
        for (name, slot) in GATEWAY_MODES.into_iter().zip(&mut gateways) {
            *slot = gateway(name, options.get(name).map_or("", String::as_str))?;
        }
        Ok(Self {
            is_default: flag(options, DEFAULT_BRIDGE, false)?,
            icc: flag(options, ICC, true)?,
            masquerade: flag(options, MASQUERADE, true)?,
            mtu: parse(options, MTU, daemon.mtu)?,
            host_binding: parse(options, HOST_BINDING, daemon.host_binding)?,
            gateways,
            inhibit_ipv4: flag(options, INHIBIT_IPV4, false)?,
            interface_prefix: prefix(options)?,
            publish_policy: policy(options, daemon)?,
            anti_spoofing: flag(options, ANTI_SPOOFING, daemon.anti_spoofing)?,
            announce: announce(options)?,
            sources: [source(options, 0)?, source(options, 1)?],
            trusted: trusted(options)?,
        })
    }

    /// Refuses what contradicts the rest of a network.
    pub(crate) fn check(&self, internal: bool, ipv6: bool) -> Result<(), Denied> {
        if ipv6 && !self.has_room_for_ipv6() {
            return Err(Denied::invalid(format!(
                "invalid value \"{}\" for option {MTU}: IPv6 needs at least {IPV6_MTU_MIN}",
                self.mtu
            )));
        }
        if !internal && self.gateways.contains(&Gateway::Isolated) {
            return Err(Denied::invalid(
                "gateway mode 'isolated' can only be used for an internal network",
            ));
        }
        Ok(())
    }

    /// Whether links of the network can have IPv6.
    pub(crate) fn has_room_for_ipv6(&self) -> bool {
        self.mtu >= IPV6_MTU_MIN
    }

    /// Whether the host has an address in the network, for a family.
    pub(crate) fn has_gateway(&self, v4: bool) -> bool {
        let [four, six] = self.gateways;
        match v4 {
            true => four != Gateway::Isolated && !self.inhibit_ipv4,
            false => six != Gateway::Isolated,
        }
    }

    /// How containers and the outside reach each other over a family.
    pub(crate) fn gateway(&self, v4: bool) -> Gateway {
        let [four, six] = self.gateways;
        if v4 { four } else { six }
    }

    /// What the firewall has to know of a network.
    pub(crate) fn zone(&self, spec: &NetworkSpec) -> Option<Zone> {
        Some(Zone {
            bridge: spec.bridge.clone()?,
            internal: spec.internal,
            masquerade: self.masquerade,
            icc: self.icc,
            gateways: self.gateways,
            sources: self.sources,
        })
    }

    /// Whether no address of a family is kept for the host, which never has one there.
    pub(crate) fn spares_gateway(&self, v4: bool, internal: bool) -> bool {
        self.gateway(v4) == Gateway::Isolated || v4 && internal && self.inhibit_ipv4
    }
}

/// Docker repeats itself as often as it is told to; the kernel says it once, when the interface
/// comes up.
fn announce(options: &BTreeMap<String, String>) -> Result<bool, Denied> {
    let number = |name: &str, default: i64, wanted: &str| match options.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            Denied::invalid(format!("value for option {name} {text:?} must be {wanted}"))
        }),
    };
    let count = number(ANNOUNCE_COUNT, 3, "an integer")?;
    if !(0..=3).contains(&count) {
        return Err(Denied::invalid(format!("{ANNOUNCE_COUNT} must be in the range 0 to 3")));
    }
    if !(100..=2000).contains(&number(ANNOUNCE_INTERVAL, 1000, "integer milliseconds")?) {
        let message = format!("{ANNOUNCE_INTERVAL} must be in the range 100 to 2000");
        return Err(Denied::invalid(message));
    }
    Ok(count > 0)
}

fn source(options: &BTreeMap<String, String>, family: usize) -> Result<Option<IpAddr>, Denied> {
    let name = SOURCES[family];
    let Some(text) = options.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let address = text.parse().ok().filter(|it: &IpAddr| it.is_ipv4() == (family == 0));
    let family = if family == 0 { "IPv4" } else { "IPv6" };
    let invalid = || {
        Denied::invalid(format!("invalid value {text:?} for option {name}: no {family} address"))
    };
    address.map(Some).ok_or_else(invalid)
}

fn trusted(options: &BTreeMap<String, String>) -> Result<Vec<String>, Denied> {
    let text = options.get(TRUSTED).map_or("", String::as_str);
    let names = text.split(':').filter(|name| !name.is_empty());
    names.map(|name| check_interface_name(name).map(|()| name.to_owned())).collect()
}

fn gateway(name: &str, mode: &str) -> Result<Gateway, Denied> {
    match mode {
        "" | "nat" => Ok(Gateway::Nat),
        "nat-unprotected" => Ok(Gateway::Unprotected),
        "routed" => Ok(Gateway::Routed),
        "isolated" => Ok(Gateway::Isolated),
        _ => Err(Denied::invalid(format!("unknown gateway mode {mode} for option {name}"))),
    }
}

fn policy(options: &BTreeMap<String, String>, daemon: &Options) -> Result<PublishPolicy, Denied> {
    match options.get(PUBLISH_POLICY).map(String::as_str) {
        None | Some("") => Ok(daemon.publish_policy),
        Some(text) => PublishPolicy::parse(text).ok_or_else(|| {
            Denied::invalid(format!(
                "invalid value {text:?} for option {PUBLISH_POLICY}: it is one of docker, \
                 host-firewall, loopback"
            ))
        }),
    }
}

fn prefix(options: &BTreeMap<String, String>) -> Result<String, Denied> {
    let prefix = options.get(INTERFACE_PREFIX).map_or("", String::as_str);
    if prefix.is_empty() {
        return Ok("eth".to_owned());
    }
    check_interface_name(prefix)?;
    if prefix.len() > PREFIX_MAX || prefix == "lo" {
        let message = format!("invalid value {prefix:?} for option {INTERFACE_PREFIX}");
        return Err(Denied::invalid(message));
    }
    Ok(prefix.to_owned())
}

fn parse<T: std::str::FromStr>(
    options: &BTreeMap<String, String>,
    name: &str,
    default: T,
) -> Result<T, Denied> {
    match options.get(name).map(String::as_str) {
        None | Some("") => Ok(default),
        Some(value) => value
            .parse()
            .map_err(|_| Denied::invalid(format!("invalid value {value:?} for option {name}"))),
    }
}

/// What an option says, if it says anything.
pub(crate) fn asked(
    options: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<bool>, Denied> {
    match options.get(name).map(String::as_str) {
        None | Some("") => Ok(None),
        Some(_) => flag(options, name, false).map(Some),
    }
}

/// Go's `strconv.ParseBool`, which Docker reads options with.
fn flag(options: &BTreeMap<String, String>, name: &str, default: bool) -> Result<bool, Denied> {
    match options.get(name).map(String::as_str) {
        None | Some("") => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(Denied::invalid(format!("invalid value {value:?} for option {name}"))),
    }
}

/// Refuses what cannot be an interface name (`dev_valid_name` in the kernel).
pub(crate) fn check_interface_name(name: &str) -> Result<(), Denied> {
    let fine = !name.is_empty()
        && name.len() <= INTERFACE_MAX
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':' && b != b'%');
    fine.then_some(()).ok_or_else(|| Denied::invalid(format!("invalid interface name {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<BridgeOptions, Denied> {
        let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        BridgeOptions::read(&options, &Options::default())
    }

    #[test]
    fn options_have_dockers_names_and_defaults() {
        let plain = read(&[]).unwrap();
        assert!(plain.icc && plain.masquerade && !plain.is_default);
        assert_eq!((plain.mtu, plain.host_binding.to_string().as_str()), (1500, "0.0.0.0"));
        let set = read(&[(ICC, "false"), (MTU, "9000"), (HOST_BINDING, "127.0.0.1")]).unwrap();
        assert!(!set.icc);
        assert_eq!((set.mtu, set.host_binding.to_string().as_str()), (9000, "127.0.0.1"));
    }

    #[test]
    fn bad_values_are_named() {
        for (name, value) in [
            (ICC, "maybe"),
            (MTU, "-1"),
            (MTU, "big"),
            (HOST_BINDING, "localhost"),
            (PUBLISH_POLICY, "everyone"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().message;
            assert!(message.contains(name) && message.contains(value), "{message}");
        }
        for (name, value, why) in [
            (ANNOUNCE_COUNT, "4", "must be in the range 0 to 3"),
            (ANNOUNCE_COUNT, "-1", "must be in the range 0 to 3"),
            (ANNOUNCE_COUNT, "nonsense", "\"nonsense\" must be an integer"),
            (ANNOUNCE_INTERVAL, "99", "must be in the range 100 to 2000"),
            (ANNOUNCE_INTERVAL, "2001", "must be in the range 100 to 2000"),
            (ANNOUNCE_INTERVAL, "nonsense", "\"nonsense\" must be integer milliseconds"),
            (SOURCES[0], "fd00::1", "no IPv4 address"),
            (SOURCES[1], "10.0.0.1", "no IPv6 address"),
            (TRUSTED, "eth0:a b", "invalid interface name"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().message;
            assert!(message.contains(why), "{message}");
        }
        assert!(read(&[(GATEWAY_MODES[0], "magic")]).is_err());
        assert!(read(&[(INTERFACE_PREFIX, "much-too-long")]).is_err());
        let isolated = read(&[(GATEWAY_MODES[0], "isolated")]).unwrap();
        assert!(isolated.check(true, true).is_ok() && isolated.check(false, true).is_err());
        let small = read(&[(MTU, "1279")]).unwrap();
        assert!(small.check(false, false).is_ok() && small.check(false, true).is_err());
    }

    #[test]
    fn interface_names_are_the_kernels() {
        for good in ["docker0", "br-0123456789ab", "a.b", "x"] {
            assert!(check_interface_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "sixteen-bytes-xx", "a b", "a\n", "a:1", "é", "br%d"] {
            assert!(check_interface_name(bad).is_err(), "{bad:?}");
        }
    }
}
