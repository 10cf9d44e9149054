//! The unpackers' side. A lobby is this program executed with nothing (see [`sys::sandbox`]); for
//! each order it makes a copy of itself, which confines itself further, does the one thing, says
//! how it went and ends. The lobby never reads a byte of an archive, and ends when nobody wants it.

use super::confine;
use super::message::{Answer, Failure, Role, Said, Tree, receive, send};
use crate::error::{Act, Error, Result};
use crate::tar::doors::Doors;
use crate::tar::extract::{Extracted, Extractor, Rules};
use crate::tar::name::TreePath;
use crate::tar::node::Ownership;
use crate::tar::reader::{Discard, End, TarReader, blame};
use crate::tar::{Entry, Kind};
use crate::{compress, layer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How long a lobby waits for the next order.
const IDLE_SECONDS: i64 = 10;
const STREAM_BUFFER: usize = 256 << 10;
/// Headers come through this; content that is longer goes past it.
const HEADER_BUFFER: usize = 64 << 10;

/// What a test puts in place of an honest unpacker: called after it has confined itself, as the
/// code that took it over.
pub type Hook = fn(Inside<'_>);

/// What who takes an unpacker over finds there.
pub struct Inside<'a> {
    /// Whether this is the decompressor.
    pub decompresses: bool,
    /// What it works on: a directory, or where the decompressor's bytes go.
    pub target: BorrowedFd<'a>,
    /// The way to the process that made it.
    pub talk: BorrowedFd<'a>,
    /// What it reads.
    pub input: BorrowedFd<'a>,
}

/// Runs a lobby whose orders come through the descriptor of this number. To be called first thing
/// by a program that [`crate::unpacker::install`] was given. Returns the exit status.
pub fn main(descriptor: &str) -> i32 {
    run(descriptor, None)
}

/// The same, with unpackers that are taken over at once: for tests of what they can do then.
#[doc(hidden)]
pub fn main_with(descriptor: &str, hook: Hook) -> i32 {
    run(descriptor, Some(hook))
}

fn run(descriptor: &str, hook: Option<Hook>) -> i32 {
    let Ok(number) = descriptor.parse() else { return 2 };
    let Ok(control) = sys::resident::inherited_fd(number) else { return 2 };
    if let Err(error) = prepare() {
        // The one who waits for the first answer gets this instead.
        let _ = send(&control, &Some(Failure::from(error)), &[]);
        return 1;
    }
    i32::from(serve(control, hook).is_err())
}

/// Leaves everything behind that no unpacker needs.
fn prepare() -> Result<()> {
    let leaving = || "prepare the unpackers".to_owned();
    sys::sandbox::close_standard().act(leaving)?;
    sys::sandbox::hide().act(leaving)?;
    sys::sandbox::leave_root().act(leaving)?;
    sys::sandbox::keep_capabilities(confine::FILE_CAPABILITIES).act(leaving)?;
    // Nobody waits for the copies here; the kernel forgets them.
    sys::resident::ignore_signals(&[libc::SIGCHLD, libc::SIGPIPE]).act(leaving)?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn serve(mut control: OwnedFd, hook: Option<Hook>) -> Result<()> {
    let serving = || "wait for an archive".to_owned();
    let mut copies: Vec<OwnedFd> = Vec::new();
    loop {
        match is_ready(&control, IDLE_SECONDS) {
            Ok(true) => {}
            Err(Errno::INTR) => continue,
            Ok(false) => {
                // The end of the lobby is the end of every copy.
                copies.retain(|copy| !is_ready(copy, 0).unwrap_or(false));
                if copies.is_empty() {
                    return Ok(());
                }
                continue;
            }
            Err(errno) => return Err(errno).act(serving),
        }
        let Some((role, fds)) = receive::<Role>(&control).act(serving)? else { return Ok(()) };
        let own = &mut control;
        let child = sys::clone::clone3(0, move || {
            // The copy gives no orders and takes none.
            let _ = rustix::io::dup2(rustix::stdio::stdin(), own);
            let _ = std::panic::catch_unwind(|| work(&role, fds, hook));
            0
        });
        match child {
            Ok(child) => {
                let told = send(&control, &None::<Failure>, &[child.pidfd.as_fd()]);
                copies.push(child.pidfd);
                copies.retain(|copy| !is_ready(copy, 0).unwrap_or(false));
                told
            }
            Err(errno) => {
                let error = Error::io("make an unpacker", errno);
                send(&control, &Some(Failure::from(error)), &[])
            }
        }
        .act(serving)?;
    }
}

/// Whether there is something to read, or a process has ended, within so many seconds.
fn is_ready(fd: &OwnedFd, seconds: i64) -> rustix::io::Result<bool> {
    let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)).map(|ready| ready > 0)
}

/// In a copy: the one archive.
fn work(role: &Role, fds: Vec<OwnedFd>, hook: Option<Hook>) {
    let Ok([talk, input, target]) = <[OwnedFd; 3]>::try_from(fds) else { return };
    let done = confine::enter(role, target.as_fd()).and_then(|()| {
        if let Some(hook) = hook {
            let decompresses = *role == Role::Decompress;
            let (target, talk, input) = (target.as_fd(), talk.as_fd(), input.as_fd());
            hook(Inside { decompresses, target, talk, input });
        }
        act(role, &talk, File::from(input), target)
    });
    let said = match done {
        Ok(extracted) => Said::done(&extracted),
        Err(error) => Said::failed(error),
    };
    // When nobody listens any more, nobody wants to know.
    let _ = send(&talk, &said, &[]);
}

fn act(role: &Role, talk: &OwnedFd, input: File, target: OwnedFd) -> Result<Extracted> {
    match role {
        Role::Decompress => {
            decompress(input, &mut File::from(target)).map(|()| Extracted::default())
        }
        Role::Layer { marked } => {
            let end = if *marked { End::Marked } else { End::Anywhere };
            layer::unpack(&target, input, end, &Asking { talk })
        }
        Role::Tree(tree) => extract(tree, input, &target, &Asking { talk }),
    }
}

fn decompress(input: File, out: &mut File) -> Result<()> {
    let mut plain = compress::here(input)?;
    let mut buffer = vec![0; STREAM_BUFFER];
    loop {
        let have = match plain.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(blame)?,
        };
        match out.write_all(&buffer[..have]) {
            // The extractor has failed, and says why itself.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            done => done.act(|| "pass plain bytes on".into())?,
        }
    }
}

fn extract(tree: &Tree, input: File, root: &OwnedFd, doors: &Asking<'_>) -> Result<Extracted> {
    let owner = Ownership { fixed: tree.owner, shift: (0, 0) };
    let rules = Rules { layer: false, keep_kinds: tree.keep_kinds, root: tree.root, owner };
    let source = BufReader::with_capacity(HEADER_BUFFER, input);
    let mut reader = TarReader::new(source, Discard, End::Marked);
    let base = TreePath::parse(&tree.base)?;
    Extractor::new(root.as_fd(), base, rules).through(doors).run(&mut reader)
}

/// Asks the process that made this one.
struct Asking<'a> {
    talk: &'a OwnedFd,
}

impl Asking<'_> {
    fn ask(&self, said: &Said) -> rustix::io::Result<()> {
        send(self.talk, said, &[])?;
        let (answer, _) = receive::<Answer>(self.talk)?.ok_or(Errno::PIPE)?;
        answer.into_result()
    }
}

impl Doors for Asking<'_> {
    fn node(
        &self,
        _: (BorrowedFd<'_>, &CStr),
        path: &TreePath,
        entry: &Entry,
    ) -> rustix::io::Result<()> {
        let (block, mode) = (entry.kind == Kind::BlockDevice, entry.mode);
        let (path, major, minor) = (path.to_bytes(), entry.major, entry.minor);
        self.ask(&Said::Node { path, block, mode, major, minor })
    }

    fn opaque(&self, _: BorrowedFd<'_>, path: &TreePath) -> rustix::io::Result<()> {
        self.ask(&Said::Opaque { path: path.to_bytes() })
    }
}
