//! URLs of registries: where a request goes, and who may see its credentials. Pure.

use crate::error::{Error, Result};
use std::fmt;

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Scheme, host and port: what credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Lower case; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An absolute URL, as far as HTTP needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query, beginning with `/`.
    pub(crate) target: String,
}

impl Origin {
    /// The origin of `host[:port]`.
    pub(crate) fn of(scheme: Scheme, authority: &str) -> Result<Self> {
        let bad = || Error::bad(format!("bad address {authority:?}"));
        let default = if scheme == Scheme::Https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(bad)?;
                (host, after.strip_prefix(':').unwrap_or(after))
            }
            None => authority.rsplit_once(':').unwrap_or((authority, "")),
        };
        let port = if port.is_empty() { default } else { port.parse().map_err(|_| bad())? };
        let fits = |c: u8| c.is_ascii_alphanumeric() || b".-_:%".contains(&c);
        if host.is_empty() || port == 0 || !host.bytes().all(fits) {
            return Err(bad());
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// `host[:port]`, the port only when it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.scheme, self.port) {
            (Scheme::Https, 443) | (Scheme::Http, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Url {
    /// Parses an absolute `http` or `https` URL. One that carries a user is refused.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = || Error::bad(format!("bad URL {text:?}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad()),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let origin = Origin::of(scheme, authority).map_err(|_| bad())?;
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Self { origin, target }.checked(text)
    }

    /// What a `Location` means that came with this URL.
    pub(crate) fn join(&self, location: &str) -> Result<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.origin.scheme == Scheme::Https { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let target = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(dir, _)| dir)),
            None => return Err(Error::bad("empty Location")),
        };
        Self { origin: self.origin.clone(), target }.checked(location)
    }

    /// For messages: without the query, which may carry a secret.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.origin, self.target.split('?').next().unwrap_or_default())
    }

    /// Where a `Location` leads that came with this URL. What began with TLS goes on with it
    /// (law D4): a redirect, the place of an upload, the next page of a list.
    pub(crate) fn follow(&self, location: &str) -> Result<Self> {
        let next = self.join(location)?;
        if self.origin.scheme == Scheme::Https && next.origin.scheme == Scheme::Http {
            let from = self.shown();
            return Err(Error::bad(format!(
                "{from} redirects to {}: not without TLS",
                next.origin
            )));
        }
        Ok(next)
    }

    /// The same with one more query parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.push_str(&encode(value));
        self
    }

    fn checked(self, text: &str) -> Result<Self> {
        // What could end a request line, or is no character of a URL.
        if self.target.bytes().all(|c| (b'!'..=b'~').contains(&c)) && self.target.len() <= 16 << 10
        {
            return Ok(self);
        }
        Err(Error::bad(format!("bad URL {text:?}")))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

/// Percent-encodes a query value (RFC 3986 unreserved characters stay, and `:/,` for readers).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b':' | b'/' | b',' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_joined() {
        for (text, origin, target) in [
            ("https://R.example/v2/", "https://r.example", "/v2/"),
            ("http://[::1]:5000", "http://[::1]:5000", "/"),
            ("https://r.example:443?x=1#frag", "https://r.example", "/?x=1"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin.to_string().as_str(), url.target.as_str()), (origin, target));
        }
        let base = Url::parse("https://r.example/v2/a/blobs/uploads/?x=1").unwrap();
        for (location, want) in [
            ("/v2/b", "https://r.example/v2/b"),
            ("abc?_state=1", "https://r.example/v2/a/blobs/uploads/abc?_state=1"),
            ("?y=2", "https://r.example/v2/a/blobs/uploads/?y=2"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("http://cdn.example/x", "http://cdn.example/x"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), want);
        }
        assert_eq!(base.follow("/v2/b").unwrap().to_string(), "https://r.example/v2/b");
        let refused = base.follow("http://cdn.example/x").unwrap_err().to_string();
        assert!(refused.ends_with("redirects to http://cdn.example: not without TLS"), "{refused}");
        let plain = Url::parse("http://r.example/").unwrap();
        assert!(plain.follow("https://r.example/").is_ok());
        assert_eq!(
            base.with("digest", "sha256:a b").target,
            "/v2/a/blobs/uploads/?x=1&digest=sha256:a%20b"
        );
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "r.example",
            "ftp://r.example/",
            "https://",
            "https://user:pw@r.example/",
            "https://r.example/a b",
            "https://r.example/\r\nX: y",
            "https://r.example:0/",
            "https://r.example:99999/",
            "https://[::1/",
            "https://r.example/\u{e9}",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }
}
