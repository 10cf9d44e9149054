//! Addresses of git trees: `https://host/repo.git#ref:subdir`, `git@host:repo`, `?ref=…&subdir=…`
//! (BuildKit's `dfgitutil`). Pure; laws about what git may be asked are enforced where it is run.

use crate::graph::Git;
use crate::text::{clean_path, parse_bool, quote};

/// The secret that holds a token for HTTP remotes, as BuildKit names it.
const TOKEN_SECRET: &str = "GIT_AUTH_TOKEN";
/// The secret that holds an authorization header for HTTP remotes.
const HEADER_SECRET: &str = "GIT_AUTH_HEADER";

/// A git address with what only its reader decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitAddress {
    /// The source.
    pub git: Git,
    /// `?keep-git-dir=`.
    pub keep_git_dir: Option<bool>,
}

/// Parses an address. `None` when it is no git address: a path, or a plain URL. `short` allows
/// `github.com/…` without a scheme, as build contexts may be written.
pub fn parse(text: &str, short: bool) -> Option<Result<GitAddress, String>> {
    if text.starts_with("./") || text.starts_with("../") || text.contains(char::is_whitespace) {
        return None;
    }
    if short && text.starts_with("github.com/") {
        return Some(address(&format!("https://{text}")));
    }
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let path = rest.split(['#', '?']).next().unwrap_or(rest);
            match scheme.to_ascii_lowercase().as_str() {
                "git" | "ssh" => Some(address(text)),
                // Any other page of the web is just a file.
                "http" | "https" if path.ends_with(".git") => Some(address(text)),
                _ => None,
            }
        }
        None if is_scp(text) => Some(address(text)),
        None => None,
    }
}

/// `user@host:path`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let word = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    // Neither part may look like an option of ssh.
    word(user, &['-', '_'])
        && word(host, &['-', '.'])
        && !user.starts_with('-')
        && !host.starts_with('-')
        && !path.is_empty()
}

fn address(text: &str) -> Result<GitAddress, String> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let is_web = remote.to_ascii_lowercase().starts_with("http");
    let mut out = GitAddress {
        git: Git {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            subdir: inside(subdir),
            ..Git::default()
        },
        keep_git_dir: None,
    };
    if is_web {
        TOKEN_SECRET.clone_into(&mut out.git.token_secret);
        HEADER_SECRET.clone_into(&mut out.git.header_secret);
    } else if !remote.starts_with("git://") {
        "default".clone_into(&mut out.git.ssh);
    }
    let mut seen = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&key) {
            return Err(format!("query {} has multiple values", quote(key)));
        }
        seen.push(key);
        out.apply(key, &decoded(value))?;
    }
    if seen.contains(&"tag") && seen.contains(&"branch") {
        return Err("branch conflicts with tag".to_owned());
    }
    if out.git.reference.starts_with('-') {
        return Err(format!("invalid git reference {}", quote(&out.git.reference)));
    }
    Ok(out)
}

impl GitAddress {
    fn apply(&mut self, key: &str, value: &str) -> Result<(), String> {
        let flag = |value: &str| match value {
            "" => Ok(true),
            value => parse_bool(value).ok_or(format!("invalid {key} value: {}", quote(value))),
        };
        if value.is_empty() && !matches!(key, "submodules" | "keep-git-dir" | "fetch-by-commit") {
            return Err(format!("query {} has no value", quote(key)));
        }
        match key {
            "ref" => self.refer(value.to_owned()),
            "tag" => self.refer(under("refs/tags/", value)),
            "branch" => self.refer(under("refs/heads/", value)),
            "subdir" => {
                let subdir = inside(value);
                if !self.git.subdir.is_empty() && self.git.subdir != subdir {
                    let had = quote(&self.git.subdir);
                    return Err(format!("subdir conflicts: {had} vs {}", quote(value)));
                }
                self.git.subdir = subdir;
                Ok(())
            }
            "checksum" | "commit" => {
                value.clone_into(&mut self.git.checksum);
                Ok(())
            }
            "keep-git-dir" => flag(value).map(|keep| self.keep_git_dir = Some(keep)),
            "submodules" => flag(value).map(|take| self.git.skip_submodules = !take),
            // How a commit is fetched changes nothing of the tree.
            "fetch-by-commit" => flag(value).map(|_| ()),
            "mtime" if value == "checkout" => Ok(()),
            "mtime" => Err(format!("invalid mtime value: {} (must be \"checkout\")", quote(value))),
            _ => Err(format!("unexpected query {}", quote(key))),
        }
    }

    fn refer(&mut self, reference: String) -> Result<(), String> {
        if !self.git.reference.is_empty() && self.git.reference != reference {
            let had = quote(&self.git.reference);
            return Err(format!("ref conflicts: {had} vs {}", quote(&reference)));
        }
        self.git.reference = reference;
        Ok(())
    }
}

fn under(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name))
}

/// A directory within a tree, as a relative path that cannot leave it.
fn inside(path: &str) -> String {
    clean_path(&format!("/{path}")).trim_start_matches('/').to_owned()
}

/// Percent-decoding; what is no escape stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files() {
        for (text, want) in [
            ("https://h/r.git", Some(("https://h/r.git", "", ""))),
            ("https://h/r.git#v1:sub/dir", Some(("https://h/r.git", "v1", "sub/dir"))),
            ("https://h/r.git#:../../x", Some(("https://h/r.git", "", "x"))),
            ("http://h/r.git?ref=a&subdir=b", Some(("http://h/r.git", "a", "b"))),
            ("https://h/r.git?tag=v1", Some(("https://h/r.git", "refs/tags/v1", ""))),
            ("https://h/r.git?branch=m", Some(("https://h/r.git", "refs/heads/m", ""))),
            ("git@h.x:o/r.git#main", Some(("git@h.x:o/r.git", "main", ""))),
            ("ssh://git@h/r", Some(("ssh://git@h/r", "", ""))),
            ("git://h/r", Some(("git://h/r", "", ""))),
            ("https://h/page.html", None),
            ("./a.git", None),
            ("a@b", None),
            ("dir/file", None),
            ("-x@h:p", None),
            ("ftp://h/r.git", None),
        ] {
            let parsed = parse(text, false).map(Result::unwrap);
            let got = parsed.as_ref().map(|address| {
                let Git { remote, reference, subdir, .. } = &address.git;
                (remote.as_str(), reference.as_str(), subdir.as_str())
            });
            assert_eq!(got, want, "{text}");
        }
        assert!(
            parse("github.com/a/b", true).is_some() && parse("github.com/a/b", false).is_none()
        );
        for (text, want) in [
            ("https://h/r.git#a?ref=b", None),
            ("https://h/r.git?ref=b#a", Some("ref conflicts: \"a\" vs \"b\"")),
            ("https://h/r.git?x=1", Some("unexpected query \"x\"")),
            ("https://h/r.git?ref=", Some("query \"ref\" has no value")),
            ("https://h/r.git?ref=a&ref=a", Some("query \"ref\" has multiple values")),
            ("https://h/r.git?submodules=2", Some("invalid submodules value: \"2\"")),
            ("https://h/r.git#--upload-pack=x", Some("invalid git reference \"--upload-pack=x\"")),
        ] {
            assert_eq!(parse(text, false).unwrap().err().as_deref(), want, "{text}");
        }
        let parsed = parse("https://h/r.git?keep-git-dir&submodules=0&commit=ab", false);
        let parsed = parsed.unwrap().unwrap();
        assert_eq!((parsed.keep_git_dir, parsed.git.skip_submodules), (Some(true), true));
        assert_eq!(parsed.git.checksum, "ab");
    }
}
