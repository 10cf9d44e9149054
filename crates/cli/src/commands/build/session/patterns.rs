//! Patterns as `.dockerignore` has them, matched piece by piece. What is sent too much, the daemon
//! leaves out itself; so in doubt a path is sent. Pure.

/// A pattern, split at its slashes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Vec<String>,
    /// It takes back what earlier ones said.
    pub(super) exception: bool,
}

impl Pattern {
    /// Parses one line; nothing if it says nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (exception, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        let parts: Vec<String> = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(str::to_owned)
            .collect();
        (!parts.is_empty()).then_some(Self { parts, exception })
    }

    /// Whether it means the path, or a directory that the path is in.
    pub(super) fn takes(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|end| matches(&self.parts, &path[..end]) == Fit::Whole)
    }

    /// Whether something below the path could be meant.
    pub(super) fn reaches_below(&self, path: &[&str]) -> bool {
        matches(&self.parts, path) == Fit::Begin
    }
}

/// How far a path goes along a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    No,
    /// More could follow.
    Begin,
    Whole,
}

fn matches(parts: &[String], path: &[&str]) -> Fit {
    let Some((part, parts_rest)) = parts.split_first() else {
        return if path.is_empty() { Fit::Whole } else { Fit::No };
    };
    if part == "**" {
        // At the end it means everything below, and needs something below.
        if parts_rest.is_empty() {
            return if path.is_empty() { Fit::Begin } else { Fit::Whole };
        }
        let whole = |skip: usize| matches(parts_rest, &path[skip..]) == Fit::Whole;
        return if (0..=path.len()).any(whole) { Fit::Whole } else { Fit::Begin };
    }
    match path.split_first() {
        None => Fit::Begin,
        Some((name, path_rest)) => {
            let name: Vec<char> = name.chars().collect();
            let part: Vec<char> = part.chars().collect();
            match glob(&part, &name) {
                true => matches(parts_rest, path_rest),
                false => Fit::No,
            }
        }
    }
}

/// One name against one part: `*`, `?`, `[a-z]`, `\`.
pub(crate) fn glob(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skip| glob(rest, &name[skip..])),
        '?' => name.split_first().is_some_and(|(_, name)| glob(rest, name)),
        '[' => {
            let Some((c, name_rest)) = name.split_first() else { return false };
            match class(rest, *c) {
                Some((true, after)) => glob(after, name_rest),
                // A class without an end, or another character.
                _ => false,
            }
        }
        '\\' => match rest.split_first() {
            Some((c, rest)) => {
                name.split_first().is_some_and(|(n, name)| n == c && glob(rest, name))
            }
            None => false,
        },
        c => name.split_first().is_some_and(|(n, name)| n == c && glob(rest, name)),
    }
}

/// Whether a character is in a class, and what follows the class.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut first = true;
    loop {
        match rest {
            [']', after @ ..] if !first => return Some((found != negated, after)),
            ['\\', low, after @ ..] => {
                found |= *low == c;
                rest = after;
            }
            [low, '-', high, after @ ..] if *high != ']' => {
                found |= (*low..=*high).contains(&c);
                rest = after;
            }
            [low, after @ ..] => {
                found |= *low == c;
                rest = after;
            }
            [] => return None,
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        Pattern::parse(pattern).unwrap().takes(&parts)
    }

    #[test]
    fn patterns_mean_paths_and_what_is_below() {
        for (pattern, path) in [
            ("a", "a"),
            ("a", "a/b/c"),
            ("/a/", "a"),
            ("*.log", "x.log"),
            ("a/*/c", "a/b/c/d"),
            ("**/x", "x"),
            ("**/x", "a/b/x/y"),
            ("a/**", "a/b"),
            ("a/**/z", "a/z"),
            ("[a-c]?", "bx"),
            ("\\*", "*"),
            ("**", "any"),
        ] {
            assert!(takes(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a", "ab"),
            ("*.log", "d/x.log"),
            ("a/*/c", "a/c"),
            ("a/**", "a"),
            ("[^a]", "a"),
            ("\\*", "x"),
            ("[a", "a"),
        ] {
            assert!(!takes(pattern, path), "{pattern} {path}");
        }
        assert!(Pattern::parse("  ").is_none() && Pattern::parse("!").is_none());
    }

    #[test]
    fn what_could_still_be_meant() {
        let pattern = Pattern::parse("a/b/*.c").unwrap();
        assert!(pattern.reaches_below(&["a"]) && pattern.reaches_below(&["a", "b"]));
        assert!(!pattern.reaches_below(&["b"]) && !pattern.reaches_below(&["a", "b", "x.h"]));
        assert!(Pattern::parse("**/x").unwrap().reaches_below(&["any", "dir"]));
    }
}
