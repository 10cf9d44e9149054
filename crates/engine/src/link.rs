//! The engine's end of a monitor's connection: one request at a time, events kept in order.

use crate::{EngineError, Result};
use model::ErrorKind;
use runtime::monitor::client::{Connection, Received};
use runtime::monitor::protocol::{self, Event, Message, Reply, Request};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How long a monitor may take to answer. It is local and single-purpose; launching is the longest
/// it does, and a mount from a slow disk the longest of that.
const PATIENCE: Duration = Duration::from_secs(120);

/// How far a launch has come.
#[derive(Debug)]
pub(crate) enum Launching {
    /// The container's own network namespace is there, the rest is being made.
    Network(OwnedFd),
    /// It is over: the answer that comes without a request.
    Over(Reply),
}

/// A request that will be answered.
#[derive(Debug)]
#[must_use]
pub(crate) struct Asked(u64);

/// A connection to one monitor.
#[derive(Debug)]
pub(crate) struct Link {
    fd: AsyncFd<Connection>,
    events: VecDeque<Event>,
    monitor: Option<i32>,
}

impl Link {
    /// Takes a connection over. `child`: the monitor's pid when this process started it.
    pub(crate) fn new(connection: Connection, child: Option<i32>) -> Result<Self> {
        let fd = watched(connection)
            .map_err(|source| EngineError::io("watch a monitor's connection", source))?;
        if let Some(pid) = child.and_then(Pid::from_raw) {
            let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)
                .map_err(|errno| EngineError::io("open a monitor's pidfd", errno))?;
            tokio::spawn(reap(pidfd));
        }
        Ok(Self { fd, events: VecDeque::new(), monitor: child })
    }

    /// The monitor's process, where this daemon started it.
    pub(crate) fn monitor(&self) -> Option<i32> {
        self.monitor
    }

    /// The next event; `None` when the monitor is gone. Safe to cancel.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        loop {
            match self.message().await {
                Ok(Some((Message::Event(event), _))) => return Some(event),
                // The answer to a request that was given up.
                Ok(Some((Message::Reply(..), _))) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Asks, and waits for the answer. What the monitor refuses is an error.
    pub(crate) async fn call(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply> {
        let asked = self.ask(request, fds)?;
        self.answer(asked).await
    }

    /// Asks. Requests are done and answered in their order, those of a launch after the launch.
    pub(crate) fn ask(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Asked> {
        self.fd.get_mut().send(request, fds).map(Asked).map_err(EngineError::internal)
    }

    /// Waits for the answer to a request; the answers to earlier ones are lost. What the monitor
    /// refuses is an error.
    pub(crate) async fn answer(&mut self, Asked(id): Asked) -> Result<Reply> {
        refused(self.reply(id).await?)
    }

    /// Whether the monitor has gone; what it said before can still be read.
    pub(crate) fn is_closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let mut wait = [PollFd::new(self.fd.get_ref(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Nothing is asked for: only that it is closed is told.
        matches!(rustix::event::poll(&mut wait, Some(&now)), Ok(1..))
    }

    /// The next step of the launch. What the monitor could not make is an error.
    pub(crate) async fn launching(&mut self) -> Result<Launching> {
        let step = async {
            loop {
                match self.message().await? {
                    Some((Message::Event(Event::Begun), mut fds)) => {
                        if let Some(network) = fds.pop() {
                            return Ok(Launching::Network(network));
                        }
                    }
                    Some((Message::Reply(protocol::LAUNCH, reply), _)) => {
                        return refused(reply).map(Launching::Over);
                    }
                    Some((Message::Reply(..), _)) => {}
                    Some((Message::Event(event), _)) => self.events.push_back(event),
                    None => return Err(gone()),
                }
            }
        };
        patiently(step).await
    }

    async fn reply(&mut self, id: u64) -> Result<Reply> {
        let answer = async {
            loop {
                match self.message().await? {
                    Some((Message::Reply(of, reply), _)) if of == id => return Ok(reply),
                    Some((Message::Reply(..), _)) => {}
                    Some((Message::Event(event), _)) => self.events.push_back(event),
                    None => return Err(gone()),
                }
            }
        };
        patiently(answer).await
    }

    async fn message(&mut self) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        loop {
            match self.fd.get_mut().try_recv().map_err(EngineError::internal)? {
                Received::Message(message, fds) => return Ok(Some((message, fds))),
                Received::End => return Ok(None),
                Received::WouldBlock => {
                    let mut ready = self.fd.readable().await.map_err(|source| {
                        EngineError::io("wait for a container's monitor", source)
                    })?;
                    ready.clear_ready();
                }
            }
        }
    }
}

/// Waits for a monitor as long as one may take.
async fn patiently<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(EngineError::internal("the container's monitor does not answer")),
    }
}

fn gone() -> EngineError {
    EngineError::internal("the container's monitor is gone")
}

/// Registers a descriptor with the reactor.
#[expect(deprecated, reason = "its successor is unsafe; ours own their descriptors for good")]
fn watched<T: AsRawFd>(fd: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::new(fd)
}

/// Reaps a monitor that is a child of this process, whenever it ends.
async fn reap(pidfd: OwnedFd) {
    let Ok(pidfd) = watched(pidfd) else { return };
    // Readable once the process is dead.
    if pidfd.readable().await.is_ok() {
        let child = WaitId::PidFd(pidfd.get_ref().as_fd());
        let _ = waitid(child, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

fn refused(reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Error { kind, message } => {
            let kind = match kind {
                protocol::ErrorKind::Unsupported => ErrorKind::Unsupported,
                protocol::ErrorKind::Invalid => ErrorKind::Invalid,
                protocol::ErrorKind::NotFound => ErrorKind::NotFound,
                protocol::ErrorKind::Conflict => ErrorKind::Conflict,
                protocol::ErrorKind::Exhausted => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            };
            Err(model::Denied { kind, message }.into())
        }
        Reply::Failed { exit_code, message } => Err(EngineError::Launch { exit_code, message }),
        reply => Ok(reply),
    }
}
