//! The command line: `docker`'s commands, flags, help, tables, templates and exit codes. It has
//! one way to an engine, the client, and never links one.
//!
//! ```text
//! argv ── table (what exists) ── flags (values) ── commands::* ── client ── engine
//!                                                      └── format: template, table, JSON
//! ```
//!
//! Starting costs nothing that the command at hand does not need: the tables are static, the
//! executor and the connection are made when a request is.

mod base64;
mod command;
mod commands;
mod complete;
mod config;
mod context;
mod create;
mod credentials;
mod csv;
mod failure;
pub mod flags;
mod format;
mod help;
mod invocation;
mod json;
mod manual;
mod number;
mod plugins;
mod progress;
mod proxies;
mod sealed;
mod stream;
mod table;
mod tabwriter;
mod template;
mod terminal;
mod time;
mod transfer;
mod units;

use std::ffi::{OsStr, OsString};

use command::{Action, Command, Outcome};
use failure::{DAEMON_FAILED, Failure};
use flags::{Matches, Parsed};
use help::Names;
use invocation::{Globals, Invocation, misuse};
use terminal::{complain, print};

/// The version of Docker's command line that this one follows, as scripts look for it.
pub const DOCKER_VERSION: &str = "28.2.2";
/// This product's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the command line `argv` (its first word is the program's name) and returns the status to
/// exit with. Prints to the standard streams.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> i32 {
    let mut words = argv.into_iter();
    let first = words.next();
    let helper = named(first.as_deref()) == Some(credentials::OWN_HELPER);
    let prog = program(first.as_deref());
    let words: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let outcome = match words {
        Ok(words) if helper => credential_helper(&words),
        Ok(words) => dispatch(prog, &words),
        Err(word) => Err(Failure::new(format!("{prog}: argument {word:?} is not valid UTF-8"))),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                complain(format!("{}\n", failure.message));
            }
            failure.code
        }
    }
}

/// Which of its names the program was called by.
fn program(first: Option<&OsStr>) -> &'static str {
    match named(first) {
        Some("docker") => "docker",
        _ => "estiba",
    }
}

fn named(first: Option<&OsStr>) -> Option<&str> {
    first.and_then(|path| std::path::Path::new(path).file_name()).and_then(OsStr::to_str)
}

/// Started as a credential helper: failures are told on standard output, as the protocol has it.
fn credential_helper(words: &[String]) -> Outcome {
    let config = config::Config::load(config::Config::locate(None)).0;
    if let Err(failure) = credentials::serve(&config, words) {
        print(format!("{}\n", failure.message))?;
        return Ok(1);
    }
    Ok(0)
}

fn dispatch(prog: &'static str, words: &[String]) -> Outcome {
    let usage = format!("{prog} [OPTIONS] COMMAND [ARG...]");
    let parsed = flags::parse(table::GLOBALS.iter().collect(), false, words)
        .map_err(|why| misuse(prog, &usage, why).with_code(DAEMON_FAILED))?;
    let matches = match parsed {
        Parsed::Run(matches) => matches,
        Parsed::Help(short) => {
            deprecated_h(short)?;
            return root_help(prog, None);
        }
    };
    let whole = words;
    let words = matches.args().to_vec();
    let version = matches.bool("version");
    let config = matches.string("config").map(str::to_owned);
    let globals = Globals::new(matches, prog);
    globals.check()?;
    if let Some(first) = words.first().filter(|first| table::find(first).is_none()) {
        plugins::run(&globals, first, whole)?;
    }
    let Some((first, rest)) = words.split_first() else {
        return match version {
            true => print_version(prog),
            false => {
                complain(root_page(prog, config.as_deref()));
                Ok(0)
            }
        };
    };
    match first.as_str() {
        "help" => return help_command(prog, rest, config.as_deref()),
        word if rest.iter().any(|word| word == "--help") && table::is_unknown(word) => {
            return root_help(prog, config.as_deref());
        }
        "__complete" => return commands::complete::complete(prog, rest, true),
        "__completeNoDesc" => return commands::complete::complete(prog, rest, false),
        "__man" => return manual_pages(prog, rest),
        "completion" => return completion(prog, rest),
        _ => {}
    }
    let (path, command, rest) = resolve(prog, first, rest)?;
    execute(globals, &path, command, rest)
}

/// Follows words through the groups, to the command they select and what is left for it.
fn resolve<'a>(
    prog: &'static str,
    first: &str,
    mut rest: &'a [String],
) -> Result<(String, &'static Command, &'a [String]), Failure> {
    let Some((name, mut command)) = table::find(first) else {
        return Err(unknown(prog, first, first, &format!("Run '{prog} --help'")));
    };
    let mut path = name.to_owned();
    while let Action::Group(_) = command.action
        && let Some((word, after)) = rest.split_first()
        && !word.starts_with('-')
    {
        let Some(member) = command.member(word) else {
            if after.iter().any(|word| word == "--help") {
                return Ok((path, command, after));
            }
            let tried = format!("{path} {word}");
            let usage = group_usage(&format!("{prog} {path}"));
            let advice = format!("Usage:  {usage}\n\nRun '{prog} {path} --help'");
            return Err(unknown(prog, &tried, &tried, &advice));
        };
        path = format!("{path} {}", member.name);
        (command, rest) = (member, after);
    }
    Ok((path, command, rest))
}

/// The usage line of a group when a mistake is told. Docker's says more for two of them.
fn group_usage(path: &str) -> String {
    match path.split(' ').nth(1) {
        Some("manifest" | "volume") => format!("{path} COMMAND"),
        _ => path.to_owned(),
    }
}

fn unknown(prog: &str, path: &str, tried: &str, advice: &str) -> Failure {
    if table::absent(path) {
        let why = table::reason(path).map(|why| format!(": {why}")).unwrap_or_default();
        return Failure::new(format!(
            "{prog}: '{prog} {path}' is not available in this version of estiba ({VERSION}){why}"
        ));
    }
    Failure::new(format!(
        "{prog}: unknown command: {prog} {tried}\n\n{advice} for more information"
    ))
}

fn execute(globals: Globals, path: &str, command: &'static Command, rest: &[String]) -> Outcome {
    let prog = globals.prog();
    let home = globals.config_dir().display().to_string();
    let names = Names { prog, home: &home };
    let full = format!("{prog} {path}");
    let group = matches!(command.action, Action::Group(_));
    let usage = match group {
        true => group_usage(&full),
        false => help::usage(&names, path, command),
    };
    let parsed = flags::parse(command.flags().collect(), command.interspersed, rest)
        .map_err(|why| misuse(&full, &usage, why).with_code(DAEMON_FAILED))?;
    let matches = match parsed {
        Parsed::Run(matches) if !group => matches,
        Parsed::Run(_) => {
            complain(help::page(&names, path, command, terminal::help_width()));
            return Ok(0);
        }
        Parsed::Help(short) => {
            deprecated_h(short)?;
            return show(&help::page(&names, path, command, terminal::help_width()));
        }
    };
    let notices = matches.notices();
    if !notices.is_empty() {
        print(notices)?;
    }
    arity(prog, &full, &usage, command, &matches)?;
    let invocation = Invocation { prog, path: full, matches, globals };
    match &command.action {
        Action::Local(act) => act(&invocation),
        Action::Remote(act) => {
            let executor = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("start the executor: {error}")))?;
            let outcome = executor.block_on(act(&invocation));
            // The process ends, which closes every connection at once; and a thread may still be
            // blocked reading standard input, which nobody should wait for.
            std::mem::forget(executor);
            outcome
        }
        Action::Group(_) => Ok(0),
    }
}

/// Refuses a wrong number of positional arguments.
fn arity(
    prog: &str,
    path: &str,
    usage: &str,
    command: &Command,
    matches: &Matches,
) -> Result<(), Failure> {
    let Some(why) = command.args.refuse(matches.args().len()) else { return Ok(()) };
    if why.starts_with("accepts ") && why.contains("arg(s)") {
        return Err(Failure::new(why));
    }
    // The words of version 28, slips included: scripts compare them.
    let verb = match prog {
        "docker" if why.starts_with("requires at most") => "SRun",
        _ if why.starts_with("requires at least") && !why.contains(" and ") => "See",
        _ => "Run",
    };
    Err(Failure::new(format!(
        "{prog}: '{path}' {why}\n\nUsage:  {usage}\n\n{verb} '{path} --help' for more information"
    )))
}

fn help_command(prog: &'static str, words: &[String], config: Option<&str>) -> Outcome {
    let Some((first, rest)) = words.split_first() else { return root_help(prog, config) };
    let found = resolve(prog, first, rest);
    let Ok((path, command, _)) = found else {
        return Err(Failure::new(format!("unknown help topic: {}", words.join(" "))));
    };
    let home = config::Config::locate(config).display().to_string();
    let names = Names { prog, home: &home };
    show(&help::page(&names, &path, command, terminal::help_width()))
}

/// `completion SHELL`: the script that completes this program's command line there.
fn completion(prog: &'static str, words: &[String]) -> Outcome {
    let script = match words {
        [shell] => complete::script(shell, prog),
        _ => None,
    };
    let Some(script) = script else {
        return Err(Failure::new(format!(
            "Usage:  {prog} completion bash|zsh|fish|powershell\n\nPrints the shell's completion \
             script; load it with: source <({prog} completion bash)"
        )));
    };
    show(&script)
}

/// `__man DIRECTORY`: writes the manual pages, for packages and `make install`.
fn manual_pages(prog: &'static str, words: &[String]) -> Outcome {
    let [dir] = words else { return Err(Failure::new(format!("Usage:  {prog} __man DIRECTORY"))) };
    for (file, text) in manual::pages(&Names { prog, home: "~/.docker" }) {
        let path = std::path::Path::new(dir).join(file);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(format!("write {}: {error}", path.display())))?;
    }
    Ok(0)
}

fn root_help(prog: &'static str, config: Option<&str>) -> Outcome {
    show(&root_page(prog, config))
}

fn root_page(prog: &'static str, config: Option<&str>) -> String {
    let dir = config::Config::locate(config);
    let home = dir.display().to_string();
    let plugins = plugins::all(&config::Config::load(dir).0);
    let further: Vec<(&str, &str)> =
        plugins.iter().map(|it| (it.name.as_str(), it.text("ShortDescription"))).collect();
    help::root(&Names { prog, home: &home }, &further, terminal::help_width())
}

fn show(page: &str) -> Outcome {
    print(page)?;
    Ok(0)
}

fn print_version(prog: &str) -> Outcome {
    match prog {
        "docker" => print(format!("Docker version {DOCKER_VERSION}, build estiba-{VERSION}\n"))?,
        _ => print(format!("estiba version {VERSION}\n"))?,
    }
    Ok(0)
}

fn deprecated_h(short: bool) -> Result<(), Failure> {
    if short {
        print("Flag shorthand -h has been deprecated, use --help\n")?;
    }
    Ok(())
}
