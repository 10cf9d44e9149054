//! `estiba`: the composition root. It looks at the name it was started by, and either runs the
//! command line or the daemon; configuration becomes values here and nowhere else. It knows every
//! room's door, and none of their insides.

mod daemon;
mod program;
mod registry;

use program::Program;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let status = match Program::from_words(&words) {
        Program::Daemon { name, arguments } => daemon::run(&name, &arguments),
        Program::Resolver { arguments } => resolve(&arguments),
        Program::Registry { name, arguments } => registry::run(&name, &arguments),
        Program::Unpacker { descriptor } => engine::unpacker::main(&descriptor),
        Program::Keeper { descriptor } => rootless::keeper_main(&descriptor),
        Program::Carrier { descriptor } => daemon::carry(&descriptor),
        Program::CommandLine => cli::run(std::env::args_os()),
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// Answers containers' names until the daemon and they are gone.
fn resolve(arguments: &[String]) -> i32 {
    let resolv_conf = arguments.get(1).map_or("/etc/resolv.conf", String::as_str);
    match engine::run_resolver(resolv_conf.into()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("estiba-resolver: {error}");
            1
        }
    }
}
