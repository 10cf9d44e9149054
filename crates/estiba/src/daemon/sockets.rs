//! Where the daemon listens and writes its process id. Opens what [`Config`] names; it never
//! chooses an address itself.

use super::config::{Config, Listen};
use super::supervisor;
use api::{Listener, TlsFiles};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Opens an address: several sockets where a supervisor handed several over.
pub(crate) async fn open(address: &Listen, config: &Config) -> Result<Vec<Listener>, String> {
    let files = config.tls.files();
    // A user's daemon has a network namespace of its own, which nobody reaches.
    if let Listen::Tcp(host) = address
        && let Some(socket) = super::rootless::listen(*host)
    {
        let socket = socket.map_err(|error| format!("listen on {address}: {error}"))?;
        let listener = activated(socket, config, files.as_ref())?;
        tracing::info!("listening on {address}");
        return Ok(vec![listener]);
    }
    let listener = match address {
        Listen::Unix(path) => {
            make_parent(path)?;
            let bound = Listener::bind_unix(path, socket_group(config)?).await;
            bound.map_err(|error| error.to_string())
        }
        Listen::Activated(name) => {
            let handed = supervisor::sockets(name)?.into_iter();
            let open: Result<Vec<_>, _> =
                handed.map(|fd| activated(fd, config, files.as_ref())).collect();
            tracing::info!("listening on {address}");
            return open;
        }
        Listen::Tcp(address) => match &files {
            Some(files) => {
                let bound = Listener::bind_tls(&address.to_string(), files).await;
                bound.map_err(|error| error.to_string())
            }
            None => {
                tracing::warn!("serving tcp://{address} without TLS: whoever reaches it is root");
                let bound = Listener::bind_tcp_without_tls(&address.to_string()).await;
                bound.map_err(|error| error.to_string())
            }
        },
    };
    let listener = listener?;
    tracing::info!("listening on {address}");
    Ok(vec![listener])
}

/// Opens an address for metrics, which are told to whoever asks.
pub(crate) async fn open_metrics(address: SocketAddr) -> Result<Listener, String> {
    let opened = match super::rootless::listen(address) {
        Some(socket) => {
            let socket = socket.map_err(|error| format!("listen on tcp://{address}: {error}"))?;
            Listener::from_fd(socket, None)
        }
        None => Listener::bind_tcp_without_tls(&address.to_string()).await,
    };
    let listener = opened.map_err(|error| format!("--metrics-addr: {error}"))?;
    tracing::info!("metrics API listening on {address}");
    Ok(listener)
}

/// Gives the path sockets to the group that may use them now.
pub(crate) fn give(config: &Config) -> Result<(), String> {
    let group = socket_group(config)?.unwrap_or(0);
    for address in &config.listen {
        if let Listen::Unix(path) = address {
            std::os::unix::fs::chown(path, None, Some(group))
                .map_err(|error| format!("give {} to its group: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// A socket that the supervisor bound. TCP is held to the same rule as what is bound here.
fn activated(fd: OwnedFd, config: &Config, files: Option<&TlsFiles>) -> Result<Listener, String> {
    let listener = Listener::from_fd(fd, files).map_err(|error| error.to_string())?;
    let open_to_all = files.is_none_or(|files| files.client_authority.is_none());
    if listener.is_tcp() && open_to_all && !config.allow_plain_tcp {
        return Err("refusing to serve a TCP socket of the socket activation without TLS and \
                    client certificates: whoever reaches it is root on this host; use \
                    --tlsverify, or force it with --allow-plain-tcp"
            .into());
    }
    Ok(listener)
}

/// The group that may use the socket. The default group may be missing, as on a machine without
/// one; a group that was asked for may not.
fn socket_group(config: &Config) -> Result<Option<u32>, String> {
    let Some(name) = &config.group else { return Ok(None) };
    if let Ok(id) = name.parse() {
        return Ok(Some(id));
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let id = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        found.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    match id {
        Some(id) => Ok(Some(id)),
        None if name == "docker" => Ok(None),
        None => Err(format!("--group: there is no group {name:?}; make it with groupadd")),
    }
}

fn make_parent(path: &Path) -> Result<(), String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(|error| format!("make {}: {error}", parent.display()))
}

/// The file with the daemon's process id; removed when dropped.
pub(crate) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes it, refusing when the process it names still runs.
    pub(crate) fn write(path: &Path) -> Result<Self, String> {
        make_parent(path)?;
        let own = std::process::id();
        let old = std::fs::read_to_string(path).unwrap_or_default().trim().parse::<u32>();
        if let Ok(pid) = old
            && pid != own
            && is_daemon(pid)
        {
            return Err(format!(
                "{} names process {pid}, which is running: end it first, or choose another \
                 --pidfile",
                path.display()
            ));
        }
        std::fs::write(path, own.to_string())
            .map_err(|error| format!("write {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Nothing depends on it: the next daemon looks whether the process lives.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether process `pid` runs the same program as this one: a pid may have been used again.
fn is_daemon(pid: u32) -> bool {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    program(&pid.to_string()).is_some_and(|other| Some(other) == program("self"))
}
