//! The host's ports, where the network namespace of the daemon is not the host's: an ordinary
//! user's daemon has one of its own, and somebody outside opens the ports for it. This module never
//! knows who that is, nor how it is asked.

use crate::error::{Error, Result};
use crate::nft::Publication;
use model::network::Protocol;
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who opens ports outside. What it has opened outlives the daemon.
pub trait Outside: std::fmt::Debug + Send + Sync {
    /// Opens a port of the host and carries what arrives there to `target`, an address in the
    /// daemon's namespace. Doing so again with the same target changes nothing.
    ///
    /// # Errors
    /// As bind(2), above all `EADDRINUSE` and `EACCES`.
    fn open(&self, protocol: Protocol, host: SocketAddr, target: SocketAddr) -> io::Result<()>;
    /// Closes a port; one that is not open is fine.
    fn close(&self, protocol: Protocol, host: SocketAddr);
    /// Closes every port that was not opened through this value: what former daemons left.
    fn settle(&self);
}

/// A port that is open outside, until dropped.
#[derive(Debug)]
pub(crate) struct Opened {
    outside: Arc<dyn Outside>,
    protocol: Protocol,
    host: SocketAddr,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.outside.close(self.protocol, self.host);
    }
}

/// Opens the port of a publication outside. Nothing where the host has no such address family and
/// none was asked for by name.
pub(crate) fn open(
    outside: &Arc<dyn Outside>,
    publication: &Publication,
) -> Result<Option<Opened>> {
    let protocol = publication.port.protocol;
    let host = SocketAddr::new(publication.host, publication.port.port);
    let target = SocketAddr::new(publication.addr, publication.target);
    match outside.open(protocol, host, target) {
        Ok(()) => Ok(Some(Opened { outside: Arc::clone(outside), protocol, host })),
        Err(error) if is_no_family(&error) && host.ip().is_unspecified() && host.is_ipv6() => {
            Ok(None)
        }
        Err(source) => Err(Error::PortInUse {
            holder: None,
            binding: format!("{host}:{target}/{}", protocol.name()),
            source,
        }),
    }
}

fn is_no_family(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}
