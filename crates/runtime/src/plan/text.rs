//! Strings for the kernel: no zero byte inside, paths absolute and without dots. Pure.

use super::step::{Param, Target};
use crate::error::LaunchError;
use std::ffi::CString;

/// Longest path the kernel takes, its end included.
const PATH_MAX: usize = 4096;

/// `text` as the kernel takes it.
pub(super) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString, LaunchError> {
    CString::new(text)
        .map_err(|error| LaunchError::invalid(format!("zero byte in {:?}", lossy(error))))
}

fn lossy(error: std::ffi::NulError) -> String {
    String::from_utf8_lossy(&error.into_vec()).into_owned()
}

/// An option of a file system.
pub(super) fn param(key: &str, value: Option<&str>) -> Result<Param, LaunchError> {
    Ok(Param { key: c_string(key)?, value: value.map(c_string).transpose()? })
}

/// Makes `path` absolute, without empty, `.` and `..` components. `..` goes up, never above `/`.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The numbers below `bound` of a list as in `0-3,7`, in its order.
pub(super) fn numbers(list: &str, bound: usize) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= bound || numbers.len() > bound {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Whether `path` is `base` or lies below it; both clean.
pub fn within(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A place inside the root. What lies in `/proc`, `/sys` and `/dev` may not be reached through
/// symbolic links: an image that has any there is refused (law A3).
pub(super) fn target(path: &str) -> Result<Target, LaunchError> {
    let path = clean(path);
    if path.len() >= PATH_MAX {
        return Err(LaunchError::invalid(format!("path of {} bytes is too long", path.len())));
    }
    let mut prefixes = Vec::new();
    let mut names = Vec::new();
    for (at, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
        let prefix = &path[..at];
        if prefix.len() > 1 {
            prefixes.push(c_string(prefix)?);
            names.push(c_string(&prefix[prefix.rfind('/').map_or(0, |slash| slash + 1)..])?);
        }
    }
    let no_symlinks = ["/proc", "/sys", "/dev"].iter().any(|base| within(&path, base));
    Ok(Target { path: c_string(path)?, prefixes, names, no_symlinks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, expect) in [
            ("", "/"),
            ("a", "/a"),
            ("/a/../../b/./c//", "/b/c"),
            ("/../..", "/"),
            ("/a/b/..", "/a"),
        ] {
            assert_eq!(clean(path), expect, "{path:?}");
        }
    }

    #[test]
    fn lists_of_numbers_have_bounds() {
        assert_eq!(numbers("0-2, 7", 8), Some(vec![0, 1, 2, 7]));
        for bad in ["", "8", "2-1", "0-4294967295", "a", "1-", "-1", "18446744073709551616"] {
            assert_eq!(numbers(bad, 8), None, "{bad:?}");
        }
        assert_eq!(numbers(&["0-7"; 3].join(","), 8), None);
    }

    #[test]
    fn within_is_by_component() {
        assert!(within("/proc/x", "/proc") && within("/proc", "/proc"));
        assert!(!within("/process", "/proc"));
    }

    #[test]
    fn targets_have_every_step_of_the_way() {
        let at = target("/dev//net/tun").expect("target");
        assert_eq!(at.prefixes, [c"/dev".into(), c"/dev/net".into(), c"/dev/net/tun".to_owned()]);
        assert_eq!(at.names, [c"dev".into(), c"net".into(), c"tun".to_owned()]);
        assert!(at.no_symlinks && !target("/data").expect("target").no_symlinks);
        assert!(target("/").expect("target").prefixes.is_empty());
        assert!(target("/a\0b").is_err());
    }
}
