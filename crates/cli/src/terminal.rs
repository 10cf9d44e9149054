//! The terminal and the standard streams: sizes, raw mode, writing. It never knows what is
//! written.

use std::io::{self, Write};
use std::sync::Mutex;

use rustix::fd::BorrowedFd;
use rustix::termios::{self, OptionalActions, Termios};

use crate::failure::Failure;

/// The width that help pages are wrapped at when standard input is no terminal.
const DEFAULT_WIDTH: usize = 80;

/// The terminal's settings while it is in raw mode, for whoever has to restore them.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Rows and columns of the terminal at `fd`, when there is one.
pub(crate) fn size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(fd).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// The width for help pages.
pub(crate) fn help_width() -> usize {
    match size(rustix::stdio::stdin()) {
        Some((_, columns)) if columns > 0 => usize::from(columns),
        _ => DEFAULT_WIDTH,
    }
}

/// Whether `fd` is a terminal.
pub(crate) fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    termios::isatty(fd)
}

/// Writes to standard output. A reader that went away ends the command silently.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(1),
        _ => Failure::new(format!("write /dev/stdout: {error}")),
    })
}

/// Writes to standard error, as far as that is possible.
pub(crate) fn complain(text: impl AsRef<[u8]>) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_ref());
}

/// Raw mode of the terminal on standard input, until dropped.
pub(crate) struct RawMode(());

impl RawMode {
    /// Switches the terminal to raw mode: no echo, no signals from keys, no line editing.
    pub(crate) fn enter() -> Result<Self, Failure> {
        let stdin = rustix::stdio::stdin();
        let saved = termios::tcgetattr(stdin)
            .map_err(|error| Failure::new(format!("read the terminal's settings: {error}")))?;
        let mut raw = saved.clone();
        raw.make_raw();
        // What was typed ahead is kept for the container.
        termios::tcsetattr(stdin, OptionalActions::Now, &raw)
            .map_err(|error| Failure::new(format!("set the terminal to raw mode: {error}")))?;
        if let Ok(mut slot) = SAVED.lock() {
            *slot = Some(saved);
        }
        // A program that aborts on a panic runs no destructors.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back its settings, if they were changed. Safe to call at any time.
pub(crate) fn restore() {
    let saved = SAVED.lock().ok().and_then(|mut slot| slot.take());
    if let Some(saved) = saved {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &saved);
    }
}
