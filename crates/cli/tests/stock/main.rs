//! The command line as a whole, against an engine that only replays answers. Where Docker's own
//! command line is installed, both get the same words and the same answers, and must say and send
//! the same.
//!
//! The test binary is also the program under test: started as `docker` or `estiba`, it runs the
//! command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod fake;
mod stock;
mod streams;

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// A named check; it panics when it fails.
type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("run_streams_and_exit_status", streams::run_streams_and_exit_status),
    ("run_sends_input_and_half_closes", streams::run_sends_input_and_half_closes),
    ("exec_exit_status", streams::exec_exit_status),
    ("start_failures_have_a_status", streams::start_failures_have_a_status),
    ("older_engines_are_asked_in_their_version", streams::older_engines_are_asked_in_their_version),
    ("no_engine", streams::no_engine),
    ("started_by_name", streams::started_by_name),
    ("stock_create_bodies", stock::create_bodies),
    ("stock_help_pages", stock::help_pages),
    ("stock_refusals", stock::refusals),
    ("stock_tables", stock::tables),
];

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    if matches!(name, "docker" | "estiba") {
        let status = cli::run(std::env::args_os());
        return ExitCode::from(u8::try_from(status).unwrap_or(1));
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
