//! The daemon's end of the resolver: what it has been told, so that another one can be told the
//! same; starting one, meeting the one of a former daemon, replacing one that died. Answers no
//! question itself.
//!
//! The daemon keeps copies of every container's sockets. A resolver that dies loses nothing: what
//! was asked meanwhile waits in the sockets for the next one.

use super::names::Entry;
use super::order::{MESSAGE_MAX, Order, Post, Reply, VERSION};
use super::station::{self, Source};
use crate::error::{Error, Result};
use model::ContainerId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The name that the resolver's program is started by.
const PROGRAM: &std::ffi::CStr = c"estiba-resolver";
/// Its socket, in the directory of what does not outlive the host's uptime.
const SOCKET: &str = "resolver.sock";
/// The number under which it finds its listening socket.
pub(super) const LISTENER_FD: i32 = 3;
/// How long it may take to read an order; it does nothing that takes long.
const PATIENCE: Duration = Duration::from_secs(5);
/// One that lives less than this is not replaced at once.
const STABLE: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 8;

/// What the resolver has been told, and the way to tell it more.
#[derive(Debug)]
pub(super) struct Agent {
    /// Where the resolver's socket is; `None` for a thread of this process.
    dir: Option<PathBuf>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Where the host's resolvers are named.
    resolv_conf: PathBuf,
    entries: HashMap<String, Entry>,
    served: HashMap<ContainerId, Served>,
    line: Option<Line>,
    /// Counts lines, so that the end of a former one means nothing.
    serial: u64,
}

#[derive(Debug)]
struct Served {
    post: Post,
    fds: Vec<OwnedFd>,
}

/// A connection to a resolver.
#[derive(Debug)]
struct Line {
    socket: Arc<OwnedFd>,
    serial: u64,
    /// The resolver, where it is a thread.
    thread: Option<JoinHandle<()>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Agent {
    /// Takes over what a resolver of a former daemon holds, if there is one.
    pub(super) fn new(dir: Option<PathBuf>, resolv_conf: PathBuf) -> Arc<Self> {
        let book = Book { resolv_conf, ..Book::default() };
        let agent = Arc::new(Self { dir, book: Mutex::new(book) });
        if let Some(dir) = &agent.dir
            && let Ok(socket) = dial(dir)
        {
            agent.meet(socket);
        }
        agent
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a resolver what it holds; goes on with it if it is one of ours.
    fn meet(self: &Arc<Self>, socket: OwnedFd) {
        let mut book = self.book();
        let version = match held_by(&socket, &mut book.served) {
            Ok(version) => version,
            Err(error) => {
                tracing::warn!(%error, "the resolver of the former daemon does not answer");
                return;
            }
        };
        if version == VERSION {
            self.watch(&mut book, socket, (None, None));
            // The former daemon may have been told of another file.
            self.tell_host(&mut book);
            return;
        }
        // Of another build. What it holds is ours now; the next one begins before it ends.
        tracing::info!(version, "the resolver is replaced");
        if let Err(error) = self.begin(&mut book) {
            tracing::error!(%error, "names are not answered");
        }
        let quit = Order::Quit.encode().unwrap_or_default();
        let _ = sys::socket::send_with_fds(socket.as_fd(), &quit, &[]);
    }

    /// The host's resolvers are named in this file from now on.
    pub(super) fn follow(self: &Arc<Self>, resolv_conf: PathBuf) {
        let mut book = self.book();
        if book.resolv_conf != resolv_conf {
            book.resolv_conf = resolv_conf;
            self.tell_host(&mut book);
        }
    }

    fn tell_host(self: &Arc<Self>, book: &mut Book) {
        let resolv_conf = book.resolv_conf.to_string_lossy().into_owned();
        self.tell(book, &Order::Host { resolv_conf });
    }

    /// An endpoint has names from now on.
    pub(super) fn learn(self: &Arc<Self>, entry: Entry) {
        let mut book = self.book();
        let order = Order::Learn(entry.clone());
        book.entries.insert(entry.endpoint.clone(), entry);
        self.tell(&mut book, &order);
    }

    /// An endpoint has none any more.
    pub(super) fn unlearn(self: &Arc<Self>, endpoint: &str) {
        let mut book = self.book();
        if book.entries.remove(endpoint).is_some() {
            self.tell(&mut book, &Order::Unlearn { endpoint: endpoint.to_owned() });
        }
    }

    /// Whether a container is answered.
    pub(super) fn serves(&self, container: &ContainerId) -> bool {
        self.book().served.contains_key(container)
    }

    /// A container is answered on these sockets from now on.
    pub(super) fn serve(self: &Arc<Self>, post: Post, fds: Vec<OwnedFd>) -> Result<()> {
        let mut book = self.book();
        let container = post.container;
        book.served.insert(container, Served { post, fds });
        let told = match book.line {
            // Tells everything.
            None => self.begin(&mut book),
            Some(_) => {
                sys::failpoint::hit("net.dns.opened");
                self.tell_of(&mut book, &container)
            }
        };
        if told.is_err() {
            book.served.remove(&container);
        }
        told
    }

    fn tell_of(self: &Arc<Self>, book: &mut Book, container: &ContainerId) -> Result<()> {
        let (Some(line), Some(served)) = (&book.line, book.served.get(container)) else {
            return Ok(());
        };
        match send(&line.socket, &Order::Serve(served.post.clone()), &served.fds) {
            Ok(()) => Ok(()),
            Err(_) => self.begin(book),
        }
    }

    /// A container is answered no more.
    pub(super) fn stop(self: &Arc<Self>, container: &ContainerId) {
        let mut book = self.book();
        if book.served.remove(container).is_some() {
            self.tell(&mut book, &Order::Stop { container: *container });
        }
    }

    /// Everything that goes on has been told again: the rest may be forgotten.
    pub(super) fn sweep(self: &Arc<Self>, lives: impl Fn(&ContainerId) -> bool) {
        let mut book = self.book();
        let dead: Vec<ContainerId> = book.served.keys().copied().filter(|it| !lives(it)).collect();
        for container in dead {
            book.served.remove(&container);
            self.tell(&mut book, &Order::Stop { container });
        }
        self.tell(&mut book, &Order::Sweep);
    }

    /// Gives an order, to the next resolver if this one is gone.
    fn tell(self: &Arc<Self>, book: &mut Book, order: &Order) {
        let Some(line) = &book.line else { return };
        let sent = send(&line.socket, order, &[]);
        if sent.is_err()
            && let Err(error) = self.begin(book)
        {
            tracing::error!(%error, "names are not answered");
        }
    }

    /// Starts a resolver and tells it all there is.
    fn begin(self: &Arc<Self>, book: &mut Book) -> Result<()> {
        book.line = None;
        let act = "start the resolver";
        let failed = |source| Error::io(act)(source);
        let (socket, pid, thread) = match &self.dir {
            Some(dir) => launch(dir, &book.resolv_conf).map(|(it, pid)| (it, Some(pid), None)),
            None => on_a_thread(book.resolv_conf.clone()).map(|(it, on)| (it, None, Some(on))),
        }
        .map_err(failed)?;
        sys::failpoint::hit("net.dns.started");
        for entry in book.entries.values() {
            send(&socket, &Order::Learn(entry.clone()), &[]).map_err(failed)?;
        }
        for served in book.served.values() {
            send(&socket, &Order::Serve(served.post.clone()), &served.fds).map_err(failed)?;
        }
        self.watch(book, socket, (pid, thread));
        Ok(())
    }

    /// From now on it is this one; when it ends unasked, the next one takes its place.
    fn watch(
        self: &Arc<Self>,
        book: &mut Book,
        socket: OwnedFd,
        (pid, thread): (Option<Pid>, Option<JoinHandle<()>>),
    ) {
        book.serial += 1;
        let (serial, socket) = (book.serial, Arc::new(socket));
        book.line = Some(Line { socket: Arc::clone(&socket), serial, thread });
        let agent = Arc::downgrade(self);
        let watching = move || {
            let begun = Instant::now();
            wait_for_end(&socket);
            drop(socket);
            if let Some(pid) = pid {
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            }
            replace(&agent, serial, begun);
        };
        let spawned = std::thread::Builder::new()
            .name("net-resolver".to_owned())
            .stack_size(128 << 10)
            .spawn(watching);
        if let Err(error) = spawned {
            tracing::warn!(%error, "the resolver is not watched");
        }
    }
}

fn replace(agent: &Weak<Agent>, serial: u64, begun: Instant) {
    if agent.strong_count() > 0 && begun.elapsed() < STABLE {
        std::thread::sleep(STABLE);
    }
    let Some(agent) = agent.upgrade() else { return };
    let mut book = agent.book();
    if book.line.as_ref().is_none_or(|line| line.serial != serial) {
        return;
    }
    book.line = None;
    if book.served.is_empty() {
        return;
    }
    tracing::warn!("the resolver ended and is started again");
    if let Err(error) = agent.begin(&mut book) {
        tracing::error!(%error, "names are not answered");
    }
}

/// Waits until the other side of a connection is closed.
fn wait_for_end(socket: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().is_empty() => {}
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => return,
        }
    }
}

/// Sends one order. Descriptors under way are limited: the other side is given time to take them.
fn send(socket: &OwnedFd, order: &Order, fds: &[OwnedFd]) -> std::io::Result<()> {
    let Some(bytes) = order.encode() else {
        // Thousands of names of one endpoint: it has none.
        tracing::warn!("an endpoint has too many names");
        return Ok(());
    };
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sys::socket::send_with_fds(socket.as_fd(), &bytes, &fds) {
            Err(Errno::TOOMANYREFS) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other.map(drop).map_err(Into::into),
        }
    }
}

/// What a resolver holds, and its version.
fn held_by(socket: &OwnedFd, served: &mut HashMap<ContainerId, Served>) -> std::io::Result<u16> {
    let mut buffer = vec![0; MESSAGE_MAX];
    send(socket, &Order::Hello, &[])?;
    loop {
        send(socket, &Order::Next, &[])?;
        let mut fds = Vec::new();
        let len = sys::socket::recv_with_fds(socket.as_fd(), &mut buffer, |fd| fds.push(fd))?;
        match buffer.get(..len).and_then(Reply::decode) {
            Some((_, Reply::Held(post))) => {
                served.insert(post.container, Served { post, fds });
            }
            Some((version, Reply::End)) => return Ok(version),
            None => return Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
}

fn on_a_thread(resolv_conf: PathBuf) -> std::io::Result<(OwnedFd, JoinHandle<()>)> {
    let (ours, theirs) = sys::socket::message_pair()?;
    let run = move || {
        if let Err(error) = station::run(Source::One(theirs), resolv_conf) {
            tracing::error!(%error, "names are not answered");
        }
    };
    let thread = std::thread::Builder::new().name("net-names".to_owned()).spawn(run)?;
    Ok((ours, thread))
}

/// Starts this program as a resolver. What is sent to it waits until it has started.
fn launch(dir: &Path, resolv_conf: &Path) -> std::io::Result<(OwnedFd, Pid)> {
    let listener = listen(dir)?;
    let program =
        rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let (place, conf) = (text(dir)?, text(resolv_conf)?);
    let args = [PROGRAM, place.as_c_str(), conf.as_c_str()];
    let spawn = sys::spawn::Spawn::new(program.as_fd(), &args);
    let pid = spawn.fd(listener.as_fd(), LISTENER_FD).spawn()?;
    let pid = Pid::from_raw(pid).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((dial(dir)?, pid))
}

/// The address of the socket in a directory, however long its path is, and what keeps it valid.
fn address(dir: &Path) -> std::io::Result<(OwnedFd, SocketAddrUnix)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    Ok((dir, SocketAddrUnix::new(path)?))
}

fn socket() -> rustix::io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
}

fn listen(dir: &Path) -> std::io::Result<OwnedFd> {
    let (dir, address) = address(dir)?;
    match rustix::fs::unlinkat(&dir, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let socket = socket()?;
    rustix::net::bind(&socket, &address)?;
    rustix::fs::chmodat(&dir, SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn dial(dir: &Path) -> std::io::Result<OwnedFd> {
    let (_dir, address) = address(dir)?;
    let socket = socket()?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}
