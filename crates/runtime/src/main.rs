//! `estiba-runtime`: finds the command that was asked for. What the commands do is the library's.

use rustix::io::Errno;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

/// What the sealed copy of the program is called.
const SEALED: &std::ffi::CStr = c"estiba-runtime";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|n| n == runtime::reaper::NAME) {
        return ExitCode::from(u8::try_from(runtime::reaper::run(args)).unwrap_or(u8::MAX));
    }
    if let Err(errno) = sys::process::ensure_stdio() {
        return refuse(&format!("open /dev/null: {errno}"));
    }
    let words: Vec<OsString> = args.collect();
    if words.first().is_some_and(|word| word == "monitor") {
        return runtime::monitor::run();
    }
    let texts = words.iter().cloned().map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let texts = match texts {
        Ok(texts) => texts,
        Err(word) => return refuse(&format!("argument {word:?} is not UTF-8")),
    };
    // The container sees the program that enters it; it must not be a file that could be changed
    // through /proc (law B2). What never enters one is spared the copy.
    if runtime::command::enters_container(&texts) {
        match sys::memfd::own_sealed_program() {
            Ok(Some(_)) => {}
            Ok(None) => {
                return refuse(&format!("seal the program: {}", execute_sealed(name, words)));
            }
            Err(errno) => return refuse(&format!("look at the program: {errno}")),
        }
    }
    runtime::command::run(texts)
}

/// Starts over from a sealed copy; comes back only with the reason why not.
fn execute_sealed(name: OsString, words: Vec<OsString>) -> Errno {
    let program = match sys::memfd::sealed_own_program(SEALED) {
        Ok(program) => program,
        Err(errno) => return errno,
    };
    let string = |word: OsString| CString::new(word.into_vec());
    let args = std::iter::once(name).chain(words).map(string).collect::<Result<_, _>>();
    let variable = |(key, value): (OsString, OsString)| {
        let mut bytes = key.into_vec();
        bytes.push(b'=');
        bytes.extend(value.into_vec());
        CString::new(bytes)
    };
    let env = std::env::vars_os().map(variable).collect::<Result<_, _>>();
    let (Ok(args), Ok(env)) = (args, env) else { return Errno::INVAL };
    sys::clone::execve_fd(
        std::os::fd::AsFd::as_fd(&program),
        &sys::clone::Argv::new(args),
        &sys::clone::Argv::new(env),
    )
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("estiba-runtime: {message}");
    ExitCode::FAILURE
}
