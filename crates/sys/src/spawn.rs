//! Starting a program with exactly the fds that it is given.
//!
//! posix_spawn(3) shares the caller's memory until exec, so its cost does not grow with the
//! caller's size as fork's does. This module knows nothing of what is started.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Descriptors are copied up here before they are put in their places, so that none of the
/// places can be another's source.
const ABOVE_PLACES: i32 = 64;

/// A program about to be started: in a session of its own, with an empty environment (in debug
/// builds with [`crate::failpoint::DIR`] in it, where that is set), default signal dispositions,
/// nothing blocked, and `/dev/null` as stdin, stdout and stderr unless said otherwise. No other fd
/// of the caller's reaches it, close-on-exec or not.
#[derive(Debug)]
pub struct Spawn<'a> {
    program: BorrowedFd<'a>,
    args: &'a [&'a CStr],
    places: Vec<(BorrowedFd<'a>, i32)>,
}

impl<'a> Spawn<'a> {
    /// `program` is an open executable (not a script), `args` begins with its name.
    #[must_use]
    pub fn new(program: BorrowedFd<'a>, args: &'a [&'a CStr]) -> Self {
        Self { program, args, places: Vec::new() }
    }

    /// Gives the program `fd` as number `place` (below 64).
    #[must_use]
    pub fn fd(mut self, fd: BorrowedFd<'a>, place: i32) -> Self {
        self.places.push((fd, place));
        self
    }

    /// Starts it and returns its process id: a child of the caller, to be waited for.
    ///
    /// # Errors
    /// Whatever fcntl(2), posix_spawn(3) or the exec behind it report; `InvalidInput` for a place
    /// out of range.
    pub fn spawn(&self) -> io::Result<i32> {
        let mut actions = FileActions::new()?;
        for place in 0..3 {
            actions.open_null(place)?;
        }
        let mut sources = Vec::with_capacity(self.places.len());
        for (fd, place) in &self.places {
            if !(0..ABOVE_PLACES).contains(place) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let source = high_copy(*fd)?;
            actions.dup(&source, *place)?;
            sources.push(source);
        }
        actions.close_from(self.places.iter().map(|(_, place)| place + 1).fold(3, i32::max))?;
        // Through our own fd table: the child's has lost the program by the time of its exec.
        let program = high_copy(self.program)?;
        let pid = rustix::process::getpid().as_raw_nonzero();
        let path = CString::new(format!("/proc/{pid}/fd/{}", program.as_raw_fd()))?;
        let attributes = Attributes::fresh()?;
        let mut argv: Vec<_> = self.args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
        argv.push(ptr::null_mut());
        let failpoints = failpoints();
        let failpoints = failpoints.as_ref().map_or(ptr::null_mut(), |it| it.as_ptr().cast_mut());
        let environment = [failpoints, ptr::null_mut()];
        let mut pid = 0;
        // SAFETY: path, the elements of argv and environment are NUL-terminated strings or the
        // terminating null, and live, like actions and attributes (both initialised), beyond the
        // call, which does not write through any of them.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                actions.0.as_ptr(),
                attributes.0.as_ptr(),
                argv.as_ptr(),
                environment.as_ptr(),
            )
        };
        drop(sources);
        check(error).map(|()| pid)
    }
}

/// Where the program finds its failpoints too, if anywhere.
fn failpoints() -> Option<CString> {
    let dir = std::env::var_os(crate::failpoint::DIR).filter(|_| cfg!(debug_assertions))?;
    let mut entry = format!("{}=", crate::failpoint::DIR).into_bytes();
    entry.extend(std::os::unix::ffi::OsStringExt::into_vec(dir));
    CString::new(entry).ok()
}

fn high_copy(fd: BorrowedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), ABOVE_PLACES)?)
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Initialised file actions, destroyed on drop.
struct FileActions(Box<MaybeUninit<libc::posix_spawn_file_actions_t>>);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable memory of the right type and size.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        Ok(Self(actions))
    }

    fn open_null(&mut self, place: i32) -> io::Result<()> {
        // SAFETY: initialised in `new`; glibc copies the path.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(
                self.0.as_mut_ptr(),
                place,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            )
        })
    }

    fn close_from(&mut self, first: i32) -> io::Result<()> {
        // SAFETY: initialised in `new`; the number is only recorded.
        check(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(self.0.as_mut_ptr(), first) })
    }

    fn dup(&mut self, source: &OwnedFd, place: i32) -> io::Result<()> {
        // SAFETY: initialised in `new`; the numbers are only recorded.
        check(unsafe {
            libc::posix_spawn_file_actions_adddup2(self.0.as_mut_ptr(), source.as_raw_fd(), place)
        })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// Initialised spawn attributes, destroyed on drop.
struct Attributes(Box<MaybeUninit<libc::posix_spawnattr_t>>);

impl Attributes {
    /// New session, all signals default and unblocked.
    fn fresh() -> io::Result<Self> {
        let mut attributes = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to writable memory of the right type and size.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut attributes = Self(attributes);
        let flags = libc::POSIX_SPAWN_SETSIGMASK
            | libc::POSIX_SPAWN_SETSIGDEF
            | libc::POSIX_SPAWN_SETSID as libc::c_int;
        let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
        let mut set = MaybeUninit::uninit();
        let attributes_ptr = attributes.0.as_mut_ptr();
        // SAFETY: attributes are initialised above; each set is initialised by sigemptyset or
        // sigfillset before it is read, and is copied.
        unsafe {
            check(libc::posix_spawnattr_setflags(attributes_ptr, flags))?;
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(attributes_ptr, set.as_ptr()))?;
            libc::sigfillset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(attributes_ptr, set.as_ptr()))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `fresh`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

impl std::fmt::Debug for FileActions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileActions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use rustix::process::{Pid, WaitOptions, waitpid};

    #[test]
    fn gives_exactly_the_named_fds_in_their_places() {
        let shell = rustix::fs::open("/bin/busybox", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .unwrap();
        let (a_out, a_in) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (b_out, b_in) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let script = c"echo a >&3; echo b >&4; echo $(ls /proc/self/fd) >&3; env >&4";
        let args = [c"sh", c"-c", script];
        let pid = Spawn::new(shell.as_fd(), &args)
            .fd(a_in.as_fd(), 3)
            .fd(b_in.as_fd(), 4)
            .spawn()
            .unwrap();
        drop((a_in, b_in));
        let read = |fd| std::io::read_to_string(std::fs::File::from(fd)).unwrap();
        // The inner `ls` sees its own stdout pipe as 1 and its directory as 5.
        assert_eq!(read(a_out), "a\n0 1 2 3 4 5\n");
        let b = read(b_out);
        assert!(b.starts_with("b\n") && !b.contains("CARGO"), "{b}");
        let pid = Pid::from_raw(pid).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn a_program_that_cannot_run_is_an_error() {
        let file =
            rustix::fs::open("/etc/passwd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let error = Spawn::new(file.as_fd(), &[c"passwd"]).spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
