//! The OCI command line, as runc's: what `containerd`, `docker --runtime` and people call. It
//! turns words into calls of this crate and keeps the state of its containers in files; how a
//! container is made is not known here.

mod args;
mod create;
mod enter;
mod events;
mod query;
mod record;
mod signal;
mod update;

#[cfg(test)]
pub(crate) use create::check_version;

use args::{Args, Usage};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where state is kept when nothing else is said.
const DEFAULT_ROOT: &str = "/run/estiba/runtime";

const HELP: &str = "\
Usage: estiba-runtime [OPTIONS] COMMAND [ARG...]

An OCI runtime.

Commands:
  create   create a container from a bundle
  start    start the command of a created container
  run      create and start a container
  exec     run another command in a container
  kill     send a signal to a container
  delete   delete a container that has ended
  state    show the state of a container
  list     list containers
  ps       list the processes of a container
  pause    suspend a container
  resume   let a suspended container go on
  update   change the limits of a container
  events   show what a container uses, and when it runs out of memory
  spec     write a specification to begin with
  features show what this runtime can do

Options:
      --root DIR          where state is kept (default /run/estiba/runtime, of an
                          ordinary user $XDG_RUNTIME_DIR/estiba/runtime)
      --log FILE          write errors to a file too
      --log-format FORMAT text or json
      --debug             accepted
      --systemd-cgroup    control groups are systemd's to place; cgroupsPath is
                          slice:prefix:name
  -v, --version           show the version
  -h, --help              show this help
";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The words make no sense.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// A process could not be launched.
    #[error(transparent)]
    Launch(#[from] crate::error::LaunchError),
    /// The control group refused.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::CgroupError),
    /// Anything else, said completely.
    #[error("{0}")]
    Said(String),
}

impl Failed {
    fn said(message: impl Into<String>) -> Self {
        Failed::Said(message.into())
    }

    fn io(act: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Failed::Said(format!("{act}: {error}"))
    }
}

/// What holds for every command.
#[derive(Debug)]
pub(crate) struct Global {
    root: PathBuf,
    log: Option<PathBuf>,
    log_json: bool,
    systemd: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self { root: default_root(), log: None, log_json: false, systemd: false }
    }
}

/// Where state is kept when nothing is said: an ordinary user's in a directory of the user's.
fn default_root() -> PathBuf {
    let machine = rustix::process::geteuid().is_root() && sys::userns::is_first();
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|it| it.is_absolute());
    match own {
        Some(own) if !machine => own.join("estiba/runtime"),
        _ => PathBuf::from(DEFAULT_ROOT),
    }
}

/// Whether the command that `words` ask for lets a process of this program into a container.
pub fn enters_container(words: &[String]) -> bool {
    let mut args = Args::new(words.to_vec());
    let mut global = Global::default();
    if !matches!(read_global(&mut args, &mut global, &mut |_| {}), Ok(true)) {
        return false;
    }
    match args.word().as_deref() {
        Some("create" | "run" | "exec") => true,
        Some("start") => create::has_inner_hooks(&global, args),
        _ => false,
    }
}

/// Runs the command that `words` (without the program's name) ask for.
pub fn run(words: Vec<String>) -> ExitCode {
    let mut args = Args::new(words);
    let mut global = Global::default();
    let outcome = read_global(&mut args, &mut global, &mut say).and_then(|go| match go {
        true => dispatch(&global, args),
        false => Ok(0),
    });
    match outcome {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(failed) => {
            report(&global, &failed.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Reads the options before the command; false if they were all that was wanted.
fn read_global(
    args: &mut Args,
    global: &mut Global,
    say: &mut dyn FnMut(&str),
) -> Result<bool, Failed> {
    while let Some(option) = args.option() {
        match option.as_str() {
            "--root" => global.root = PathBuf::from(args.value(&option)?),
            "--log" => global.log = Some(PathBuf::from(args.value(&option)?)),
            "--log-format" => global.log_json = args.value(&option)? == "json",
            "--debug" => {}
            "--rootless" => drop(args.value(&option)?),
            "--systemd-cgroup" => global.systemd = args.switch(&option)?,
            "--version" | "-v" => {
                say(&format!(
                    "estiba-runtime version {}\nspec: {}\n",
                    env!("CARGO_PKG_VERSION"),
                    wire::oci::runtime::LATEST
                ));
                return Ok(false);
            }
            "--help" | "-h" => {
                say(HELP);
                return Ok(false);
            }
            other => return Err(Usage::UnknownOption(other.to_owned()).into()),
        }
    }
    Ok(true)
}

fn dispatch(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let Some(command) = args.word() else {
        say(HELP);
        return Ok(0);
    };
    let enters = matches!(command.as_str(), "create" | "run" | "exec");
    if enters && !rustix::process::geteuid().is_root() {
        return Err(Failed::said(
            "an ordinary user's containers are made where that user is root: run `unshare \
             --map-root-user --mount estiba-runtime ...`, or have podman or `estiba daemon` do it",
        ));
    }
    match command.as_str() {
        "create" => create::create(global, args),
        "start" => create::start(global, args),
        "run" => create::run(global, args),
        "exec" => enter::exec(global, args),
        "kill" => signal::kill(global, args),
        "delete" => signal::delete(global, args),
        "pause" => signal::pause(global, args),
        "resume" => signal::resume(global, args),
        "state" => query::state(global, args),
        "list" => query::list(global, args),
        "ps" => query::ps(global, args),
        "events" => events::events(global, args),
        "features" => query::features(args),
        "spec" => query::spec(args),
        "update" => update::update(global, args),
        "help" => {
            say(HELP);
            Ok(0)
        }
        "checkpoint" | "restore" => Err(Failed::said(format!(
            "{command} is not supported: containers are not frozen to disk"
        ))),
        other => Err(Failed::said(format!("unknown command {other:?}; see --help"))),
    }
}

/// Writes to standard output; nobody there to read is no error.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_json(value: &impl serde::Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failed::said(format!("write JSON: {error}")))?;
    say(&format!("{text}\n"));
    Ok(())
}

/// Tells an error on standard error and in the log file, in the form that containerd reads.
fn report(global: &Global, message: &str) {
    eprintln!("estiba-runtime: {message}");
    let Some(path) = &global.log else { return };
    let line = if global.log_json {
        let entry = serde_json::json!({
            "level": "error",
            "msg": message,
            "time": record::timestamp(std::time::SystemTime::now()),
        });
        format!("{entry}\n")
    } else {
        format!("level=error msg={message:?}\n")
    };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    if let Ok(mut file) = file {
        // The message went to standard error already.
        let _ = file.write_all(line.as_bytes());
    }
}
