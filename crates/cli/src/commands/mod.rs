//! The commands' work, one family per module: flags in, calls out, answers printed.

pub(crate) mod artifacts;
pub(crate) mod auth;
pub(crate) mod bake;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod builders;
pub(crate) mod complete;
pub(crate) mod containers;
pub(crate) mod contexts;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod imagetools;
pub(crate) mod inspect;
pub(crate) mod manifest;
pub(crate) mod networks;
pub(crate) mod plugins;
pub(crate) mod profiles;
mod prune;
pub(crate) mod system;
pub(crate) mod volumes;

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, print};
use futures_util::stream::{self, StreamExt};

/// Collects what failed for some of several objects; the others are done all the same.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Notes a failure, or passes a success on.
    fn note<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(failure) => {
                self.0.push(failure.into().message);
                None
            }
        }
    }

    /// The command's outcome: all failures, a line each.
    fn outcome(self) -> Outcome {
        match self.0.is_empty() {
            true => Ok(0),
            false => Err(Failure::new(self.0.join("\n"))),
        }
    }
}

/// Does something to each object that is named, to so many at a time; the names of those it was
/// done to are printed in the order they were given.
async fn each<E: Into<Failure>>(
    invocation: &Invocation,
    at_once: usize,
    act: impl AsyncFn(&str) -> Result<(), E>,
) -> Outcome {
    let mut failures = Failures::default();
    let acts = invocation.matches.args().iter().map(async |name| (name, act(name).await));
    let mut acts = stream::iter(acts).buffered(at_once);
    while let Some((name, done)) = acts.next().await {
        if failures.note(done).is_some() {
            print(format!("{name}\n"))?;
        }
    }
    failures.outcome()
}

/// Asks for a confirmation on standard output; anything but `y` is a no.
fn confirm(question: &str) -> Result<bool, Failure> {
    print(format!("{question} [y/N] "))?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::new(format!("read the answer: {error}")))?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

/// Prints the warnings of an answer on standard error.
fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(format!("WARNING: {warning}\n"));
    }
}

/// The format that applies: the flag's, or the one configured for this kind of list. `--quiet`
/// wins over both.
fn list_format<'a>(invocation: &'a Invocation, setting: &str) -> &'a str {
    let given = invocation.matches.text("format");
    if invocation.matches.changed_if_known("quiet") && invocation.matches.bool("quiet") {
        if setting == "psFormat" && !given.is_empty() {
            complain(
                "WARNING: Ignoring custom format, because both --format and --quiet are set.\n",
            );
        }
        return "";
    }
    match given {
        "" => invocation.config().text(setting).unwrap_or_default(),
        format => format,
    }
}
