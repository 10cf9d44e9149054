//! The `filters` parameter: what to list, to prune, or to hear of. Reads both of Docker's forms and
//! knows how values match; each operation says which names it has.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::query::Query;

/// Wanted values by filter name. A name matches if one of its values does, except labels, which
/// must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads `{"name": ["value"]}` or the older `{"name": {"value": true}}`, and refuses names that
    /// are not in `accepted`.
    pub(crate) fn parse(query: &Query, accepted: &[&str]) -> Result<Self, Failure> {
        let Some(text) = query.text("filters") else { return Ok(Self::default()) };
        let filters = Self::read(text)?;
        match filters.0.keys().find(|name| !accepted.contains(&name.as_str())) {
            Some(name) => Err(Failure::invalid(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    fn read(text: &str) -> Result<Self, Failure> {
        type Lists = BTreeMap<String, Vec<String>>;
        type Sets = BTreeMap<String, BTreeMap<String, bool>>;
        if let Ok(lists) = serde_json::from_str::<Lists>(text) {
            return Ok(Self(lists));
        }
        let sets: Sets = serde_json::from_str(text)
            .map_err(|error| Failure::invalid(format!("invalid filter: {error}")))?;
        let wanted = |values: BTreeMap<String, bool>| {
            values.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect()
        };
        Ok(Self(sets.into_iter().map(|(name, values)| (name, wanted(values))).collect()))
    }

    /// The values of a filter; empty when it is absent.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the filter is absent or one of its values satisfies `matches`.
    pub(crate) fn any(&self, name: &str, matches: impl Fn(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(|value| matches(value))
    }

    /// A filter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let values = self.values(name);
        let truth = |value: &str| match value {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Some(true),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Some(false),
            _ => None,
        };
        match values {
            [] => Ok(None),
            [value] => truth(value)
                .map(Some)
                .ok_or_else(|| Failure::invalid(format!("invalid filter '{name}=[{value}]'"))),
            _ => Err(Failure::invalid(format!("invalid filter '{name}={values:?}'"))),
        }
    }

    /// `label` filters must all match and `label!` filters must all not match.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").iter().all(|wanted| has_label(labels, wanted))
            && !self.values("label!").iter().any(|unwanted| has_label(labels, unwanted))
    }
}

/// `name` or `name=value`.
fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    }
}

/// Docker's `*` and `?` patterns, `/` being like any other character.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it has swallowed: backtracking to it alone
    // is enough, which keeps the match quadratic at worst.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, swallowed)) = star else { return false };
                star = Some((at, swallowed + 1));
                p = at + 1;
                t = swallowed + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Largest compiled form of a pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 16;

/// Whether a regular expression is found somewhere in a name, as Docker's name filters are meant.
/// What is none stands for itself.
pub(crate) fn name_pattern(pattern: &str, text: &str) -> bool {
    let compiled = regex_lite::RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
    match compiled {
        Ok(pattern) => pattern.is_match(text),
        Err(_) => text.contains(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filters, Failure> {
        let query = Query::parse(&format!("filters={}", text.replace('&', "%26"))).unwrap();
        Filters::parse(&query, &["label", "label!", "name", "dangling"])
    }

    #[test]
    fn reads_both_forms() {
        let lists = parse(r#"{"name":["a","b"]}"#).unwrap();
        let sets = parse(r#"{"name":{"a":true,"b":true,"c":false}}"#).unwrap();
        assert_eq!(lists, sets);
        assert!(lists.any("name", |name| name == "b"));
        assert!(!lists.any("name", |name| name == "c"));
        assert!(lists.any("label", |_| false));
    }

    #[test]
    fn refuses_the_rest() {
        for (text, message) in [
            (r#"{"color":["red"]}"#, "invalid filter 'color'"),
            ("[]", "invalid filter: "),
            ("x", "invalid filter: "),
            (r#"{"name":"a"}"#, "invalid filter: "),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.message.starts_with(message), "{text}: {failure}");
            assert_eq!(failure.status, 400);
        }
        assert!(parse(r#"{"dangling":["maybe"]}"#).unwrap().flag("dangling").is_err());
        assert_eq!(parse(r#"{"dangling":["1"]}"#).unwrap().flag("dangling").unwrap(), Some(true));
    }

    #[test]
    fn labels_must_all_match() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (text, want) in [
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=1"]}"#, true),
            (r#"{"label":["a=2"]}"#, false),
            (r#"{"label":["a","b"]}"#, false),
            (r#"{"label!":["a"]}"#, false),
            (r#"{"label!":["b"]}"#, true),
        ] {
            assert_eq!(parse(text).unwrap().labels(&labels), want, "{text}");
        }
    }

    #[test]
    fn name_patterns() {
        for (pattern, text, want) in [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^/web$", "/web", true),
            ("^web$", "web-1", false),
            ("web.*1$", "my-web-1", true),
            ("a*", "bbb", true),
            ("^a*b$", "aaab", true),
            ("^a*b$", "aaac", false),
            ("", "", true),
            ("w.b", "web", true),
            ("b$", "ab", true),
            ("b$", "aba", false),
            ("^(web|db)-[0-9]+$", "db-12", true),
            ("^(web|db)-[0-9]+$", "db-x", false),
            ("a{2}", "baab", true),
            ("[", "a[b", true),
            ("[", "ab", false),
        ] {
            assert_eq!(name_pattern(pattern, text), want, "{pattern} {text}");
        }
        assert!(!name_pattern(&("a*".repeat(500) + "b$"), &"a".repeat(500)));
    }

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("?b*", "abx", true),
            ("", "a", false),
            ("busy*:latest", "busybox:latest", true),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)));
    }
}
