//! Commands about networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use wire::docker::endpoint::{EndpointIpamConfig, EndpointSettings};
use wire::docker::network::{
    ConfigReference, Ipam, IpamConfig, Network, NetworkConnectBody, NetworkCreateBody,
    NetworkDisconnectBody,
};

use super::{inspect as inspection, list_format, prune as pruning, warn};
use crate::command::Outcome;
use crate::create::environment::pairs;
use crate::failure::Failure;
use crate::format::{self, Row, Table, short_id};
use crate::invocation::Invocation;
use crate::terminal::{complain, print};

const TABLE: Table = Table {
    default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    titles: &[
        ("CreatedAt", "CREATED AT"),
        ("Driver", "DRIVER"),
        ("ID", "NETWORK ID"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("Name", "NAME"),
        ("Scope", "SCOPE"),
    ],
    type_name: "*network.networkContext",
};

/// `network ls`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let quiet = matches.bool("quiet");
    let format = list_format(invocation, "networksFormat");
    let format = if quiet { "{{.ID}}" } else { format };
    let mut networks = invocation.client()?.network_list(&matches.filters("filter")).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let whole = matches.bool("no-trunc");
    format::list(&TABLE, format, networks.iter().map(|network| row(network, whole)).collect())
}

fn row(network: &Network, whole: bool) -> Row {
    let labels: Vec<String> =
        network.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Row::default()
        .with("CreatedAt", created(&network.created))
        .with("Driver", network.driver.clone())
        .with("ID", if whole { &network.id } else { short_id(&network.id) })
        .with("IPv4", network.enable_ipv4.to_string())
        .with("IPv6", network.enable_ipv6.to_string())
        .with("Internal", network.internal.to_string())
        .with("Labels", labels.join(","))
        .with("Name", network.name.clone())
        .with("Scope", network.scope.clone())
        .method("Label", network.labels.clone())
}

/// An RFC 3339 text in UTC as Go prints a point in time.
fn created(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}

/// Ports of every container; `Who` and `Rule` with `--exposure`.
const PORTS: Table = Table {
    default: "{{.Container}}\t{{.Port}}\t{{.At}}",
    titles: &[
        ("At", "AT"),
        ("Container", "CONTAINER"),
        ("Network", "NETWORK"),
        ("Port", "PORT"),
        ("Rule", "RULE"),
        ("Who", "WHO"),
    ],
    type_name: "*network.exposureContext",
};

/// `ports`: published ports of every container, and with `--exposure` who can reach them.
pub(crate) async fn ports(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let given = matches.text("format");
    let format = match given {
        "" | "table" if matches.bool("exposure") => {
            "table {{.Container}}\t{{.Port}}\t{{.At}}\t{{.Who}}\t{{.Rule}}"
        }
        given => given,
    };
    let mut ways = invocation.client()?.exposure().await?;
    ways.sort_by(|a, b| a.container.cmp(&b.container));
    let row = |way: wire::docker::network::Exposure| {
        let port = if way.port.is_empty() { "all".to_owned() } else { way.port };
        Row::default()
            .with("At", way.at)
            .with("Container", way.container)
            .with("Network", way.network)
            .with("Port", port)
            .with("Rule", way.rule)
            .with("Who", way.who)
    };
    format::list(&PORTS, format, ways.into_iter().map(row).collect())
}

/// `network create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let config_from = matches.text("config-from");
    let body = NetworkCreateBody {
        name: invocation.arg(0).to_owned(),
        driver: matches.string("driver").unwrap_or("bridge").to_owned(),
        scope: matches.text("scope").to_owned(),
        enable_ipv4: matches.changed("ipv4").then(|| matches.bool("ipv4")),
        enable_ipv6: matches.changed("ipv6").then(|| matches.bool("ipv6")),
        ipam: Some(Ipam {
            driver: matches.string("ipam-driver").unwrap_or("default").to_owned(),
            options: Some(pairs(&matches.list("ipam-opt"))),
            config: Some(ipam(invocation)?),
        }),
        internal: matches.bool("internal"),
        attachable: matches.bool("attachable"),
        ingress: matches.bool("ingress"),
        config_only: matches.bool("config-only"),
        config_from: (!config_from.is_empty())
            .then(|| ConfigReference { network: config_from.to_owned() }),
        options: Some(pairs(&matches.list("opt"))),
        labels: Some(pairs(&matches.list("label"))),
    };
    let created = invocation.client()?.network_create(&body).await?;
    if !created.warning.is_empty() {
        warn(&[created.warning]);
    }
    print(format!("{}\n", created.id))?;
    Ok(0)
}

/// The address ranges: each gateway, range and reserved address belongs to the subnet it is in.
fn ipam(invocation: &Invocation) -> Result<Vec<IpamConfig>, Failure> {
    let matches = &invocation.matches;
    let (subnets, ranges) = (matches.strings("subnet"), matches.strings("ip-range"));
    let (gateways, reserved) = (matches.strings("gateway"), pairs(&matches.list("aux-address")));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(Failure::new("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut all: Vec<IpamConfig> = Vec::new();
    for subnet in subnets {
        let Some(parsed) = Prefix::parse(&subnet) else {
            if all.is_empty() {
                all.push(IpamConfig { subnet, ..IpamConfig::default() });
                continue;
            }
            return Err(Failure::new(format!("invalid CIDR address: {subnet}")));
        };
        let overlaps = |known: &IpamConfig| {
            Prefix::parse(&known.subnet)
                .is_some_and(|known| known.holds(parsed.address) || parsed.holds(known.address))
        };
        if all.iter().any(overlaps) {
            return Err(Failure::new("multiple overlapping subnet configuration is not supported"));
        }
        all.push(IpamConfig { subnet, ..IpamConfig::default() });
    }
    fn home<'a>(all: &'a mut [IpamConfig], address: &str) -> Option<&'a mut IpamConfig> {
        let bare = address.split('/').next().unwrap_or_default().parse().ok()?;
        all.iter_mut()
            .find(|config| Prefix::parse(&config.subnet).is_some_and(|subnet| subnet.holds(bare)))
    }
    for range in ranges {
        let config = home(&mut all, &range)
            .ok_or_else(|| Failure::new(format!("no matching subnet for range {range}")))?;
        config.ip_range = range;
    }
    for gateway in gateways {
        let config = home(&mut all, &gateway)
            .ok_or_else(|| Failure::new(format!("no matching subnet for gateway {gateway}")))?;
        config.gateway = gateway;
    }
    for (name, address) in reserved {
        let config = home(&mut all, &address)
            .ok_or_else(|| Failure::new(format!("no matching subnet for aux-address {address}")))?;
        config.auxiliary_addresses.insert(name, address);
    }
    Ok(all)
}

/// An address and the length of its network's prefix.
struct Prefix {
    address: IpAddr,
    length: u32,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { address, length })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let same_family = address.is_ipv4() == self.address.is_ipv4();
        let differ = bits(address) ^ bits(self.address);
        same_family && (self.length == 0 || differ >> (128 - self.length) == 0)
    }
}

/// `network connect`.
pub(crate) async fn connect(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let text = |flag: &str| matches.text(flag).to_owned();
    let filled = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let local = matches.strings("link-local-ip");
    let asked = matches.changed("ip") || matches.changed("ip6") || !local.is_empty();
    let ipam = EndpointIpamConfig {
        ipv4_address: text("ip"),
        ipv6_address: text("ip6"),
        link_local_ips: local,
    };
    let options = matches.strings("driver-opt");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let options: BTreeMap<String, String> = pairs(&options);
    let endpoint = EndpointSettings {
        ipam_config: asked.then_some(ipam),
        links: filled(matches.list("link").into_iter().map(str::to_owned).collect()),
        aliases: filled(matches.strings("alias")),
        driver_opts: (!options.is_empty()).then_some(options),
        gw_priority: matches.int("gw-priority").unwrap_or_default(),
        ..EndpointSettings::default()
    };
    let body = NetworkConnectBody {
        container: invocation.arg(1).to_owned(),
        endpoint_config: Some(endpoint),
    };
    invocation.client()?.network_connect(invocation.arg(0), &body).await?;
    Ok(0)
}

/// `network disconnect`.
pub(crate) async fn disconnect(invocation: &Invocation) -> Outcome {
    let body = NetworkDisconnectBody {
        container: invocation.arg(1).to_owned(),
        force: invocation.matches.bool("force"),
    };
    invocation.client()?.network_disconnect(invocation.arg(0), &body).await?;
    Ok(0)
}

/// `network inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let verbose = invocation.matches.bool("verbose");
    inspection::each(invocation, async |name| client.network_inspect_raw(name, verbose).await).await
}

/// `network rm`.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let mut code = 0;
    for name in invocation.matches.args() {
        match client.network_remove(name).await {
            Ok(()) => print(format!("{name}\n"))?,
            Err(error) if invocation.matches.bool("force") && error.is_not_found() => {}
            Err(error) => {
                complain(format!("{error}\n"));
                code = 1;
            }
        }
    }
    match code {
        0 => Ok(0),
        code => Err(Failure::new(format!("exit status {code}")).with_code(code)),
    }
}

/// `network prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    let warning = "This will remove all custom networks not used by at least one container.";
    if !pruning::agreed(invocation, warning)? {
        return Ok(0);
    }
    let report = invocation.client()?.network_prune(&pruning::filters(invocation)).await?;
    let removed = report.networks_deleted.unwrap_or_default();
    print(pruning::section("Deleted Networks:", &removed))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let subnet = Prefix::parse("10.1.0.0/16").unwrap();
        assert!(subnet.holds("10.1.2.3".parse().unwrap()));
        assert!(!subnet.holds("10.2.2.3".parse().unwrap()));
        assert!(!subnet.holds("fd00::1".parse().unwrap()));
        assert!(Prefix::parse("fd00::/64").unwrap().holds("fd00::9".parse().unwrap()));
        assert!(Prefix::parse("10.0.0.0/33").is_none());
    }
}
