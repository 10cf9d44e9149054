//! The values that a command line gave, by flag name. It never decides what a missing value means.

use super::Flag;
use crate::{csv, number, units};

/// A parsed command line.
pub struct Matches {
    flags: Vec<&'static Flag>,
    values: Vec<(&'static Flag, String)>,
    args: Vec<String>,
}

impl Matches {
    pub(super) fn new(
        flags: Vec<&'static Flag>,
        values: Vec<(&'static Flag, String)>,
        args: Vec<String>,
    ) -> Self {
        Self { flags, values, args }
    }

    /// The positional arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The positional argument at `index`, if there is one.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.args.get(index).map(String::as_str)
    }

    /// Whether the flag was given.
    pub fn changed(&self, long: &str) -> bool {
        self.string(long).is_some()
    }

    /// Whether the flag was given, for flags that not every command has.
    pub(crate) fn changed_if_known(&self, long: &str) -> bool {
        self.values.iter().any(|(flag, _)| flag.long == long)
    }

    /// What to say about deprecated flags that were used.
    pub(crate) fn notices(&self) -> String {
        let notice = |(flag, _): &(&Flag, String)| {
            let hint = flag.deprecated?;
            Some(format!("Flag --{} has been deprecated, {hint}\n", flag.long))
        };
        self.values.iter().filter_map(notice).collect()
    }

    /// Whether any of the flags was given.
    pub fn any_changed(&self) -> bool {
        !self.values.is_empty()
    }

    /// The last value given.
    pub fn string(&self, long: &str) -> Option<&str> {
        debug_assert!(self.flags.iter().any(|flag| flag.long == long), "no flag --{long}");
        self.values.iter().rev().find(|(flag, _)| flag.long == long).map(|(_, value)| &**value)
    }

    /// The last value given, or an empty text.
    pub fn text(&self, long: &str) -> &str {
        self.string(long).unwrap_or_default()
    }

    /// Every value, in order.
    pub fn list(&self, long: &str) -> Vec<&str> {
        debug_assert!(self.flags.iter().any(|flag| flag.long == long), "no flag --{long}");
        let given = self.values.iter().filter(|(flag, _)| flag.long == long);
        given.map(|(_, value)| &**value).collect()
    }

    /// Every value of several flags, in the order given.
    pub(crate) fn lists(&self, names: &[&str]) -> Vec<&str> {
        let given = self.values.iter().filter(|(flag, _)| names.contains(&flag.long));
        given.map(|(_, value)| &**value).collect()
    }

    /// Every value of a flag that separates by commas, in order.
    pub fn strings(&self, long: &str) -> Vec<String> {
        self.list(long)
            .into_iter()
            .flat_map(|value| csv::split(value).unwrap_or_default())
            .collect()
    }

    /// A switch that is off unless given.
    pub fn bool(&self, long: &str) -> bool {
        self.bool_or(long, false)
    }

    /// A switch with a default.
    pub fn bool_or(&self, long: &str, default: bool) -> bool {
        self.string(long).and_then(|value| number::parse_bool(value).ok()).unwrap_or(default)
    }

    /// A number, if given.
    pub fn int(&self, long: &str) -> Option<i64> {
        self.string(long).and_then(|value| number::parse_int(value).ok())
    }

    /// A size in bytes; 0 unless given, -1 where that means "without limit".
    pub fn bytes(&self, long: &str) -> i64 {
        let value = self.text(long);
        if value == "-1" { -1 } else { units::parse_bytes(value).unwrap_or_default() }
    }

    /// A span of time in nanoseconds; 0 unless given.
    pub fn duration(&self, long: &str) -> i64 {
        units::parse_duration(self.text(long)).unwrap_or_default()
    }

    /// The filters as the API takes them: name to values, both in the order given.
    pub fn filters(&self, long: &str) -> Vec<(String, String)> {
        let split = |value: &str| {
            let (name, value) = value.split_once('=')?;
            Some((name.trim().to_lowercase(), value.trim().to_owned()))
        };
        self.list(long).into_iter().filter_map(split).collect()
    }

    /// Every value as `flag=value`, for tests and traces.
    #[cfg(test)]
    pub fn described(&self) -> String {
        let pair = |(flag, value): &(&Flag, String)| format!("{}={value}", flag.long);
        self.values.iter().map(pair).collect::<Vec<_>>().join(" ")
    }
}
