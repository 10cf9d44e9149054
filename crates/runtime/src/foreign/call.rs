//! Running another OCI runtime's command line to its end, and reading what it complains about.
//! It does not know what the commands mean.

use crate::error::{FailureKind, LaunchError};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::clone::Argv;
use sys::{Ended, Pidfd};

/// The directory of a runtime's own state, in the bundle.
const ROOT: &str = "oci";

/// Where it writes its errors, as lines of JSON.
const LOG: &str = "oci.log";

/// Longest log that is read.
const MAX_LOG_BYTES: usize = 1 << 20;

/// What programs find others by; runtimes look for helpers.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A runtime's program, for one container.
#[derive(Debug)]
pub(super) struct Caller {
    program: PathBuf,
    /// Its words before each command.
    arguments: Vec<String>,
    /// The bundle, and the working directory of each call: names in it are short, as the address
    /// of a socket must be.
    dir: PathBuf,
}

impl Caller {
    pub(super) fn new(program: &Path, arguments: &[String], dir: &Path) -> Self {
        Self { program: program.to_owned(), arguments: arguments.to_vec(), dir: dir.to_owned() }
    }

    /// What the runtime is called in messages.
    pub(super) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Runs `program COMMAND WORDS…` with the given standard descriptors.
    ///
    /// # Errors
    /// [`LaunchError`] with the runtime's own words when it fails.
    pub(super) fn call(
        &self,
        command: &str,
        words: &[&str],
        stdio: [BorrowedFd<'_>; 3],
    ) -> Result<(), LaunchError> {
        let name = self.name();
        let failed = |errno| LaunchError::at(format!("run {name} {command}"), errno);
        // Only this call's complaints are of interest.
        let _ = std::fs::remove_file(self.dir.join(LOG));
        let path = c_string(self.program.as_os_str().as_bytes())?;
        let args = self.args(command, words)?;
        let env = Argv::new(vec![c_string(PATH.as_bytes())?]);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.dir, flags, Mode::empty()).map_err(failed)?;
        let [stdin, stdout, stderr] = stdio;
        let child = sys::clone::clone3(0, || {
            let ready = rustix::process::fchdir(&dir)
                .and_then(|()| rustix::stdio::dup2_stdin(stdin))
                .and_then(|()| rustix::stdio::dup2_stdout(stdout))
                .and_then(|()| rustix::stdio::dup2_stderr(stderr))
                .and_then(|()| sys::process::close_on_exec_from(3))
                .and_then(|()| sys::process::reset_signals());
            if ready.is_ok() {
                sys::clone::execve(&path, &args, &env);
            }
            crate::error::EXIT_NOT_FOUND
        })
        .map_err(failed)?;
        match Pidfd::from(child.pidfd).wait() {
            Ok(Ended::Exited(0)) => Ok(()),
            Ok(ended) => Err(self.complaint(command, ended)),
            Err(error) => Err(failed(error.errno)),
        }
    }

    fn args(&self, command: &str, words: &[&str]) -> Result<Argv, LaunchError> {
        let name = self.name();
        let own = ["--root", ROOT, "--log", LOG, "--log-format", "json", command];
        let arguments = self.arguments.iter().map(String::as_str);
        let all = std::iter::once(&*name).chain(arguments).chain(own).chain(words.iter().copied());
        let all = all.map(|word| c_string(word.as_bytes()));
        Ok(Argv::new(all.collect::<Result<_, _>>()?))
    }

    /// The last error in the log.
    fn complaint(&self, command: &str, ended: Ended) -> LaunchError {
        let name = self.name();
        let log = sys::Root::open(&self.dir)
            .and_then(|dir| dir.read(Path::new(LOG), MAX_LOG_BYTES))
            .unwrap_or_default();
        match last_error(&String::from_utf8_lossy(&log)) {
            Some(said) => LaunchError::runtime(format!("{name} {command}: {said}")),
            None => {
                let status = ended.code();
                LaunchError::runtime(format!("{name} {command} ended with status {status}"))
            }
        }
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, LaunchError> {
    CString::new(bytes).map_err(|_| LaunchError::invalid("a NUL byte in an argument"))
}

/// The message of the last line of level `error` (or worse). Pure.
fn last_error(log: &str) -> Option<String> {
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let level = value.get("level")?.as_str()?.to_owned();
        matches!(level.as_str(), "error" | "fatal" | "panic")
            .then(|| value.get("msg").and_then(|msg| msg.as_str()).map(str::to_owned))?
    };
    log.lines().rev().find_map(line)
}

/// The failure of a start, told apart as engines do it: by the words for a command that is not
/// there (127) or cannot be executed (126), in the words that clients look for. Pure.
pub(super) fn about_command(error: LaunchError, command: &str) -> LaunchError {
    let said = error.step.to_lowercase();
    let named = said.contains(&command.to_lowercase());
    let said_of = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let (words, kind) = if named && said_of(&["not found", "no such file or directory"]) {
        ("executable file not found in $PATH", FailureKind::NotFound)
    } else if named && said_of(&["permission denied", "is a directory"])
        // crun's words for a directory or a file without the mode; they name no command.
        || said_of(&["open executable: "])
    {
        ("permission denied", FailureKind::CannotExecute)
    } else {
        return error;
    };
    let step = match said.contains(&words.to_lowercase()) {
        true => error.step,
        false => format!("{}: exec: {command:?}: {words}", error.step),
    };
    LaunchError { step, kind, ..error }
}

/// Nothing to read, nobody to write to.
pub(super) fn nothing() -> Result<OwnedFd, LaunchError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::open(c"/dev/null", flags, Mode::empty());
    let null = null.map_err(|errno| LaunchError::at("open /dev/null", errno))?;
    // Above the places that it is copied to.
    rustix::io::fcntl_dupfd_cloexec(null.as_fd(), 3)
        .map_err(|errno| LaunchError::at("open /dev/null", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_counts() {
        let log = r#"{"level":"warning","msg":"careful","time":"t"}
{"level":"error","msg":"first"}
{"level":"error","msg":"exec: \"nonesuch\": executable file not found in $PATH"}
not json
{"level":"info","msg":"bye"}
"#;
        let said = last_error(log).unwrap();
        assert_eq!(said, r#"exec: "nonesuch": executable file not found in $PATH"#);
        assert_eq!(last_error("{\"level\":\"warning\",\"msg\":\"x\"}\n"), None);
        assert_eq!(last_error(""), None);
    }

    #[test]
    fn a_command_that_is_not_there_is_told_apart() {
        for (said, command, code) in [
            ("exec: \"nonesuch\": executable file not found in $PATH", "nonesuch", 127),
            ("executable file `nonesuch` not found in $PATH: No such file", "nonesuch", 127),
            ("exec: \"/etc\": permission denied", "/etc", 126),
            ("open executable: Operation not permitted", "/etc", 126),
            ("mount /a: no such file or directory", "sh", 125),
            ("sh: something else", "sh", 125),
        ] {
            let error = about_command(LaunchError::runtime(said), command);
            assert_eq!(error.exit_code(), code, "{said}");
        }
    }
}
