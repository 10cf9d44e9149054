//! The standard descriptors of a process: which end goes to it, which stays here.
//!
//! Our ends do not block; the process's own do, because the setting belongs to the open file and
//! programs do not expect it.

use super::log::Stream;
use crate::container::Stdio;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;

/// What a process is to be started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A terminal of this size, instead of pipes.
    pub(super) terminal: Option<Option<(u16, u16)>>,
    /// Its stdin can be written to; otherwise it is `/dev/null`, or a terminal nobody types on.
    pub(super) stdin: bool,
}

impl Wanted {
    /// What `process` asks for.
    pub(super) fn new(process: &wire::oci::runtime::Process, stdin: bool) -> Self {
        let clamp = |number| u16::try_from(number).unwrap_or(u16::MAX);
        let size = process.console_size.map(|size| (clamp(size.height), clamp(size.width)));
        Self { terminal: process.terminal.then_some(size), stdin }
    }
}

/// Our ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Written to.
    pub(super) stdin: Option<OwnedFd>,
    /// Read from; a terminal's master.
    pub(super) stdout: Option<OwnedFd>,
    /// Read from.
    pub(super) stderr: Option<OwnedFd>,
}

impl Ends {
    /// The ends of a process that was started on a terminal, whose master is `console`.
    pub(super) fn of_terminal(console: OwnedFd, stdin: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&console, true)?;
        let stdin = if stdin { Some(console.try_clone()?) } else { None };
        Ok(Self { stdin, stdout: Some(console), stderr: None })
    }

    /// The end of an output stream.
    pub(super) fn output(&mut self, stream: Stream) -> &mut Option<OwnedFd> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// Makes what a process is started with, and our ends of it. A terminal's come later, with
/// [`Ends::of_terminal`].
pub(super) fn open(wanted: Wanted) -> io::Result<(Stdio, Ends)> {
    if let Some(size) = wanted.terminal {
        return Ok((Stdio::Terminal { size }, Ends::default()));
    }
    let mut ends = Ends::default();
    let stdin = if wanted.stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        ends.stdin = Some(ours);
        theirs
    } else {
        rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?
    };
    let (ours, stdout) = output_pipe()?;
    ends.stdout = Some(ours);
    let (ours, stderr) = output_pipe()?;
    ends.stderr = Some(ours);
    Ok((Stdio::Fds { stdin, stdout, stderr }, ends))
}

/// Our reading end and the process's writing end.
fn output_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
