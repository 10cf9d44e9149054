//! Which files of a directory the daemon wants, as it says in a call's headers. Follows symbolic
//! links of the user's own directory, nothing else.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::patterns::{Pattern, glob};

/// How many links a path may lead over.
const MAX_LINKS: usize = 64;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    follow: Vec<String>,
    /// Everything but what is excluded.
    all: bool,
}

impl Filter {
    /// Reads a call's headers.
    pub(super) fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let include = list(metadata, "include-patterns")?;
        let follow = list(metadata, "followpaths")?;
        let exclude = list(metadata, "exclude-patterns")?;
        let parse = |texts: &[String]| -> Vec<Pattern> {
            texts.iter().filter_map(|text| Pattern::parse(text)).collect()
        };
        Ok(Self {
            all: include.is_empty() && follow.is_empty(),
            include: parse(&include),
            exclude: parse(&exclude),
            follow,
        })
    }

    /// Adds what the paths to be followed lead to.
    pub(super) fn resolve(&mut self, root: impl AsFd) {
        let mut found = BTreeSet::new();
        for path in std::mem::take(&mut self.follow) {
            let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
            let parts: Vec<String> = parts.map(str::to_owned).collect();
            if parts.is_empty() {
                self.all = true;
            }
            follow(root.as_fd(), Vec::new(), &parts, MAX_LINKS, &mut found);
        }
        for path in found {
            let escaped: String = path
                .chars()
                .flat_map(|c| {
                    let special = matches!(c, '*' | '?' | '[' | '\\');
                    special.then_some('\\').into_iter().chain([c])
                })
                .collect();
            self.include.extend(Pattern::parse(&escaped));
        }
    }

    /// Whether a path itself is wanted.
    pub(super) fn wants(&self, path: &[&str]) -> bool {
        let included = self.all || self.include.iter().any(|pattern| pattern.takes(path));
        included && !self.excludes(path)
    }

    /// Whether something below a directory may be wanted.
    pub(super) fn enters(&self, path: &[&str]) -> bool {
        let included =
            self.all || self.include.iter().any(|it| it.takes(path) || it.reaches_below(path));
        // An exception may bring back something below.
        included && (!self.excludes(path) || self.exclude.iter().any(|it| it.exception))
    }

    fn excludes(&self, path: &[&str]) -> bool {
        let last = self.exclude.iter().rev().find(|pattern| pattern.takes(path));
        last.is_some_and(|pattern| !pattern.exception)
    }
}

/// A list of a call's headers, unescaped if it is marked so.
fn list(metadata: &MetadataMap, key: &str) -> Result<Vec<String>, Status> {
    let escaped = metadata.get(format!("{key}-encoded")).is_some_and(|mark| mark == "1");
    let text = |value: &tonic::metadata::AsciiMetadataValue| {
        let text = value.to_str().ok()?;
        if escaped { unescape(text) } else { Some(text.to_owned()) }
    };
    let wrong = || Status::invalid_argument(format!("{key} cannot be read"));
    metadata.get_all(key).iter().map(|value| text(value).ok_or_else(wrong)).collect()
}

/// Go's `url.QueryUnescape`.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                bytes.push(u8::try_from(value).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Walks along a path, over links, and notes every path that is needed on the way.
fn follow(
    root: BorrowedFd<'_>,
    at: Vec<String>,
    rest: &[String],
    links: usize,
    found: &mut BTreeSet<String>,
) {
    let Some((part, rest)) = rest.split_first() else {
        found.insert(at.join("/"));
        return;
    };
    if part == ".." {
        let mut up = at;
        up.pop();
        return follow(root, up, rest, links, found);
    }
    for name in names(root, &at, part) {
        let mut path = at.clone();
        path.push(name);
        let text = path.join("/");
        let Ok(target) = readlinkat(root, text.as_str(), Vec::new()) else {
            follow(root, path, rest, links, found);
            continue;
        };
        found.insert(text);
        let Ok(target) = target.into_string() else { continue };
        if links == 0 {
            continue;
        }
        let begin = match target.starts_with('/') {
            true => Vec::new(),
            false => at.clone(),
        };
        let steps = target.split('/').filter(|part| !part.is_empty() && *part != ".");
        let steps: Vec<String> = steps.map(str::to_owned).chain(rest.iter().cloned()).collect();
        follow(root, begin, &steps, links - 1, found);
    }
}

/// The names that a part means: itself, or those in the directory that it matches.
fn names(root: BorrowedFd<'_>, at: &[String], part: &str) -> Vec<String> {
    if !part.contains(['*', '?', '[', '\\']) {
        return vec![part.to_owned()];
    }
    let dir = match at {
        [] => ".".to_owned(),
        at => at.join("/"),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = openat(root, dir.as_str(), flags, Mode::empty()) else { return Vec::new() };
    let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return Vec::new() };
    let pattern: Vec<char> = part.chars().collect();
    let names =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
    let fits = |name: &String| {
        let chars: Vec<char> = name.chars().collect();
        name != "." && name != ".." && glob(&pattern, &chars)
    };
    names.filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str], follow: &[&str]) -> Filter {
        let mut metadata = MetadataMap::new();
        for (key, list) in
            [("include-patterns", include), ("exclude-patterns", exclude), ("followpaths", follow)]
        {
            for value in list {
                metadata.append(key, value.parse().unwrap());
            }
        }
        Filter::read(&metadata).unwrap()
    }

    #[test]
    fn what_is_wanted() {
        let all = filter(&[], &["*.log", "node_modules", "!keep.log"], &[]);
        assert!(all.wants(&["a"]) && all.wants(&["keep.log"]) && !all.wants(&["x.log"]));
        assert!(!all.wants(&["node_modules", "x"]) && all.enters(&["node_modules"]));
        let pruned = filter(&[], &["node_modules"], &[]);
        assert!(!pruned.enters(&["node_modules"]));
        let one = filter(&["dir/Dockerfile"], &[], &[]);
        assert!(one.enters(&["dir"]) && !one.wants(&["dir"]) && !one.enters(&["other"]));
        assert!(one.wants(&["dir", "Dockerfile"]));
    }

    #[test]
    fn links_are_followed_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/file"), "").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/real/file", dir.path().join("absolute")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let mut some = filter(&[], &[], &["link/file", "absolu*"]);
        some.resolve(&root);
        for wanted in [&["link"][..], &["real", "file"], &["absolute"]] {
            assert!(some.wants(wanted), "{wanted:?}");
        }
        assert!(!some.wants(&["other"]));
    }

    #[test]
    fn escaped_lists() {
        let mut metadata = MetadataMap::new();
        metadata.append("followpaths", "%C3%A4+b".parse().unwrap());
        metadata.insert("followpaths-encoded", "1".parse().unwrap());
        assert_eq!(list(&metadata, "followpaths").unwrap(), ["ä b"]);
        metadata.append("followpaths", "%zz".parse().unwrap());
        assert!(list(&metadata, "followpaths").is_err());
    }
}
