//! `registries.conf`, second form (containers-registries.conf(5)): rules for names that begin
//! alike, whichever host they are of: other places to ask, mirrors, and what may not be asked for.
//! Names without a host stay Docker Hub's, whatever the file says of them.

use super::toml_file;
use crate::error::{Error, Result};
use model::Denied;
use serde::Deserialize;
use std::path::Path;

/// The most rules of a file.
const MAX_RULES: usize = 1024;

#[derive(Debug, Default, Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Rule>,
    /// The first form, which nobody should meet any more.
    registries: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// What a file says of a repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruled {
    /// Where it is asked for first, in order.
    pub(crate) mirrors: Vec<Place>,
    /// Where it really is, if not under its name.
    pub(crate) location: Option<(String, String)>,
    /// The registry need not be checked.
    pub(crate) insecure: bool,
}

/// A mirror.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) insecure: bool,
    /// Serves names with a tag.
    pub(crate) tags: bool,
    /// Serves names with a digest.
    pub(crate) digests: bool,
}

/// What a file says of a repository; nothing special when there is no file.
///
/// # Errors
/// The file is wrong, or forbids the repository.
pub(crate) fn rules(file: &Path, (host, path): (&str, &str)) -> Result<Ruled> {
    let Some(document) = toml_file::read::<Document>(file)? else { return Ok(Ruled::default()) };
    let wrong = |why: &str| Error::config(file, &why);
    let name = format!("{host}/{path}");
    let rule = find(&document, &name).map_err(|why| wrong(&why))?;
    let Some((rule, rest)) = rule else { return Ok(Ruled::default()) };
    if rule.blocked {
        let message = format!("registry {host} is blocked by the administrator");
        return Err(Denied { kind: model::ErrorKind::Forbidden, message }.into());
    }
    rule.read(rest).map_err(|why| wrong(&why))
}

/// The rule with the longest prefix of a name, and what follows the prefix.
fn find<'a>(
    document: &'a Document,
    name: &'a str,
) -> std::result::Result<Option<(&'a Rule, &'a str)>, String> {
    if document.registries.is_some() {
        return Err("the first form of this file, [registries.…], is not read".into());
    }
    if document.registry.len() > MAX_RULES {
        return Err(format!("more than {MAX_RULES} rules"));
    }
    let mut best: Option<(usize, &Rule, &str)> = None;
    for rule in &document.registry {
        let prefix = if rule.prefix.is_empty() { &rule.location } else { &rule.prefix };
        if prefix.is_empty() {
            return Err("a rule without prefix and location".into());
        }
        let after_host = prefix.split_once('/').map_or("", |(_, path)| path);
        if after_host.contains([':', '@']) {
            return Err(format!("prefix {prefix:?}: a tag or a digest is not a prefix here"));
        }
        if prefix.starts_with("*.") && prefix.contains('/') {
            return Err(format!("prefix {prefix:?}: `*.` stands for hosts, without a path"));
        }
        let Some(rest) = rest(name, prefix) else { continue };
        if best.is_none_or(|(len, ..)| prefix.len() > len) {
            best = Some((prefix.len(), rule, rest));
        }
    }
    Ok(best.map(|(_, rule, rest)| (rule, rest)))
}

/// What follows a prefix in a name, if it has it.
fn rest<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or(name);
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        return (host.ends_with(domain) || bare.ends_with(domain)).then(|| &name[host.len()..]);
    }
    let rest = name.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

impl Rule {
    fn read(&self, rest: &str) -> std::result::Result<Ruled, String> {
        let mut mirrors = Vec::new();
        for mirror in &self.mirror {
            let (host, path) = split(&mirror.location, rest)?;
            let from = match self.mirror_by_digest_only {
                true => PullFrom::DigestOnly,
                false => mirror.pull_from_mirror,
            };
            mirrors.push(Place {
                host,
                path,
                insecure: mirror.insecure,
                tags: from != PullFrom::DigestOnly,
                digests: from != PullFrom::TagOnly,
            });
        }
        let location = match self.location.is_empty() {
            true => None,
            false => Some(split(&self.location, rest)?),
        };
        Ok(Ruled { mirrors, location, insecure: self.insecure })
    }
}

/// Host and path of a location with the rest of a name.
fn split(location: &str, rest: &str) -> std::result::Result<(String, String), String> {
    let bad = |why: &str| format!("location {location:?}: {why}");
    if location.contains("://") {
        return Err(bad("a host and a path, without a scheme"));
    }
    let whole = format!("{}{rest}", location.trim_end_matches('/'));
    match whole.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            Ok((host.to_ascii_lowercase(), path.to_owned()))
        }
        // Whoever logs in asks for no repository.
        _ if rest == "/" || rest.is_empty() => Ok((whole.to_ascii_lowercase(), String::new())),
        _ => Err(bad("no host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        unqualified-search-registries = ["quay.io"]
        short-name-mode = "enforcing"

        [[registry]]
        prefix = "quay.io"
        [[registry.mirror]]
        location = "10.0.0.1:5000/quay"
        insecure = true
        [[registry.mirror]]
        location = "m.example"
        pull-from-mirror = "digest-only"

        [[registry]]
        prefix = "quay.io/moved/app"
        location = "new.example/team/app"

        [[registry]]
        prefix = "*.bad.example"
        blocked = true

        [[registry]]
        location = "plain.example:5000"
        insecure = true
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "other.example"

        [aliases]
        "x" = "quay.io/x"
    "#;

    fn of(text: &str, name: &str) -> Result<Ruled> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("registries.conf");
        std::fs::write(&file, text).unwrap();
        let (host, path) = name.split_once('/').unwrap();
        rules(&file, (host, path))
    }

    #[test]
    fn the_longest_prefix_decides() {
        let ruled = of(FILE, "quay.io/org/app").unwrap();
        let shown: Vec<_> = ruled
            .mirrors
            .iter()
            .map(|m| format!("{}/{} {} {} {}", m.host, m.path, m.insecure, m.tags, m.digests))
            .collect();
        assert_eq!(
            shown,
            ["10.0.0.1:5000/quay/org/app true true true", "m.example/org/app false false true"]
        );
        assert_eq!(ruled.location, None);
        let moved = of(FILE, "quay.io/moved/app").unwrap();
        assert_eq!(moved.location, Some(("new.example".into(), "team/app".into())));
        let below = of(FILE, "quay.io/moved/app/part").unwrap();
        assert_eq!(below.location, Some(("new.example".into(), "team/app/part".into())));
        let plain = of(FILE, "plain.example:5000/a/b").unwrap();
        assert_eq!(plain.location, Some(("plain.example:5000".into(), "a/b".into())));
        assert!(plain.insecure && !plain.mirrors[0].tags && plain.mirrors[0].digests);
        for other in ["quay.iox/a", "docker.io/library/x", "bad.example/x"] {
            assert_eq!(of(FILE, other).unwrap(), Ruled::default(), "{other}");
        }
        assert!(of(FILE, "quay.io/moved/apples").unwrap().location.is_none());
    }

    #[test]
    fn what_is_blocked_is_refused() {
        for name in ["a.bad.example/x", "b.a.bad.example/x", "a.bad.example:5000/x"] {
            let refused = of(FILE, name).unwrap_err().to_string();
            assert!(refused.contains("blocked by the administrator"), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (text, words) in [
            ("[[registry]]\nblocked = true", "without prefix"),
            ("[[registry]]\nprefix = \"a/b:1\"", "not a prefix"),
            ("[[registry]]\nprefix = \"*.a/b\"", "without a path"),
            ("[[registry]]\nprefix = \"q\"\nlocation = \"https://x\"", "without a scheme"),
            ("[[registry]]\nprefix = \"q\"\nblokced = true", "line 3"),
            ("[registries.search]\nregistries = []", "first form"),
        ] {
            let why = of(text, "q/x").unwrap_err().to_string();
            assert!(why.contains(words) && why.contains("registries.conf"), "{text:?}: {why}");
        }
        let none = rules(Path::new("/none/registries.conf"), ("q", "x")).unwrap();
        assert_eq!(none, Ruled::default());
    }
}
