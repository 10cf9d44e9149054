//! Checks of how things are written, which need nothing but the file.

use super::{Checks, rule};
use crate::dockerfile::{Dockerfile, From, Instruction, Kind};
use crate::text::quote;
use std::collections::HashSet;

/// All instructions in upper case, or all in lower case.
pub(crate) fn instruction_casing(file: &Dockerfile, checks: &mut Checks) {
    // Instructions before the first FROM belong to no stage and are not judged.
    let is_from = |instruction: &&Instruction| matches!(instruction.kind, Kind::From(_));
    let judged = || file.instructions.iter().skip_while(|instruction| !is_from(instruction));
    let lower = judged().filter(|i| i.name == i.name.to_lowercase()).count();
    let upper = judged().filter(|i| i.name == i.name.to_uppercase()).count();
    for instruction in judged() {
        let name = &instruction.name;
        let (right, casing) = match lower > upper {
            true => (name.to_lowercase(), "lowercase"),
            false => (name.to_uppercase(), "uppercase"),
        };
        if right != *name {
            let message = format!(
                "Command '{name}' should match the case of the command majority ({casing})"
            );
            checks.report_at(&rule::CONSISTENT_INSTRUCTION_CASING, instruction.span, message);
        }
    }
}

/// A stage's name and its `AS`.
pub(crate) fn from_casing(instruction: &Instruction, from: &From, checks: &mut Checks) {
    if let Some(name) = &from.name_written
        && *name != name.to_lowercase()
    {
        let message = format!("Stage name '{name}' should be lowercase");
        checks.report(&rule::STAGE_NAME_CASING, instruction, message);
    }
    let name = &instruction.name;
    let (is_lower, is_upper) = (*name == name.to_lowercase(), *name == name.to_uppercase());
    if let Some(word) = &from.as_word
        && (is_lower && *word != word.to_lowercase() || is_upper && *word != word.to_uppercase())
    {
        let message = format!("'{word}' and '{name}' keywords' casing do not match");
        checks.report(&rule::FROM_AS_CASING, instruction, message);
    }
}

/// Reserved and repeated names of stages.
pub(crate) fn stage_names(file: &Dockerfile, checks: &mut Checks) {
    let mut seen = HashSet::new();
    for instruction in &file.instructions {
        let Kind::From(From { name: Some(name), .. }) = &instruction.kind else { continue };
        if matches!(name.as_str(), "context" | "scratch") {
            let message = format!(
                "Stage name should not use the same name as reserved stage {}",
                quote(name)
            );
            checks.report_at(&rule::RESERVED_STAGE_NAME, instruction.span, message);
        }
        if !seen.insert(name) {
            let message =
                format!("Duplicate stage name {}, stage names should be unique", quote(name));
            checks.report_at(&rule::DUPLICATE_STAGE_NAME, instruction.span, message);
        }
    }
}
