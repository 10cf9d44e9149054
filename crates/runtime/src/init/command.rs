//! The child's last step: finding the command and executing it. Does not allocate.

use super::{Child, Failure};
use crate::plan::step::Slot;
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use std::ffi::CStr;

impl Child<'_> {
    /// Looks for the first candidate that can be executed, and remembers it.
    pub(super) fn find_command(&mut self) -> Result<(), Failure> {
        let mut failure = Failure { errno: Errno::NOENT, detail: 0 };
        for (place, candidate) in self.plan.command.candidates.iter().enumerate() {
            match executable(candidate) {
                Ok(()) => {
                    self.found = place;
                    return Ok(());
                }
                Err(errno) if !self.plan.command.searched => {
                    failure = Failure { errno, detail: 0 };
                }
                Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Executes the command; returns why it could not.
    pub(super) fn execute(&mut self) -> Failure {
        let command = &self.plan.command;
        if let Some(args) = &command.init {
            return match self.slots.at(Slot::INIT_PROGRAM) {
                Ok(program) => sys::clone::execve_fd(program, args, &command.env).into(),
                Err(errno) => errno.into(),
            };
        }
        let mut failure = Failure { errno: Errno::NOENT, detail: 0 };
        for (place, candidate) in command.candidates.iter().enumerate().skip(self.found) {
            let errno = sys::clone::execve(candidate, &command.args, &command.env);
            failure = Failure { errno, detail: u32::try_from(place).unwrap_or(u32::MAX) };
            // Another directory of the search path may have one that this user may execute.
            if !(command.searched && errno == Errno::ACCESS) {
                break;
            }
        }
        failure
    }
}

fn executable(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}
