//! The resolver: answers on the sockets that it was given, knows the names that it was told, and
//! outlives the daemon that gave and told. One event loop, in a process of its own or (in tests) on
//! a thread of the daemon's.
//!
//! ```text
//!  daemon ── orders, sockets ──▶ control ──▶ Names
//!                                             ▲
//!  containers ── questions ──▶ Server ────────┘ (each waits for orders sent before it)
//! ```
//!
//! Without a daemon it goes on until the last of its containers has ended. It never opens a socket
//! in a container, and decides nothing about who is on which network.

use super::message::Ask;
use super::names::{Names, Verdict};
use super::order::{MESSAGE_MAX, Order, Post, Reply};
use super::server::Server;
use super::upstream::HostResolvers;
use model::ContainerId;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::socket_type;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

/// After this long without anything to do, memory is given back.
const IDLE: Duration = Duration::from_secs(2);

/// Everything the resolver knows.
#[derive(Debug)]
pub(super) struct Station {
    inner: Mutex<Inner>,
    /// Where unknown names are asked.
    pub(super) host: HostResolvers,
    /// Something ended: perhaps all of it.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    names: Names,
    served: HashMap<ContainerId, Held>,
    control: Option<Arc<OwnedFd>>,
    /// How many daemons have spoken.
    epoch: u64,
    /// How many questions there were.
    asked: u64,
    /// What the daemon has not been told of yet.
    untold: Vec<ContainerId>,
    quit: bool,
}

/// One container's resolver.
#[derive(Debug)]
struct Held {
    server: Server,
    post: Post,
    /// As in [`Order::Serve`].
    fds: Vec<OwnedFd>,
    /// Counts, so that the end of a former run means nothing.
    run: u64,
}

/// Where orders come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Whichever daemon connects to this listening socket.
    Daemons(OwnedFd),
    /// This one daemon, and with it all ends.
    One(OwnedFd),
}

/// Answers until there is nobody left to answer. Blocks.
pub(super) fn run(source: Source, resolv_conf: PathBuf) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let station = Arc::new(Station {
            inner: Mutex::default(),
            host: HostResolvers::new(resolv_conf),
            changed: Notify::new(),
        });
        let outlives = match source {
            Source::One(control) => {
                station.listen_to(control)?;
                false
            }
            Source::Daemons(listener) => {
                rustix::io::ioctl_fionbio(&listener, true)?;
                tokio::spawn(accept(Arc::clone(&station), watched(listener)?));
                true
            }
        };
        let mut met = !outlives;
        let mut rested_at = None;
        loop {
            match timeout(IDLE, station.changed.notified()).await {
                Ok(()) => met = true,
                Err(_) if outlives => rest(&station, &mut rested_at),
                Err(_) => {}
            }
            if met && station.is_over(outlives) {
                return Ok(());
            }
        }
    })
}

/// Gives back memory and the program's pages, once after the last question.
fn rest(station: &Station, rested_at: &mut Option<u64>) {
    let asked = station.lock().asked;
    if *rested_at != Some(asked) {
        *rested_at = Some(asked);
        sys::resident::trim_memory();
        sys::resident::forget_program();
    }
}

/// Watches a descriptor for something to read.
#[allow(deprecated, reason = "what replaces it is unsafe, for descriptors that others may close")]
fn watched<T: AsRawFd>(fd: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

async fn accept(station: Arc<Station>, listener: AsyncFd<OwnedFd>) {
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener.get_ref(), flags) {
            // The latest daemon is the one that counts.
            Ok(control) => drop(station.listen_to(control)),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Carries orders out as they come.
async fn attend(station: Arc<Station>, control: AsyncFd<Arc<OwnedFd>>) {
    loop {
        let Ok(mut ready) = control.readable().await else { return };
        let goes_on = station.lock().drain(&station);
        if !goes_on || !station.hears(control.get_ref()) {
            break;
        }
        ready.clear_ready();
    }
    station.changed.notify_one();
}

impl Station {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a container gets to hear; every order that was sent before it asked has been obeyed.
    pub(super) fn look_up(self: &Arc<Self>, container: &ContainerId, ask: &Ask) -> Verdict {
        let mut inner = self.lock();
        if !inner.drain(self) {
            self.changed.notify_one();
        }
        inner.asked += 1;
        inner.names.look_up(container, ask)
    }

    fn listen_to(self: &Arc<Self>, control: OwnedFd) -> std::io::Result<()> {
        rustix::io::ioctl_fionbio(&control, true)?;
        let control = Arc::new(control);
        let watched = watched(Arc::clone(&control))?;
        let mut inner = self.lock();
        inner.control = Some(control);
        inner.epoch += 1;
        drop(inner);
        self.changed.notify_one();
        tokio::spawn(attend(Arc::clone(self), watched));
        Ok(())
    }

    fn hears(&self, control: &Arc<OwnedFd>) -> bool {
        self.lock().control.as_ref().is_some_and(|it| Arc::ptr_eq(it, control))
    }

    /// Whether nobody is left: neither a daemon nor (where it may outlive one) a container.
    fn is_over(&self, outlives: bool) -> bool {
        let inner = self.lock();
        inner.quit || inner.control.is_none() && (!outlives || inner.served.is_empty())
    }

    /// The process that a container ends with has ended.
    fn ended(&self, container: &ContainerId, run: u64) {
        let mut inner = self.lock();
        if inner.served.get(container).is_some_and(|held| held.run == run) {
            inner.served.remove(container);
            // A daemon says itself what becomes of the names.
            if inner.control.is_none() {
                inner.names.remove_container(container);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }
}

impl Inner {
    /// Obeys every order that has arrived; whether more may come.
    fn drain(&mut self, station: &Arc<Station>) -> bool {
        let mut buffer = [0_u8; 4096];
        while let Some(control) = self.control.clone() {
            let mut fds = Vec::new();
            let peeked = rustix::net::recv(
                &*control,
                &mut buffer[..1],
                rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::TRUNC,
            );
            let order = match peeked {
                Ok((_, 0)) => Err(()),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => continue,
                Err(_) => Err(()),
                Ok((_, len)) => receive(&control, len, &mut buffer, &mut fds),
            };
            match order {
                // What is not understood is as if it had not been said.
                Ok(None) => {}
                Ok(Some(order)) => self.obey(order, fds, station),
                Err(()) => {
                    self.control = None;
                    self.untold.clear();
                }
            }
        }
        false
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>, station: &Arc<Station>) {
        match order {
            Order::Hello => self.untold = self.served.keys().copied().collect(),
            Order::Next => self.tell_next(),
            Order::Learn(entry) => self.names.insert(&entry, self.epoch),
            Order::Unlearn { endpoint } => self.names.remove(&endpoint),
            Order::Serve(post) => self.serve(post, fds, station),
            Order::Stop { container } => {
                self.served.remove(&container);
                station.changed.notify_one();
            }
            Order::Sweep => self.names.sweep(self.epoch),
            Order::Host { resolv_conf } => station.host.follow(resolv_conf.into()),
            Order::Quit => {
                self.quit = true;
                station.changed.notify_one();
            }
        }
    }

    fn tell_next(&mut self) {
        // Who has ended meanwhile is passed over.
        let next = self.untold.iter().rposition(|container| self.served.contains_key(container));
        let container = next.map(|at| self.untold.swap_remove(at));
        let held = container.and_then(|container| self.served.get(&container));
        let (reply, fds) = match held {
            Some(held) => (Reply::Held(held.post.clone()), held.fds.as_slice()),
            None => (Reply::End, &[][..]),
        };
        let (Some(bytes), Some(control)) = (reply.encode(), &self.control) else { return };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // It waits for this answer and asks for one at a time: there is room.
        let _ = sys::socket::send_with_fds(control.as_fd(), &bytes, &fds);
    }

    fn serve(&mut self, post: Post, fds: Vec<OwnedFd>, station: &Arc<Station>) {
        let [datagrams, streams, rest @ ..] = fds.as_slice() else { return };
        let server = Server::start(Arc::clone(station), &post, (datagrams, streams), rest);
        let Ok(server) = server else { return };
        let container = post.container;
        let run = self.served.get(&container).map_or(0, |held| held.run + 1);
        let process = rest.iter().find(|fd| socket_type(fd) == Err(Errno::NOTSOCK));
        if let Some(process) = process.and_then(|fd| fd.try_clone().ok()) {
            let station = Arc::clone(station);
            if let Ok(process) = watched(process) {
                tokio::spawn(async move {
                    // A process descriptor is readable when the process has ended.
                    let _ = process.readable().await;
                    station.ended(&container, run);
                });
            }
        }
        self.served.insert(container, Held { server, post, fds, run });
    }
}

/// The next order, of `len` bytes; `Err` when the other side is gone.
fn receive(
    control: &OwnedFd,
    len: usize,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<Option<Order>, ()> {
    let mut large = Vec::new();
    let buffer = match len > buffer.len() {
        true => {
            large.resize(len.min(MESSAGE_MAX), 0);
            large.as_mut_slice()
        }
        false => buffer,
    };
    let received = sys::socket::recv_with_fds(control.as_fd(), buffer, |fd| fds.push(fd));
    match received {
        Ok(len) => Ok(buffer.get(..len).and_then(Order::decode)),
        Err(_) => Err(()),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.server.stop();
    }
}
