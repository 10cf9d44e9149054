//! What the one who asked for a build offers while it runs: directories, secrets, SSH agents,
//! registry credentials, and a place for results. Implemented at the edges (a tar that was sent, a
//! BuildKit session, a directory passed by descriptor). This module never knows a protocol.

use crate::error::Result;
use crate::layout::Layout;
use bytes::Bytes;
use std::fmt;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A boxed future, so that these traits can be objects.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Which files of a directory are asked for; see [`crate::graph::Local`]. A client may give more:
/// the solver filters again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAsk {
    /// The directory's name: `context`, `dockerfile`, or a named context's.
    pub name: String,
    /// Only paths that match one of these; empty is all.
    pub include: Vec<String>,
    /// Not paths that match these.
    pub exclude: Vec<String>,
    /// Paths whose symbolic links are followed and included.
    pub follow: Vec<String>,
}

/// A directory with files of the client's. What is in it is not trusted; it is not changed while
/// the value lives, or at the client's own risk.
#[derive(Clone)]
pub struct LocalDir {
    /// The directory, open for reading.
    pub dir: Arc<OwnedFd>,
    /// Whether the files are the client's own rather than a copy made for this build: then their
    /// inodes last, and what is known of their content is worth remembering.
    pub lasting: bool,
    /// Dropped when the build no longer needs the directory.
    pub keep: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl fmt::Debug for LocalDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalDir({:?})", self.dir)
    }
}

/// A secret's value. It is never shown: not by `Debug`, not in errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A name and a password for a registry; empty for none. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
    /// Identity token instead of a password; empty for none.
    pub identity_token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A result on its way to the client, in chunks; an error is the last item.
pub type Content = mpsc::Receiver<Result<Bytes>>;

/// Whoever asked for a build. Everything is asked for once it is needed. The default answers are
/// those of a client that has nothing to offer.
pub trait Client: Send + Sync + 'static {
    /// The files of a directory.
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, Result<LocalDir>>;

    /// Whether its directories are in our hands, so that [`Client::local`] costs nothing.
    fn is_near(&self) -> bool {
        false
    }

    /// A secret; `None` if there is none of that name.
    fn secret<'a>(&'a self, id: &'a str) -> Future<'a, Result<Option<Secret>>> {
        let _ = id;
        Box::pin(async { Ok(None) })
    }

    /// Whether there is an SSH agent of that name.
    fn has_ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<bool>> {
        let _ = id;
        Box::pin(async { Ok(false) })
    }

    /// A fresh connection to an SSH agent.
    fn ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<UnixStream>> {
        let _ = id;
        Box::pin(async { Err(crate::Error::not_found("the client offers no SSH agent")) })
    }

    /// Credentials for a registry's host; `None` for anonymous.
    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, Result<Option<Credentials>>> {
        let _ = host;
        Box::pin(async { Ok(None) })
    }

    /// Takes a result that is one file (a tar); `output` counts the request's outputs from 0.
    fn file<'a>(&'a self, output: usize, content: Content) -> Future<'a, Result<()>> {
        let _ = (output, content);
        Box::pin(async { Err(crate::Error::unsupported("the client takes no files")) })
    }

    /// A file that the client holds ready under a path of its own, where a context's address says
    /// so (`http://buildkit-session/<path>`).
    fn upload<'a>(&'a self, path: &'a str) -> Future<'a, Result<Content>> {
        Box::pin(async move {
            Err(crate::Error::not_found(format!("the client holds nothing ready at {path:?}")))
        })
    }

    /// An OCI layout of the client's: of a cache (`cache:<directory>`), of a named context
    /// (`oci:<name>`).
    fn layout<'a>(&'a self, name: &'a str) -> Future<'a, Result<Arc<dyn Layout>>> {
        Box::pin(async move {
            Err(crate::Error::not_found(format!("the client offers no OCI layout {name:?}")))
        })
    }

    /// The OCI layout that takes an output.
    fn output_layout<'a>(&'a self, output: usize) -> Future<'a, Result<Arc<dyn Layout>>> {
        let _ = output;
        Box::pin(async { Err(crate::Error::unsupported("the client takes no OCI layouts")) })
    }

    /// Takes a result that is a directory. Owners in it are the image's.
    fn directory<'a>(&'a self, output: usize, dir: OwnedFd) -> Future<'a, Result<()>> {
        let _ = (output, dir);
        Box::pin(async { Err(crate::Error::unsupported("the client takes no directories")) })
    }
}
