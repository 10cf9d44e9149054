//! Slash-separated paths as text, after Go's `path` package. Never touches a file system.

/// Whether it begins at the root.
pub(crate) fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

/// The shortest path that says the same: no `.`, no `//`, `..` resolved as text; `.` when nothing
/// is left.
pub(crate) fn clean_path(path: &str) -> String {
    let rooted = is_absolute(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `child` below `parent`, cleaned; an absolute `child` is below `parent` too.
pub(crate) fn join_paths(parent: &str, child: &str) -> String {
    clean_path(&format!("{parent}/{child}"))
}

/// The last part: `.` of an empty path, `/` of the root.
pub(crate) fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    if path.is_empty() {
        return ".";
    }
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_text() {
        for (path, want) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("a/./b/../c", "a/c"),
            ("../a", "../a"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("a/../..", ".."),
        ] {
            assert_eq!(clean_path(path), want, "{path}");
        }
        assert_eq!(join_paths("/a", "../b"), "/b");
        assert_eq!(join_paths("/a", "/b"), "/a/b");
        assert_eq!(base_name("/a/b/"), "b");
        assert_eq!(base_name("/"), "/");
        assert_eq!(base_name(""), ".");
    }
}
