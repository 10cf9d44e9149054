//! What can go wrong in a network, in the words of who asked. Knows kinds, never HTTP or exit
//! codes.

use model::error::{Denied, ErrorKind, HasKind};
use std::net::IpAddr;

/// A network operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused by a rule of the model (bad CIDR, unknown driver, …).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
    /// The kernel refused a netlink request.
    #[error("{act}: {errno}{}", in_brackets(extack.as_deref()))]
    Kernel {
        /// What was asked, with its objects.
        act: String,
        /// The kernel's answer.
        errno: rustix::io::Errno,
        /// The kernel's own explanation (extended acknowledgement), if any.
        extack: Option<String>,
    },
    /// A file, socket or system call failed.
    #[error("{act}: {source}")]
    Io {
        /// What was tried, with its objects.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The kernel answered with something that is not netlink as documented.
    #[error("{act}: malformed answer from the kernel")]
    Malformed {
        /// What was asked.
        act: String,
    },
    /// The rules of this network namespace are laid by another daemon.
    #[error(
        "the firewall of this network namespace is another daemon's{}",
        if *process > 0 { format!(" (process {process})") } else { String::new() }
    )]
    NotAlone {
        /// Its process id; 0 where it cannot be told.
        process: i32,
    },
    /// No network has this id.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// The network still has endpoints.
    #[error("network {name} has active endpoints")]
    InUse {
        /// The network's name.
        name: String,
    },
    /// A subnet overlaps one in use.
    #[error("Pool overlaps with other one on this address space: {subnet} ({with})")]
    Overlap {
        /// The subnet asked for.
        subnet: String,
        /// What it collides with.
        with: String,
    },
    /// Every default pool is taken.
    #[error("all predefined address pools have been fully subnetted")]
    PoolsExhausted,
    /// No address is left in a subnet.
    #[error(
        "no available {} addresses on this network's address pools: {name} ({subnet})",
        if subnet.contains(':') { "IPv6" } else { "IPv4" }
    )]
    AddressesExhausted {
        /// The network's name.
        name: String,
        /// Its subnet.
        subnet: String,
    },
    /// A static address is taken or lies outside.
    #[error("address {addr} on network {name}: {why}")]
    Address {
        /// The address asked for.
        addr: IpAddr,
        /// The network's name.
        name: String,
        /// Why it cannot be given.
        why: &'static str,
    },
    /// A host port is published by another container.
    #[error("Bind for {host} failed: port is already allocated (container {container})")]
    PortAllocated {
        /// The host's address and port.
        host: String,
        /// Short id of the container that publishes it.
        container: String,
    },
    /// A host port is in use by a program of the host.
    #[error(
        "failed to bind host port for {binding}: {source}{}",
        holder.as_ref().map(|it| format!(": held by {it}")).unwrap_or_default()
    )]
    PortInUse {
        /// The program that holds it, if it can be found.
        holder: Option<String>,
        /// `host:port:container:port/protocol`.
        binding: String,
        /// The kernel's answer to `bind(2)`.
        source: std::io::Error,
    },
    /// No ephemeral host port is left.
    #[error("no ephemeral host port is left for {0}")]
    PortsExhausted(String),
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names the act whose system call failed.
    pub(crate) fn io(act: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }

    /// The errno behind the failure, if there is one.
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Io { source, .. } | Self::PortInUse { source, .. } => {
                source.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
            }
            _ => None,
        }
    }
}

fn in_brackets(words: Option<&str>) -> String {
    words.map(|words| format!(" ({words})")).unwrap_or_default()
}

impl HasKind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::NoSuchNetwork(_) => ErrorKind::NotFound,
            Self::Overlap { .. } | Self::InUse { .. } => ErrorKind::Forbidden,
            Self::NotAlone { .. } => ErrorKind::Conflict,
            Self::Address { .. } => ErrorKind::Invalid,
            Self::PoolsExhausted | Self::AddressesExhausted { .. } | Self::PortsExhausted(_) => {
                ErrorKind::Exhausted
            }
            // Docker answers 500 for ports that are taken, and clients match on its text.
            Self::PortAllocated { .. } | Self::PortInUse { .. } => ErrorKind::Internal,
            Self::Sys(_) | Self::Kernel { .. } | Self::Io { .. } | Self::Malformed { .. } => {
                ErrorKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::PoolsExhausted => {
                Some("remove unused networks, or give the network a --subnet of its own")
            }
            Self::NotAlone { .. } => {
                Some("end it, or give this one a network namespace of its own, or --iptables=false")
            }
            Self::PortAllocated { .. } => Some("`ps` shows which container publishes the port"),
            Self::PortInUse { .. } => Some("`ss -lnp` shows which program holds the port"),
            _ => None,
        }
    }
}
