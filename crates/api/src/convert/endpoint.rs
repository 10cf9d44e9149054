//! Attachments to networks: as asked, and as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Denied;
use model::network::{Endpoint, EndpointDraft};
use wire::docker::endpoint::{EndpointIpamConfig, EndpointSettings};

use super::{null_if_empty, null_if_empty_map};

/// What is asked of one attachment.
pub(crate) fn from_wire(settings: EndpointSettings) -> Result<EndpointDraft, Denied> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let priority = i32::try_from(settings.gw_priority).map_err(|_| {
        Denied::invalid(format!("invalid gateway priority: {}", settings.gw_priority))
    })?;
    Ok(EndpointDraft {
        ipv4: address::<Ipv4Addr>("IPv4", &ipam.ipv4_address)?,
        ipv6: address::<Ipv6Addr>("IPv6", &ipam.ipv6_address)?,
        link_local: ipam
            .link_local_ips
            .iter()
            .filter_map(|text| address::<IpAddr>("link-local", text).transpose())
            .collect::<Result<_, _>>()?,
        mac: mac(&settings.mac_address)?,
        aliases: settings.aliases.unwrap_or_default(),
        links: settings.links.unwrap_or_default(),
        options: settings.driver_opts.unwrap_or_default(),
        gateway_priority: priority,
    })
}

fn address<T: std::str::FromStr>(family: &str, text: &str) -> Result<Option<T>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |_| Denied::invalid(format!("invalid {family} address: {text}"));
    text.parse().map(Some).map_err(refuse)
}

/// Six bytes in hexadecimal, separated by colons or dashes.
pub(crate) fn mac(text: &str) -> Result<Option<[u8; 6]>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = || Denied::invalid(format!("{text} is not a valid mac address"));
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refuse)?;
        let digits = part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = digits.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(refuse)?;
    }
    if parts.next().is_some() {
        return Err(refuse());
    }
    Ok(Some(bytes))
}

/// `02:42:ac:11:00:02`, or empty.
pub(crate) fn mac_text(mac: Option<[u8; 6]>) -> String {
    let Some(bytes) = mac else { return String::new() };
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// An attachment as it is. Addresses are shown only while it is in force.
pub(crate) fn to_wire(endpoint: &Endpoint) -> EndpointSettings {
    let address = |block: Option<model::network::Cidr>| {
        block.map_or((String::new(), 0), |b| (b.addr.to_string(), i64::from(b.prefix)))
    };
    let (ip_address, ip_prefix_len) = address(endpoint.ipv4);
    let (global_ipv6_address, global_ipv6_prefix_len) = address(endpoint.ipv6);
    EndpointSettings {
        network_id: endpoint.network.to_string(),
        endpoint_id: endpoint.id.clone(),
        gateway: text(endpoint.gateway),
        ip_address,
        ip_prefix_len,
        ipv6_gateway: text(endpoint.gateway6),
        global_ipv6_address,
        global_ipv6_prefix_len,
        mac_address: mac_text(endpoint.mac.or(endpoint.draft.mac)),
        dns_names: null_if_empty(endpoint.dns_names.clone()),
        ..as_asked(&endpoint.draft)
    }
}

/// An attachment as it was asked for.
pub(crate) fn as_asked(draft: &EndpointDraft) -> EndpointSettings {
    let ipam = EndpointIpamConfig {
        ipv4_address: text(draft.ipv4),
        ipv6_address: text(draft.ipv6),
        link_local_ips: draft.link_local.iter().map(ToString::to_string).collect(),
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        links: null_if_empty(draft.links.clone()),
        aliases: null_if_empty(draft.aliases.clone()),
        mac_address: mac_text(draft.mac),
        driver_opts: null_if_empty_map(draft.options.clone()),
        gw_priority: i64::from(draft.gateway_priority),
        ..EndpointSettings::default()
    }
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let settings = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: "172.20.0.5".to_owned(),
                ipv6_address: "fd00::5".to_owned(),
                link_local_ips: vec!["169.254.1.1".to_owned()],
            }),
            aliases: Some(vec!["db".to_owned()]),
            mac_address: "02:42:ac:11:00:02".to_owned(),
            gw_priority: 7,
            ..EndpointSettings::default()
        };
        assert_eq!(as_asked(&from_wire(settings.clone()).unwrap()), settings);
    }

    #[test]
    fn refuses() {
        for bad in ["02:42", "02:42:ac:11:00:02:03", "0x:42:ac:11:00:02", "+2:42:ac:11:00:02"] {
            assert!(mac(bad).is_err(), "{bad}");
        }
        let ipv4 = |text: &str| EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: text.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(from_wire(ipv4("fd00::1")).is_err());
        assert!(from_wire(ipv4("1.2.3")).is_err());
    }
}
