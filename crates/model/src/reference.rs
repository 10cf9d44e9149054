//! Image references: `[host[:port]/]path[:tag][@digest]`, with Docker's normalisation (no host
//! means docker.io; one path component on docker.io means library/). Grammar: the reference grammar
//! of the OCI distribution spec and Docker's familiar names. This module never talks to a registry.

use crate::digest::Digest;
use crate::error::Denied;
use std::fmt;

/// The host meant by a reference without one.
pub const DEFAULT_HOST: &str = "docker.io";
/// The tag meant by a reference without tag and digest.
pub const DEFAULT_TAG: &str = "latest";
/// The longest repository name (host and path), in bytes.
pub const MAX_NAME_LEN: usize = 255;
/// The longest tag, in bytes.
pub const MAX_TAG_LEN: usize = 128;

/// A normalised image reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Parses and normalises what a user wrote. Without tag and digest the tag stays absent; see
    /// [`ImageRef::or_latest`].
    pub fn parse(text: &str) -> Result<Self, Denied> {
        // Docker's words, which scripts and tests compare.
        let malformed = || Denied::invalid("invalid reference format");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed());
        }
        if name.is_empty() {
            return Err(malformed());
        }
        if crate::id::parse_hex(name).is_some() {
            return Err(Denied::invalid(format!(
                "invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (host, path) = split_host(name);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            let lower = path.to_ascii_lowercase();
            return Err(if is_path(&lower) {
                let why = format!("repository name ({path}) must be lowercase");
                Denied::invalid(format!("invalid reference format: {why}"))
            } else {
                malformed()
            });
        }
        if !is_host(&host) || !is_path(&path) {
            return Err(malformed());
        }
        if host.len() + 1 + path.len() > MAX_NAME_LEN {
            let why = format!("repository name must not be more than {MAX_NAME_LEN} characters");
            return Err(Denied::invalid(format!("invalid reference format: {why}")));
        }
        Ok(Self { host, path, tag: tag.map(str::to_owned), digest })
    }

    /// The registry's host, with port if one was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's path on its host, `library/` included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether both are names of one repository.
    pub fn same_repository(&self, other: &Self) -> bool {
        (&self.host, &self.path) == (&other.host, &other.path)
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same reference with tag `latest` when it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with exactly this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Denied> {
        if !is_tag(tag) {
            return Err(Denied::invalid(format!("invalid tag format: {tag:?}")));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The repository as Docker shows it: without `docker.io/` and `library/`, unless it would be
    /// read as another one then.
    pub fn familiar_name(&self) -> String {
        if self.host == DEFAULT_HOST {
            // By itself, what looks like an id is one.
            let is_name = |name: &&str| !name.contains('/') && crate::id::parse_hex(name).is_none();
            let official = self.path.strip_prefix("library/").filter(is_name);
            let short = official.unwrap_or(&self.path);
            let (host, path) = split_host(short);
            if host == self.host && path == self.path {
                return short.to_owned();
            }
        }
        format!("{}/{}", self.host, self.path)
    }

    /// The whole reference as Docker shows it.
    pub fn familiar(&self) -> String {
        let mut out = self.familiar_name();
        if let Some(tag) = &self.tag {
            out.push(':');
            out.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            out.push('@');
            out.push_str(&digest.to_string());
        }
        out
    }
}

impl fmt::Display for ImageRef {
    /// The canonical form, host included: the key of the image index.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn split_host(name: &str) -> (String, String) {
    let (host, path) = match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_HOST, name),
    };
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    if host == DEFAULT_HOST && !path.contains('/') {
        return (host.to_owned(), format!("library/{path}"));
    }
    (host.to_owned(), path.to_owned())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|p| p.is_empty() || p.len() > 5 || !p.bytes().all(|c| c.is_ascii_digit())) {
        return false;
    }
    if let Some(v6) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return !v6.is_empty() && v6.bytes().all(|c| c.is_ascii_hexdigit() || c == b':');
    }
    name.split('.').all(|label| {
        let raw = label.as_bytes();
        !raw.is_empty()
            && raw.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
            && raw[0] != b'-'
            && raw[raw.len() - 1] != b'-'
    })
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let raw = component.as_bytes();
    let edge = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !raw.first().is_some_and(edge) || !raw.last().is_some_and(edge) {
        return false;
    }
    let mut rest = raw;
    while let Some(start) = rest.iter().position(|c| !edge(c)) {
        let tail = &rest[start..];
        let end = tail.iter().position(edge).unwrap_or(tail.len());
        let separator = &tail[..end];
        let dashes = separator.iter().all(|c| *c == b'-');
        if !(dashes || matches!(separator, b"." | b"_" | b"__")) {
            return false;
        }
        rest = &tail[end..];
    }
    true
}

fn is_tag(tag: &str) -> bool {
    let raw = tag.as_bytes();
    (1..=MAX_TAG_LEN).contains(&raw.len())
        && (raw[0].is_ascii_alphanumeric() || raw[0] == b'_')
        && raw.iter().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_docker_does() {
        let hex = "a".repeat(64);
        for (text, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("a/b:c", "docker.io/a/b:c", "a/b:c"),
            ("index.docker.io/x", "docker.io/library/x", "x"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
            ("quay.io/a/b__c-d.e", "quay.io/a/b__c-d.e", "quay.io/a/b__c-d.e"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            // Not another host's, and no other repository's.
            ("docker.io/library/r.io/x", "docker.io/library/r.io/x", "library/r.io/x"),
            ("docker.io/r.io/x", "docker.io/r.io/x", "docker.io/r.io/x"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            (
                &format!("library/{hex}"),
                &format!("docker.io/library/{hex}"),
                &format!("library/{hex}"),
            ),
            (
                &format!("x@sha256:{hex}"),
                &format!("docker.io/library/x@sha256:{hex}"),
                &format!("x@sha256:{hex}"),
            ),
        ] {
            let parsed = ImageRef::parse(text).unwrap();
            assert_eq!(parsed.to_string(), canonical, "{text}");
            assert_eq!(parsed.familiar(), familiar, "{text}");
            assert_eq!(ImageRef::parse(canonical).unwrap(), parsed);
        }
        assert_eq!(ImageRef::parse("x").unwrap().or_latest().tag(), Some("latest"));
    }

    #[test]
    fn refuses_what_is_no_reference() {
        let long = "a/".repeat(130) + "a";
        for bad in [
            "",
            ":",
            "x:",
            ":x",
            "X",
            "a//b",
            "a/",
            "/a",
            "a..b",
            "a___b",
            "x:-t",
            "x y",
            "../a",
            "x@",
            "x@sha256:zz",
            "x@md5:00",
            "a_-b",
            "-a",
            "é",
            "x:t@",
            &"a".repeat(64),
            &long,
            "foo.com:port/x",
            "foo.com:999999/x",
        ] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?}");
        }
    }
}
