//! One file over HTTP, or one that the client holds ready under such an address: streamed to disk,
//! hashed on the way, bounded.

use crate::address;
use crate::client::Content;
use crate::error::{Act, Error, Result};
use crate::graph::Http;
use crate::solve::{Build, blocking};
use crate::tree::{DirTree, Tree};
use crate::walk::Filter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::Digest;
use model::error::HasKind;
use rustix::fs::{self, Gid, Mode, OFlags, Uid};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use store::TempDir;

/// The largest file.
const MAX_BYTES: u64 = 64 << 30;
/// Mode of a file that says none.
const MODE: u32 = 0o600;
/// Addresses that no server answers but the client that asked for the build.
const OF_THE_CLIENT: &str = "http://buildkit-session/";

/// A file as a tree that has only it.
pub(crate) async fn http(build: &Arc<Build>, http: &Http) -> Result<Tree> {
    let dir = Arc::new(build.inner.store.temp_dir()?);
    let (name, digest) = http_to(build, http, &dir).await?;
    if !http.url.starts_with(OF_THE_CLIENT) {
        build.took(address::shown(&http.url), ("sha256", digest.hex()));
    }
    if http.unpack {
        return unpacked(dir, name).await;
    }
    let mut hash = Sha256::new();
    hash.update(digest.as_bytes());
    hash.update(format!("{name}\0{:?}\0{}\0{}", http.mode, http.uid, http.gid));
    let known = Digest::sha256(hash.finalize().into());
    tree(dir).map(|tree| Tree::Dir(Arc::new(tree.known_as(known))))
}

fn tree(dir: Arc<TempDir>) -> Result<DirTree> {
    let open = dir.dir().try_clone().act(|| "open a download".into())?;
    Ok(DirTree::new(Arc::new(open), Filter::default(), false, Some(dir)))
}

/// A file on its way.
enum Coming {
    Web(Box<registry::Download>),
    Client(Content),
}

impl Coming {
    async fn of(build: &Build, http: &Http) -> Result<Self> {
        if let Some(path) = http.url.strip_prefix(OF_THE_CLIENT) {
            return build.client.upload(&format!("/{path}")).await.map(Self::Client);
        }
        let mut authorization = String::new();
        if !http.header_secret.is_empty()
            && let Some(secret) = build.client.secret(&http.header_secret).await?
        {
            authorization = String::from_utf8_lossy(&secret.0).trim().to_owned();
        }
        let (url, user) = address::parted(&http.url);
        if let (true, Some(user)) = (authorization.is_empty(), user) {
            authorization = format!("Basic {}", STANDARD.encode(address::decoded(user)));
        }
        let client = build.inner.worker.registry();
        let download = client.get(&url, &authorization).await.map_err(failed)?;
        Ok(Self::Web(Box::new(download)))
    }

    /// What the server calls it.
    fn disposition(&self) -> Option<&str> {
        match self {
            Self::Web(download) => download.header("content-disposition"),
            Self::Client(_) => None,
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Web(download) => download.chunk().await.map_err(failed),
            Self::Client(content) => content.recv().await.transpose(),
        }
    }
}

fn failed(error: registry::Error) -> Error {
    Error::Failed { kind: error.kind(), message: error.to_string() }
}

/// Fetches into a directory; gives the file's name and digest.
async fn http_to(build: &Arc<Build>, http: &Http, dir: &TempDir) -> Result<(String, Digest)> {
    let mut coming = Coming::of(build, http).await?;
    let url = address::shown(&http.url);
    let name = match http.filename.as_str() {
        "" => name_of(&http.url, coming.disposition()),
        name => name.to_owned(),
    };
    if name.is_empty() || name.contains('/') || matches!(name.as_str(), "." | "..") {
        return Err(Error::invalid(format!("{url}: no file name")));
    }
    let mut file = create(dir.dir(), &name)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0u64);
    while let Some(chunk) = coming.chunk().await? {
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            return Err(Error::invalid(format!("{url}: more than {MAX_BYTES} bytes")));
        }
        hash.update(&chunk);
        file = blocking(move || {
            file.write_all(&chunk).act(|| "write a download".into())?;
            Ok(file)
        })
        .await?;
    }
    let digest = Digest::sha256(hash.finalize().into());
    if !http.checksum.is_empty() && Digest::parse(&http.checksum)? != digest {
        return Err(Error::invalid(format!(
            "digest mismatch for {url}: {digest} (expected: {})",
            http.checksum
        )));
    }
    let giving = || "give a download its mode".to_owned();
    let (uid, gid) = (Some(Uid::from_raw(http.uid)), Some(Gid::from_raw(http.gid)));
    fs::fchown(&file, uid, gid).act(giving)?;
    fs::fchmod(&file, Mode::from_raw_mode(http.mode.unwrap_or(MODE) & 0o7777)).act(giving)?;
    Ok((name, digest))
}

fn create(dir: &OwnedFd, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
    file.map(File::from).act(|| "make a download's file".into())
}

/// The name that the server says (RFC 6266), else the last part of the path.
fn name_of(url: &str, disposition: Option<&str>) -> String {
    let said = disposition.and_then(|text| {
        let value = text.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
        Some(value.trim_matches('"').to_owned())
    });
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let last = path.split_once('/').map_or("", |(_, path)| path).rsplit('/').next();
    said.unwrap_or_else(|| last.unwrap_or_default().to_owned())
}

/// An archive as a context; what is none is a lone Dockerfile.
async fn unpacked(dir: Arc<TempDir>, name: String) -> Result<Tree> {
    blocking(move || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(dir.dir(), &*name, flags, Mode::empty());
        let mut file = File::from(file.act(|| "open a download".into())?);
        if crate::files::is_archive(&mut file)? {
            fs::unlinkat(dir.dir(), &*name, fs::AtFlags::empty())
                .act(|| "remove a download".into())?;
            let options = store::archive::WriteOptions::default();
            let root = std::os::fd::AsFd::as_fd(dir.dir());
            store::archive::write(root, "/", &mut file, options)?;
        } else {
            fs::renameat(dir.dir(), &*name, dir.dir(), "Dockerfile")
                .act(|| "name a Dockerfile".into())?;
        }
        tree(dir).map(|tree| Tree::Dir(Arc::new(tree)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_server_or_the_path() {
        for (url, disposition, want) in [
            ("http://h/a/b.tar.gz?x=1", None, "b.tar.gz"),
            ("http://h/a/", None, ""),
            ("http://h", None, ""),
            ("http://h/x", Some("attachment; filename=\"y.txt\""), "y.txt"),
        ] {
            assert_eq!(name_of(url, disposition), want);
        }
    }
}
