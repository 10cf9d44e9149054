//! rootless: how an ordinary user's daemon comes by what only root has on the host. It gets user,
//! mount and network namespaces of its own, in which it is root, and a way out of them.
//!
//! ```text
//!  host's namespaces                          the user's own namespaces
//!  ─────────────────                          ─────────────────────────
//!  daemon, as started ── enter ─────────────▶ the same process, executed again: root in here
//!     │ the first time                           │  asks for ports of the host
//!     ▼                                          ▼
//!  keeper ── socket ◀───────────────────────── Door
//!     ├─ pasta or slirp4netns ───── tap ─────▶ the way out
//!     └─ bound sockets ── handed over ───────▶ carrier ──▶ containers' published ports
//! ```
//!
//! The keeper holds the namespaces, not the daemon: a daemon that is killed and started again finds
//! its containers, their networks and their ports where they were. It ends when no daemon is there
//! and nothing runs any more.
//!
//! `needs` says what is missing and how to get it; `ids` reads /etc/subuid; `enter` is the daemon's
//! side, `keeper` the other one; `ask` is what they say to each other.
//!
//! This crate never knows containers, networks or the daemon's configuration.

mod ask;
mod cgroup;
mod door;
mod enter;
mod error;
mod ids;
mod keeper;
mod needs;
mod outside;
mod overlay;
mod way_out;

pub use door::Door;
pub use enter::{Setup, enter, inside, is_entered};
pub use error::{Error, Result};
pub use keeper::main as keeper_main;
pub use needs::{User, runtime_dir};
pub use overlay::check as check_overlay;
pub use way_out::Choice;

/// The word that the keeper is started by, after the program's name.
pub const KEEPER: &str = "rootless-keeper";

/// The word that the carrier of ports is started by, after the program's name.
pub const CARRIER: &str = "rootless-carrier";

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
