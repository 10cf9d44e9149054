//! Variables of a stage, in the order in which they came.

use crate::expand::Variables;
use std::collections::HashMap;

/// Variables: names are unique, a new value takes its name's old place.
#[derive(Clone, Debug, Default)]
pub(super) struct Env {
    pairs: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Env {
    /// Of `NAME=value` entries.
    pub(super) fn of(entries: &[String]) -> Self {
        let mut env = Self::default();
        for entry in entries {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            env.set(name, value);
        }
        env
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => value.clone_into(&mut self.pairs[*place].1),
            None => {
                self.places.insert(name.to_owned(), self.pairs.len());
                self.pairs.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// As `NAME=value`.
    pub(super) fn entries(&self) -> Vec<String> {
        self.pairs.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Variables for Env {
    fn value(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.pairs[*place].1.as_str())
    }
}
