//! `-p` and `--expose`.

use std::collections::BTreeMap;

use wire::docker::Empty;
use wire::docker::endpoint::{PortBinding, PortMap};

use crate::flags::Matches;
use crate::{csv, number};

/// Ports that a flag may not exceed.
const PORT_MAX: u64 = 65_535;

/// The exposed ports and the published ones.
pub(super) fn published(matches: &Matches) -> Result<(BTreeMap<String, Empty>, PortMap), String> {
    let bindings = bindings(matches.list("publish"))?;
    let mut exposed: BTreeMap<String, Empty> =
        bindings.keys().map(|port| (port.clone(), Empty {})).collect();
    for text in matches.list("expose") {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range(ports)
            .map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
        for port in first..=last {
            exposed.insert(format!("{port}/{}", protocol.to_lowercase()), Empty {});
        }
    }
    Ok((exposed, bindings))
}

/// What is published by flags of the form of `-p`.
pub(crate) fn bindings<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<PortMap, String> {
    let mut bindings = PortMap::new();
    for text in flags {
        let text = if text.contains('=') { long(text)? } else { text.to_owned() };
        for (port, binding) in parse(&text)? {
            bindings.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    Ok(bindings)
}

/// `target=80,published=8080,protocol=tcp,mode=host` as the short form.
fn long(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".into());
    for field in csv::split(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        match key {
            "target" => value.clone_into(&mut target),
            "published" => value.clone_into(&mut published),
            "protocol" if matches!(value, "tcp" | "udp" | "sctp") => {
                value.clone_into(&mut protocol)
            }
            "protocol" => return Err(format!("invalid protocol value {value}")),
            "mode" => {}
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if target.is_empty() {
        return Err("missing mandatory field \"target\"".to_owned());
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// Every binding of one `-p`: `[[address:]host:]container[/protocol]`, ports may be ranges.
fn parse(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    let (address, host, container) = parts(ports)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let invalid = |what: &str, value: &str| format!("invalid {what}: {value}");
    let (first, last) = range(container).map_err(|_| invalid("containerPort", container))?;
    let (host_first, host_last) = match host {
        "" => (0, 0),
        host => range(host).map_err(|_| invalid("hostPort", host))?,
    };
    if !host.is_empty() && last - first != host_last - host_first {
        // One container port may be published on any port of a range.
        if last != first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let one_of = !host.is_empty() && first == last && host_first != host_last;
    let binding = |offset: u64| {
        let host_port = match () {
            () if host.is_empty() => String::new(),
            () if one_of => format!("{host_first}-{host_last}"),
            () => (host_first + offset).to_string(),
        };
        let port = format!("{}/{protocol}", first + offset);
        (port, PortBinding { host_ip: address.to_owned(), host_port })
    };
    Ok((0..=last - first).map(binding).collect())
}

/// Address, host port and container port; brackets go.
fn parts(text: &str) -> Result<(&str, &str, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let invalid = || format!("invalid IP address: {text}");
        let (address, rest) = rest.split_once("]:").ok_or_else(invalid)?;
        let (host, container) = rest.rsplit_once(':').unwrap_or(("", rest));
        return Ok((address, host, container));
    }
    let Some((before, container)) = text.rsplit_once(':') else { return Ok(("", "", text)) };
    let (address, host) = before.rsplit_once(':').unwrap_or(("", before));
    Ok((address, host, container))
}

/// `80` or `80-90`.
fn range(text: &str) -> Result<(u64, u64), String> {
    let Some((first, last)) = text.split_once('-') else {
        let port = number::parse_uint(text, PORT_MAX)?;
        return Ok((port, port));
    };
    let (first, last) = (number::parse_uint(first, PORT_MAX)?, number::parse_uint(last, PORT_MAX)?);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Err(why) => why,
            Ok(bindings) => bindings
                .into_iter()
                .map(|(port, to)| format!("{}|{}->{port}", to.host_ip, to.host_port))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("80", "|->80/tcp"),
            ("8080:80", "|8080->80/tcp"),
            ("127.0.0.1:8080:80/UDP", "127.0.0.1|8080->80/udp"),
            ("127.0.0.1::53", "127.0.0.1|->53/tcp"),
            ("[::1]:7:8", "::1|7->8/tcp"),
            ("9000-9001:90-91", "|9000->90/tcp |9001->91/tcp"),
            ("8000-9000:80", "|8000-9000->80/tcp"),
            ("90-91", "|->90/tcp |->91/tcp"),
            ("a:b", "invalid containerPort: b"),
            ("a:80", "invalid hostPort: a"),
            ("1-3:1-2", "invalid ranges specified for container and host Ports: 1-2 and 1-3"),
            ("80/foo", "invalid proto: foo"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn the_long_form() {
        assert_eq!(long("target=80,published=8080,protocol=udp").unwrap(), "8080:80/udp");
        assert!(long("published=80").is_err());
    }
}
