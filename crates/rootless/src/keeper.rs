//! The keeper: a small process in the host's namespaces that makes the user's, holds them, runs the
//! way out, and opens the host's ports. It has one thread and waits for one of many things.

use crate::ask::{Answer, Ask, Begin, receive, send};
use crate::enter::{LOCK, SOCKET};
use crate::error::{Error, Result};
use crate::ids::Line;
use crate::outside::{self, Ports};
use crate::way_out::{WayOut, has_default_route};
use crate::{CARRIER, Protocol, ids};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use sys::Pidfd;
use sys::clone::{Argv, ns};

/// How long the way out may take to be there.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;
/// Seconds before a way out that has died is started again.
const REST_S: i64 = 1;

/// Runs the keeper whose orders come through the descriptor of this number. Returns the exit
/// status.
pub fn main(descriptor: &str) -> i32 {
    let control = descriptor.parse().ok().and_then(|n| sys::resident::inherited_fd(n).ok());
    let Some(control) = control else { return 2 };
    let Ok(Some((begin, _))) = receive::<Begin>(&control) else { return 2 };
    let _ = sys::resident::ignore_signals(&[libc_sigpipe(), libc_sighup()]);
    let mut keeper = match Keeper::make(begin) {
        Ok(keeper) => keeper,
        Err(Refusal::Said(why)) => {
            let _ = send(&control, &Answer::Failed { why: why.to_string() }, &[]);
            return 1;
        }
        Err(Refusal::Kernel(errno)) => {
            let _ = send(&control, &Answer::Refused { errno: errno.raw_os_error() }, &[]);
            return 1;
        }
    };
    let _ = send(&control, &Answer::Done, &[]);
    drop(control);
    keeper.serve();
    0
}

fn libc_sigpipe() -> i32 {
    rustix::process::Signal::PIPE.as_raw()
}

fn libc_sighup() -> i32 {
    rustix::process::Signal::HUP.as_raw()
}

/// Why there is nothing to keep.
enum Refusal {
    /// Making the namespaces itself.
    Kernel(rustix::io::Errno),
    Said(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

/// What is kept.
struct Keeper {
    dir: PathBuf,
    way_out: WayOut,
    listener: OwnedFd,
    /// User, network, mount: in the order in which they are joined.
    namespaces: [OwnedFd; 3],
    userns: u64,
    carrier: sys::clone::Child,
    network: Option<sys::clone::Child>,
    ports: Ports,
    daemons: Vec<OwnedFd>,
}

impl Keeper {
    fn make(begin: Begin) -> std::result::Result<Self, Refusal> {
        let (control, theirs) =
            sys::socket::message_pair().map_err(Error::io("make a socket pair"))?;
        let resolv = begin.dir.join("resolv.conf");
        if let Some(text) = &begin.resolv_conf {
            std::fs::write(&resolv, text).map_err(Error::io("write the resolv.conf"))?;
        }
        let resolv = begin.resolv_conf.is_some().then_some(resolv);
        let (carrier, tell) = inhabitant(&theirs, resolv.as_deref())?;
        drop(theirs);
        map(&begin.newuidmap, carrier.pid, &begin.uid_map)?;
        map(&begin.newgidmap, carrier.pid, &begin.gid_map)?;
        let open = |name: &str| {
            sys::netns::open(Path::new(&format!("/proc/{}/ns/{name}", carrier.pid)))
                .map_err(|error| Error::io("open the namespaces")(error.errno))
        };
        let namespaces = [open("user")?, open("net")?, open("mnt")?];
        let userns = rustix::fs::fstat(&namespaces[0])
            .map_err(Error::io("look at the user namespace"))?
            .st_ino;
        let network = connect_network(&begin.way_out, carrier.pid, &begin.dir)?;
        rustix::io::write(&tell, &[1]).map_err(Error::io("let the carrier go"))?;
        Ok(Self {
            listener: listener(&begin.dir.join(SOCKET))?,
            dir: begin.dir,
            way_out: begin.way_out,
            namespaces,
            userns,
            carrier,
            network,
            ports: Ports::new(control),
            daemons: Vec::new(),
        })
    }

    /// Until nobody needs it any more.
    fn serve(&mut self) {
        loop {
            let waited = match self.daemons.is_empty() {
                true => match self.somebody_inside() {
                    Some(process) => Some(process),
                    None if self.may_end() => return,
                    None => None,
                },
                false => None,
            };
            self.wait_and_answer(waited.as_ref().map(AsFd::as_fd));
        }
    }

    /// Waits for a daemon, a question, or the end of a process, and does what follows.
    fn wait_and_answer(&mut self, inside: Option<BorrowedFd<'_>>) {
        let down = self.network.is_none() && self.way_out != WayOut::None;
        let mut waits = vec![PollFd::new(&self.listener, PollFlags::IN)];
        waits.extend(self.daemons.iter().map(|daemon| PollFd::new(daemon, PollFlags::IN)));
        let daemons = waits.len();
        let network = self.network.as_ref().map(|child| child.pidfd.as_fd());
        let processes = [network, inside];
        waits.extend(processes.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let rest = Timespec { tv_sec: REST_S, tv_nsec: 0 };
        if poll(&mut waits, down.then_some(&rest)).is_err() {
            return;
        }
        let ready: Vec<bool> = waits.iter().map(|it| !it.revents().is_empty()).collect();
        drop(waits);
        if self.network.is_some() && ready.get(daemons) == Some(&true) {
            // Its last words are in the log.
            if let Some(child) = self.network.take() {
                let _ = Pidfd::from(child.pidfd).wait();
            }
        } else if down {
            self.network = start(&self.way_out, self.carrier.pid, &self.dir).ok().flatten();
        }
        let mut asks = ready.iter().skip(1);
        for daemon in std::mem::take(&mut self.daemons) {
            if asks.next() != Some(&true) || self.hear(&daemon) {
                self.daemons.push(daemon);
            }
        }
        if ready.first() == Some(&true) {
            self.daemons.extend(accept(&self.listener));
        }
    }

    /// Answers one question of a daemon; false when it has left.
    fn hear(&mut self, daemon: &OwnedFd) -> bool {
        let Ok(Some((question, _))) = receive::<Ask>(daemon) else { return false };
        let (answer, handed) = self.answer(question);
        let fds: Vec<BorrowedFd<'_>> = match &handed {
            Handed::Nothing => Vec::new(),
            Handed::Namespaces => self.namespaces.iter().map(AsFd::as_fd).collect(),
            Handed::Socket(socket) => vec![socket.as_fd()],
        };
        send(daemon, &answer, &fds).is_ok()
    }

    fn answer(&mut self, question: Ask) -> (Answer, Handed) {
        match question {
            Ask::Enter => (Answer::Done, Handed::Namespaces),
            Ask::Open { protocol, host, target } => {
                (self.ports.open(protocol, host, target), Handed::Nothing)
            }
            Ask::Close { protocol, host } => {
                self.ports.close(protocol, host);
                (Answer::Done, Handed::Nothing)
            }
            Ask::Settle { open } => {
                self.ports.close_all_but(&open);
                (Answer::Done, Handed::Nothing)
            }
            Ask::Listen { host } => match outside::bound(Protocol::Tcp, host) {
                Ok(socket) => (Answer::Done, Handed::Socket(socket)),
                Err(errno) => (Answer::Refused { errno: errno.raw_os_error() }, Handed::Nothing),
            },
        }
    }

    /// Some process that lives in the namespaces and is none of the keeper's own.
    fn somebody_inside(&self) -> Option<OwnedFd> {
        let network = self.network.as_ref().map(|child| child.pid);
        let own = [Some(self.carrier.pid), network];
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| !own.contains(&Some(*pid))).find_map(|pid| {
            let namespace = rustix::fs::stat(format!("/proc/{pid}/ns/user")).ok()?;
            if namespace.st_ino != self.userns {
                return None;
            }
            Pidfd::open(pid).ok().map(Pidfd::into_fd)
        })
    }

    /// Whether it is over: nobody is just coming in.
    fn may_end(&mut self) -> bool {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let Ok(held) = rustix::fs::open(self.dir.join(LOCK), flags, Mode::RUSR | Mode::WUSR) else {
            return true;
        };
        if rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        // Who connected before the lock was ours is waited for.
        let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut waiting, Some(&now)) != Ok(0) {
            return false;
        }
        let _ = std::fs::remove_file(self.dir.join(SOCKET));
        for child in [self.network.as_ref(), Some(&self.carrier)].into_iter().flatten() {
            let _ = sys::process::kill(child.pidfd.as_fd());
        }
        true
    }
}

/// What goes with an answer.
enum Handed {
    Nothing,
    Namespaces,
    Socket(OwnedFd),
}

/// A process of this user's that connects; nobody else's is listened to.
fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
    (peer.uid == rustix::process::geteuid()).then_some(socket)
}

fn listener(path: &Path) -> Result<OwnedFd> {
    let listening = || Error::io(format!("listen on {}", path.display()));
    let address = SocketAddrUnix::new(path).map_err(listening())?;
    // The lock is the starter's: whoever left it is gone.
    let _ = std::fs::remove_file(path);
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(listening())?;
    rustix::net::bind(&socket, &address).map_err(listening())?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(listening())?;
    rustix::net::listen(&socket, BACKLOG).map_err(listening())?;
    Ok(socket)
}

/// The first process in new namespaces. It waits for the byte that the returned pipe takes, and is
/// the carrier from then on.
fn inhabitant(
    control: &OwnedFd,
    resolv: Option<&Path>,
) -> std::result::Result<(sys::clone::Child, OwnedFd), Refusal> {
    let program = File::open("/proc/self/exe").map_err(Error::io("open own program"))?;
    let number = control.as_raw_fd().to_string();
    let words = ["estiba", CARRIER, &number].map(|word| CString::new(word).unwrap_or_default());
    let (argv, env) = (Argv::new(words.to_vec()), Argv::new(Vec::new()));
    let resolv = resolv.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    let (go, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::io("make a pipe"))?;
    let told = tell.as_raw_fd();
    let child = sys::clone::clone3(ns::USER | ns::MOUNT | ns::NET, || {
        if settle(&go, told, control, resolv.as_deref()).is_err() {
            return 126;
        }
        sys::clone::execve_fd(program.as_fd(), &argv, &env);
        127
    });
    child.map(|child| (child, tell)).map_err(Refusal::Kernel)
}

/// In the child: waits to be root, and makes itself at home.
fn settle(
    go: &OwnedFd,
    told: i32,
    control: &OwnedFd,
    resolv: Option<&std::ffi::CStr>,
) -> rustix::io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
    sys::process::set_parent_death_signal(rustix::process::Signal::KILL.as_raw())?;
    sys::process::close_copies(told.unsigned_abs(), told.unsigned_abs())?;
    let mut byte = [0u8];
    if rustix::io::retry_on_intr(|| rustix::io::read(go, &mut byte))? == 0 {
        return Err(rustix::io::Errno::PIPE);
    }
    // What the host mounts is seen here, and nothing the other way.
    mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    if let Some(resolv) = resolv {
        // A host without the file has nothing to cover.
        let _ = mount_bind(resolv, c"/etc/resolv.conf");
    }
    rustix::io::fcntl_setfd(control, rustix::io::FdFlags::empty())
}

/// Lets newuidmap or newgidmap write a map.
fn map(program: &Path, pid: i32, map: &[Line]) -> Result<()> {
    let failed = |why: String| Error::NotMapped { program: program.display().to_string(), why };
    let output = Command::new(program).arg(pid.to_string()).args(ids::arguments(map)).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Starts the way out and waits until it is one.
fn connect_network(way_out: &WayOut, pid: i32, dir: &Path) -> Result<Option<sys::clone::Child>> {
    let Some(child) = start(way_out, pid, dir)? else { return Ok(None) };
    let program = way_out.name();
    let begun = Instant::now();
    while !has_default_route(&pid.to_string()) {
        let mut ended = [PollFd::new(&child.pidfd, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AGAIN.subsec_nanos()) };
        let why = match poll(&mut ended, Some(&moment)) {
            Ok(1) => last_words(dir),
            _ if begun.elapsed() > CONNECTED_WITHIN => "it takes too long".to_owned(),
            _ => continue,
        };
        let _ = sys::process::kill(child.pidfd.as_fd());
        return Err(Error::NotConnected { program, why });
    }
    Ok(Some(child))
}

/// Starts the way out; it dies with the keeper.
fn start(way_out: &WayOut, pid: i32, dir: &Path) -> Result<Option<sys::clone::Child>> {
    let Some((program, words)) = way_out.command(pid) else { return Ok(None) };
    let starting = || Error::io(format!("start {}", program.display()));
    let text = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let path = text(program.as_os_str().as_bytes());
    let argv = Argv::new(words.iter().map(|word| text(word.as_bytes())).collect());
    let env = Argv::new(vec![text(b"PATH=/usr/sbin:/usr/bin:/sbin:/bin")]);
    let log = File::create(dir.join(LOG)).map_err(starting())?;
    let child = sys::clone::clone3(0, || {
        let ready = sys::process::set_parent_death_signal(rustix::process::Signal::KILL.as_raw())
            // pasta takes a signal that is ignored already for a failure.
            .and_then(|()| sys::process::reset_signals())
            .and_then(|()| rustix::stdio::dup2_stdout(&log))
            .and_then(|()| rustix::stdio::dup2_stderr(&log))
            .and_then(|()| sys::process::close_on_exec_from(3));
        if ready.is_ok() {
            sys::clone::execve(&path, &argv, &env);
        }
        127
    });
    child.map(Some).map_err(Error::io(format!("start {}", program.display())))
}

/// What the way out says.
const LOG: &str = "network.log";

fn last_words(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => "it ended without a word".to_owned(),
        count => lines[count.saturating_sub(3)..].join("; "),
    }
}
