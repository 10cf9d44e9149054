//! The daemon's connection to its keeper: the host's ports are asked for here. As long as it is
//! open, the keeper stays.

use crate::Protocol;
use crate::ask::{Answer, Ask, ask};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// The way to the host's ports. One question at a time.
#[derive(Debug)]
pub struct Door {
    socket: Mutex<OwnedFd>,
    open: Mutex<HashSet<(Protocol, SocketAddr)>>,
}

impl Door {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket: Mutex::new(socket), open: Mutex::default() }
    }

    /// Opens a port of the host; what arrives is carried to `target`, an address in here. The same
    /// again changes nothing.
    ///
    /// # Errors
    /// As bind(2), with a cure where the port is root's.
    pub fn open(&self, protocol: Protocol, host: SocketAddr, target: SocketAddr) -> io::Result<()> {
        self.ask(&Ask::Open { protocol, host, target }).map_err(|error| explained(error, host))?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert((protocol, host));
        Ok(())
    }

    /// Closes a port.
    pub fn close(&self, protocol: Protocol, host: SocketAddr) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(protocol, host));
        // A keeper that is gone has no port open.
        let _ = self.ask(&Ask::Close { protocol, host });
    }

    /// Closes every port that was not opened through this value.
    pub fn settle(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.iter().copied().collect();
        let _ = self.ask(&Ask::Settle { open });
    }

    /// A listening TCP socket of the host.
    ///
    /// # Errors
    /// As bind(2).
    pub fn listen(&self, host: SocketAddr) -> io::Result<OwnedFd> {
        let mut fds = self.ask(&Ask::Listen { host }).map_err(|error| explained(error, host))?;
        fds.pop().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn ask(&self, question: &Ask) -> io::Result<Vec<OwnedFd>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, fds) = ask(&*socket, question).map_err(io::Error::other)?;
        match answer {
            Answer::Done => Ok(fds),
            Answer::Refused { errno } => Err(io::Error::from_raw_os_error(errno)),
            Answer::Failed { why } => Err(io::Error::other(why)),
        }
    }
}

/// Low ports are root's, and there is a way to change that.
fn explained(error: io::Error, host: SocketAddr) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    io::Error::new(
        error.kind(),
        format!(
            "ports below net.ipv4.ip_unprivileged_port_start are root's: as root, run `sysctl \
             net.ipv4.ip_unprivileged_port_start={}`, or publish a higher port",
            host.port()
        ),
    )
}
