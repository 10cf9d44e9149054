//! The built-in init: process 1 of a container that asked for one. It starts the command, passes
//! every signal on to it, reaps whoever is left to it, and ends as the command ended. It knows
//! nothing else, and runs under everything that the command runs under.

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Name under which the built-in init is started.
pub const NAME: &str = "estiba-init";

/// Signals that concern process 1 itself: about children and about terminals.
const KEPT: [i32; 3] = [SIGCHLD, SIGTTIN, SIGTTOU];
const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

/// Runs the command `args` (its name first) and returns the status to end with: the command's,
/// or 128 and the signal that ended it, or 126 and 127 when it could not be executed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut args = args.into_iter();
    let Some(program) = args.next() else { return crate::error::EXIT_RUNTIME };
    let Ok(signals) = sys::signal::all() else { return crate::error::EXIT_RUNTIME };
    let child = Command::new(&program).args(args).process_group(0).spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("exec {}: {error}", program.display());
            return match error.kind() {
                std::io::ErrorKind::NotFound => crate::error::EXIT_NOT_FOUND,
                _ => crate::error::EXIT_CANNOT_EXECUTE,
            };
        }
    };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return crate::error::EXIT_RUNTIME };
    // The terminal's keys are for the command; without a terminal there is nothing to hand over.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), pid);
    loop {
        let mut wait = [PollFd::new(&signals, PollFlags::IN)];
        if rustix::event::poll(&mut wait, None).is_err_and(|errno| errno != Errno::INTR) {
            return crate::error::EXIT_RUNTIME;
        }
        while let Ok(Some(received)) = sys::signal::take(std::os::fd::AsFd::as_fd(&signals)) {
            if !KEPT.contains(&received.signal) {
                pass_on(pid, received.signal);
            }
        }
        if let Some(status) = reap(pid) {
            return status;
        }
    }
}

fn pass_on(pid: Pid, signal: i32) {
    if let Ok(child) = sys::Pidfd::open(pid.as_raw_nonzero().get()) {
        // It may have ended a moment ago; then its status comes next.
        let _ = child.send_signal(signal);
    }
}

/// Takes every child that has ended; gives the status of the command if it is among them.
fn reap(command: Pid) -> Option<i32> {
    let mut status = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == command => status = code(ended),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return status,
        }
    }
}

fn code(ended: WaitStatus) -> Option<i32> {
    ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal))
}
