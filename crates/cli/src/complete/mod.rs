//! What a word on the command line could become: decided from the tables of commands alone. It
//! never asks a daemon; the names of its objects are asked for by [`Objects`].

mod shells;
mod values;

pub(crate) use shells::script;

use crate::command::{Action, Command};
use crate::flags::{Flag, Kind};
use crate::table::{self, GLOBALS, SECTIONS};

/// Words that would complete the one at the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Words and what they are for, already reduced to those that begin like the one at the cursor.
    pub(crate) words: Vec<(String, String)>,
    /// Names to be asked for.
    pub(crate) objects: Vec<Objects>,
    /// Whether names of files may stand here too.
    pub(crate) files: bool,
    /// What the names of objects have to begin with.
    pub(crate) prefix: String,
}

/// Names that only a daemon, or the configuration, knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objects {
    /// Containers in any state.
    Containers,
    /// Containers that run.
    Running,
    /// Containers that can be started.
    Stopped,
    /// Containers that are paused.
    Paused,
    /// Images with a tag.
    Images,
    /// Networks.
    Networks,
    /// Volumes.
    Volumes,
    /// Managed plugins.
    Plugins,
    /// Contexts.
    Contexts,
}

/// What may follow `words`, of which the last is being typed. `prog` hides what the stock client
/// does not have.
pub(crate) fn offer(prog: &str, words: &[String]) -> Offer {
    let Some((current, before)) = words.split_last() else { return Offer::default() };
    let walk = Walk::over(GLOBALS.iter().collect(), false, before);
    if let Some(flag) = walk.pending {
        return value_of(flag, current);
    }
    let Some((first, mut rest)) = walk.args.split_first() else {
        if current.starts_with('-') {
            return flags(prog, &walk.flags, current);
        }
        let entries = SECTIONS.iter().flat_map(|section| section.entries);
        return members(entries.map(|(name, command)| (*name, *command)), current);
    };
    let Some((_, mut command)) = table::find(first) else { return Offer::default() };
    while let Action::Group(all) = &command.action {
        let Some((word, after)) = rest.split_first() else {
            let shown = all.iter().filter(|command| command.shown());
            return members(shown.map(|command| (command.name, *command)), current);
        };
        let Some(member) = command.member(word) else { return Offer::default() };
        (command, rest) = (member, after);
    }
    let walk = Walk::over(command.flags().collect(), command.interspersed, rest);
    match walk.pending {
        Some(flag) => value_of(flag, current),
        None if walk.open && current.starts_with('-') => flags(prog, &walk.flags, current),
        None => argument(command, walk.args.len(), current),
    }
}

/// A reading of the words before the cursor.
struct Walk<'a> {
    flags: Vec<&'static Flag>,
    args: Vec<String>,
    /// The flag whose value is being typed.
    pending: Option<&'static Flag>,
    /// Whether a flag may still come.
    open: bool,
    rest: &'a [String],
}

impl<'a> Walk<'a> {
    fn over(flags: Vec<&'static Flag>, interspersed: bool, words: &'a [String]) -> Self {
        let mut walk = Walk { flags, args: Vec::new(), pending: None, open: true, rest: words };
        while let Some((word, rest)) = walk.rest.split_first() {
            walk.rest = rest;
            if word == "--" {
                walk.close();
            } else if word.len() > 1 && word.starts_with('-') {
                walk.flag(word);
            } else {
                walk.args.push(word.clone());
                if !interspersed {
                    walk.close();
                }
            }
        }
        walk
    }

    fn close(&mut self) {
        self.open = false;
        self.args.extend_from_slice(self.rest);
        self.rest = &[];
    }

    /// Passes a flag and its value, if the value is a word of its own.
    fn flag(&mut self, word: &str) {
        let Some(flag) = wants_next(&self.flags, word) else { return };
        match self.rest.split_first() {
            Some((_, rest)) => self.rest = rest,
            None => self.pending = Some(flag),
        }
    }
}

/// The flag at the end of `word` whose value is the next word.
fn wants_next(flags: &[&'static Flag], word: &str) -> Option<&'static Flag> {
    let known = |test: &dyn Fn(&Flag) -> bool| flags.iter().copied().find(|flag| test(flag));
    if let Some(name) = word.strip_prefix("--") {
        return known(&|flag| flag.long == name).filter(|flag| flag.kind != Kind::Bool);
    }
    let mut letters = word[1..].chars();
    while let Some(letter) = letters.next() {
        let flag = known(&|flag| flag.short == Some(letter))?;
        if flag.kind != Kind::Bool {
            return letters.as_str().is_empty().then_some(flag);
        }
    }
    None
}

fn members(
    entries: impl Iterator<Item = (&'static str, &'static Command)>,
    current: &str,
) -> Offer {
    let mut words: Vec<(String, String)> = entries
        .filter(|(name, _)| name.starts_with(current))
        .map(|(name, command)| (name.to_owned(), command.short.to_owned()))
        .collect();
    words.sort();
    Offer { words, ..Offer::default() }
}

/// Names of flags, or the values of the one before `=`.
fn flags(prog: &str, flags: &[&'static Flag], current: &str) -> Offer {
    if let Some((name, value)) = current.split_once('=') {
        let name = name.trim_start_matches('-');
        return match flags.iter().find(|flag| flag.long == name) {
            Some(flag) => value_of(flag, value),
            None => Offer::default(),
        };
    }
    let mut words: Vec<(String, String)> = flags
        .iter()
        .filter(|flag| !flag.hidden && (!flag.own || prog != "docker"))
        .map(|flag| (format!("--{}", flag.long), flag.help.to_owned()))
        .filter(|(name, _)| name.starts_with(current))
        .collect();
    words.sort();
    Offer { words, ..Offer::default() }
}

fn value_of(flag: &Flag, current: &str) -> Offer {
    let known = values::of(flag);
    let words = known.words.iter().filter(|word| word.starts_with(current));
    Offer {
        words: words.map(|word| ((*word).to_owned(), String::new())).collect(),
        objects: known.objects.to_vec(),
        files: known.files,
        prefix: current.to_owned(),
    }
}

/// What the positional argument number `index` can be: the usage line names it.
fn argument(command: &Command, index: usize, current: &str) -> Offer {
    let kinds: Vec<&str> =
        command.tail.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
    let named = match kinds.get(index) {
        Some(kind) => kind,
        None => match kinds.last() {
            Some(last) if last.contains("...") => last,
            _ => return Offer::default(),
        },
    };
    let bare = named.trim_start_matches('[');
    let objects = objects(command.name, bare);
    let files = ["FILE", "PATH", "URL", "COMMAND", "ARG", "DEST", "SRC"];
    let files = files.iter().any(|word| bare.contains(word)) || bare.contains('-');
    Offer { objects, files, prefix: current.to_owned(), ..Offer::default() }
}

/// Which objects a word of the usage line names.
fn objects(command: &str, word: &str) -> Vec<Objects> {
    let containers = match command {
        "start" => Objects::Stopped,
        "unpause" => Objects::Paused,
        "attach" | "exec" | "kill" | "pause" | "port" | "stop" | "top" | "stats" => {
            Objects::Running
        }
        _ => Objects::Containers,
    };
    if word.starts_with("NAME|ID") {
        return vec![containers, Objects::Images, Objects::Networks, Objects::Volumes];
    }
    let named = [
        ("CONTAINER", containers),
        ("IMAGE", Objects::Images),
        ("SOURCE_IMAGE", Objects::Images),
        ("NETWORK", Objects::Networks),
        ("VOLUME", Objects::Volumes),
        ("PLUGIN", Objects::Plugins),
        ("CONTEXT", Objects::Contexts),
    ];
    named.iter().filter(|(name, _)| word.starts_with(name)).map(|(_, it)| *it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Offer {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        offer("docker", &words)
    }

    fn words(line: &str) -> Vec<String> {
        at(line).words.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn commands_and_their_members() {
        assert_eq!(words("ru"), ["run"]);
        assert_eq!(words("--debug -H unix:///x netw"), ["network"]);
        assert_eq!(words("network co"), ["connect"]);
        assert!(words("nothing ").is_empty());
        assert!(words("").contains(&"ps".to_owned()));
    }

    #[test]
    fn flags_and_their_values() {
        assert_eq!(words("run --detach-"), ["--detach-keys"]);
        assert_eq!(words("run --restart un"), ["unless-stopped"]);
        assert_eq!(words("run --restart=al"), ["always"]);
        assert_eq!(words("run -it --pull n"), ["never"]);
        assert_eq!(at("run --network ").objects, [Objects::Networks]);
        assert!(at("run --env-file ").files);
        assert!(words("run --rm=true busybox --he").is_empty());
    }

    #[test]
    fn arguments_are_what_the_usage_line_says() {
        assert_eq!(at("run -d -p 80:80 --name web bu").objects, [Objects::Images]);
        assert_eq!(at("start ").objects, [Objects::Stopped]);
        assert_eq!(at("container stop a b ").objects, [Objects::Running]);
        assert_eq!(at("network connect net ").objects, [Objects::Containers]);
        assert_eq!(at("context use ").objects, [Objects::Contexts]);
        assert!(at("run busybox ").files);
        assert_eq!(at("run busybox ").objects, []);
        assert!(at("cp ").files);
    }

    #[test]
    fn what_the_stock_client_lacks_is_not_offered_under_its_name() {
        let own: Vec<&Flag> = crate::table::run::RUN.flags().filter(|flag| flag.own).collect();
        for flag in own {
            let line = format!("run --{}", flag.long);
            assert!(!words(&line).contains(&format!("--{}", flag.long)), "{line}");
        }
    }
}
