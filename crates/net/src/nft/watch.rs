//! Watches for others who change our rules, or those by which the administrator is heard, and puts
//! them right at once (law F1).

use super::{Firewall, TABLE};
use crate::error::{Error, Result};
use crate::iptables::Interop;
use crate::netlink::{self, Socket, field, text};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// Bit of `NFNLGRP_NFTABLES` in a multicast mask.
const GROUP_NFTABLES: u32 = 1 << (7 - 1);
/// How long a lost notification may go unnoticed.
const PERIOD: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// The same where changes come without notification.
const MUTE_PERIOD: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// firewalld's table: made anew when it reloads, and then it has forgotten our bridges.
const FIREWALLD: &str = "firewalld";
/// The table of iptables that has `FORWARD`.
const FILTER: &str = "filter";

/// The watching thread; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches on behalf of `firewall`, in the calling thread's network namespace.
    /// `reloaded` is called when firewalld may have forgotten what it was told; it must not take
    /// long.
    pub(crate) fn start(
        firewall: &Arc<Firewall>,
        interop: Interop,
        reloaded: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let act = "start watching the firewall";
        let socket = Socket::open(netlink::Family::Netfilter, GROUP_NFTABLES)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| Error::io(act)(e.into()))?;
        let stop = Arc::new(stop);
        let (port, weak, wake) = (firewall.port(), Arc::downgrade(firewall), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("net-watch".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || run(socket, port, &(weak, interop), (&wake, &reloaded)))
            .map_err(Error::io(act))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An eventfd takes eight bytes; it fails only when full, and then it wakes as well.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    mut socket: Socket,
    ours: u32,
    (firewall, interop): &(Weak<Firewall>, Interop),
    (stop, reloaded): (&OwnedFd, &dyn Fn()),
) {
    let period = if interop.is_mute() { MUTE_PERIOD } else { PERIOD };
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        let woken = poll(&mut fds, Some(&period));
        if !fds[1].revents().is_empty() {
            return;
        }
        let Some(firewall) = firewall.upgrade() else { return };
        let touched = match woken {
            Ok(0) => {
                let moved = firewall.generation_moved();
                Touched { ours: moved, filter: moved || interop.is_mute(), firewalld: false }
            }
            Ok(_) => foreign_hand(&mut socket, ours),
            Err(Errno::INTR) => Touched::default(),
            Err(_) => return,
        };
        if touched.ours {
            report(firewall.reconcile());
        }
        if touched.filter {
            report(interop.reconcile());
        }
        if touched.firewalld {
            reloaded();
        }
    }
}

/// What somebody else changed.
#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    ours: bool,
    filter: bool,
    firewalld: bool,
}

/// What the waiting notifications tell of changes by others.
fn foreign_hand(socket: &mut Socket, ours: u32) -> Touched {
    let mut touched = Touched::default();
    let read = socket.receive(|message| {
        // The table is attribute 1 of every nftables object.
        if let Some(table) = field(message.fields(4), 1).filter(|_| message.port != ours) {
            let table = text(table);
            touched.ours |= table == TABLE;
            touched.filter |= table == FILTER;
            touched.firewalld |= table == FIREWALLD;
        }
        true
    });
    // Notifications were lost: look.
    let lost = read == Err(Errno::NOBUFS);
    Touched {
        ours: touched.ours || lost,
        filter: touched.filter || lost,
        firewalld: touched.firewalld || lost,
    }
}

fn report(outcome: Result<bool>) {
    match outcome {
        Ok(false) => {}
        Ok(true) => tracing::warn!("somebody changed our firewall rules; they are laid again"),
        Err(error) => tracing::error!(%error, "cannot repair the firewall rules"),
    }
}
