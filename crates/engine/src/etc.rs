//! The engine's own files in a container: /etc/hostname, /etc/hosts, /etc/resolv.conf. They are
//! written in place: a container sees them through mounts of these very files.

use crate::{EngineError, Result};
use model::network::{Endpoint, NetworkMode};
use model::spec::ContainerSpec;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where the host's resolvers are named unless the daemon was told of another place.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// Set by who wants no IPv6 at all in a container.
const DISABLE_IPV6: &str = "net.ipv6.conf.all.disable_ipv6";

/// The host's own names.
const HOSTS: &str = "/etc/hosts";

/// systemd-resolved's, with the real servers, where the host's names only its stub.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Used when the host has no server that a container could reach; Docker's choice.
const FALLBACK: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4)),
];

/// Whether a container has IPv6 at all, by its own settings.
pub(crate) fn has_ipv6(spec: &ContainerSpec) -> bool {
    spec.sysctls.get(DISABLE_IPV6).is_none_or(|value| value != "1")
}

/// Their names in a container's directory.
pub(crate) const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Makes sure that the files are there to be mounted, whatever they hold as yet.
pub(crate) fn make(dir: &Path) -> Result<()> {
    NAMES.iter().try_for_each(|name| open(&dir.join(name)).map(drop))
}

/// Writes /etc/hostname.
pub(crate) fn write_hostname(dir: &Path, hostname: &str) -> Result<()> {
    write(&dir.join("hostname"), &net::files::hostname(hostname))
}

/// Writes /etc/hosts: the container's own addresses with its names, and what the user adds.
pub(crate) fn write_hosts(
    dir: &Path,
    spec: &ContainerSpec,
    endpoints: &[Endpoint],
    gateways: &[IpAddr],
    links: &[(IpAddr, String)],
) -> Result<()> {
    let mut names = Vec::new();
    if !spec.domainname.is_empty() && !spec.hostname.is_empty() {
        names.push(format!("{}.{}", spec.hostname, spec.domainname));
    }
    if !spec.hostname.is_empty() {
        names.push(spec.hostname.clone());
    }
    let addresses = |endpoint: &Endpoint| {
        [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().map(|cidr| cidr.addr)
    };
    let own: Vec<(IpAddr, Vec<String>)> = endpoints
        .iter()
        .flat_map(addresses)
        .filter(|_| !names.is_empty())
        .map(|addr| (addr, names.clone()))
        .collect();
    let asked = spec.dns.extra_hosts.iter().flat_map(|(name, address)| {
        let addresses = match address.as_str() {
            "host-gateway" => gateways.to_vec(),
            address => address.parse().into_iter().collect(),
        };
        addresses.into_iter().map(|address| (address, name.clone()))
    });
    let extra: Vec<(IpAddr, String)> = asked.chain(links.iter().cloned()).collect();
    let text = match spec.network {
        // Who lives in the host's network sees the host's names.
        NetworkMode::Host => std::fs::read_to_string(HOSTS)
            .map(|head| net::files::hosts_below(&head, &[], &extra))
            .unwrap_or_else(|_| net::files::hosts(&[], &extra)),
        _ if !has_ipv6(spec) => net::files::hosts_below("127.0.0.1\tlocalhost\n", &own, &extra),
        _ => net::files::hosts(&own, &extra),
    };
    write(&dir.join("hosts"), &text)
}

/// Writes /etc/resolv.conf, by the host's one. `embedded`: names are answered by the engine's
/// resolver.
pub(crate) fn write_resolv_conf(
    dir: &Path,
    spec: &ContainerSpec,
    host: &Path,
    embedded: bool,
) -> Result<()> {
    let host = HostResolv::read(host);
    let dns = &spec.dns;
    let search = if dns.search.is_empty() { &host.search } else { &dns.search };
    let options = if dns.options.is_empty() { &host.options } else { &dns.options };
    let servers = if embedded {
        vec![net::files::RESOLVER]
    } else if !dns.servers.is_empty() {
        dns.servers.clone()
    } else {
        host.reachable()
    };
    let mut text = String::from("# Generated when the container was started.\n");
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    // A single dot says: no search at all.
    let search: Vec<&str> = search.iter().map(String::as_str).filter(|word| *word != ".").collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    let mut options = options.clone();
    if embedded && !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0".to_owned());
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    write(&dir.join("resolv.conf"), &text)
}

/// The host's resolver configuration, resolv.conf(5).
#[derive(Debug, Default, PartialEq, Eq)]
struct HostResolv {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

impl HostResolv {
    fn read(path: &Path) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let own = Self::parse(&read(path));
        // Who was told of a file is to follow that one.
        let may_be_stub = path == Path::new(HOST_RESOLV_CONF);
        let stub_only =
            may_be_stub && !own.servers.is_empty() && own.servers.iter().all(IpAddr::is_loopback);
        if stub_only {
            let real = Self::parse(&read(Path::new(RESOLVED_CONF)));
            if !real.servers.is_empty() {
                return real;
            }
        }
        own
    }

    fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.split('%').next());
                    out.servers.extend(address.and_then(|text| text.parse::<IpAddr>().ok()));
                }
                Some("search") => out.search = words.map(str::to_owned).collect(),
                Some("domain") if out.search.is_empty() => {
                    out.search.extend(words.next().map(str::to_owned));
                }
                Some("options") => out.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        out
    }

    /// Servers that a container can reach: the host's loopback is not its own.
    fn reachable(&self) -> Vec<IpAddr> {
        let reachable: Vec<IpAddr> =
            self.servers.iter().copied().filter(|server| !server.is_loopback()).collect();
        if reachable.is_empty() { FALLBACK.to_vec() } else { reachable }
    }
}

/// Replaces the content, not the file. It is not emptied first: whoever reads it meanwhile finds
/// names, and file systems take an emptied file that is written again for one that has to be on
/// disk at once.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = open(path)?;
    let mut write = || {
        file.write_all(text.as_bytes())?;
        if file.metadata()?.len() > text.len() as u64 {
            file.set_len(text.len() as u64)?;
        }
        Ok(())
    };
    write().map_err(|source: std::io::Error| {
        EngineError::io(format!("write {}", path.display()), source)
    })
}

fn open(path: &Path) -> Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let opened = options.open(path);
    opened.map_err(|source| EngineError::io(format!("open {}", path.display()), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_place_and_loses_its_old_content() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let mut places = Vec::new();
        for text in ["127.0.0.1 localhost\n", "", "::1 a\n", "127.0.0.1 longer\n::1 a\n"] {
            write(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            places.push(std::fs::metadata(&path).unwrap().ino());
        }
        places.dedup();
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn what_the_host_says_is_understood() {
        let text = "# c\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n\
                    domain a.b\nsearch x.y z\noptions edns0 trust-ad\n";
        let parsed = HostResolv::parse(text);
        assert_eq!(parsed.search, ["x.y", "z"]);
        assert_eq!(parsed.options, ["edns0", "trust-ad"]);
        assert_eq!(parsed.servers.len(), 3);
        assert_eq!(parsed.reachable().len(), 2);
        assert_eq!(HostResolv::parse("nameserver 127.0.0.1").reachable(), FALLBACK);
    }
}
