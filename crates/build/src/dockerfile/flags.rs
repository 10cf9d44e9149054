//! The flags of an instruction, by name and kind.

use super::Fault;
use crate::text::did_you_mean;

/// What values a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Bool,
    /// `--flag=value`, once.
    Value,
    /// `--flag=value`, as often as one likes.
    Values,
}

/// Flags that were given, checked against those that are known.
#[derive(Default)]
pub(super) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    pub(super) fn parse(given: &[String], known: &[(&'static str, Takes)]) -> Result<Self, Fault> {
        let mut out = Self::default();
        for flag in given {
            let (dashed, value) = match flag.split_once('=') {
                Some((dashed, value)) => (dashed, Some(value)),
                None => (flag.as_str(), None),
            };
            let name = dashed.trim_start_matches("--");
            let Some((name, takes)) = known.iter().find(|(known, _)| *known == name) else {
                let names = known.iter().map(|(name, _)| *name);
                let message = format!("unknown flag: {dashed}");
                return Err(Fault::at(did_you_mean(message, name, names, true), dashed));
            };
            if *takes != Takes::Values && out.value(name).is_some() {
                return Err(Fault::at(format!("duplicate flag specified: {dashed}"), dashed));
            }
            let missing = || Fault::at(format!("missing a value on flag: {dashed}"), dashed);
            let value = match takes {
                Takes::Bool => match value.map(str::to_lowercase).as_deref() {
                    None | Some("true") => "true",
                    Some("false") => "false",
                    Some("") => return Err(missing()),
                    Some(_) => {
                        let value = value.unwrap_or_default();
                        let message =
                            format!("expecting boolean value for flag {dashed}, not: {value}");
                        return Err(Fault::at(message, dashed));
                    }
                },
                Takes::Value | Takes::Values => value.ok_or_else(missing)?,
            };
            out.0.push((name, value.to_owned()));
        }
        Ok(out)
    }

    /// The value of a flag that is given once.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The same, empty when it is not given.
    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).unwrap_or_default().to_owned()
    }

    /// A flag of kind [`Takes::Bool`].
    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }

    /// All values of a flag.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let given = self.0.iter().filter(|(known, _)| *known == name);
        given.map(|(_, value)| value.clone()).collect()
    }
}
