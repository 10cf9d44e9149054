//! The zygote: a monitor's program, started and relocated once, from which monitors are forked.
//! Executing it anew for each container costs more than the rest of a monitor's beginning. It holds
//! nothing of any container and is never inside one.
//!
//! ```text
//!  daemon ──spawn, fd 3──▶ zygote          the zygote's end is the daemon's, or an unusual one
//!  daemon ──two fds─────▶ zygote ──clone3──▶ monitor    a child of the daemon's (CLONE_PARENT)
//!  daemon ◀──process id── zygote
//! ```

use super::client::{ClientError, Standby};
use super::run::Seen;
use super::{CONTROL_FD, run};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// What a request says: there is only one.
const FORK: [u8; 1] = [1];

/// Where the zygote has its socket.
const SOCKET: u32 = CONTROL_FD.unsigned_abs();

/// Descriptors of a request: the monitor's control connection and its order.
const FDS: usize = 2;

/// The daemon's side of a zygote. It ends by itself when this is dropped, or when the process that
/// holds it ends. It is the caller's child to reap, and so are the monitors.
#[derive(Debug)]
pub struct Zygote {
    socket: OwnedFd,
    pid: i32,
}

impl Zygote {
    /// Starts one, from the program in `runtime_exe`.
    ///
    /// # Errors
    /// [`ClientError::Spawn`] when no process can be made.
    pub fn spawn(runtime_exe: BorrowedFd) -> Result<Self, ClientError> {
        let spawn = || -> io::Result<Self> {
            let (socket, theirs) = sys::socket::message_pair()?;
            let pid = sys::spawn::Spawn::new(runtime_exe, &[c"estiba-runtime", c"monitor"])
                .fd(theirs.as_fd(), CONTROL_FD)
                .spawn()?;
            Ok(Self { socket, pid })
        };
        spawn().map_err(ClientError::Spawn)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Has it fork a monitor. Blocks for as long as a fork takes.
    ///
    /// # Errors
    /// [`ClientError::Spawn`] when it is gone, or has no room for another process.
    pub fn fork(&self) -> Result<Standby, ClientError> {
        Standby::with(|control, order| {
            sys::socket::send_with_fds(self.socket.as_fd(), &FORK, &[control, order])?;
            let mut answer = [0; size_of::<i32>()];
            match sys::socket::recv_with_fds(self.socket.as_fd(), &mut answer, drop)? {
                0 => Err(io::ErrorKind::BrokenPipe.into()),
                _ => match i32::from_ne_bytes(answer) {
                    pid if pid > 0 => Ok(pid),
                    errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                },
            }
        })
    }
}

/// Forks until there is nobody to do it for. Its command is a monitor's, so that process lists show
/// monitors as such; only its name tells it from them.
pub(super) fn serve(socket: OwnedFd) -> ExitCode {
    // Inherited by the monitors, which need it too.
    if run::settle_in().is_err() {
        return ExitCode::FAILURE;
    }
    let _ = rustix::thread::set_name(c"estiba-zygote");
    let mut seen = None;
    loop {
        match fork_one(socket.as_fd(), &mut seen) {
            Ok(true) => {}
            Ok(false) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// Answers one request; false when there will be no more. What a monitor would see of the host is
/// `seen` for it.
fn fork_one(socket: BorrowedFd<'_>, seen: &mut Option<Seen>) -> Result<bool, Errno> {
    let mut request = [0; FORK.len()];
    let mut fds: [Option<OwnedFd>; FDS] = [const { None }; FDS];
    let mut free = fds.iter_mut();
    let length = sys::socket::recv_with_fds(socket, &mut request, |fd| {
        if let Some(place) = free.next() {
            *place = Some(fd);
        }
    })?;
    let [Some(control), Some(order)] = fds else {
        return if length == 0 { Ok(false) } else { Err(Errno::PROTO) };
    };
    *seen = Seen::recently(seen.take());
    // This process has one thread: its memory is as whole in the child as it is here.
    let child = sys::clone::clone3(sys::clone::CLONE_PARENT, || {
        // The socket is the zygote's alone, and nothing here comes back to who owns it.
        let _ = sys::process::close_copies(SOCKET, SOCKET);
        run::watch_over(control, order, seen.clone())
    });
    let answer = match child {
        Ok(child) => child.pid,
        Err(errno) => errno.raw_os_error().saturating_neg(),
    };
    sys::socket::send_with_fds(socket, &answer.to_ne_bytes(), &[])?;
    Ok(true)
}
