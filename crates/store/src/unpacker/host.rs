//! The side that trusts nobody: makes lobbies, gives orders, answers what extractors ask, and waits
//! until they are gone. This module never reads an archive.

use super::message::{Answer, Failure, Role, Said, Tree, receive, send};
use super::patience::{LIMIT, QUESTION_BYTES, Watch};
use super::{WORD, pump};
use crate::error::{Act, Error, Result};
use crate::store::lock;
use crate::tar::doors;
use crate::tar::extract::{Extracted, Rules};
use crate::tar::limits::MAX_ENTRIES;
use crate::tar::name::TreePath;
use crate::tar::reader::End;
use crate::tree;
use model::Digest;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use sys::sandbox::IdRange;

/// Ids of layers, 0 to 2³¹-2, are 2³¹ and above outside: nobody's.
const NOBODYS: IdRange = IdRange { inside: 0, outside: 1 << 31, count: (1 << 31) - 1 };
/// Ids in the range of a container.
const CONTAINER_IDS: u32 = 65_536;
/// Lobbies that wait for orders at the same time.
const MAX_LOBBIES: usize = 4;

static INSTALLED: OnceLock<Unpacker> = OnceLock::new();

/// From now on no archive is taken apart in this process. `program` is an open executable that runs
/// [`super::main`] when its first word is [`WORD`]. For the whole process, since a law that a path
/// can forget is none; a second call changes nothing.
///
/// # Errors
/// The program cannot be read.
pub fn install(program: File) -> io::Result<()> {
    install_with_limit(program, LIMIT)
}

/// The same, with another time that an unpacker may get stuck for: for tests.
#[doc(hidden)]
pub fn install_with_limit(program: File, limit: Duration) -> io::Result<()> {
    let program = for_everybody(program)?.into();
    let (lobbies, peak_kib) = (Mutex::default(), AtomicU64::new(0));
    let _ = INSTALLED.set(Unpacker { program, lobbies, peak_kib, limit });
    Ok(())
}

/// The most memory that any unpacker has had in RAM, KiB; nothing where there are none.
pub fn peak_kib() -> Option<u64> {
    installed().map(|unpacker| unpacker.peak_kib.load(Ordering::Relaxed))
}

/// A lobby is nobody when it executes the program: one that only its owner may run is copied.
fn for_everybody(mut program: File) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    if program.metadata()?.permissions().mode() & 0o001 != 0 {
        return Ok(program);
    }
    let flags = MemfdFlags::CLOEXEC;
    let copy = memfd_create("estiba", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("estiba", flags))?;
    let mut copy = File::from(copy);
    io::copy(&mut program, &mut copy)?;
    // Open for writing it could not be executed.
    File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()))
}

/// The processes that take archives apart, if there are any.
pub(crate) fn installed() -> Option<&'static Unpacker> {
    INSTALLED.get()
}

/// What was extracted, the digest of the plain bytes, and how many they were.
pub(super) type Unpacked = (Extracted, Digest, u64);

/// Makes processes that take archives apart.
pub(crate) struct Unpacker {
    program: OwnedFd,
    lobbies: Mutex<Vec<(IdRange, Arc<Lobby>)>>,
    peak_kib: AtomicU64,
    /// How long one of them may do nothing.
    pub(super) limit: Duration,
}

/// A process that waits for orders.
pub(super) struct Lobby {
    control: Mutex<OwnedFd>,
    userns: OwnedFd,
}

/// An extractor that waits for its archive.
pub(super) struct Begun {
    pub(super) extractor: Worker,
    /// Where the plain tar goes.
    pub(super) feed: OwnedFd,
}

/// A process that does one thing; killed when dropped.
pub(super) struct Worker {
    process: OwnedFd,
    pub(super) talk: OwnedFd,
}

impl Unpacker {
    /// Unpacks a layer into its directory.
    pub(crate) fn layer(
        &self,
        home: BorrowedFd<'_>,
        source: &mut dyn Read,
        end: End,
    ) -> Result<Unpacked> {
        let role = Role::Layer { marked: end == End::Marked };
        let begun = self.begin(&role, || self.mapped(home))?;
        let granted =
            Granted { root: home, below: Some(c"fs"), resolve: tree::STRICT, as_ids: None };
        self.note(pump::Job { unpacker: self, begun, granted }.run(source))
    }

    /// Extracts a tar into a tree. With a shift the tree is a container's, entered with its ids.
    pub(crate) fn tree(
        &self,
        root: BorrowedFd<'_>,
        base: &TreePath,
        rules: Rules,
        source: &mut dyn Read,
    ) -> Result<Extracted> {
        let shift = rules.owner.shift;
        let range = match shift {
            (0, 0) => everybody(),
            (uid, gid) if uid == gid => IdRange { inside: 0, outside: uid, count: CONTAINER_IDS },
            _ => return Err(Error::bad("users and groups of the tree begin at different ids")),
        };
        let role = Role::Tree(Tree {
            base: base.to_bytes(),
            keep_kinds: rules.keep_kinds,
            root: rules.root,
            owner: rules.owner.fixed,
        });
        let open = || root.try_clone_to_owned().act(|| "open the tree".into());
        let begun = self.begin(&role, || Ok((self.lobby(range)?, open()?)))?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // What doors make belongs to who extracts, not to us.
        let as_ids = (shift != (0, 0)).then_some(shift);
        let granted = Granted { root, below: None, resolve, as_ids };
        self.note(pump::Job { unpacker: self, begun, granted }.run(source))
            .map(|(extracted, ..)| extracted)
    }

    fn note(&self, (peak_kib, done): (u64, Result<Unpacked>)) -> Result<Unpacked> {
        self.peak_kib.fetch_max(peak_kib, Ordering::Relaxed);
        done
    }

    /// Starts an extractor on what `place` gives, in the lobby that belongs to it.
    fn begin(
        &self,
        role: &Role,
        place: impl Fn() -> Result<(Arc<Lobby>, OwnedFd)>,
    ) -> Result<Begun> {
        let (input, feed) = pump::pipe()?;
        let extractor = self.twice(|| {
            let (lobby, target) = place()?;
            Ok((lobby.start(role, input.as_fd(), target.as_fd()), lobby))
        })?;
        Ok(Begun { extractor, feed })
    }

    /// Starts a decompressor, in any lobby.
    pub(super) fn decompress(&self, from: &OwnedFd, to: &OwnedFd) -> Result<Worker> {
        self.twice(|| {
            let any = {
                let mut lobbies = lock(&self.lobbies);
                // All of them may have ended for being idle.
                lobbies.retain(|(_, lobby)| lobby.is_there());
                lobbies.last().map(|(_, lobby)| Arc::clone(lobby))
            };
            let lobby = any.map_or_else(|| self.lobby(everybody()), Ok)?;
            Ok((lobby.start(&Role::Decompress, from.as_fd(), to.as_fd()), lobby))
        })
    }

    /// A lobby may end, idle or killed, just when it is wanted: then another one does it.
    fn twice(&self, start: impl Fn() -> Result<(Result<Worker>, Arc<Lobby>)>) -> Result<Worker> {
        let (started, lobby) = start()?;
        match started {
            Err(Error::Io { source, .. }) if source.raw_os_error().is_some() => {
                lock(&self.lobbies).retain(|(_, other)| !Arc::ptr_eq(other, &lobby));
                start()?.0
            }
            started => started,
        }
    }

    /// A lobby, and the directory as it sees it: through a mount that maps ids, or, where the file
    /// system has none, as it is.
    fn mapped(&self, dir: BorrowedFd<'_>) -> Result<(Arc<Lobby>, OwnedFd)> {
        if everybody().count == u32::MAX {
            let lobby = self.lobby(NOBODYS)?;
            match idmapped(dir, lobby.userns.as_fd()) {
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
                mounted => return Ok((lobby, mounted.act(|| "map the ids of a layer".into())?)),
            }
        }
        let open = dir.try_clone_to_owned().act(|| "open layer directory".into())?;
        Ok((self.lobby(everybody())?, open))
    }

    fn lobby(&self, range: IdRange) -> Result<Arc<Lobby>> {
        let mut lobbies = lock(&self.lobbies);
        lobbies.retain(|(_, lobby)| lobby.is_there());
        if let Some((_, lobby)) = lobbies.iter().find(|(have, _)| *have == range) {
            return Ok(Arc::clone(lobby));
        }
        let lobby = Arc::new(Lobby::make(&self.program, range)?);
        lobbies.truncate(MAX_LOBBIES - 1);
        lobbies.push((range, Arc::clone(&lobby)));
        Ok(lobby)
    }
}

/// All ids that this process's user namespace has, as they are.
fn everybody() -> IdRange {
    static COUNT: OnceLock<u32> = OnceLock::new();
    let of = |extents: &[sys::userns::Extent]| sys::userns::contiguous(extents);
    let count = *COUNT.get_or_init(|| of(&sys::userns::users()).min(of(&sys::userns::groups())));
    IdRange { inside: 0, outside: 0, count }
}

/// The directory as a mount of its own that nobody sees, its ids mapped.
fn idmapped(dir: BorrowedFd<'_>, userns: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    use sys::mount::attr::{IDMAP, NODEV, NOEXEC, NOSUID};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(dir, c"", flags)?;
    let set = IDMAP | NOSUID | NODEV | NOEXEC;
    let change = sys::mount::MountChange { set, userns: Some(userns), ..Default::default() };
    sys::mount::change(mount.as_fd(), &change)?;
    Ok(mount)
}

impl Lobby {
    fn make(program: &OwnedFd, range: IdRange) -> Result<Self> {
        let making = || "start the unpackers".to_owned();
        let (control, theirs) = sys::socket::message_pair().act(making)?;
        let words = ["estiba", WORD, &theirs.as_raw_fd().to_string()]
            .map(|word| CString::new(word).unwrap_or_default());
        let (child, userns) =
            sys::sandbox::spawn(program.as_fd(), &words, theirs.as_fd(), range).act(making)?;
        // It ends when idle: somebody must take note, or it stays as a zombie.
        let process = sys::Pidfd::from(child.pidfd);
        let waits = std::thread::Builder::new().name("unpackers".into()).stack_size(64 << 10);
        waits.spawn(move || drop(process.wait())).act(making)?;
        Ok(Self { control: Mutex::new(control), userns })
    }

    /// Whether it has not ended.
    fn is_there(&self) -> bool {
        let control = lock(&self.control);
        let mut polled = [PollFd::new(&*control, PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut polled, Some(&now)), Ok(0))
    }

    /// Makes a process for a role that reads `input` and works on `target`.
    pub(super) fn start(
        &self,
        role: &Role,
        input: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
    ) -> Result<Worker> {
        let ordering = || "start an unpacker".to_owned();
        let (talk, theirs) = sys::socket::message_pair().act(ordering)?;
        let control = lock(&self.control);
        send(&*control, role, &[theirs.as_fd(), input, target]).act(ordering)?;
        let answer = receive::<Option<Failure>>(&*control).act(ordering)?;
        match answer {
            Some((Some(failure), _)) => Err(failure.into()),
            Some((None, mut fds)) if fds.len() == 1 => Ok(Worker { process: fds.remove(0), talk }),
            _ => Err(Error::io(ordering(), Errno::CONNRESET)),
        }
    }
}

impl Worker {
    /// The process itself.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Whether it says something within so much time.
    pub(super) fn speaks(&self, within: Duration) -> Result<bool> {
        let seconds = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
        let nanos = within.subsec_nanos().into();
        let limit = rustix::event::Timespec { tv_sec: seconds, tv_nsec: nanos };
        loop {
            match poll(&mut [PollFd::new(&self.talk, PollFlags::IN)], Some(&limit)) {
                Err(Errno::INTR) => {}
                done => return Ok(done.act(|| "listen to an unpacker".into())? > 0),
            }
        }
    }

    /// Waits until it has ended.
    pub(super) fn wait(&self) -> Result<()> {
        let mut polled = [PollFd::new(&self.process, PollFlags::IN)];
        loop {
            match poll(&mut polled, None) {
                Err(Errno::INTR) => {}
                done => return done.map(drop).act(|| "wait for an unpacker".into()),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has mostly ended by itself; what it works on is only ours again when it is gone.
        let _ = sys::process::send_signal(self.process.as_fd(), libc::SIGKILL);
        let _ = self.wait();
    }
}

/// What an extractor may have done for it, and where.
pub(super) struct Granted<'a> {
    root: BorrowedFd<'a>,
    /// Where below the root its paths begin.
    below: Option<&'static std::ffi::CStr>,
    resolve: ResolveFlags,
    /// Ids to do it with, when not ours.
    as_ids: Option<(u32, u32)>,
}

impl Granted<'_> {
    /// Answers what an extractor asks until it says how it went.
    pub(super) fn answer(&self, talk: &OwnedFd, watch: &Watch) -> Result<Said> {
        let Some((uid, gid)) = self.as_ids else { return self.listen(talk, watch) };
        sys::cred::with_fs_ids(uid, gid, || self.listen(talk, watch))
            .act(|| "become the container's root for files".into())?
    }

    fn listen(&self, talk: &OwnedFd, watch: &Watch) -> Result<Said> {
        let listening = || "listen to an unpacker".to_owned();
        for _ in 0..=MAX_ENTRIES {
            let Some((said, _)) = receive::<Said>(talk).act(listening)? else {
                return Err(Error::bad("the unpacker died of the archive"));
            };
            watch.moved(QUESTION_BYTES);
            let done = match &said {
                Said::Done { .. } | Said::Failed { .. } => return Ok(said),
                Said::Node { path, block, mode, major, minor } => {
                    let node = doors::Node { block: *block, mode: *mode, device: (*major, *minor) };
                    self.parent(path).and_then(|(dir, name)| doors::make_node(&dir, &name, node))
                }
                Said::Opaque { path } => self.opaque(path),
            };
            // A dead one is noticed at the next message.
            let _ = send(talk, &Answer::of(done), &[]);
        }
        Err(Error::bad("the unpacker asks too much"))
    }

    /// The directory and the last name of a path, resolved as the extractor resolves it.
    fn parent(&self, path: &[u8]) -> rustix::io::Result<(OwnedFd, CString)> {
        let path = TreePath::parse(path).map_err(|_| Errno::INVAL)?;
        let (parent, name) = path.split_last().ok_or(Errno::INVAL)?;
        Ok((self.dir(&parent)?, name))
    }

    fn dir(&self, path: &TreePath) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::OFlags;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Some(below) = self.below else {
            return tree::openat2(self.root, path.to_bytes(), flags, self.resolve);
        };
        let top = tree::child_dir(self.root, below)?;
        tree::openat2(&top, path.to_bytes(), flags, self.resolve)
    }

    /// Only layers have marks.
    fn opaque(&self, path: &[u8]) -> rustix::io::Result<()> {
        let path = TreePath::parse(path).map_err(|_| Errno::INVAL)?;
        self.below.ok_or(Errno::PERM)?;
        doors::mark_opaque(&self.dir(&path)?)
    }
}
