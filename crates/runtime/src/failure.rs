//! From the step that failed in the child to words and an exit code, as Docker's users know them.
//! Pure.

use crate::error::{FailureKind, LaunchError};
use crate::init::message::Message;
use crate::plan::step::{Command, InitPlan, InitStep};
use rustix::io::Errno;

/// What the report of a child means.
pub(crate) fn explain(plan: &InitPlan, report: Message) -> LaunchError {
    let errno = Errno::from_raw_os_error(report.errno);
    let place = usize::try_from(report.step).unwrap_or(usize::MAX);
    let Some(step) = plan.steps.get(place) else {
        return LaunchError::at("prepare the process", errno);
    };
    match step {
        InitStep::FindCommand => not_found(&plan.command, errno),
        InitStep::Execute => not_executed(&plan.command, report.detail, errno),
        InitStep::ChangeDir(_) => LaunchError::at(step.to_string(), errno).of_kind(kind(errno)),
        InitStep::Attach { at, .. } if matches!(errno, Errno::LOOP | Errno::PERM) => {
            let path = at.path.to_string_lossy();
            LaunchError::at(format!("mount at {path}: the image has a link in the way"), errno)
                .of_kind(FailureKind::Invalid)
        }
        step => LaunchError::at(step.to_string(), errno),
    }
}

fn not_found(command: &Command, errno: Errno) -> LaunchError {
    let name = &command.name;
    if command.searched {
        return LaunchError {
            step: format!("exec: {name:?}: executable file not found in $PATH"),
            errno: None,
            kind: FailureKind::NotFound,
        };
    }
    let step = match errno {
        Errno::NOENT | Errno::NOTDIR => format!("exec: {name:?}: stat {name}"),
        // Engines look for "permission denied" to tell code 126 from 125.
        Errno::ISDIR => return is_directory(name),
        _ => format!("exec: {name:?}"),
    };
    LaunchError::at(step, errno).of_kind(kind(errno))
}

fn is_directory(name: &str) -> LaunchError {
    LaunchError::at(format!("exec: {name:?}: is a directory"), Errno::ACCESS)
        .of_kind(FailureKind::CannotExecute)
}

fn not_executed(command: &Command, candidate: u32, errno: Errno) -> LaunchError {
    let place = usize::try_from(candidate).unwrap_or(usize::MAX);
    let path = command.candidates.get(place).map(|path| path.to_string_lossy());
    let path = path.unwrap_or_else(|| command.name.as_str().into());
    let step = match errno {
        Errno::ISDIR => return is_directory(&command.name),
        Errno::ACCESS | Errno::PERM => format!("exec: {:?}", command.name),
        _ => format!("exec {path}"),
    };
    LaunchError::at(step, errno).of_kind(kind(errno))
}

fn kind(errno: Errno) -> FailureKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FailureKind::NotFound,
        _ => FailureKind::CannotExecute,
    }
}
