//! Pseudo-terminals and the controlling terminal, pty(7), ioctl_tty(2).

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// Opens the other side of the terminal whose master is given, without any name: nothing that a
/// directory was made to contain can be opened instead. The master is unlocked first.
///
/// # Errors
/// As ioctl_tty(2) `TIOCGPTPEER`.
pub fn peer(master: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::pty::unlockpt(master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags)
}

/// Sets the size in characters.
///
/// # Errors
/// As ioctl_tty(2) `TIOCSWINSZ`.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, cols: u16) -> rustix::io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// Makes the terminal the controlling one of the caller, who must lead a session without one.
///
/// # Errors
/// As ioctl_tty(2) `TIOCSCTTY`.
pub fn take(terminal: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer: 0, do not steal.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(result.into()).map(drop)
}
