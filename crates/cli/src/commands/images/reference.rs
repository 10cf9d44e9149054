//! Image references, as far as the command line looks at them: whether they can be one, and where
//! the tag begins. The engine decides what they mean.

/// Domains that stand before a repository: with a dot, a port, or this.
const LOCALHOST: &str = "localhost";

/// The domain of names without one.
const DEFAULT_DOMAIN: &str = "docker.io";

/// Refuses what cannot be a reference: `[host[:port]/]path[:tag][@digest]`.
pub(crate) fn check_reference(text: &str) -> Result<(), String> {
    let invalid = || Err("invalid reference format".to_owned());
    let is_id = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return Ok(());
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest
        && !is_digest(digest)
    {
        return invalid();
    }
    if is_digest(name) {
        return Ok(());
    }
    let (repository, tag) = split_tag(name);
    let has_tag = repository.len() < name.len();
    if has_tag && !is_tag(tag) {
        return invalid();
    }
    let (domain, path) = split_domain(repository);
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let path = if domain.is_none() && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        return Err(format!(
            "invalid reference format: repository name ({path}) must be lowercase"
        ));
    }
    if path.is_empty() || !path.split('/').all(is_component) {
        return invalid();
    }
    Ok(())
}

/// Repository and tag; the tag is empty when there is none.
pub(crate) fn split_tag(text: &str) -> (&str, &str) {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

/// A reference with its default tag, and without the default domain, as people say it.
pub(crate) fn familiar(text: &str) -> String {
    let bare = text.strip_prefix("docker.io/").unwrap_or(text);
    let bare = bare.strip_prefix("library/").unwrap_or(bare);
    match text.contains('@') || !split_tag(text).1.is_empty() {
        true => bare.to_owned(),
        false => format!("{bare}:latest"),
    }
}

/// A repository with its domain, and Docker Hub's `library/`.
pub(crate) fn full(repository: &str) -> String {
    let (domain, path) = split_domain(repository);
    match domain {
        Some("index.docker.io") => full(path),
        Some(DEFAULT_DOMAIN) | None if !path.contains('/') => {
            format!("{DEFAULT_DOMAIN}/library/{path}")
        }
        domain => format!("{}/{path}", domain.unwrap_or(DEFAULT_DOMAIN)),
    }
}

/// The whole of a name: domain, path, and tag or digest; `latest` when it says neither.
pub(crate) fn normal(text: &str) -> Result<String, String> {
    check_reference(text)?;
    let (repository, tag) = split_tag(text);
    let repository = full(repository);
    Ok(match (tag, text.split_once('@')) {
        ("", None) => format!("{repository}:latest"),
        ("", Some((_, digest))) => format!("{repository}@{digest}"),
        (tag, None) => format!("{repository}:{tag}"),
        (tag, Some((_, digest))) => format!("{repository}:{tag}@{digest}"),
    })
}

/// The repository of a whole name.
pub(crate) fn repository(name: &str) -> &str {
    split_tag(name).0
}

/// The domain, if there is one, and the path.
pub(crate) fn split_domain(repository: &str) -> (Option<&str>, &str) {
    match repository.split_once('/') {
        Some((domain, path))
            if domain.contains(['.', ':'])
                || domain == LOCALHOST
                || domain.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(domain), path)
        }
        _ => (None, repository),
    }
}

/// A platform in full, `os/arch[/variant]`, from any of its short forms; empty stays empty.
pub(crate) fn platform(text: &str) -> Result<String, String> {
    const OS: [&str; 7] = ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris"];
    const ARCH: [&str; 17] = [
        "amd64", "x86_64", "x86-64", "386", "i386", "arm", "armhf", "armel", "arm64", "aarch64",
        "ppc64le", "s390x", "riscv64", "mips64le", "mips64", "loong64", "ppc64",
    ];
    if text.is_empty() {
        return Ok(String::new());
    }
    let lower = text.to_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let failed =
        |why: String| Err(format!("error parsing specified platform: {why}: invalid argument"));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if parts.len() > 3 {
        return failed(format!("{text:?}: cannot parse platform specifier"));
    }
    if let Some(part) = parts.iter().find(|part| part.is_empty() || !part.chars().all(word)) {
        return failed(format!(
            "{part:?} is an invalid component of {text:?}: platform specifier component must \
             match \"^[A-Za-z0-9_.-]+$\""
        ));
    }
    match parts.as_slice() {
        [os] if OS.contains(os) => Ok(format!("{os}/{}", architecture(std::env::consts::ARCH))),
        [arch] if ARCH.contains(arch) => Ok(format!("linux/{}", architecture(arch))),
        [_] => failed(format!("{text:?}: unknown operating system or architecture")),
        [os, arch] => Ok(format!("{os}/{}", architecture(arch))),
        _ => Ok(lower),
    }
}

/// Go's name of an architecture.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" => "386",
        "armhf" => "arm",
        "armel" => "arm/v6",
        name => name,
    }
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let named = !algorithm.is_empty() && algorithm.bytes().all(|b| b.is_ascii_alphanumeric());
    named && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    tag.len() <= 128 && tag.bytes().all(word) && !tag.is_empty() && !tag.starts_with(['.', '-'])
}

/// Lower-case words with single separators: `.`, `_`, `__` or hyphens.
fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b));
    let separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    let mut runs = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && runs.all(|run| run.is_empty() || separator(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for text in [
            "busybox",
            "a/b",
            "localhost:5000/x:stable",
            "x.io/a/b:1.0",
            "a__b",
            "a--b",
            "x@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(check_reference(text), Ok(()), "{text}");
        }
        for (text, why) in [
            ("I", "invalid reference format: repository name (library/I) must be lowercase"),
            ("img:", "invalid reference format"),
            ("", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a@b", "invalid reference format"),
            (":x", "invalid reference format"),
        ] {
            assert_eq!(check_reference(text).unwrap_err(), why, "{text}");
        }
        assert_eq!(platform("arm64").unwrap(), "linux/arm64");
        assert_eq!(platform("linux/x86_64").unwrap(), "linux/amd64");
        assert!(platform("foo").is_err() && platform("linux/").is_err());
        assert_eq!(split_tag("localhost:5000/x"), ("localhost:5000/x", ""));
        assert_eq!(split_tag("x:1"), ("x", "1"));
        assert_eq!(familiar("docker.io/library/x"), "x:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, whole) in [
            ("x", "docker.io/library/x:latest"),
            ("a/x:1", "docker.io/a/x:1"),
            ("index.docker.io/x", "docker.io/library/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            (&format!("r.io/x@{digest}"), &format!("r.io/x@{digest}")),
            (&format!("r.io/x:1@{digest}"), &format!("r.io/x:1@{digest}")),
        ] {
            assert_eq!(normal(text).unwrap(), whole);
        }
        assert_eq!(repository("localhost:5000/x:1"), "localhost:5000/x");
    }
}
