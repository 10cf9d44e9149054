//! Every flag that buildx's commands have is known to ours.

use super::build::BUILDX;
use crate::command::Command;

/// Commands and flags, a row each: the command's path below `buildx`, and `-s,--long`.
const ROWS: &str = include_str!("buildx.tsv");

/// Commands that are not here, and why.
const ABSENT: [(&str, &str); 4] = [
    ("dap", "an editor's debugger drives BuildKit's own containers"),
    ("debug", "experimental: shells in BuildKit's own containers"),
    ("policy", "rules in Rego are evaluated inside BuildKit"),
    ("history inspect attachment", "attestations lie in registries: imagetools shows them"),
];

fn find(path: &str) -> Option<&'static Command> {
    path.split(' ').filter(|word| !word.is_empty()).try_fold(&BUILDX, |it, word| it.member(word))
}

#[test]
fn all_flags_are_known() {
    let mut missing = Vec::new();
    for row in ROWS.lines() {
        let (path, flag) = row.split_once('\t').expect("two columns");
        let absent =
            |(name, _): &&(&str, &str)| path == *name || path.starts_with(&format!("{name} "));
        if ABSENT.iter().find(absent).is_some() {
            continue;
        }
        let Some(command) = find(path) else {
            missing.push(format!("command {path:?}"));
            continue;
        };
        // Groups hand these on to their members.
        let group = matches!(command.action, crate::command::Action::Group(_));
        let (short, long) = flag.split_once(",--").unwrap_or(("", flag.trim_start_matches("--")));
        let short = short.trim_start_matches('-').chars().next();
        let known =
            command.flags().any(|it| it.long == long && (short.is_none() || it.short == short));
        let of_the_group = group && matches!(long, "builder" | "debug");
        if !(known || of_the_group) {
            missing.push(format!("{path} {flag}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
