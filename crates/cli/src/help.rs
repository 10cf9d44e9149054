//! Help pages, laid out as users of Docker know them. It never decides when to show one.

use std::fmt::Write as _;

use crate::command::{Action, Command};
use crate::flags::Flag;
use crate::table::{GLOBALS, SECTIONS};

/// Commands that the stock client does not have, or lists in a swarm only: not listed under its
/// name.
const OWN: [&str; 12] = [
    "artifact",
    "builder du",
    "image referrers",
    "diagnose",
    "ports",
    "profile",
    "volume cp",
    "volume export",
    "volume import",
    "volume rename",
    "volume snapshot",
    "volume update",
];

/// What the stock client says of commands that it calls experimental.
const EXPERIMENTAL: &str = "is an experimental feature.\n  \
    Experimental features provide early access to product functionality. These\n  \
    features may change between releases without warning, or can be removed from a\n  \
    future release. Learn more about experimental features in our documentation:\n  \
    https://docs.docker.com/go/experimental/\n";

/// The narrowest column that a flag's text is wrapped in.
const NARROWEST_TEXT: usize = 24;
/// How many columns a line may be over before it is broken.
const SLOP: usize = 5;
/// The width of the names in a list of commands.
const NAME_WIDTH: usize = 11;

/// Names that appear in texts as `{prog}` and `{home}`.
pub(crate) struct Names<'a> {
    /// The program, as it was called.
    pub(crate) prog: &'a str,
    /// The directory of its configuration.
    pub(crate) home: &'a str,
}

impl Names<'_> {
    /// The text with both in their places.
    pub(crate) fn fill(&self, text: &str) -> String {
        // A misprint of version 28, which its help pages are compared with.
        let bar = if self.prog == "docker" { "|" } else { "" };
        text.replace("{prog}", self.prog).replace("{home}", self.home).replace("{bar}", bar)
    }
}

/// The usage line of a command at `path` (`container ls`), without the word "Usage".
pub(crate) fn usage(names: &Names<'_>, path: &str, command: &Command) -> String {
    names.fill(&format!("{{prog}} {path} {}", command.tail)).trim_end().to_owned()
}

/// The page of one command or group. `width` is the terminal's.
pub(crate) fn page(names: &Names<'_>, path: &str, command: &Command, width: usize) -> String {
    let mut out = format!("Usage:  {}\n\n", usage(names, path, command));
    let about = if command.long.is_empty() { command.short } else { command.long };
    let _ = writeln!(out, "{}", names.fill(about));
    if names.prog == "docker" && path.split(' ').next() == Some("manifest") {
        let _ = write!(out, "\nEXPERIMENTAL:\n  docker {path} {EXPERIMENTAL}");
    }
    if command.aliases.len() > 1 {
        let paths: Vec<String> =
            command.aliases.iter().map(|alias| format!("{} {alias}", names.prog)).collect();
        let _ = write!(out, "\nAliases:\n  {}\n", paths.join(", "));
    }
    if let Action::Group(members) = &command.action {
        out.push_str("\nCommands:\n");
        let own = |name: &str| OWN.iter().any(|it| it.split_once(' ') == Some((path, name)));
        for member in members.iter().filter(|member| member.shown()) {
            if names.prog == "docker" && own(member.name) {
                continue;
            }
            let _ = writeln!(out, "  {:NAME_WIDTH$} {}", member.name, names.fill(member.short));
        }
        let _ = write!(
            out,
            "\nRun '{} {path} COMMAND --help' for more information on a command.\n",
            names.prog
        );
        return out;
    }
    let flags: Vec<&Flag> = command.flags().collect();
    if flags.iter().any(|flag| !flag.hidden) {
        out.push_str("\nOptions:\n");
        out.push_str(&flag_usages(names, flags, width));
    }
    out
}

/// The section that commands of other programs are listed in.
const FURTHER: &str = "Management Commands";

/// The top-level page; `further` are commands of other programs and what they say of themselves.
pub(crate) fn root(names: &Names<'_>, further: &[(&str, &str)], width: usize) -> String {
    let mut out = names.fill("Usage:  {prog} [OPTIONS] COMMAND\n\n");
    out.push_str("A self-sufficient runtime for containers\n");
    for section in SECTIONS {
        let _ = write!(out, "\n{}:\n", section.title);
        let own = |name: &str| names.prog == "docker" && OWN.contains(&name);
        let mut lines: Vec<(String, String)> = section
            .entries
            .iter()
            .filter(|(name, _)| !own(name))
            .map(|(name, command)| ((*name).to_owned(), names.fill(command.short)))
            .collect();
        if section.title == FURTHER && !further.is_empty() {
            lines.extend(
                further.iter().map(|(name, short)| (format!("{name}*"), short.to_string())),
            );
            lines.sort();
        }
        for (name, short) in lines {
            let _ = writeln!(out, "  {name:NAME_WIDTH$} {short}");
        }
    }
    out.push_str("\nGlobal Options:\n");
    out.push_str(&flag_usages(names, GLOBALS.iter().collect(), width));
    out.push_str(&names.fill("\nRun '{prog} COMMAND --help' for more information on a command.\n"));
    if names.prog == "docker" {
        out.push_str(
            "\nFor more help on how to use Docker, head to https://docs.docker.com/go/guides/\n",
        );
    }
    out
}

/// The list of flags: names in one column, texts wrapped in the other.
fn flag_usages(names: &Names<'_>, mut flags: Vec<&Flag>, width: usize) -> String {
    flags.retain(|flag| !flag.hidden && (!flag.own || names.prog != "docker"));
    flags.sort_by_key(|flag| flag.long);
    // A command that uses -h itself lists --help, because its short form is taken.
    static HELP: Flag = Flag::bool("help", "Print usage");
    if flags.iter().any(|flag| flag.short == Some('h')) {
        let at = flags.partition_point(|flag| flag.long < "help");
        flags.insert(at, &HELP);
    }
    let left = |flag: &Flag| {
        let mut text = match flag.short {
            Some(letter) => format!("  -{letter}, --{}", flag.long),
            None => format!("      --{}", flag.long),
        };
        if !flag.ty.is_empty() {
            text.push(' ');
            text.push_str(flag.ty);
        }
        text
    };
    let column = flags.iter().map(|flag| left(flag).len()).max().unwrap_or_default() + 3;
    let mut out = String::new();
    for flag in flags {
        let text = wrap(&names.fill(flag.help), column, width.saturating_sub(1));
        let _ = writeln!(out, "{:column$}{text}", left(flag));
    }
    out
}

/// Breaks `text` into lines that end before `width` and begin, but for the first, at `indent`.
fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut indent = indent;
    if width.saturating_sub(indent) < NARROWEST_TEXT {
        indent = 16;
        let _ = write!(out, "\n{:indent$}", "");
    }
    let newline = format!("\n{:indent$}", "");
    let Some(room) = width.checked_sub(indent).filter(|room| *room >= NARROWEST_TEXT) else {
        return text.replace('\n', &newline);
    };
    let mut rest = text;
    loop {
        let (line, left) = break_line(rest, room - SLOP);
        out.push_str(&line.replace('\n', &newline));
        if left.is_empty() {
            return out;
        }
        out.push_str(&newline);
        rest = left;
    }
}

/// Splits off what fits into `room` columns, at a blank or an earlier line end.
fn break_line(text: &str, room: usize) -> (&str, &str) {
    if room + SLOP > text.len() {
        return (text, "");
    }
    let mut end = room;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let Some(blank) = text[..end].rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    let at = match text[..end].rfind('\n') {
        Some(newline) if newline > 0 && newline < blank => newline,
        _ => blank,
    };
    (&text[..at], &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_in_their_column() {
        let text = "Limit CPU CFS (Completely Fair Scheduler) period";
        assert_eq!(
            wrap(text, 41, 79),
            "Limit CPU CFS (Completely Fair\n                                         Scheduler) \
             period"
        );
        assert_eq!(wrap("short", 41, 79), "short");
    }
}
