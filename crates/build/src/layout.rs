//! OCI layouts of clients: content by digest and an index, in a directory that was handed over or
//! behind a protocol. What is read from one is verified; this module knows no protocol.

use crate::client::{Content, Future};
use crate::error::{Act, Error, Result};
use crate::solve::blocking;
use crate::walk::open_in;
use bytes::Bytes;
use model::Digest;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::oci::image::{Index, OCI_LAYOUT, annotation, media};

/// The largest document that is read from a layout.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 16 << 20;
/// Bytes in one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for whoever takes them.
const DEPTH: usize = 4;
/// The name of a file while its content is on its way.
const INCOMING: &str = ".estiba-incoming";

/// A layout of a client's.
pub trait Layout: Send + Sync {
    /// The length of a blob, if it is there.
    fn size<'a>(&'a self, digest: Digest) -> Future<'a, Result<Option<u64>>>;

    /// A blob's bytes, not verified.
    fn read<'a>(&'a self, digest: Digest) -> Future<'a, Result<Content>>;

    /// Takes a blob of that digest and length in.
    fn write<'a>(&'a self, digest: Digest, size: u64, content: Content) -> Future<'a, Result<()>>;

    /// `index.json`; `None` if there is none, or the client keeps it to itself.
    fn index<'a>(&'a self) -> Future<'a, Result<Option<Vec<u8>>>>;

    /// Replaces `index.json`, where the client does not do that by itself.
    fn put_index<'a>(&'a self, index: Vec<u8>) -> Future<'a, Result<()>>;
}

/// A whole document of a layout, verified.
pub(crate) async fn document(layout: &dyn Layout, digest: Digest) -> Result<Vec<u8>> {
    let mut content = layout.read(digest).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = content.recv().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(Error::invalid(format!("document {digest} of a layout is too large")));
        }
    }
    let have = Digest::sha256(Sha256::digest(&bytes).into());
    match have == digest {
        true => Ok(bytes),
        false => Err(Error::invalid(format!("document {digest} of a layout has digest {have}"))),
    }
}

/// Bytes as content.
pub(crate) fn content(bytes: Vec<u8>) -> Content {
    let (tx, rx) = mpsc::channel(1);
    // The channel has room for it, and its other end is here.
    let _ = tx.try_send(Ok(Bytes::from(bytes)));
    rx
}

/// A file as content.
pub(crate) fn file_content(mut file: File) -> Content {
    let (tx, rx) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let piece = match file.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Error::io("read a blob", error)),
            };
            let failed = piece.is_err();
            if tx.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    rx
}

/// The entry of an index with this tag: by `ref.name`, or by the end of the full name.
pub(crate) fn tagged(index: &Index, tag: &str) -> Option<Digest> {
    let named = index.manifests.iter().find(|entry| {
        let name = |key: &str| entry.annotations.get(key).map(String::as_str);
        name(annotation::REF_NAME) == Some(tag)
            || name(annotation::IMAGE_NAME).is_some_and(|name| {
                name == tag || name.rsplit_once(':').is_some_and(|(_, own)| own == tag)
            })
    });
    // A layout with one thing in it means that one, unless a name says otherwise.
    let only = match index.manifests.as_slice() {
        [one] if tag == "latest" => Some(one),
        _ => None,
    };
    Digest::parse(&named.or(only)?.digest).ok()
}

/// A layout in a directory.
pub struct Directory {
    dir: Arc<OwnedFd>,
    owner: (u32, u32),
}

impl Directory {
    /// The layout in `dir`; what is written belongs to `owner`.
    pub fn new(dir: Arc<OwnedFd>, owner: (u32, u32)) -> Self {
        Self { dir, owner }
    }

    fn open(&self, path: &str) -> Result<Option<File>> {
        match open_in(&*self.dir, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            file => file.act(|| format!("open {path} of a layout")).map(|file| Some(file.into())),
        }
    }
}

impl Layout for Directory {
    fn size<'a>(&'a self, digest: Digest) -> Future<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let Some(file) = self.open(&blob_path(digest))? else { return Ok(None) };
            let meta = file.metadata().act(|| "look at a blob".into())?;
            Ok(meta.is_file().then_some(meta.len()))
        })
    }

    fn read<'a>(&'a self, digest: Digest) -> Future<'a, Result<Content>> {
        Box::pin(async move {
            let file = self.open(&blob_path(digest))?;
            let file = file
                .filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
                .ok_or_else(|| Error::not_found(format!("the layout has no blob {digest}")))?;
            Ok(file_content(file))
        })
    }

    fn write<'a>(
        &'a self,
        digest: Digest,
        _size: u64,
        mut content: Content,
    ) -> Future<'a, Result<()>> {
        Box::pin(async move {
            let (dir, owner) = (Arc::clone(&self.dir), self.owner);
            blocking(move || {
                let blobs = make_dir(&dir, "blobs", owner)?;
                let blobs = make_dir(&blobs, "sha256", owner)?;
                put(&blobs, &digest.hex(), owner, |file| {
                    while let Some(piece) = content.blocking_recv() {
                        file.write_all(&piece?).act(|| format!("write blob {digest}"))?;
                    }
                    Ok(())
                })
            })
            .await
        })
    }

    fn index<'a>(&'a self) -> Future<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            let Some(file) = self.open("index.json")? else { return Ok(None) };
            let mut bytes = Vec::new();
            file.take(MAX_DOCUMENT_BYTES)
                .read_to_end(&mut bytes)
                .act(|| "read index.json".into())?;
            Ok(Some(bytes))
        })
    }

    fn put_index<'a>(&'a self, index: Vec<u8>) -> Future<'a, Result<()>> {
        Box::pin(async move {
            let (dir, owner) = (Arc::clone(&self.dir), self.owner);
            blocking(move || {
                for (name, bytes) in [("oci-layout", OCI_LAYOUT.as_bytes()), ("index.json", &index)]
                {
                    put(&dir, name, owner, |file| {
                        file.write_all(bytes).act(|| format!("write {name}"))
                    })?;
                }
                Ok(())
            })
            .await
        })
    }
}

/// Names a document in a layout's index, instead of what had the name.
pub(crate) fn with_entry(
    index: Option<Vec<u8>>,
    entry: wire::oci::image::Descriptor,
) -> Result<Vec<u8>> {
    let known = index.and_then(|bytes| serde_json::from_slice::<Index>(&bytes).ok());
    let mut index = known.unwrap_or(Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        ..Index::default()
    });
    let name =
        |entry: &wire::oci::image::Descriptor| entry.annotations.get(annotation::REF_NAME).cloned();
    let own = name(&entry);
    index.manifests.retain(|other| name(other) != own && other.digest != entry.digest);
    index.manifests.push(entry);
    serde_json::to_vec(&index).map_err(Error::internal)
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn make_dir(parent: &OwnedFd, name: &str, owner: (u32, u32)) -> Result<OwnedFd> {
    let act = || format!("make {name} of a layout");
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => own(parent, name, owner).act(act)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).act(act),
    }
    open_in(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW).act(act)
}

fn own(parent: &OwnedFd, name: &str, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// Makes or replaces a file in one step.
fn put(
    dir: &OwnedFd,
    name: &str,
    owner: (u32, u32),
    fill: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let act = || format!("write {name} of a layout");
    let incoming = format!("{INCOMING}-{name}");
    // One that a killed export left behind.
    let _ = rustix::fs::unlinkat(dir, incoming.as_str(), AtFlags::empty());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file: File = rustix::fs::openat(dir, incoming.as_str(), flags, mode).act(act)?.into();
    let done = fill(&mut file)
        .and_then(|()| own(dir, &incoming, owner).act(act))
        .and_then(|()| rustix::fs::renameat(dir, incoming.as_str(), dir, name).act(act));
    if done.is_err() {
        let _ = rustix::fs::unlinkat(dir, incoming.as_str(), AtFlags::empty());
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(OwnedFd::from(File::open(dir.path()).unwrap()));
        let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let layout = Directory::new(open(), ids);
        let digest = Digest::sha256(Sha256::digest(b"text").into());
        assert_eq!(layout.size(digest).await.unwrap(), None);
        layout.write(digest, 4, content(b"text".to_vec())).await.unwrap();
        assert_eq!(layout.size(digest).await.unwrap(), Some(4));
        assert_eq!(document(&layout, digest).await.unwrap(), b"text");
        assert_eq!(layout.index().await.unwrap(), None);
        let entry = wire::oci::image::Descriptor {
            digest: digest.to_string(),
            annotations: [(annotation::REF_NAME.to_owned(), "v1".to_owned())].into(),
            ..Default::default()
        };
        let index = with_entry(None, entry.clone()).unwrap();
        layout.put_index(index.clone()).await.unwrap();
        assert_eq!(layout.index().await.unwrap(), Some(index.clone()));
        // The name is taken over, not doubled.
        let index: Index =
            serde_json::from_slice(&with_entry(Some(index), entry).unwrap()).unwrap();
        assert_eq!(index.manifests.len(), 1);
        assert_eq!((tagged(&index, "v1"), tagged(&index, "latest")), (Some(digest), Some(digest)));
        assert_eq!(tagged(&index, "other"), None);
        // Content that lies is refused.
        std::fs::write(dir.path().join(blob_path(digest)), "lies").unwrap();
        assert!(document(&layout, digest).await.is_err());
    }
}
