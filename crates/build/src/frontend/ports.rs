//! The ports of EXPOSE: `80`, `80/udp`, `8000-8010`, and the forms of `--publish`, of which only
//! the container's part counts.

use crate::text::quote;
use std::net::IpAddr;

/// What a word of EXPOSE says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// `port/protocol`, one per port.
    pub(super) ports: Vec<String>,
    /// The protocol was not in lower case.
    pub(super) odd_casing: bool,
    /// There was an address or a host port.
    pub(super) published: bool,
}

pub(super) fn parse(word: &str) -> Result<Ports, String> {
    let (front, container) = word.rsplit_once(':').unwrap_or(("", word));
    let (address, host) = front.rsplit_once(':').unwrap_or(("", front));
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(format!("invalid port: {}: no port specified", quote(word)));
    }
    let lower = protocol.to_lowercase();
    let protocol = match lower.as_str() {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => &lower,
        other => return Err(format!("invalid port: {}: invalid proto: {other}", quote(word))),
    };
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let bare = bare.unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    let invalid = || format!("invalid containerPort: {range}");
    let (first, last) = parse_range(range).ok_or_else(invalid)?;
    if !host.is_empty() {
        let invalid = || format!("invalid hostPort: {host}");
        let (host_first, host_last) = parse_range(host).ok_or_else(invalid)?;
        if last != first && last - first != host_last - host_first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {range} and {host}"
            ));
        }
    }
    Ok(Ports {
        ports: (first..=last).map(|port| format!("{port}/{protocol}")).collect(),
        odd_casing: container.split_once('/').is_some_and(|(_, written)| written != lower),
        published: !front.is_empty() || word.contains(':'),
    })
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first, last),
        None => (text, text),
    };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_every_form() {
        for (word, want) in [
            ("80", "80/tcp"),
            ("53/udp", "53/udp"),
            ("53/UDP", "53/udp"),
            ("80-82/tcp", "80/tcp 81/tcp 82/tcp"),
            ("8080:80", "80/tcp"),
            ("127.0.0.1:8080:80", "80/tcp"),
            ("[::1]:8080:80/sctp", "80/sctp"),
            ("8000-8010:80", "80/tcp"),
        ] {
            assert_eq!(parse(word).unwrap().ports.join(" "), want, "{word}");
        }
        assert!(parse("53/UDP").unwrap().odd_casing && !parse("53/udp").unwrap().odd_casing);
        assert!(parse("1:2").unwrap().published && !parse("2").unwrap().published);
        for (word, want) in [
            ("x", "invalid containerPort: x"),
            ("80/foo", "invalid port: \"80/foo\": invalid proto: foo"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("90-80", "invalid containerPort: 90-80"),
            ("65536", "invalid containerPort: 65536"),
            ("x:1:2", "invalid IP address: x"),
            ("a:2", "invalid hostPort: a"),
        ] {
            assert_eq!(parse(word).unwrap_err(), want, "{word}");
        }
    }
}
