//! A failed system call with everything that it was given.

use rustix::io::Errno;

/// A system call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}({args}): {errno}")]
pub struct SysError {
    /// Name of the call, as in its manual page.
    pub call: &'static str,
    /// Its arguments, readable.
    pub args: String,
    /// What the kernel answered.
    pub errno: Errno,
}

impl SysError {
    /// `call` with `args` failed with `errno`.
    pub fn new(call: &'static str, args: impl Into<String>, errno: Errno) -> Self {
        Self { call, args: args.into(), errno }
    }
}

impl From<SysError> for std::io::Error {
    fn from(error: SysError) -> Self {
        std::io::Error::new(std::io::Error::from(error.errno).kind(), error)
    }
}

/// Turns the result of a raw `syscall(2)` into a value or an error number.
pub(crate) fn check(result: libc::c_long) -> rustix::io::Result<libc::c_long> {
    if result < 0 { Err(last()) } else { Ok(result) }
}

/// The calling thread's error number.
pub(crate) fn last() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(raw.unwrap_or(libc::EIO))
}
