//! Manual pages from the tables of commands: one page a command, in the `man` macros. It writes
//! nothing itself.

use std::fmt::Write as _;

use crate::VERSION;
use crate::command::{Action, Command};
use crate::flags::Flag;
use crate::help::{self, Names};
use crate::table::{GLOBALS, SECTIONS};

/// Every page: the name of its file, and its text.
pub(crate) fn pages(names: &Names<'_>) -> Vec<(String, String)> {
    let mut pages = vec![(format!("{}.1", names.prog), root(names))];
    for (name, command) in SECTIONS.iter().flat_map(|section| section.entries) {
        collect(names, name, command, &mut pages);
    }
    pages
}

fn collect(names: &Names<'_>, path: &str, command: &Command, pages: &mut Vec<(String, String)>) {
    let title = format!("{}-{}", names.prog, path.replace(' ', "-"));
    pages.push((format!("{title}.1"), page(names, &title, path, command)));
    if let Action::Group(members) = &command.action {
        for member in members.iter().filter(|member| member.shown()) {
            collect(names, &format!("{path} {}", member.name), member, pages);
        }
    }
}

fn head(title: &str, about: &str) -> String {
    let about = about.lines().next().unwrap_or_default();
    format!(
        ".TH \"{}\" 1 \"\" \"estiba {VERSION}\" \"User commands\"\n.SH NAME\n{} \\- {}\n",
        escape(&title.to_uppercase()),
        escape(title),
        escape(about)
    )
}

fn root(names: &Names<'_>) -> String {
    let mut out = head(names.prog, "containers: engine, command line and builder");
    let _ = write!(out, ".SH SYNOPSIS\n\\fB{}\\fR [OPTIONS] COMMAND [ARG...]\n", names.prog);
    out.push_str(".SH OPTIONS\n");
    options(names, GLOBALS.iter().collect(), &mut out);
    for section in SECTIONS {
        let _ = writeln!(out, ".SH {}", section.title.to_uppercase());
        for (name, command) in section.entries {
            entry(names, name, command, &mut out);
        }
    }
    out
}

fn page(names: &Names<'_>, title: &str, path: &str, command: &Command) -> String {
    let about = if command.long.is_empty() { command.short } else { command.long };
    let mut out = head(title, &names.fill(command.short));
    let _ = write!(out, ".SH SYNOPSIS\n\\fB{}\\fR\n", escape(&help::usage(names, path, command)));
    out.push_str(".SH DESCRIPTION\n");
    for line in names.fill(about).lines() {
        let _ = writeln!(out, "{}", if line.is_empty() { ".PP".into() } else { escape(line) });
    }
    if let Action::Group(members) = &command.action {
        out.push_str(".SH COMMANDS\n");
        for member in members.iter().filter(|member| member.shown()) {
            entry(names, &format!("{path} {}", member.name), member, &mut out);
        }
    }
    let flags: Vec<&Flag> = command.flags().filter(|flag| !flag.hidden).collect();
    if !flags.is_empty() {
        out.push_str(".SH OPTIONS\n");
        options(names, flags, &mut out);
    }
    if command.aliases.len() > 1 {
        out.push_str(".SH ALIASES\n");
        for alias in command.aliases {
            let _ = writeln!(out, "{} {}\n.br", escape(names.prog), escape(alias));
        }
    }
    let _ = write!(out, ".SH SEE ALSO\n\\fB{}\\fR(1)\n", escape(names.prog));
    out
}

fn entry(names: &Names<'_>, path: &str, command: &Command, out: &mut String) {
    let title = format!("{}-{}", names.prog, path.replace(' ', "-"));
    let about = escape(&names.fill(command.short));
    let _ = write!(out, ".TP\n\\fB{}\\fR(1)\n{about}\n", escape(&title));
}

fn options(names: &Names<'_>, mut flags: Vec<&Flag>, out: &mut String) {
    flags.sort_by_key(|flag| flag.long);
    for flag in flags {
        out.push_str(".TP\n");
        if let Some(letter) = flag.short {
            let _ = write!(out, "\\fB\\-{letter}\\fR, ");
        }
        let _ = write!(out, "\\fB\\-\\-{}\\fR", escape(flag.long));
        if !flag.ty.is_empty() {
            let _ = write!(out, " \\fI{}\\fR", escape(flag.ty));
        }
        let _ = write!(out, "\n{}\n", escape(&names.fill(flag.help)).replace('\n', " "));
    }
}

/// Text as roff prints it unchanged: its escape character and hyphens, and a control character at
/// the beginning of a line.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let pages = pages(&Names { prog: "estiba", home: "~/.docker" });
        let page = |name: &str| pages.iter().find(|(file, _)| file == name).map(|(_, text)| text);
        let run = page("estiba-run.1").unwrap();
        assert!(run.contains(".SH NAME\nestiba\\-run \\- Create and run a new container"), "{run}");
        assert!(run.contains("\\fB\\-d\\fR, \\fB\\-\\-detach\\fR\n"), "{run}");
        assert!(page("estiba-network-connect.1").is_some());
        assert!(page("estiba.1").unwrap().contains("estiba\\-network"));
        for (file, text) in &pages {
            assert!(!text.contains("{prog}") && !text.contains("{home}"), "{file}");
        }
    }

    #[test]
    fn control_characters_are_text() {
        assert_eq!(escape(".dockerignore"), "\\&.dockerignore");
        assert_eq!(escape("a\\b--c"), "a\\eb\\-\\-c");
    }
}
