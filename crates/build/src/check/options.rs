//! Which checks run: `skip=RULE,…|all; experimental=RULE,…|all; error=true`.

use super::Rule;
use crate::dockerfile::check_in_comment;
use crate::text::{parse_bool, quote};
use std::collections::BTreeSet;

/// Which checks run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    skip: Names,
    experimental: Names,
    /// A finding fails the build.
    pub error: bool,
}

/// Names of rules, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    some: BTreeSet<String>,
}

/// Why options are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse check options: invalid check option {0}")]
pub struct OptionsError(String);

impl Names {
    fn parse(text: &str) -> Self {
        if text == "all" {
            return Self { all: true, some: BTreeSet::new() };
        }
        Self { all: false, some: text.split(',').map(|name| name.trim().to_owned()).collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.all || self.some.contains(name)
    }

    fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.some.extend(other.some);
    }
}

impl CheckOptions {
    /// Parses a directive's value, or `BUILDKIT_DOCKERFILE_CHECK`'s.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None => return Err(OptionsError(quote(part))),
            };
            match key {
                "skip" => options.skip = Names::parse(value),
                "experimental" => options.experimental = Names::parse(value),
                "error" => {
                    options.error = parse_bool(value).ok_or_else(|| OptionsError(quote(part)))?;
                }
                _ => return Err(OptionsError(quote(key))),
            }
        }
        Ok(options)
    }

    /// Adds what a comment beside an instruction says (`# check=skip=RULE`).
    pub(super) fn merge_comment(&mut self, comment: &str) {
        let parsed = check_in_comment(comment).map(Self::parse);
        if let Some(Ok(other)) = parsed {
            self.skip.merge(other.skip);
            self.experimental.merge(other.experimental);
        }
    }

    pub(super) fn wants(&self, rule: &Rule) -> bool {
        if rule.experimental { self.experimental.has(rule.name) } else { !self.skip.has(rule.name) }
    }
}
