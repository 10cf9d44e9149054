//! `estiba-runtime`: finds the command that was asked for. What the commands do is the library's.

use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use sys::program::OUT_OF_REACH;

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
    // through /proc (law B2). What never enters one is spared the way there.
    if runtime::command::enters_container(&texts) {
        match is_out_of_reach(&name) {
            Ok(true) => {}
            Ok(false) if name == OUT_OF_REACH => return refuse("the program can be reached"),
            Ok(false) => {
                return refuse(&format!("protect the program: {}", execute_protected(words)));
            }
            Err(errno) => return refuse(&format!("look at the program: {errno}")),
        }
    }
    runtime::command::run(texts)
}

/// Whether the running program is a file that nobody can write to.
fn is_out_of_reach(name: &OsStr) -> Result<bool, Errno> {
    // What looks like a view is one only if we made it.
    let view = name == OUT_OF_REACH && sys::program::is_read_only_view()?;
    Ok(view || sys::memfd::own_sealed_program()?.is_some())
}

/// Starts over from where the program can only be read: a view of it, or else a sealed copy. Comes
/// back only with the reason why not.
fn execute_protected(words: Vec<OsString>) -> Errno {
    let program = sys::program::read_only_view();
    let program = match program.or_else(|_| sys::memfd::sealed_own_program(SEALED)) {
        Ok(program) => program,
        Err(errno) => return errno,
    };
    let string = |word: OsString| CString::new(word.into_vec());
    let args =
        std::iter::once(OUT_OF_REACH.into()).chain(words).map(string).collect::<Result<_, _>>();
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
