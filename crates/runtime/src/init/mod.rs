//! The child between clone and exec: it walks over the steps of its plan and reports the first
//! that fails. It never allocates, takes no lock and decides nothing.

mod command;
pub(crate) mod message;
mod mounts;
pub(crate) use mounts::{MASK_DIR, MASK_FILE};
mod terminal;

use crate::plan::step::{InitPlan, InitStep, SLOTS, Slot};
use message::{Message, Tag};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sys::mount::MountChange;
use sys::seccomp::NEW_LISTENER;

/// Names in a file system of the runtime's own: they can neither be redirected nor covered.
const OWN: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_MAGICLINKS);

/// Most control groups that a child enters by itself: there are fewer controllers.
pub(crate) const DOORS: usize = 16;

/// The descriptors of the child.
#[derive(Debug)]
pub(crate) struct Slots {
    all: [Option<OwnedFd>; SLOTS],
    /// Files of control groups to be entered.
    doors: [Option<OwnedFd>; DOORS],
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { all: [const { None }; SLOTS], doors: [const { None }; DOORS] }
    }

    pub(crate) fn put(&mut self, slot: Slot, fd: OwnedFd) {
        self.all[usize::from(slot.0)] = Some(fd);
    }

    /// Keeps the file of a control group; what is too much is dropped.
    pub(crate) fn put_door(&mut self, fd: OwnedFd) {
        if let Some(free) = self.doors.iter_mut().find(|door| door.is_none()) {
            *free = Some(fd);
        }
    }

    /// Closes every descriptor from `first` on that is not here.
    fn close_others(&self, first: u32) -> Result<(), Errno> {
        // Sorted, the last says where the descriptors end.
        let mut kept = [u32::MAX; SLOTS + DOORS + 1];
        let own = self.all.iter().chain(&self.doors).flatten();
        for (place, fd) in kept.iter_mut().zip(own) {
            *place = u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX);
        }
        kept.sort_unstable();
        let mut first = first;
        for fd in kept {
            if fd > first {
                sys::process::close_copies(first, fd.saturating_sub(1))?;
            }
            first = first.max(fd.saturating_add(1));
        }
        Ok(())
    }

    fn at(&self, slot: Slot) -> Result<BorrowedFd<'_>, Errno> {
        self.all
            .get(usize::from(slot.0))
            .and_then(Option::as_ref)
            .map(OwnedFd::as_fd)
            .ok_or(Errno::BADF)
    }

    fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        self.all[usize::from(slot.0)].take()
    }
}

/// What went wrong in a step: an error number, and which candidate of the command it was about.
#[derive(Debug, Clone, Copy)]
struct Failure {
    errno: Errno,
    detail: u32,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: 0 }
    }
}

/// Walks over `plan`; comes back only with an exit status, when a step failed or when there is
/// nobody left to do it for.
pub(crate) fn run(plan: &InitPlan, slots: Slots) -> i32 {
    // With its parent's copies it would never learn that the parent is gone.
    if slots.close_others(plan.preserve_fds.saturating_add(3)).is_err() {
        return 1;
    }
    let mut child = Child { plan, slots, found: 0 };
    for (place, step) in plan.steps.iter().enumerate() {
        let Err(failure) = child.step(step) else { continue };
        let report = Message {
            tag: Tag::Failed,
            step: u32::try_from(place).unwrap_or(u32::MAX),
            errno: failure.errno.raw_os_error(),
            detail: failure.detail,
        };
        if let Ok(channel) = child.slots.at(Slot::CHANNEL) {
            // There is nobody else to tell.
            let _ = report.send(channel, &[]);
        }
        break;
    }
    1
}

struct Child<'a> {
    plan: &'a InitPlan,
    slots: Slots,
    /// Place of the candidate that was found.
    found: usize,
}

impl Child<'_> {
    /// Does one step, or finds out which group of steps it belongs to.
    fn step(&mut self, step: &InitStep) -> Result<(), Failure> {
        match step {
            InitStep::AwaitMaps => self.hear(Tag::Mapped)?,
            InitStep::EnterGroups => self.enter_groups()?,
            InitStep::AwaitSupplies { first, count } => self.await_supplies(*first, *count)?,
            InitStep::Join { of, kinds } => sys::mount::setns(self.slots.at(*of)?, *kinds)?,
            InitStep::Unshare(kinds) => sys::mount::unshare(*kinds)?,
            InitStep::BecomeRoot => become_root()?,
            InitStep::NewSession => match rustix::process::setsid() {
                // EPERM: it leads one already.
                Ok(_) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            },
            InitStep::FindCommand => self.find_command()?,
            InitStep::Gate => self.gate()?,
            InitStep::OpenTerminal { size, owner, console } => {
                self.open_terminal(*size, *owner, *console)?;
            }
            InitStep::Execute => return Err(self.execute()),
            other => return self.mount_step(other),
        }
        Ok(())
    }

    fn mount_step(&mut self, step: &InitStep) -> Result<(), Failure> {
        match step {
            InitStep::DetachPropagation(propagation) => sys::mount::change_at(
                CWD,
                c"/",
                &MountChange {
                    propagation: Some(*propagation),
                    recursive: true,
                    ..MountChange::default()
                },
            )?,
            InitStep::MakeFs { fs, into } => {
                let mount = crate::rootfs::make_fs(fs)?;
                self.slots.put(*into, mount);
            }
            InitStep::Cover(slot) => mounts::cover(self.slots.at(*slot)?)?,
            InitStep::Attach { mount, at } => self.attach(*mount, at)?,
            InitStep::Change { at, set, clear, recursive, propagation } => {
                let change = MountChange {
                    set: *set,
                    clear: *clear,
                    recursive: *recursive,
                    propagation: *propagation,
                    userns: None,
                };
                self.change(at, &change)?;
            }
            InitStep::Mask(path) => self.mask(path)?,
            InitStep::ReadOnly(path) => self.read_only(path)?,
            InitStep::Pivot => self.pivot()?,
            InitStep::MoveRoot => self.move_root()?,
            InitStep::MakeDir(at) => mounts::make_dir(self.slots.at(Slot::ROOT)?, at)?,
            other => return self.attribute_step(other),
        }
        Ok(())
    }

    fn attribute_step(&mut self, step: &InitStep) -> Result<(), Failure> {
        match step {
            InitStep::Keep { from, path, into } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let from = self.slots.at(*from)?;
                let kept = sys::root::open_how(from, path.as_c_str(), flags, Mode::empty(), OWN)?;
                self.slots.put(*into, kept);
            }
            InitStep::WriteProc { dir, path, value } => {
                write_own(self.slots.at(*dir)?, path, value)?;
            }
            InitStep::EnterTime { proc, offsets } => enter_time(self.slots.at(*proc)?, offsets)?,
            InitStep::Label { proc, path, value } => {
                write_own(self.slots.at(*proc)?, path, value)?;
            }
            InitStep::HostName(name) => rustix::system::sethostname(name)?,
            InitStep::DomainName(name) => rustix::system::setdomainname(name)?,
            InitStep::ChangeDir(path) => {
                rustix::process::chdir(path.as_c_str())?;
                if !sys::process::cwd_is_in_root()? {
                    return Err(Errno::NOENT.into());
                }
            }
            other => return self.process_step(other),
        }
        Ok(())
    }

    fn process_step(&mut self, step: &InitStep) -> Result<(), Failure> {
        match step {
            InitStep::Umask(mask) => drop(rustix::process::umask(Mode::from_raw_mode(*mask))),
            InitStep::Stdio => self.stdio()?,
            InitStep::TakeTerminal => sys::tty::take(self.slots.at(Slot::STDIN)?)?,
            InitStep::Scheduler(attr) => sys::process::set_scheduler(attr)?,
            InitStep::Affinity(cpus) => {
                let mut set = rustix::thread::CpuSet::new();
                cpus.iter().for_each(|cpu| set.set(*cpu));
                rustix::thread::sched_setaffinity(None, &set)?;
            }
            InitStep::IoPriority(value) => sys::process::set_io_priority(*value)?,
            InitStep::MemoryPolicy { mode, nodes } => {
                sys::process::set_memory_policy(*mode, nodes)?;
            }
            InitStep::Personality(persona) => drop(sys::process::personality(*persona)?),
            InitStep::Keyring(name) => match sys::process::join_session_keyring(name) {
                Ok(()) | Err(Errno::NOSYS) => {}
                Err(errno) => return Err(errno.into()),
            },
            InitStep::DropBounding(mask) => drop_bounding(*mask)?,
            InitStep::Identity { uid, gid, groups } => {
                sys::cred::keep_capabilities(true)?;
                if let Some(groups) = groups {
                    sys::cred::set_groups(groups)?;
                }
                sys::cred::set_gid(*gid)?;
                sys::cred::set_uid(*uid)?;
            }
            InitStep::Capabilities { sets, ambient } => {
                sys::cred::set_capabilities(*sets)?;
                sys::cred::clear_ambient()?;
                for capability in bits(*ambient) {
                    sys::cred::raise_ambient(capability)?;
                }
            }
            InitStep::NoNewPrivileges => sys::cred::set_no_new_privileges()?,
            InitStep::Seal => {
                sys::process::close_on_exec_from(self.plan.preserve_fds.saturating_add(3))?;
                sys::process::reset_signals()?;
                self.say(Tag::Executing, None)?;
            }
            InitStep::Filter { program, flags } if flags & NEW_LISTENER != 0 => {
                let channel = self.slots.at(Slot::CHANNEL)?;
                let mut deliver = |listener: OwnedFd| hand_over(channel, &listener);
                sys::seccomp::load_listening(program, *flags, &mut deliver)?;
            }
            InitStep::Filter { program, flags } => drop(sys::seccomp::load(program, *flags)?),
            // Every step has its place above; reaching this is a plan of a newer vocabulary.
            _ => return Err(Errno::NOSYS.into()),
        }
        Ok(())
    }

    /// Enters the control groups, and lets go of the way there.
    fn enter_groups(&mut self) -> Result<(), Errno> {
        for door in self.slots.doors.iter_mut().filter_map(Option::take) {
            rustix::io::write(&door, b"0")?;
        }
        Ok(())
    }

    fn await_supplies(&mut self, first: Slot, count: u8) -> Result<(), Errno> {
        let mut next = first.0;
        let mut doors = 0;
        let channel = self.slots.take(Slot::CHANNEL).ok_or(Errno::BADF)?;
        let message = Message::receive(channel.as_fd(), |fd| {
            if next < first.0.saturating_add(count) {
                self.slots.put(Slot(next), fd);
                next += 1;
            } else {
                self.slots.put_door(fd);
                doors += 1;
            }
        });
        self.slots.put(Slot::CHANNEL, channel);
        match message? {
            Some(message) if message.tag == Tag::Supplies => {
                match next - first.0 == count && doors == message.detail {
                    true => Ok(()),
                    // Fewer arrived than were sent: the table of descriptors is full.
                    false => Err(Errno::MFILE),
                }
            }
            Some(_) => Err(Errno::PROTO),
            None => sys::clone::exit_now(1),
        }
    }

    fn hear(&self, tag: Tag) -> Result<(), Errno> {
        match Message::receive(self.slots.at(Slot::CHANNEL)?, drop)? {
            Some(message) if message.tag == tag => Ok(()),
            Some(_) => Err(Errno::PROTO),
            // Whoever wanted this process is gone.
            None => sys::clone::exit_now(1),
        }
    }

    fn say(&self, tag: Tag, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        Message::of(tag).send(self.slots.at(Slot::CHANNEL)?, fd.as_slice())
    }

    fn gate(&mut self) -> Result<(), Errno> {
        self.say(Tag::Prepared, self.slots.at(Slot::MASTER).ok())?;
        drop(self.slots.take(Slot::MASTER));
        if let Some(listener) = self.slots.take(Slot::GATE) {
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let caller = loop {
                match rustix::net::accept_with(&listener, flags) {
                    Err(Errno::INTR) => {}
                    result => break result?,
                }
            };
            self.slots.put(Slot::CHANNEL, caller);
        }
        self.hear(Tag::Start)
    }

    /// Puts the standard descriptors in their places.
    fn stdio(&self) -> Result<(), Errno> {
        rustix::stdio::dup2_stdin(self.slots.at(Slot::STDIN)?)?;
        rustix::stdio::dup2_stdout(self.slots.at(Slot::STDOUT)?)?;
        rustix::stdio::dup2_stderr(self.slots.at(Slot::STDERR)?)
    }
}

/// Gives the listener to the parent and waits until it has found its agent.
fn hand_over(channel: BorrowedFd<'_>, listener: &OwnedFd) -> bool {
    let sent = Message::of(Tag::Listener).send(channel, &[listener.as_fd()]);
    let heard = || Message::receive(channel, drop).ok().flatten();
    sent.is_ok() && heard().is_some_and(|answer| answer.tag == Tag::Listened)
}

fn become_root() -> Result<(), Errno> {
    sys::cred::set_groups(&[])?;
    sys::cred::set_gid(0)?;
    sys::cred::set_uid(0)
}

fn write_own(dir: BorrowedFd<'_>, path: &std::ffi::CStr, value: &[u8]) -> Result<(), Errno> {
    let file = sys::root::open_how(dir, path, OFlags::WRONLY, Mode::empty(), OWN)?;
    match rustix::io::write(&file, value)? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

fn enter_time(proc: BorrowedFd<'_>, offsets: &[u8]) -> Result<(), Errno> {
    if !offsets.is_empty() {
        write_own(proc, c"self/timens_offsets", offsets)?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let time = rustix::fs::openat(proc, c"self/ns/time_for_children", flags, Mode::empty())?;
    sys::mount::setns(time.as_fd(), sys::clone::ns::TIME)
}

fn drop_bounding(mask: u64) -> Result<(), Errno> {
    for capability in bits(mask) {
        match sys::cred::drop_bounding(capability) {
            // EINVAL: the kernel is older than the capability.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn bits(mask: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |bit| mask >> bit & 1 == 1)
}
