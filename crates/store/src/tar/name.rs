//! Names in archives become paths below a directory, or are refused. Pure text: this module never
//! asks the file system.

use super::limits::{MAX_PATH_BYTES, MAX_PATH_DEPTH};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString};

/// A path below a root: clean components, no `..`, no NUL. Empty means the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TreePath(Vec<CString>);

impl TreePath {
    /// Normalises a name as Go's `path.Clean` does: leading slashes and `./` are dropped and
    /// `a/../b` is `b`; a name that climbs out is refused (`/..` of an absolute name is the root).
    pub(crate) fn parse(name: &[u8]) -> Result<Self> {
        let shown = || String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
        if name.len() > MAX_PATH_BYTES {
            return Err(Error::bad(format!("archive entry {:?}…: name is too long", shown())));
        }
        if name.contains(&0) {
            return Err(Error::bad(format!("archive entry {:?}: name contains NUL", shown())));
        }
        let absolute = name.starts_with(b"/");
        let mut parts: Vec<CString> = Vec::new();
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if parts.pop().is_none() && !absolute => {
                    return Err(Error::bad(format!(
                        "archive entry {:?}: name leaves the tree",
                        shown()
                    )));
                }
                b".." => {}
                _ => parts.push(CString::new(part).map_err(|_| Error::bad("name contains NUL"))?),
            }
        }
        if parts.len() > MAX_PATH_DEPTH {
            return Err(Error::bad(format!("archive entry {:?}…: name is too deep", shown())));
        }
        Ok(Self(parts))
    }

    /// The components.
    pub(crate) fn parts(&self) -> &[CString] {
        &self.0
    }

    /// The directory and the last component; `None` for the root.
    pub(crate) fn split_last(&self) -> Option<(Self, CString)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last.clone()))
    }

    /// The path with one more component, a plain name.
    pub(crate) fn join_part(&self, part: &CStr) -> Self {
        Self(self.0.iter().cloned().chain([part.to_owned()]).collect())
    }

    /// The path without its last component; the root is its own parent.
    pub(crate) fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// This path with another below it.
    pub(crate) fn join_path(&self, below: &Self) -> Self {
        Self(self.0.iter().chain(&below.0).cloned().collect())
    }

    /// The first components.
    pub(crate) fn prefix(&self, depth: usize) -> Self {
        Self(self.0[..depth].to_vec())
    }

    /// The components joined with slashes; `.` for the root.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return b".".to_vec();
        }
        self.0.iter().map(|part| part.to_bytes()).collect::<Vec<_>>().join(&b'/')
    }
}

impl std::fmt::Display for TreePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// What the last component of a layer's entry means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// An ordinary name.
    None,
    /// `.wh.<name>`: the name is deleted.
    Whiteout(CString),
    /// `.wh..wh..opq`: what lower layers have in this directory is hidden.
    Opaque,
    /// Bookkeeping of aufs (`.wh..wh.plnk`, …): skipped, as Docker does.
    Ignored,
}

const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads the whiteout convention of layers (OCI image-spec, "Whiteouts").
pub(crate) fn mark(path: &TreePath) -> Result<Mark> {
    let Some((last, parents)) = path.parts().split_last() else { return Ok(Mark::None) };
    if parents.iter().any(|part| part.to_bytes().starts_with(META)) {
        return Ok(Mark::Ignored);
    }
    if parents.iter().any(|part| part.to_bytes().starts_with(WHITEOUT)) {
        return Err(Error::bad(format!("archive entry {path}: a whiteout is no directory")));
    }
    let last = last.to_bytes();
    if last == OPAQUE {
        return Ok(Mark::Opaque);
    }
    if last.starts_with(META) {
        return Ok(Mark::Ignored);
    }
    match last.strip_prefix(WHITEOUT) {
        None => Ok(Mark::None),
        Some(b"" | b"." | b"..") => {
            Err(Error::bad(format!("archive entry {path}: whiteout without a name")))
        }
        Some(name) => Ok(Mark::Whiteout(
            CString::new(name).map_err(|_| Error::bad("whiteout name contains NUL"))?,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(name: &str) -> Option<String> {
        TreePath::parse(name.as_bytes()).ok().map(|path| path.to_string())
    }

    #[test]
    fn names_are_cleaned_or_refused() {
        for (name, want) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/etc/x", Some("etc/x")),
            ("a/../b", Some("b")),
            ("/../b", Some("b")),
            (".", Some(".")),
            ("", Some(".")),
            ("../b", None),
            ("a/../../b", None),
            ("a\0b", None),
            ("..", None),
            ("...", Some("...")),
        ] {
            assert_eq!(clean(name).as_deref(), want, "{name:?}");
        }
        assert_eq!(clean(&"a/".repeat(MAX_PATH_DEPTH + 1)), None);
        assert_eq!(clean(&"a".repeat(MAX_PATH_BYTES + 1)), None);
    }

    #[test]
    fn whiteouts_name_something_or_are_refused() {
        let read = |name: &str| mark(&TreePath::parse(name.as_bytes()).unwrap());
        assert_eq!(read("a/.wh.b").unwrap(), Mark::Whiteout(c"b".into()));
        assert_eq!(read("a/.wh..wh..opq").unwrap(), Mark::Opaque);
        assert_eq!(read(".wh..wh.plnk").unwrap(), Mark::Ignored);
        assert_eq!(read(".wh..wh.plnk/1.2").unwrap(), Mark::Ignored);
        assert_eq!(read("a/wh.b").unwrap(), Mark::None);
        for bad in [".wh.", "a/.wh..", ".wh...", ".wh.x/y"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
