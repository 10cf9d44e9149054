//! What the administrator decided about registries, as values, and what follows from it for a
//! host: which endpoints are asked, in which order, and how they are reached. Pure, but for the
//! lookup of `certs.d` (see `tls` and `hosts`) and of `registries.conf` (see `registries`).
//!
//! ```text
//! blocked? pull-only-from? ── registry-mirrors ── registries.conf: mirrors ── its location
//!                                                       └─ hosts.toml of that: hosts, server
//! ```

use super::endpoint::{Endpoint, May, Reach};
use super::url::{Origin, Scheme, Url};
use super::{hosts, registries};
use crate::error::{Error, Result};
use model::Denied;
use model::reference::DEFAULT_HOST;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where Docker Hub answers.
const HUB: &str = "registry-1.docker.io";

/// What the administrator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[HOST=]URL`: asked before the host itself; without a host, before Docker Hub. `*` is every
    /// host. A path in the URL goes before the repository's; `{host}` in it is the host's name.
    pub mirrors: Vec<String>,
    /// Hosts (`host[:port]` or a network) whose certificates are not checked, and that may be
    /// spoken to without TLS. Loopback addresses always are.
    pub insecure: Vec<String>,
    /// Hosts (or `host/path` prefixes) that may not be spoken to.
    pub blocked: Vec<String>,
    /// Hosts (or `host/path` prefixes) that alone images may come from; none: everywhere.
    pub pull_only_from: Vec<String>,
    /// `HOST=REALM-HOST`: further hosts that get a registry's credentials when it asks for a token
    /// from there.
    pub realms: Vec<String>,
    /// HTTP proxy of plain requests, HTTP proxy of TLS requests, hosts reached without one.
    pub proxies: (String, String, String),
    /// Directories with `<host[:port]>/{*.crt,*.cert,*.key}` and `<host[:port]>/hosts.toml`.
    pub certificates: Vec<PathBuf>,
    /// Whether each `hosts.toml` there counts. Not for who is the place that they lead to.
    pub hosts_files: bool,
    /// `registries.conf`; no such file, no such rules.
    pub registries: Option<PathBuf>,
    /// Layers downloaded at once.
    pub max_downloads: usize,
    /// Layers uploaded at once.
    pub max_uploads: usize,
    /// Attempts without progress before giving up.
    pub attempts: u32,
    /// The first pause between attempts; it doubles.
    pub pause: Duration,
    /// How long nothing may arrive.
    pub patience: Duration,
    /// Keep layers in the form they came in, so that they can be pushed on as they are.
    pub keep_packed: bool,
    /// Where `search` of Docker Hub asks.
    pub search: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            blocked: Vec::new(),
            pull_only_from: Vec::new(),
            realms: Vec::new(),
            proxies: Default::default(),
            certificates: vec!["/etc/estiba/certs.d".into(), "/etc/docker/certs.d".into()],
            hosts_files: true,
            registries: Some("/etc/estiba/registries.conf".into()),
            max_downloads: 3,
            max_uploads: 5,
            attempts: 5,
            pause: Duration::from_millis(500),
            patience: Duration::from_secs(60),
            keep_packed: true,
            search: "https://index.docker.io/v1/search".into(),
        }
    }
}

impl Settings {
    /// Checks what was configured.
    ///
    /// # Errors
    /// A mirror or a proxy is no URL.
    pub fn check(&self) -> Result<()> {
        for mirror in &self.mirrors {
            self.mirror(mirror, (DEFAULT_HOST, ""))?;
        }
        for proxy in [&self.proxies.0, &self.proxies.1] {
            if !proxy.is_empty() {
                Proxy::parse(proxy)?;
            }
        }
        Ok(())
    }

    /// The endpoints of a repository in the order they are asked; with `mirrors`, for reading.
    /// The last is the registry itself, where it may be asked at all.
    pub(crate) fn endpoints(&self, host: &str, path: &str, mirrors: bool) -> Result<Vec<Endpoint>> {
        self.permit(host, path, mirrors)?;
        let ruled = match &self.registries {
            Some(file) => registries::rules(file, (host, path))?,
            None => registries::Ruled::default(),
        };
        let mut endpoints = Vec::new();
        let mut at = (host.to_owned(), path.to_owned());
        if mirrors {
            for rule in &self.mirrors {
                endpoints.extend(self.mirror(rule, (host, path))?);
            }
            for place in ruled.mirrors {
                let found = self.registry((&place.host, &place.path), place.insecure)?;
                let may = May { tags: place.tags, digests: place.digests, ..May::READ };
                let stands_for = Some(host.to_owned());
                endpoints.push(Endpoint { may, stands_for, own: false, ..found });
            }
            at = ruled.location.unwrap_or(at);
        }
        let itself = self.registry((host, path), ruled.insecure)?;
        let mut last = self.registry((&at.0, &at.1), ruled.insecure)?;
        last.own = last.origin == itself.origin;
        last.stands_for = (!last.own).then(|| host.to_owned());
        let found = match self.hosts_files {
            true => hosts::endpoints(&self.certificates, (&at.0, &at.1), &last)?,
            false => None,
        };
        let mut found = found.unwrap_or_else(|| vec![last]);
        if let Some(server) = found.last_mut() {
            // One that was put in the registry's place gets no secrets for that alone.
            server.own =
                server.origin == itself.origin || self.trusts_realm(&itself.origin, &server.origin);
        }
        endpoints.extend(found.into_iter().filter(|endpoint| match mirrors {
            true => endpoint.may.tags || endpoint.may.digests,
            false => endpoint.may.push,
        }));
        if endpoints.is_empty() {
            let act = if mirrors { "read from" } else { "pushed to" };
            let message = format!("registry {host} may not be {act}, by its hosts.toml");
            return Err(Denied { kind: model::ErrorKind::Forbidden, message }.into());
        }
        Ok(endpoints)
    }

    /// Whether a repository may be used at all.
    fn permit(&self, host: &str, path: &str, reading: bool) -> Result<()> {
        let whole = format!("{host}/{path}");
        let covers = |rule: &String| {
            let rule = rule.trim_end_matches('/');
            rule == host || whole == *rule || whole.starts_with(&format!("{rule}/"))
        };
        let message = if self.blocked.iter().any(covers) {
            format!("registry {host} is blocked by the administrator")
        } else if reading
            && !self.pull_only_from.is_empty()
            && !self.pull_only_from.iter().any(covers)
        {
            let allowed = self.pull_only_from.join(", ");
            format!("{whole}: the administrator lets images come from {allowed} only")
        } else {
            return Ok(());
        };
        Err(Denied { kind: model::ErrorKind::Forbidden, message }.into())
    }

    /// A registry, asked for a repository under its own name.
    pub(crate) fn registry(&self, (host, path): (&str, &str), insecure: bool) -> Result<Endpoint> {
        let authority = if host == DEFAULT_HOST { HUB } else { host };
        let origin = Origin::of(Scheme::Https, authority)?;
        Ok(Endpoint {
            insecure: insecure || self.is_insecure(authority, &origin),
            origin,
            root: "/v2/".to_owned(),
            repository: path.to_owned(),
            stands_for: None,
            own: true,
            may: May::ALL,
            reach: insecure.then(|| Arc::new(Reach { skip_verify: true, ..Reach::default() })),
            credentials: None,
        })
    }

    fn mirror(&self, rule: &str, (host, path): (&str, &str)) -> Result<Option<Endpoint>> {
        let (rule_host, url) = match rule.split_once('=') {
            Some((rule_host, url)) if !rule_host.contains('/') => (rule_host, url),
            _ => (DEFAULT_HOST, rule),
        };
        if rule_host != host && rule_host != "*" {
            return Ok(None);
        }
        let url = match url.contains("://") {
            true => url.replace("{host}", host),
            false => format!("https://{}", url.replace("{host}", host)),
        };
        let url = Url::parse(&url)?;
        if url.target.contains('?') {
            return Err(Error::bad(format!("mirror {url}: a query is not allowed")));
        }
        let prefix = url.target.trim_matches('/').trim_start_matches("v2/");
        let prefix = if matches!(prefix, "" | "v2") { String::new() } else { format!("{prefix}/") };
        let insecure = url.origin.scheme == Scheme::Http
            || self.is_insecure(&url.origin.authority(), &url.origin);
        Ok(Some(Endpoint {
            origin: url.origin,
            root: "/v2/".to_owned(),
            repository: format!("{prefix}{path}"),
            // Mirrors of Docker Hub were never told.
            stands_for: (host != DEFAULT_HOST).then(|| host.to_owned()),
            own: false,
            insecure,
            may: May::READ,
            reach: None,
            credentials: None,
        }))
    }

    /// Whether an origin that a registry sends us to may be spoken to without protection.
    pub(crate) fn tolerates(&self, origin: &Origin) -> bool {
        self.is_insecure(&origin.authority(), origin)
    }

    /// Whether a host may be spoken to without protection.
    fn is_insecure(&self, authority: &str, origin: &Origin) -> bool {
        let address: Option<IpAddr> = origin.host.parse().ok();
        if origin.host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.insecure.iter().any(|rule| {
            rule == authority || *rule == origin.host || address.is_some_and(|a| contains(rule, a))
        })
    }

    /// Whether a registry's credentials may be shown to the host of a token realm: the same host,
    /// one below the registry's domain or its parent's, or one the administrator named.
    pub(crate) fn trusts_realm(&self, registry: &Origin, realm: &Origin) -> bool {
        if realm.scheme == Scheme::Http && registry.scheme == Scheme::Https {
            return false;
        }
        let (host, asked) = (registry.host.as_str(), realm.host.as_str());
        let below = |domain: &str| asked == domain || asked.ends_with(&format!(".{domain}"));
        let is_name = host.parse::<IpAddr>().is_err();
        // The parent counts when it is still a domain of somebody: two labels at least.
        let parent = host.split_once('.').map(|(_, parent)| parent).filter(|p| p.contains('.'));
        host == asked
            || is_name && (below(host) || parent.is_some_and(below))
            || self.realms.iter().any(|rule| {
                rule.split_once('=').is_some_and(|(of, to)| {
                    (of == host || of == registry.authority()) && to.eq_ignore_ascii_case(asked)
                })
            })
    }

    /// The proxy that an origin is reached through.
    pub(crate) fn proxy(&self, origin: &Origin) -> Result<Option<Proxy>> {
        let text = match origin.scheme {
            Scheme::Http => &self.proxies.0,
            Scheme::Https => &self.proxies.1,
        };
        if text.is_empty() || is_direct(&self.proxies.2, origin) {
            return Ok(None);
        }
        Proxy::parse(text).map(Some)
    }
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// `user:password`.
    pub(crate) user: Option<String>,
}

impl Proxy {
    fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(decode(user)), rest),
            None => (None, rest),
        };
        let url = Url::parse(&format!("{scheme}://{rest}"))
            .map_err(|_| Error::bad("proxy: not an http or https URL"))?;
        Ok(Self { origin: url.origin, user })
    }
}

/// Whether `no_proxy` names an origin: `*`, hosts, `.domains`, addresses and networks, each with
/// or without a port. Loopback is never proxied, as Go's programs do it.
fn is_direct(no_proxy: &str, origin: &Origin) -> bool {
    let address: Option<IpAddr> = origin.host.parse().ok();
    if origin.host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split([',', ' ']).map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
        if rule == "*" {
            return true;
        }
        if address.is_some_and(|address| contains(rule, address)) {
            return true;
        }
        let (host, port) = match rule.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, port.parse::<u16>().ok()),
            _ => (rule, None),
        };
        if port.is_some_and(|port| port != origin.port) {
            return false;
        }
        let host = host.trim_start_matches('*').to_ascii_lowercase();
        match host.strip_prefix('.') {
            Some(domain) => origin.host.ends_with(&host) && origin.host != domain,
            None => origin.host == host || origin.host.ends_with(&format!(".{host}")),
        }
    })
}

/// Whether a network in CIDR form, or an address, contains an address.
fn contains(rule: &str, address: IpAddr) -> bool {
    let (base, bits) = match rule.split_once('/') {
        Some((base, bits)) => (base, bits.parse::<u32>().ok()),
        None => (rule, None),
    };
    let bits_of = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    if base.is_ipv4() != address.is_ipv4() || (bits.is_none() && rule.contains('/')) {
        return false;
    }
    let ((base, width), (address, _)) = (bits_of(base), bits_of(address));
    let shift = 128 - bits.unwrap_or(width).min(width);
    shift == 128 || base >> shift == address >> shift
}

/// Percent-decodes.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(settings: &Settings, host: &str) -> Vec<String> {
        let endpoints = settings.endpoints(host, "x", true).unwrap();
        let shown = |e: &Endpoint| format!("{}|{}|{}", e.origin, e.repository, e.insecure);
        endpoints.iter().map(shown).collect()
    }

    /// Without this machine's files.
    fn bare() -> Settings {
        Settings { certificates: Vec::new(), registries: None, ..Settings::default() }
    }

    #[test]
    fn mirrors_come_first_for_every_host() {
        let settings = Settings {
            mirrors: vec![
                "https://hub.mirror/cache/".into(),
                "quay.io=http://10.0.0.1:5000/quay".into(),
                "*=https://all.mirror/v2/{host}".into(),
            ],
            insecure: vec!["10.9.0.0/16".into(), "plain.example:5000".into()],
            ..bare()
        };
        assert_eq!(
            shown(&settings, "docker.io"),
            [
                "https://hub.mirror|cache/x|false",
                "https://all.mirror|docker.io/x|false",
                "https://registry-1.docker.io|x|false"
            ]
        );
        assert_eq!(
            shown(&settings, "quay.io"),
            [
                "http://10.0.0.1:5000|quay/x|true",
                "https://all.mirror|quay.io/x|false",
                "https://quay.io|x|false"
            ]
        );
        let last = |host| shown(&settings, host).pop().unwrap();
        assert_eq!(last("localhost:5000"), "https://localhost:5000|x|true");
        assert_eq!(last("127.0.0.5"), "https://127.0.0.5|x|true");
        assert_eq!(last("[::1]:5000"), "https://[::1]:5000|x|true");
        assert_eq!(last("10.9.3.4:443"), "https://10.9.3.4|x|true");
        assert_eq!(last("plain.example:5000"), "https://plain.example:5000|x|true");
        assert_eq!(last("plain.example"), "https://plain.example|x|false");
        assert!(Settings { mirrors: vec!["ftp://x".into()], ..settings }.check().is_err());
    }

    #[test]
    fn what_is_blocked_is_not_asked() {
        let blocked = vec!["docker.io".into(), "quay.io/bad".into()];
        let settings = Settings { blocked, ..bare() };
        assert!(settings.endpoints("docker.io", "library/x", true).is_err());
        assert!(settings.endpoints("quay.io", "bad/x", true).is_err());
        assert!(settings.endpoints("quay.io", "badly/x", true).is_ok());
    }

    #[test]
    fn images_come_from_where_they_may() {
        let pull_only_from = vec!["quay.io/good".into(), "r.test:5000".into()];
        let settings = Settings { pull_only_from, ..bare() };
        let reads = |host, path| settings.endpoints(host, path, true).is_ok();
        assert!(reads("quay.io", "good/x") && reads("r.test:5000", "any/x"));
        assert!(!reads("quay.io", "other/x") && !reads("docker.io", "library/x"));
        assert!(!reads("quay.io", "goodness/x"));
        assert!(settings.endpoints("docker.io", "me/x", false).is_ok(), "a push is no pull");
    }

    #[test]
    fn files_add_places_and_take_some_away() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("registries.conf");
        let text = "[[registry]]\nprefix = \"quay.io/org\"\nlocation = \"moved.test/team\"\n\
                    [[registry.mirror]]\nlocation = \"m.test:5000\"\ninsecure = true\n";
        std::fs::write(&conf, text).unwrap();
        let put = |name: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("hosts.toml"), text).unwrap();
        };
        put("moved.test", "[host.\"http://10.0.0.1/x\"]\ncapabilities = [\"pull\"]\n");
        put("sealed.test", "capabilities = [\"pull\", \"resolve\"]\n");
        let settings = Settings {
            certificates: vec![dir.path().to_owned()],
            registries: Some(conf),
            realms: vec!["owned.test=served.elsewhere".into()],
            ..Settings::default()
        };
        let shown = |host: &str, path: &str| -> Vec<String> {
            let endpoints = settings.endpoints(host, path, true).unwrap();
            let shown = |e: &Endpoint| {
                let stands = e.stands_for.as_deref().unwrap_or("-");
                format!("{}{}{} {stands} {}", e.origin, e.root, e.repository, e.own)
            };
            endpoints.iter().map(shown).collect()
        };
        assert_eq!(
            shown("quay.io", "org/app"),
            [
                "https://m.test:5000/v2/app quay.io false",
                "http://10.0.0.1/x/v2/team/app moved.test false",
                "https://moved.test/v2/team/app quay.io false",
            ]
        );
        assert_eq!(shown("quay.io", "other"), ["https://quay.io/v2/other - true"]);
        let refused = settings.endpoints("sealed.test", "x", false).unwrap_err();
        assert!(refused.to_string().contains("may not be pushed to"), "{refused}");
        assert!(settings.endpoints("sealed.test", "x", true).is_ok());
        put("owned.test", "server = \"https://served.elsewhere\"");
        assert_eq!(
            shown("owned.test", "x"),
            ["https://served.elsewhere/v2/x owned.test true"],
            "the administrator says that they are one"
        );
        put("other.test", "server = \"https://served.elsewhere\"");
        assert_eq!(shown("other.test", "x"), ["https://served.elsewhere/v2/x other.test false"]);
    }

    #[test]
    fn credentials_stay_in_the_registrys_domain() {
        let settings = Settings { realms: vec!["r.one=auth.two".into()], ..bare() };
        let origin = |text: &str| Url::parse(text).unwrap().origin;
        for (registry, realm, trusted) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("https://ghcr.io", "https://evil.io/token", false),
            ("https://ghcr.io", "https://evilghcr.io/token", false),
            ("https://registry.gitlab.example.com", "https://gitlab.example.com/jwt", true),
            ("https://r.example.com", "http://r.example.com/token", false),
            ("http://r.example.com:5000", "http://r.example.com:5001/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "http://0.0.1/token", false),
            ("https://r.one", "https://auth.two/token", true),
            ("https://r.two", "https://auth.two/token", false),
        ] {
            let verdict = settings.trusts_realm(&origin(registry), &origin(realm));
            assert_eq!(verdict, trusted, "{registry} {realm}");
        }
    }

    #[test]
    fn proxies_are_used_unless_excepted() {
        let settings = Settings {
            proxies: (
                "http://u%40x:p@proxy:3128".into(),
                "proxy:3129".into(),
                "*.test.example.com, .example2.com,10.0.0.0/8,exact:8080".into(),
            ),
            ..bare()
        };
        let via = |text: &str| {
            settings.proxy(&Url::parse(text).unwrap().origin).unwrap().map(|p| p.origin.to_string())
        };
        assert_eq!(via("https://r.example").as_deref(), Some("http://proxy:3129"));
        assert_eq!(via("http://r.example").as_deref(), Some("http://proxy:3128"));
        for direct in [
            "http://a.test.example.com",
            "https://b.example2.com",
            "http://10.2.3.4",
            "http://exact:8080",
            "https://localhost:5000",
            "http://127.0.0.1",
        ] {
            assert_eq!(via(direct), None, "{direct}");
        }
        assert!(via("http://exact:8081").is_some());
        let proxy = settings.proxy(&Url::parse("http://r").unwrap().origin).unwrap().unwrap();
        assert_eq!(proxy.user.as_deref(), Some("u@x:p"));
    }
}
