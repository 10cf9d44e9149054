//! `--network` in its short and long form, and the flags that describe the first attachment.

use std::collections::BTreeMap;

use wire::docker::endpoint::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::none_if_empty;
use crate::csv;
use crate::flags::Matches;

/// One `--network`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attachment {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    driver_opts: BTreeMap<String, String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac: String,
    gw_priority: i64,
}

/// Reads one `--network`: a name, or comma-separated `key=value` with a `name`.
pub(crate) fn parse(text: &str) -> Result<Attachment, String> {
    let mut attachment = Attachment::default();
    if !text.contains('=') {
        text.clone_into(&mut attachment.target);
        return Ok(attachment);
    }
    for field in csv::split(text)? {
        let lower = field.to_lowercase();
        let Some((key, _)) = lower.split_once('=') else {
            return Err(format!("invalid field {field}"));
        };
        let value = field.get(key.len() + 1..).unwrap_or_default().trim();
        match key {
            "name" => value.clone_into(&mut attachment.target),
            "alias" => attachment.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut attachment.ipv4),
            "ip6" => value.clone_into(&mut attachment.ipv6),
            "link-local-ip" => attachment.link_local.push(value.to_owned()),
            "mac-address" => value.clone_into(&mut attachment.mac),
            "driver-opt" => {
                let pair = value.split_once('=').filter(|(name, _)| !name.is_empty());
                let (name, value) = pair
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                attachment.driver_opts.insert(name.to_lowercase(), value.to_owned());
            }
            "gw-priority" => {
                attachment.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): not a number"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(attachment)
}

/// All of them, the hidden spelling `--net` included.
fn attachments(matches: &Matches) -> Result<Vec<Attachment>, String> {
    matches.lists(&["network", "net"]).into_iter().map(parse).collect()
}

/// The network mode: the first network.
pub(super) fn mode(matches: &Matches) -> String {
    let first = attachments(matches).ok().and_then(|list| list.into_iter().next());
    first.map_or_else(|| "default".to_owned(), |attachment| attachment.target)
}

/// What is asked of each network.
pub(super) fn config(matches: &Matches, mode: &str) -> Result<NetworkingConfig, String> {
    let mut all = attachments(matches)?;
    if all.is_empty() {
        all.push(Attachment { target: "default".to_owned(), ..Attachment::default() });
    }
    let count = all.len();
    if let Some(first) = all.first_mut() {
        first_from_flags(first, matches, count)?;
    }
    let mut endpoints = BTreeMap::new();
    for attachment in all {
        if count > 1 && !is_user_defined(&attachment.target) {
            return Err("conflicting options: cannot attach both user-defined and \
                        non-user-defined network-modes"
                .to_owned());
        }
        if !attachment.aliases.is_empty() && !is_user_defined(&attachment.target) {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned()
            );
        }
        let target = attachment.target.clone();
        let settings = settings(attachment)?;
        if endpoints.insert(target.clone(), Some(settings)).is_some() {
            return Err(format!("network {target:?} is specified multiple times"));
        }
    }
    // Modes without attachments of their own are sent without any, unless something was asked.
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        let asked = endpoints.values().flatten().any(|asked| *asked != EndpointSettings::default());
        if !asked {
            endpoints.clear();
        }
    }
    Ok(NetworkingConfig { endpoints_config: Some(endpoints) })
}

/// `--ip`, `--network-alias` and the like are about the first network.
fn first_from_flags(first: &mut Attachment, matches: &Matches, count: usize) -> Result<(), String> {
    let aliases = matches.lists(&["network-alias", "net-alias"]);
    let links = matches.list("link");
    let conflict = |flag: &str, what: &str| {
        Err(format!("conflicting options: cannot specify both --{flag} and per-network {what}"))
    };
    if !aliases.is_empty() {
        if !first.aliases.is_empty() {
            return Err(
                "conflicting options: cannot specify both --network-alias and per-network alias"
                    .to_owned(),
            );
        }
        first.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    }
    for (flag, what, slot) in [
        ("ip", "IPv4 address", &mut first.ipv4),
        ("ip6", "IPv6 address", &mut first.ipv6),
        ("mac-address", "MAC address", &mut first.mac),
    ] {
        let value = matches.text(flag);
        if value.is_empty() {
            continue;
        }
        if !slot.is_empty() {
            return conflict(flag, what);
        }
        value.clone_into(slot);
    }
    let local = matches.list("link-local-ip");
    if !local.is_empty() {
        first.link_local = local.iter().map(|address| (*address).to_owned()).collect();
    }
    if !links.is_empty() && (is_user_defined(&first.target) || count > 1) {
        first.links = links.iter().map(|link| (*link).to_owned()).collect();
    }
    Ok(())
}

fn is_user_defined(target: &str) -> bool {
    !matches!(target, "default" | "bridge" | "host" | "none" | "")
        && !target.starts_with("container:")
}

fn settings(attachment: Attachment) -> Result<EndpointSettings, String> {
    let Attachment { ipv4, ipv6, link_local, mac, .. } = attachment;
    if !mac.is_empty() && !is_mac(&mac) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let asked = !ipv4.is_empty() || !ipv6.is_empty() || !link_local.is_empty();
    let ipam =
        EndpointIpamConfig { ipv4_address: ipv4, ipv6_address: ipv6, link_local_ips: link_local };
    Ok(EndpointSettings {
        ipam_config: asked.then_some(ipam),
        links: none_if_empty(attachment.links),
        aliases: none_if_empty(attachment.aliases),
        mac_address: mac,
        driver_opts: (!attachment.driver_opts.is_empty()).then_some(attachment.driver_opts),
        gw_priority: attachment.gw_priority,
        ..EndpointSettings::default()
    })
}

/// Six bytes in hexadecimal, with colons, hyphens or dots.
fn is_mac(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    digits.len() == 12 && digits.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short() {
        assert_eq!(parse("web").unwrap().target, "web");
        let long =
            parse("name=web,alias=a,alias=b,ip=1.2.3.4,gw-priority=3,driver-opt=k=v").unwrap();
        assert_eq!(
            (long.target.as_str(), long.ipv4.as_str(), long.gw_priority),
            ("web", "1.2.3.4", 3)
        );
        assert_eq!(long.aliases, ["a", "b"]);
        assert_eq!(parse("name=a,foo=b").unwrap_err(), "invalid field key foo");
        assert!(parse("alias=a").is_err());
    }
}
