//! The shape of a command: what it is called, what it takes, what it runs. It never parses
//! arguments and never prints.

use std::future::Future;
use std::pin::Pin;

use crate::failure::Failure;
use crate::flags::Flag;
use crate::invocation::Invocation;

/// What a command hands back: the exit status, or why it failed.
pub(crate) type Outcome = Result<i32, Failure>;

/// A command's work in progress.
pub(crate) type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One command, or one group of commands, as a row of the table.
pub(crate) struct Command {
    /// The word that selects it (`ls`).
    pub(crate) name: &'static str,
    /// What follows the name in the usage line. `{prog}` stands for the program's name.
    pub(crate) tail: &'static str,
    /// One line for the list of its group.
    pub(crate) short: &'static str,
    /// The description on its own help page, when that is not `short`.
    pub(crate) long: &'static str,
    /// Every path that leads here, without the program's name (`container ls`, `ps`).
    pub(crate) aliases: &'static [&'static str],
    /// How many positional arguments it takes.
    pub(crate) args: Args,
    /// Whether flags may follow positional arguments.
    pub(crate) interspersed: bool,
    /// Its flags, in groups so that commands can share them.
    pub(crate) flags: &'static [&'static [Flag]],
    /// What it does.
    pub(crate) action: Action,
}

/// What selecting a command does.
pub(crate) enum Action {
    /// It only holds other commands.
    Group(&'static [&'static Command]),
    /// It works without a daemon.
    Local(fn(&Invocation) -> Outcome),
    /// It talks to a daemon, so it needs an executor.
    Remote(for<'a> fn(&'a Invocation) -> Work<'a>),
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy)]
pub(crate) enum Args {
    /// None at all.
    None,
    /// This many.
    Exactly(usize),
    /// This many, refused in the words of the library below Docker's command line.
    Counted(usize),
    /// This many or more.
    AtLeast(usize),
    /// From the first number to the second.
    Between(usize, usize),
}

impl Command {
    /// All flags, groups joined.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|group| group.iter())
    }

    /// Whether people look for it; the others are called by programs.
    pub(crate) fn shown(&self) -> bool {
        self.name != "dial-stdio"
    }

    /// The member of this group called `word`, by name or alias.
    pub(crate) fn member(&self, word: &str) -> Option<&'static Command> {
        let Action::Group(members) = &self.action else { return None };
        let alias = |command: &Command| {
            command.aliases.iter().any(|path| {
                path.split_once(' ').is_some_and(|(group, name)| group == self.name && name == word)
            })
        };
        members
            .iter()
            .find(|command| command.name == word)
            .or_else(|| members.iter().find(|command| alias(command)))
            .copied()
    }
}

impl Args {
    /// What is wrong with `count` arguments, in the words that follow the command's path.
    pub(crate) fn refuse(self, count: usize) -> Option<String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match self {
            Args::None if count > 0 => Some("accepts no arguments".to_owned()),
            Args::Counted(n) if count != n => Some(format!("accepts {n} arg(s), received {count}")),
            Args::Exactly(n) if count != n => Some(format!("requires {n} {}", plural(n))),
            Args::AtLeast(n) if count < n => Some(format!("requires at least {n} {}", plural(n))),
            Args::Between(0, high) if count > high => {
                Some(format!("requires at most {high} {}", plural(high)))
            }
            Args::Between(low, high) if count < low || count > high => {
                Some(format!("requires at least {low} and at most {high} {}", plural(high)))
            }
            _ => None,
        }
    }
}

/// A row's action from an `async fn(&Invocation) -> Outcome`.
macro_rules! remote {
    ($path:path) => {
        $crate::command::Action::Remote(|invocation| Box::pin($path(invocation)))
    };
}
pub(crate) use remote;
