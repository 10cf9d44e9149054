//! Whether another daemon works in this network namespace. One lays its rules: of two, each would
//! take the other's rules for damage and lay its own again, for ever, and neither's ports would be
//! reached. Kernels since 6.9 refuse the second at its first transaction, for the tables are owned;
//! here it is refused on every kernel and before it has touched anything. Of those that lay none
//! (`--iptables=false`) there may be several: who is not the first takes no link for one that was
//! left behind. Knows nothing of rules or links.

use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    sockopt::socket_peercred,
};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is claimed. Abstract names belong to the network namespace, and go with the last
/// descriptor (unix(7)).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claimed {
    /// To lay rules.
    Firewall,
    /// To be the first, or the only one.
    Network,
}

impl Claimed {
    fn name(self) -> &'static str {
        match self {
            Self::Firewall => "estiba-firewall",
            Self::Network => "estiba-network",
        }
    }

    fn address(self) -> rustix::io::Result<SocketAddrUnix> {
        SocketAddrUnix::new_abstract_name(self.name().as_bytes())
    }
}

/// How often a name that is taken is asked for again: a process that was killed this instant, or
/// its child that has not executed its program yet, may still hold it.
const TRIES: u32 = 150;
const PAUSE: Duration = Duration::from_millis(20);

/// What was claimed of the namespace of the thread that asked, until it is dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    is_first: bool,
    /// The right to lay rules; given back and claimed again as the configuration says.
    rules: Mutex<Option<OwnedFd>>,
    _network: Option<OwnedFd>,
}

impl Alone {
    /// Claims the calling thread's network namespace, the right to lay `rules` with it; refused
    /// while another daemon has that.
    pub(crate) fn claim(rules: bool) -> Result<Self> {
        let firewall = if rules { claim(Claimed::Firewall)? } else { None };
        let rules = Mutex::new(firewall);
        match claim(Claimed::Network) {
            Ok(network) => Ok(Self { is_first: true, rules, _network: network }),
            Err(Error::NotAlone { process }) => {
                tracing::warn!(process, "another daemon works in this network namespace");
                Ok(Self { is_first: false, rules, _network: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Claims the right to lay rules, in the calling thread's network namespace.
    pub(crate) fn claim_rules(&self) -> Result<()> {
        let claimed = claim(Claimed::Firewall)?;
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = claimed;
        Ok(())
    }

    /// Leaves the rules to others.
    pub(crate) fn leave_rules(&self) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether links that bear a daemon's mark and are not known were left behind, and are not
    /// another's that lives.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }
}

/// Takes a name; none where somebody has it who could not need it.
fn claim(what: Claimed) -> Result<Option<OwnedFd>> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match claimed(what) {
            Ok(name) => return Ok(Some(name)),
            Err(Errno::ADDRINUSE) => {}
            Err(errno) => return Err(refused(what, errno)),
        }
    }
    match holder(what) {
        Some((user, process)) if is_trusted(user) => Err(Error::NotAlone { process }),
        // Anybody may take a name. Who has no rights here does not keep us from ours.
        _ => {
            let name = what.name();
            tracing::warn!("the name @{name} is taken by a process that could not need it");
            Ok(None)
        }
    }
}

fn refused(what: Claimed, errno: Errno) -> Error {
    Error::io(format!("claim the name @{} in this network namespace", what.name()))(errno.into())
}

fn stream() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn claimed(what: Claimed) -> rustix::io::Result<OwnedFd> {
    let socket = stream()?;
    bind(&socket, &what.address()?)?;
    listen(&socket, 8)?;
    Ok(socket)
}

/// User and process behind the name, where they can be told. A queue that is full, for nobody
/// takes from it, tells neither; whoever listens for that long is taken for a daemon.
fn holder(what: Claimed) -> Option<(u32, i32)> {
    let socket = stream().ok()?;
    match connect(&socket, &what.address().ok()?) {
        Ok(()) => {
            let peer = socket_peercred(&socket).ok()?;
            Some((peer.uid.as_raw(), peer.pid.as_raw_nonzero().get()))
        }
        Err(Errno::AGAIN) => Some((rustix::process::geteuid().as_raw(), 0)),
        Err(_) => None,
    }
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}
