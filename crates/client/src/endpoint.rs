//! Where an engine listens, and how such an address is written. It never opens a connection.

use std::fmt;
use std::path::PathBuf;

use crate::{Error, SshTarget};

/// The port of an unencrypted engine; with TLS it has to be said.
const PLAIN_PORT: u16 = 2375;

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system: `unix:///run/estiba/estiba.sock`.
    Unix(PathBuf),
    /// Plain TCP: `tcp://127.0.0.1:2375`.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Through `ssh`: `ssh://user@host:22`.
    Ssh(SshTarget),
}

impl Endpoint {
    /// Reads `unix://PATH`, `tcp://HOST[:PORT]`, `HOST[:PORT]` or an absolute path.
    ///
    /// # Errors
    /// An address this client has no transport for, or one that is not well formed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Endpoint::Unix(PathBuf::from(rest))),
            "unix" => Err(Error::Endpoint(format!(
                "invalid socket address \"{text}\": the path after unix:// must be absolute"
            ))),
            "tcp" | "http" => tcp(text, rest),
            "ssh" => SshTarget::parse(rest)
                .map(Endpoint::Ssh)
                .ok_or_else(|| Error::Endpoint(format!("unable to parse docker host `{text}`"))),
            _ => Err(Error::Endpoint(format!("invalid bind address format: {text}"))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp { host, port } if host.contains(':') => {
                write!(f, "tcp://[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Endpoint::Ssh(target) => target.fmt(f),
        }
    }
}

fn tcp(text: &str, rest: &str) -> Result<Endpoint, Error> {
    let invalid = || Error::Endpoint(format!("unable to parse docker host `{text}`"));
    let authority = rest.trim_end_matches('/');
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(invalid)?;
            (host, after.strip_prefix(':').unwrap_or_default())
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if host.is_empty() || host.contains('/') {
        return Err(invalid());
    }
    let port = match port {
        "" => PLAIN_PORT,
        port => port.parse().map_err(|_| invalid())?,
    };
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
            ("tcp://host", "tcp://host:2375"),
            ("host:99", "tcp://host:99"),
            ("tcp://[::1]:5", "tcp://[::1]:5"),
            ("ssh://me@host:1/x", "ssh://me@host:1/x"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), expected);
        }
        for text in ["unix://relative", "fd://", "tcp://", "tcp://a:b", "ssh://-h", ""] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
