//! Where plugins are: sockets and specification files, by name (Docker's "plugin discovery").
//! Never connects to anything.

use super::{PluginError, Result};
use model::Denied;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The longest name, bytes.
const NAME_MAX: usize = 128;
/// The largest specification file, bytes.
const SPECIFICATION_MAX: u64 = 64 * 1024;

/// Where a plugin answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket's path.
    Unix(PathBuf),
    /// Host and port, without TLS.
    Tcp(String),
    /// A socket in a directory that the plugin writes in: no link there leads anywhere else.
    Within {
        /// The directory.
        dir: PathBuf,
        /// The socket's name.
        name: String,
    },
}

/// Directories that are searched, in this order.
#[derive(Clone, Debug)]
pub struct Places {
    /// Of sockets: `N.sock` or `N/N.sock`.
    pub sockets: Vec<PathBuf>,
    /// Of specifications: `N.spec` (an address) or `N.json`.
    pub specifications: Vec<PathBuf>,
}

impl Default for Places {
    /// Docker's.
    fn default() -> Self {
        Self {
            sockets: vec!["/run/docker/plugins".into()],
            specifications: ["/etc/docker/plugins", "/usr/lib/docker/plugins"]
                .map(PathBuf::from)
                .to_vec(),
        }
    }
}

/// `N.json`.
#[derive(Debug, serde::Deserialize)]
struct Specification {
    #[serde(rename = "Addr", default)]
    addr: String,
    #[serde(rename = "TLSConfig", default)]
    tls: Option<serde_json::Value>,
}

impl Places {
    /// Where the plugin of this name answers.
    pub(super) fn find(&self, name: &str) -> Result<Endpoint> {
        check_name(name)?;
        for dir in &self.sockets {
            for path in [format!("{name}.sock"), format!("{name}/{name}.sock")] {
                let path = dir.join(path);
                if is_socket(&path) {
                    return Ok(Endpoint::Unix(path));
                }
            }
        }
        for dir in &self.specifications {
            for (suffix, read) in
                [("spec", plain as fn(&Path) -> Result<Endpoint>), ("json", document)]
            {
                let path = dir.join(format!("{name}.{suffix}"));
                if path.is_file() {
                    return read(&path);
                }
            }
        }
        Err(PluginError::NotFound(name.to_owned()))
    }

    /// Every name that leads somewhere.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for dir in self.sockets.iter().chain(&self.specifications) {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                let name = [".sock", ".spec", ".json"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(name);
                if self.find(name).is_ok() {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// A name becomes part of a path: nothing in it may lead elsewhere.
fn check_name(name: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if first && name.len() <= NAME_MAX && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Denied::invalid(format!("invalid plugin name {name:?}")).into())
}

fn read(path: &Path) -> Result<String> {
    let size = path.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    if size > SPECIFICATION_MAX {
        return Err(unusable(path, "it is too large"));
    }
    std::fs::read_to_string(path).map_err(|error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, why: impl Into<String>) -> PluginError {
    PluginError::Specification { path: path.display().to_string(), why: why.into() }
}

fn plain(path: &Path) -> Result<Endpoint> {
    endpoint(read(path)?.trim()).map_err(|why| unusable(path, why))
}

fn document(path: &Path) -> Result<Endpoint> {
    let specification: Specification =
        serde_json::from_str(&read(path)?).map_err(|error| unusable(path, error.to_string()))?;
    if specification.tls.is_some_and(|tls| !tls.is_null()) {
        return Err(unusable(path, "TLS to plugins is not supported"));
    }
    endpoint(&specification.addr).map_err(|why| unusable(path, why))
}

/// `unix:///path`, `tcp://host:port` or `http://host:port`.
fn endpoint(text: &str) -> std::result::Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
        return Ok(Endpoint::Unix(path.into()));
    }
    let host = ["tcp://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = host.map(|host| host.trim_end_matches('/'));
    let named = |host: &str| {
        let port = host.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>()));
        host.parse::<SocketAddr>().is_ok()
            || matches!(port, Some((name, Ok(_))) if !name.is_empty() && !name.contains(['/', '@']))
    };
    match host.filter(|host| named(host)) {
        Some(host) => Ok(Endpoint::Tcp(host.to_owned())),
        None => {
            Err(format!("{text:?} is not an address of the form unix:///PATH or tcp://HOST:PORT"))
        }
    }
}
