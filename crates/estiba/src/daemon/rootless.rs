//! The daemon of an ordinary user: where its things are, how it comes into its namespaces, and by
//! whom it has the host's ports. What has to be there for that is known to `rootless`.

use super::told::Reading;
use engine::settings::Protocol;
use engine::{Iptables, Options, Outside};
use rootless::{Door, Setup};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The connection to the keeper, of a daemon that has entered.
static DOOR: OnceLock<Option<Arc<Door>>> = OnceLock::new();

fn door() -> Option<&'static Arc<Door>> {
    DOOR.get_or_init(|| rootless::inside().map(Arc::new)).as_ref()
}

/// Whether this daemon is an ordinary user's, from before it enters its namespaces on.
fn is_users() -> bool {
    rootless::is_entered() || !rustix::process::geteuid().is_root()
}

/// Where the files of a user's daemon are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `XDG_RUNTIME_DIR`.
    run: PathBuf,
    /// `XDG_DATA_HOME`, or `~/.local/share`.
    data: PathBuf,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    config: PathBuf,
}

impl Places {
    /// Of the user that runs this process; `None` for root.
    pub(crate) fn of_user() -> Option<Self> {
        is_users().then(|| Self::from(|name| std::env::var(name).ok()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|it| it.starts_with('/')).map(PathBuf::from);
        let home = given("HOME").unwrap_or_else(|| "/".into());
        // When there is none, entering says what to do about it.
        let run = rootless::runtime_dir().ok().or_else(|| given("XDG_RUNTIME_DIR"));
        Self {
            run: run.unwrap_or_else(|| "/run/user/nobody".into()),
            data: given("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")),
            config: given("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
        }
    }

    /// Puts a daemon's files there; the socket, and the file with the process id.
    pub(crate) fn give(&self, options: &mut Options) -> (PathBuf, PathBuf) {
        options.rootless = true;
        options.data_root = self.data.join("estiba");
        options.exec_root = self.run.join("estiba");
        // Nobody else lays rules in a user's own network namespace, and the lock that iptables
        // takes is root's.
        options.net.iptables = Iptables::Off;
        options.net.system_bus = PathBuf::from("/nonexistent");
        // What the user says of registries comes before what the machine says.
        let own = ["estiba/certs.d", "docker/certs.d"].map(|name| self.config.join(name));
        options.registry.certificates.splice(0..0, own);
        let rules = self.config.join("estiba/registries.conf");
        if rules.exists() {
            options.registry.registries = Some(rules);
        }
        (self.run.join("docker.sock"), self.run.join("docker.pid"))
    }

    /// The configuration file: as Docker's in rootless mode, or one of our own name.
    pub(crate) fn configuration(&self, name: &str) -> PathBuf {
        let own = self.config.join("estiba/daemon.json");
        match !name.contains("docker") && own.exists() {
            true => own,
            false => self.config.join("docker/daemon.json"),
        }
    }
}

/// Comes into the user's namespaces where that is due: this process is executed again then, and
/// goes on here. Root's daemon goes on as it is.
pub(crate) fn enter(mut reading: Reading) -> Result<Reading, String> {
    let options = &mut reading.config.options;
    if let Some(door) = door() {
        options.net.outside = Some(Arc::new(Ports(Arc::clone(door))));
        rootless::check_overlay(&options.data_root).map_err(|error| error.to_string())?;
        return Ok(reading);
    }
    let wanted = is_users() || options.rootless && runtime::userns::is_first();
    if !wanted {
        return Ok(reading);
    }
    let choice = rootless::Choice::of_environment().map_err(|error| error.to_string())?;
    if !rustix::process::geteuid().is_root() {
        rootless::runtime_dir().map_err(|error| error.to_string())?;
    }
    let setup = Setup {
        dir: options.exec_root.join("rootless"),
        daemon_group: runtime::cgroup::DAEMON_GROUP,
        choice,
    };
    Err(rootless::enter(&setup).to_string())
}

/// A listening socket of the host's, for a daemon whose network namespace is its own.
pub(crate) fn listen(host: SocketAddr) -> Option<io::Result<OwnedFd>> {
    door().map(|door| door.listen(host))
}

/// The host's ports, opened by the keeper.
#[derive(Debug)]
struct Ports(Arc<Door>);

impl Outside for Ports {
    fn open(&self, protocol: Protocol, host: SocketAddr, target: SocketAddr) -> io::Result<()> {
        self.0.open(known(protocol)?, host, target)
    }

    fn close(&self, protocol: Protocol, host: SocketAddr) {
        if let Ok(protocol) = known(protocol) {
            self.0.close(protocol, host);
        }
    }

    fn settle(&self) {
        self.0.settle();
    }
}

fn known(protocol: Protocol) -> io::Result<rootless::Protocol> {
    match protocol {
        Protocol::Tcp => Ok(rootless::Protocol::Tcp),
        Protocol::Udp => Ok(rootless::Protocol::Udp),
        Protocol::Sctp => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "SCTP ports cannot be published by an ordinary user's daemon",
        )),
    }
}

/// Carries ports of the host into the namespaces, until the keeper ends.
pub(crate) fn carry(descriptor: &str) -> i32 {
    let control = descriptor.parse().ok().and_then(|n| runtime::inherited_fd(n).ok());
    let Some(control) = control else { return 2 };
    i32::from(engine::run_carrier(control).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_files_are_where_users_have_them() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "XDG_DATA_HOME" => Some("relative/is/ignored".to_owned()),
            _ => None,
        };
        let places = Places::from(variable);
        assert_eq!(places.data, PathBuf::from("/home/ada/.local/share"));
        let mut options = Options::default();
        places.give(&mut options);
        assert_eq!(options.data_root, PathBuf::from("/home/ada/.local/share/estiba"));
        assert!(options.rootless);
        let file = places.configuration("dockerd");
        assert_eq!(file, PathBuf::from("/home/ada/.config/docker/daemon.json"));
    }
}
