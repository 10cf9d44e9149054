//! What an ordinary user's daemon can lack, each with the way to get it. Knows no exit code.

use std::path::PathBuf;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there can be no daemon of an ordinary user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Root needs none of this.
    #[error("--rootless is for ordinary users: start the daemon as one, or without the flag")]
    Root,
    /// The kernel gives no user namespaces.
    #[error("this kernel lets no ordinary user make a user namespace: {why}")]
    NoUserNamespaces {
        /// The setting that forbids it, and what to do.
        why: String,
    },
    /// A program is missing.
    #[error("{program} is not installed: {hint}")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The packages that have it.
        hint: &'static str,
    },
    /// A program is there without the privilege that makes it useful.
    #[error(
        "{} has neither the set-user-ID bit nor file capabilities, and can map no ids: \
         install the package again, or run `chmod u+s {0}` as root",
        program.display()
    )]
    NotPrivileged {
        /// Its path.
        program: PathBuf,
    },
    /// The user has no ids to give to containers.
    #[error(
        "user {user} has {count} subordinate ids in {file}, and containers need {needed}: as root, \
         run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`"
    )]
    NoIds {
        /// The user's name.
        user: String,
        /// Where they would be.
        file: &'static str,
        /// How many there are.
        count: u32,
        /// How many there must be.
        needed: u32,
    },
    /// Nobody knows the user.
    #[error("user {0} has no entry in /etc/passwd")]
    NoUser(u32),
    /// No directory for sockets.
    #[error(
        "XDG_RUNTIME_DIR is not set, and /run/user/{0} is not a directory of this user: log in \
         through the login manager (not su), run `loginctl enable-linger`, or set XDG_RUNTIME_DIR \
         to a directory of the user's own on a memory file system"
    )]
    NoRuntimeDir(u32),
    /// There is nothing that connects a network namespace.
    #[error(
        "neither pasta nor slirp4netns is installed, and containers would reach nothing outside: \
         install the package passt (or slirp4netns), or set ESTIBA_ROOTLESS_NET=none to do without"
    )]
    NoWayOut,
    /// The network did not come up.
    #[error("{program} does not connect the network: {why}")]
    NotConnected {
        /// `pasta` or `slirp4netns`.
        program: &'static str,
        /// Its own words.
        why: String,
    },
    /// The device of tunnels is root's alone.
    #[error(
        "open /dev/net/tun: {0}: as root, run `modprobe tun` and `chmod 666 /dev/net/tun`, as udev \
         does, or set ESTIBA_ROOTLESS_NET=none to do without a way out"
    )]
    NoTun(std::io::Error),
    /// A choice that there is not.
    #[error("ESTIBA_ROOTLESS_NET={0:?}: want pasta, slirp4netns or none")]
    UnknownChoice(String),
    /// The ids could not be mapped.
    #[error("map the user's ids: {program}: {why}")]
    NotMapped {
        /// `newuidmap` or `newgidmap`.
        program: String,
        /// Its own words.
        why: String,
    },
    /// Overlayfs is not for ordinary users here.
    #[error(
        "mount an overlay in {}: {source}: the kernel must let ordinary users do that (Linux 5.11 \
         and later, on ext4, xfs, btrfs or tmpfs; not on NFS): choose another --data-root",
        dir.display()
    )]
    NoOverlay {
        /// Where.
        dir: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A step failed.
    #[error("{act}: {source}")]
    Io {
        /// What was tried, with its objects.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The keeper said why it could not.
    #[error("{0}")]
    Keeper(String),
}

impl Error {
    /// For `map_err`: names the act.
    pub(crate) fn io<E: Into<std::io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source: source.into() }
    }
}
