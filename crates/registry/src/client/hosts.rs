//! `hosts.toml`, as containerd reads it (docs/hosts.md there): one directory for each host that
//! names what it stands for, where it is asked, in which order, and how those places are reached.
//! Looked at whenever a repository is asked for, so a change holds from the next pull on.
//!
//! ```text
//! DIR/<host>[:port]/hosts.toml    DIR/<host>_<port>_/hosts.toml    DIR/_default/hosts.toml
//! ```

use super::auth::Credentials;
use super::endpoint::{Endpoint, May, Reach};
use super::toml_file;
use super::url::{Origin, Scheme, Url};
use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The most hosts that one file may name.
const MAX_HOSTS: usize = 64;

/// What is said of one host. The whole file is such a rule, the server's, and the only one that may
/// name the server and further hosts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    server: Option<String>,
    host: Option<Hosts>,
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<Client>,
    skip_verify: Option<bool>,
    #[serde(default)]
    header: Headers,
    #[serde(default)]
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A file with certificate and key, several, or pairs of both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    More(Vec<OneOrMore>),
}

/// Tables whose order counts.
#[derive(Debug)]
struct Ordered<T>(Vec<(String, T)>);
type Hosts = Ordered<Rule>;
type Headers = Ordered<OneOrMore>;

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Ordered(all))
            }
        }
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

/// Where a host's repository is asked for, by the first of its files in `dirs`; nothing when it
/// has none. The last place is the registry itself; `default` is where that is unless the file
/// says otherwise.
pub(crate) fn endpoints(
    dirs: &[PathBuf],
    (host, path): (&str, &str),
    default: &Endpoint,
) -> Result<Option<Vec<Endpoint>>> {
    for name in names(host) {
        for dir in dirs {
            let dir = dir.join(&name);
            let file = dir.join("hosts.toml");
            if let Some(document) = toml_file::read::<Rule>(&file)? {
                let found = of(document, &dir, (host, path), default);
                return found.map(Some).map_err(|why| Error::config(&file, &why));
            }
        }
    }
    Ok(None)
}

/// The directories that are a host's, the nearest first.
fn names(host: &str) -> Vec<String> {
    let mut names = Vec::new();
    // Never out of the directory.
    if !host.starts_with('.') && !host.contains('/') {
        if let Some((name, port)) = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            names.push(format!("{name}_{port}_"));
        }
        names.push(host.to_owned());
    }
    names.push("_default".to_owned());
    names
}

/// What a document says for a repository.
fn of(
    mut own: Rule,
    dir: &Path,
    (host, path): (&str, &str),
    default: &Endpoint,
) -> std::result::Result<Vec<Endpoint>, String> {
    let (server, hosts) = (own.server.take(), own.host.take().unwrap_or_default());
    if hosts.0.len() > MAX_HOSTS {
        return Err(format!("more than {MAX_HOSTS} hosts"));
    }
    let mut found = Vec::new();
    for (address, rule) in hosts.0 {
        let named = |why: String| format!("host {address:?}: {why}");
        if rule.server.is_some() || rule.host.is_some() {
            return Err(named("`server` and `host` stand at the file's top".into()));
        }
        let (origin, root) = place(&address, rule.override_path).map_err(named)?;
        let endpoint = Endpoint {
            stands_for: (origin != default.origin).then(|| host.to_owned()),
            own: default.own && origin == default.origin,
            insecure: false,
            origin,
            root,
            repository: path.to_owned(),
            may: May::ALL,
            reach: None,
            credentials: None,
        };
        found.push(rule.apply(endpoint, dir).map_err(named)?);
    }
    let mut last = default.clone();
    if let Some(server) = server.filter(|server| !server.is_empty()) {
        let (origin, root) = place(&server, own.override_path)?;
        last.stands_for = (origin != default.origin).then(|| host.to_owned());
        last.own &= origin == default.origin;
        if origin != default.origin {
            (last.insecure, last.reach) = (false, None);
        }
        (last.origin, last.root) = (origin, root);
    }
    found.push(own.apply(last, dir)?);
    Ok(found)
}

/// Where an address leads: its origin and the path of the API there.
fn place(address: &str, as_it_is: bool) -> std::result::Result<(Origin, String), String> {
    let whole = match address.contains("://") {
        true => address.to_owned(),
        false => format!("https://{address}"),
    };
    let url = Url::parse(&whole).map_err(|error| error.to_string())?;
    if url.target.contains('?') {
        return Err("a query is not allowed".into());
    }
    let path = url.target.trim_matches('/');
    let whole = path == "v2" || path.ends_with("/v2");
    let root = match (path, as_it_is || whole) {
        ("", true) => "/".to_owned(),
        ("", false) => "/v2/".to_owned(),
        (path, true) => format!("/{path}/"),
        (path, false) => format!("/{path}/v2/"),
    };
    Ok((url.origin, root))
}

impl Rule {
    /// An endpoint by this rule. Files are named from `dir`.
    fn apply(self, mut endpoint: Endpoint, dir: &Path) -> std::result::Result<Endpoint, String> {
        let before = endpoint.reach.take();
        endpoint.may = may(self.capabilities.as_deref())?;
        let mut reach = Reach {
            authorities: match self.ca {
                None => Vec::new(),
                Some(OneOrMore::One(file)) => vec![dir.join(file)],
                Some(OneOrMore::More(files)) => files.iter().map(|file| dir.join(file)).collect(),
            },
            identity: self.client.map(|client| identity(client, dir)).transpose()?,
            skip_verify: self.skip_verify.unwrap_or(before.is_some_and(|r| r.skip_verify)),
            headers: Vec::new(),
            dial_timeout: self.dial_timeout.as_deref().map(duration).transpose()?,
        };
        for (name, values) in self.header.0 {
            let values = match values {
                OneOrMore::One(value) => vec![value],
                OneOrMore::More(values) => values,
            };
            for value in values {
                let fits = HeaderName::from_bytes(name.as_bytes()).is_ok()
                    && HeaderValue::from_str(&value).is_ok();
                if !fits || name.eq_ignore_ascii_case("host") {
                    return Err(format!("{name:?} is no header that can be sent"));
                }
                if name.eq_ignore_ascii_case("authorization") {
                    endpoint.credentials = Some(credentials(&value)?);
                } else {
                    reach.headers.push((name.clone(), value));
                }
            }
        }
        if endpoint.origin.scheme == Scheme::Http && endpoint.credentials.is_some() {
            tracing::warn!(origin = %endpoint.origin, "credentials travel without TLS");
        }
        // Who names authorities means them: nothing falls back to less.
        endpoint.insecure &= reach.authorities.is_empty();
        endpoint.reach = (reach != Reach::default()).then(|| Arc::new(reach));
        Ok(endpoint)
    }
}

fn may(capabilities: Option<&[String]>) -> std::result::Result<May, String> {
    let Some(names) = capabilities.filter(|names| !names.is_empty()) else { return Ok(May::ALL) };
    let mut may = May { tags: false, digests: false, content: false, push: false };
    for name in names {
        match name.as_str() {
            "pull" => (may.content, may.digests) = (true, true),
            "resolve" => may.tags = true,
            "push" => may.push = true,
            other => return Err(format!("unknown capability {other:?}")),
        }
    }
    Ok(may)
}

/// Of several the first: one is shown.
fn identity(client: Client, dir: &Path) -> std::result::Result<(PathBuf, PathBuf), String> {
    let first = match client {
        Client::One(file) => Some(OneOrMore::One(file)),
        Client::More(all) => all.into_iter().next(),
    };
    let both = |cert: &str, key: &str| {
        let key = if key.is_empty() { cert } else { key };
        (dir.join(cert), dir.join(key))
    };
    match first {
        Some(OneOrMore::One(file)) => Ok(both(&file, "")),
        Some(OneOrMore::More(pair)) => match pair.as_slice() {
            [cert] => Ok(both(cert, "")),
            [cert, key] => Ok(both(cert, key)),
            _ => Err("client: want a file, or a certificate and its key".into()),
        },
        None => Err("client: names no file".into()),
    }
}

/// What an `Authorization` header says, so that it also serves where tokens are given for it.
fn credentials(header: &str) -> std::result::Result<Credentials, String> {
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(Credentials { registry_token: rest.to_owned(), ..Credentials::default() });
    }
    let account = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match account.as_deref().and_then(|account| account.split_once(':')) {
        Some((username, password)) if scheme.eq_ignore_ascii_case("basic") => Ok(Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
            ..Credentials::default()
        }),
        _ => Err("Authorization is neither `Basic` with an account nor `Bearer`".into()),
    }
}

/// Go's form of a duration: `10s`, `1m30s`, `500ms`.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let bad = || format!("dial_timeout: {text:?} is no duration");
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        seconds += number.parse::<f64>().map_err(|_| bad())? * unit;
        rest = after;
    }
    let fits = (0.001..=3600.0).contains(&seconds);
    fits.then(|| Duration::from_secs_f64(seconds)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Endpoint {
        Endpoint {
            origin: Origin::of(Scheme::Https, "quay.io").unwrap(),
            root: "/v2/".into(),
            repository: "org/app".into(),
            stands_for: None,
            own: true,
            insecure: false,
            may: May::ALL,
            reach: None,
            credentials: None,
        }
    }

    fn read(text: &str) -> std::result::Result<Vec<Endpoint>, String> {
        let document = toml_file::parse(text)?;
        of(document, Path::new("/certs.d/quay.io"), ("quay.io", "org/app"), &default())
    }

    #[test]
    fn hosts_are_asked_in_their_order_and_the_server_last() {
        let found = read(
            r#"
            server = "https://registry.quay.example"
            capabilities = ["pull", "resolve"]

            [host."https://z.mirror:8443/cache"]
            capabilities = ["pull"]
            ca = ["z.pem", "/etc/z.pem"]
            client = [["z.cert", "z.key"], ["other.pem", ""]]
            dial_timeout = "1m1.5s"

            [host."http://10.0.0.1:5000/v2"]
            capabilities = ["pull", "resolve", "push"]
            [host."http://10.0.0.1:5000/v2".header]
            x-meta = ["a", "b"]
            Authorization = "Basic dTpwOnc="

            [host."a.mirror/v2/proxy"]
            skip_verify = true
            override_path = true
            "#,
        )
        .unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|e| {
                let stands = e.stands_for.as_deref().unwrap_or("-");
                format!("{}{}{} {stands} {}", e.origin, e.root, e.repository, e.own)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "https://z.mirror:8443/cache/v2/org/app quay.io false",
                "http://10.0.0.1:5000/v2/org/app quay.io false",
                "https://a.mirror/v2/proxy/org/app quay.io false",
                "https://registry.quay.example/v2/org/app quay.io false",
            ]
        );
        let reach = found[0].reach.as_ref().unwrap();
        assert_eq!(
            reach.authorities,
            [PathBuf::from("/certs.d/quay.io/z.pem"), PathBuf::from("/etc/z.pem")]
        );
        let pair = ("/certs.d/quay.io/z.cert".into(), "/certs.d/quay.io/z.key".into());
        assert_eq!(reach.identity, Some(pair));
        assert_eq!(reach.dial_timeout, Some(Duration::from_millis(61_500)));
        assert!(!found[0].may.tags && found[0].may.content && !found[0].may.push);
        let second = found[1].reach.as_ref().unwrap();
        assert_eq!(second.headers, [("x-meta".into(), "a".into()), ("x-meta".into(), "b".into())]);
        let known = found[1].credentials.as_ref().unwrap();
        assert_eq!((known.username.as_str(), known.password.as_str()), ("u", "p:w"));
        assert!(found[2].reach.as_ref().unwrap().skip_verify);
        assert_eq!(found[2].may, May::ALL);
        assert!(!found[3].may.push && found[3].may.tags);
    }

    #[test]
    fn without_a_server_the_registry_itself_is_last() {
        let found = read("[host.\"https://quay.io\"]\ncapabilities = [\"pull\"]\n").unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].own && found[0].stands_for.is_none());
        assert_eq!(found[1], default());
        assert_eq!(read("").unwrap(), [default()]);
    }

    #[test]
    fn what_is_misspelt_is_said_with_its_line_and_not_repeated() {
        for (text, words) in [
            ("\n\nskip-verify = true", "line 3"),
            ("[host.\"m\"]\ncapabilites = [\"pull\"]", "line 2"),
            ("[host.\"m\"]\nserver = \"secret\"", "at the file's top"),
            ("[host.\"m\".host.\"secret\"]", "at the file's top"),
            ("[host.\"m\"]\ncapabilities = [\"pul\"]", "unknown capability \"pul\""),
            ("server = \"ftp://x\"", "bad URL"),
            ("[host.\"https://u:p@m\"]", "bad URL"),
            ("[host.\"https://m?x\"]", "a query"),
            ("[header]\n\"a b\" = \"c\"", "no header"),
            ("[header]\nhost = \"c\"", "no header"),
            ("[header]\nAuthorization = \"secret\"", "neither"),
            ("dial_timeout = \"5\"", "no duration"),
            ("dial_timeout = \"5y\"", "no duration"),
            ("client = []", "names no file"),
            ("client = [[\"a\", \"b\", \"c\"]]", "a certificate and its key"),
            ("header = \"secret\"", "line 1"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(words) && !why.contains("secret"), "{text:?}: {why}");
        }
    }

    #[test]
    fn the_nearest_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, server: &str| {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            let text = format!("server = \"https://{server}\"");
            std::fs::write(dir.path().join(name).join("hosts.toml"), text).unwrap();
        };
        let dirs = [dir.path().join("none"), dir.path().to_owned()];
        let server = |host: &str| {
            let found = endpoints(&dirs, (host, "x"), &default()).unwrap();
            found.map(|found| found[0].origin.host.clone())
        };
        assert_eq!(server("r.test:5000"), None);
        put("_default", "default");
        put("r.test_5001_", "under");
        put("r.test:5002", "colon");
        assert_eq!(server("r.test:5000").as_deref(), Some("default"));
        assert_eq!(server("r.test:5001").as_deref(), Some("under"));
        assert_eq!(server("r.test:5002").as_deref(), Some("colon"));
        assert_eq!(server("..").as_deref(), Some("default"));
        std::fs::write(dir.path().join("r.test:5002/hosts.toml"), "server = 1").unwrap();
        let why = endpoints(&dirs, ("r.test:5002", "x"), &default()).unwrap_err().to_string();
        assert!(why.contains("r.test:5002/hosts.toml") && why.contains("line 1"), "{why}");
    }
}
