//! The build checks: what is allowed in a Dockerfile but seldom meant. Names, texts and addresses
//! are BuildKit's, so that `# check=skip=…` in existing files keeps working. Knows how to report
//! and to be silent; what is looked for is beside what is planned.

mod casing;
mod options;
mod rules;
mod secrets;
#[cfg(test)]
mod tests;

pub use options::{CheckOptions, OptionsError};
pub use rules::{RULES, Rule};

pub(crate) use casing::{from_casing, instruction_casing, stage_names};
pub(crate) use rules::rule;
pub use secrets::is_secret_name;

use crate::dockerfile::Instruction;
use crate::span::{Location, Source, Span};
use std::sync::Arc;

/// What a build check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The check's name: `StageNameCasing`.
    pub rule: &'static str,
    /// What the check is about.
    pub description: &'static str,
    /// Where to read more; may be empty.
    pub url: &'static str,
    /// What was found.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
}

/// Collects what the checks find.
#[derive(Debug)]
pub(crate) struct Checks {
    options: CheckOptions,
    source: Arc<Source>,
    found: Vec<Warning>,
}

impl Checks {
    pub(crate) fn new(options: CheckOptions, source: &Arc<Source>) -> Self {
        Self { options, source: Arc::clone(source), found: Vec::new() }
    }

    /// Reports something at an instruction, whose comments may switch the rule off.
    pub(crate) fn report(&mut self, rule: &'static Rule, at: &Instruction, message: String) {
        let mut options = self.options.clone();
        for comment in &at.comments {
            options.merge_comment(comment);
        }
        if options.wants(rule) {
            self.add(rule, at.span, message);
        }
    }

    /// Reports something at lines.
    pub(crate) fn report_at(&mut self, rule: &'static Rule, span: Span, message: String) {
        if self.options.wants(rule) {
            self.add(rule, span, message);
        }
    }

    fn add(&mut self, rule: &'static Rule, span: Span, message: String) {
        let location = Some(Location::new(&self.source, span));
        let Rule { name, description, url, .. } = *rule;
        let warning = Warning { rule: name, description, url, message, location };
        // Every platform of a build, and every pass, finds the same.
        if !self.found.contains(&warning) {
            self.found.push(warning);
        }
    }

    /// What was found, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Warning> {
        self.found.sort_by_key(|warning| warning.location.as_ref().map(Location::start));
        self.found
    }

    /// With `error=true`: the sentence that fails the build.
    pub(crate) fn failure(&self) -> Option<String> {
        if !self.options.error || self.found.is_empty() {
            return None;
        }
        let mut names: Vec<&str> = self.found.iter().map(|warning| warning.rule).collect();
        names.sort_unstable();
        names.dedup();
        Some(format!("lint violation found for rules: {}", names.join(", ")))
    }
}
