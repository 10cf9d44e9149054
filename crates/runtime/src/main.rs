//! `estiba-runtime`: finds the command that was asked for. What the commands do is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("monitor") => runtime::monitor::run(),
        _ => ExitCode::FAILURE,
    }
}
