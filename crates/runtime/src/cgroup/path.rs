//! The path of a cgroup below a tree's mount point: checking it and making its directories.
//! Knows no limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::error::CgroupError;
use super::file::Dir;

/// The longest path that is accepted, in bytes.
const MAX_PATH_BYTES: usize = 3072;
/// The longest name of one directory, in bytes (NAME_MAX).
const MAX_NAME_BYTES: usize = 255;
/// The deepest path that is accepted.
const MAX_DEPTH: usize = 32;

/// A checked path: one leading `/`, no empty, `.` or `..` component, not the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupPath(String);

impl CgroupPath {
    /// Accepts `/a/b` and `a/b`; repeated slashes count as one.
    pub(super) fn parse(path: &str) -> Result<CgroupPath, CgroupError> {
        let bad = |reason| CgroupError::BadPath { path: path.chars().take(256).collect(), reason };
        if path.len() > MAX_PATH_BYTES {
            return Err(bad("longer than 3072 bytes"));
        }
        let mut clean = String::with_capacity(path.len() + 1);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if name == "." || name == ".." {
                return Err(bad("`.` and `..` are not allowed"));
            }
            if name.len() > MAX_NAME_BYTES {
                return Err(bad("a name is longer than 255 bytes"));
            }
            if name.chars().any(char::is_control) {
                return Err(bad("control characters are not allowed"));
            }
            clean.push('/');
            clean.push_str(name);
        }
        let path = CgroupPath(clean);
        match path.depth() {
            0 => Err(bad("it names no cgroup")),
            1..=MAX_DEPTH => Ok(path),
            _ => Err(bad("deeper than 32 directories")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of directories.
    pub(super) fn depth(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == b'/').count()
    }

    /// The directory below a tree's mount point.
    pub(super) fn below(&self, tree: &Path) -> PathBuf {
        tree.join(&self.0[1..])
    }

    /// The directories above the last one, outermost first, without the mount point itself.
    fn ancestors_below(&self, tree: &Path) -> Vec<Dir> {
        let cuts = self.0.match_indices('/').skip(1).map(|(at, _)| &self.0[1..at]);
        cuts.map(|part| Dir::new(tree.join(part))).collect()
    }
}

/// Makes the last directory of `path`, and its parents when they are missing; each parent that had
/// to be made is given to `prepare`. A left-over without processes is replaced.
pub(super) fn make_leaf(
    tree: &Path,
    path: &CgroupPath,
    prepare: impl Fn(&Dir) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    let leaf = Dir::new(path.below(tree));
    let failed = |dir: &Dir, errno: Errno| CgroupError::Create {
        path: dir.path().to_owned(),
        source: errno.into(),
    };
    let mut made = leaf.make();
    if made == Err(Errno::NOENT) {
        for parent in path.ancestors_below(tree) {
            match parent.make() {
                Ok(()) => prepare(&parent)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(&parent, errno)),
            }
        }
        made = leaf.make();
    }
    if made == Err(Errno::EXIST) {
        const RETRIES: u32 = 3;
        if leaf.remove(RETRIES).is_err() {
            return Err(CgroupError::Busy { path: leaf.path().to_owned() });
        }
        made = leaf.make();
    }
    made.map_err(|errno| failed(&leaf, errno))
}

/// Passes `wanted` controllers down a v2 tree to the last directory of `path` as far as possible,
/// and answers with those that are there.
pub(super) fn enable_controllers(
    tree: &Path,
    path: &CgroupPath,
    wanted: &BTreeSet<String>,
) -> Result<BTreeSet<String>, CgroupError> {
    let leaf = Dir::new(path.below(tree));
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let enabled = || -> Result<BTreeSet<String>, CgroupError> {
        let names = leaf.read("cgroup.controllers")?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    };
    let found = enabled()?;
    if wanted.is_subset(&found) {
        return Ok(found);
    }
    let all: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    for parent in std::iter::once(Dir::new(tree.to_owned())).chain(path.ancestors_below(tree)) {
        // One write does for all, unless a controller cannot be had: then each for itself. What is
        // missing in the end is an error only for the limit that needs it.
        if parent.write("cgroup.subtree_control", &all.join(" ")).is_err() {
            for one in &all {
                let _ = parent.write("cgroup.subtree_control", one);
            }
        }
    }
    enabled()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked_and_cleaned() {
        for (given, clean) in [
            ("/estiba/abc", "/estiba/abc"),
            ("estiba//abc/", "/estiba/abc"),
            ("a", "/a"),
            ("/system.slice/docker-1.scope", "/system.slice/docker-1.scope"),
        ] {
            assert_eq!(CgroupPath::parse(given).unwrap().as_str(), clean);
        }
        let long_name = "n".repeat(256);
        let long_path = "n/".repeat(2000);
        let deep = "n/".repeat(33);
        let bad = ["", "/", "///", "..", "/a/../b", "/a/./b", "a\nb", "a\0b"];
        for given in bad.into_iter().chain([&*long_name, &*long_path, &*deep]) {
            assert!(CgroupPath::parse(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn ancestors_come_outermost_first() {
        let path = CgroupPath::parse("/a/b/c").unwrap();
        let tree = Path::new("/t");
        let parents = path.ancestors_below(tree);
        let parents: Vec<_> = parents.iter().map(|dir| dir.path().to_str().unwrap()).collect();
        assert_eq!(parents, ["/t/a", "/t/a/b"]);
        assert_eq!(path.below(tree), Path::new("/t/a/b/c"));
        assert_eq!(path.depth(), 3);
    }
}
