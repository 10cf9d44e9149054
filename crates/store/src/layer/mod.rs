//! Layers: tar archives unpacked into overlayfs form, kept by the digest of the plain tar (diff
//! id), with what is needed to write the same tar again. This module never mounts.
//!
//! ```text
//! tar stream -> decompress -> sha256 -> tar entries -> tmp/<random>/{fs/, recipe, shadow/}
//!                                         digest right? -> meta.json -> rename -> layers/<hex>
//! ```

pub(crate) mod recipe;

use crate::compress;
use crate::error::{Act, Error, Result};
use crate::record::v1;
use crate::store::{Lease, Scratch, Store};
use crate::tar::doors::{Doors, Own};
use crate::tar::extract::{Extracted, Extractor, Rules};
use crate::tar::name::TreePath;
use crate::tar::reader::{End, TarReader};
use crate::{tree, unpacker};
use model::Digest;
use recipe::RecipeWriter;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::PoisonError;

const STREAM_BUFFER: usize = 256 << 10;
/// Headers come through this; content that is longer goes past it.
const HEADER_BUFFER: usize = 64 << 10;

/// The most layers of one image: what overlayfs stacks.
pub const MAX_LAYERS: usize = 500;

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Bytes of file content.
    pub size: u64,
    /// Bytes of the plain tar.
    pub tar_size: u64,
    /// Entries of the tar; a layer without any adds nothing to a container.
    pub entries: u64,
    /// Mode, uid and gid of the root directory, if the layer sets them.
    pub(crate) root: Option<(u32, u32, u32)>,
}

/// The layers of a store.
#[derive(Clone, Debug)]
pub struct Layers {
    pub(crate) store: Store,
}

impl Layers {
    /// Unpacks a layer from a tar stream, plain, gzip or zstd, reading it to its end. With
    /// `expect`, a different diff id is an error. On any failure nothing is left. Layers may be
    /// applied by several threads at once.
    pub fn apply(
        &self,
        lease: &Lease,
        tar: &mut dyn Read,
        expect: Option<Digest>,
    ) -> Result<Layer> {
        let scratch = self.store.scratch()?;
        let end = if expect.is_some() { End::Anywhere } else { End::Marked };
        let (extracted, diff_id, tar_size) = match unpacker::installed() {
            Some(unpacker) => unpacker.layer(scratch.dir.as_fd(), tar, end)?,
            None => {
                let mut plain = HashReader::new(compress::plain(tar)?);
                let extracted = unpack(&scratch.dir, &mut plain, end, &Own)?;
                (extracted, Digest::sha256(plain.hash.finalize().into()), plain.bytes)
            }
        };
        sys::failpoint::hit("store.layer.unpacked");
        if let Some(want) = expect.filter(|want| *want != diff_id) {
            let (want, have) = (want.to_string(), diff_id.to_string());
            return Err(Error::DigestMismatch { what: "layer diff id".into(), want, have });
        }
        let layer = Layer {
            diff_id,
            size: extracted.bytes,
            tar_size,
            entries: extracted.entries,
            root: extracted.root,
        };
        write_json(&scratch, &layer)?;
        sys::failpoint::hit("store.layer.described");
        lease.pin(diff_id);
        scratch
            .publish(&self.store.inner.dirs.layers, &diff_id.hex())
            .act(|| format!("publish layer {diff_id}"))?;
        sys::failpoint::hit("store.layer.published");
        Ok(layer)
    }

    /// A layer that is present.
    pub fn find(&self, diff_id: Digest) -> Result<Option<Layer>> {
        let cache = &self.store.inner.layers;
        if let Some(layer) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&diff_id) {
            return Ok(Some(layer.clone()));
        }
        let reading = || format!("read layer {diff_id}");
        let path = format!("{}/meta.json", diff_id.hex());
        let file = match tree::beneath(&self.store.inner.dirs.layers, path, OFlags::RDONLY) {
            Err(Errno::NOENT) => return Ok(None),
            file => File::from(file.act(reading)?),
        };
        let meta: v1::LayerMeta = serde_json::from_reader(BufReader::new(file))
            .map_err(|error| Error::Damaged(format!("{}: {error}", reading())))?;
        let layer = Layer {
            diff_id,
            size: meta.bytes,
            tar_size: meta.tar_bytes,
            entries: meta.entries,
            root: meta.root,
        };
        // Collection removes a layer and what is known of it under the same lock.
        let _pins = self.store.pins();
        let layers = &self.store.inner.dirs.layers;
        if tree::lstat(layers, &CString::new(diff_id.hex()).unwrap_or_default()).is_err() {
            return Ok(None);
        }
        cache.write().unwrap_or_else(PoisonError::into_inner).insert(diff_id, layer.clone());
        Ok(Some(layer))
    }

    /// Writes the layer's plain tar, the same bytes it came with; other bytes are an error.
    pub fn write_tar(&self, diff_id: Digest, writer: &mut dyn Write) -> Result<()> {
        let home = fs::openat(
            &self.store.inner.dirs.layers,
            diff_id.hex(),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .act(|| format!("open layer {diff_id}"))?;
        let mut out = BufWriter::with_capacity(STREAM_BUFFER, HashWriter::new(writer));
        recipe::replay(home.as_fd(), &mut out)?;
        let out = out
            .into_inner()
            .map_err(|error| Error::io(format!("write layer {diff_id}"), error.into_error()))?;
        let have = Digest::sha256(out.hash.finalize().into());
        if have != diff_id {
            let (want, have) = (diff_id.to_string(), have.to_string());
            return Err(Error::DigestMismatch {
                what: "stored layer is damaged".into(),
                want,
                have,
            });
        }
        Ok(())
    }

    /// Directories that show what layers (base first) hold together, for overlayfs: topmost first,
    /// each once, none that is empty unless all are.
    pub fn shown(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = Vec::with_capacity(layers.len());
        for layer in layers.iter().rev() {
            let known = self.find(*layer)?.ok_or_else(|| {
                Error::Denied(model::Denied::not_found(format!("no layer {layer}")))
            })?;
            let path = self.path(*layer);
            if known.entries > 0 && !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            paths.push(self.store.root().join("empty"));
        }
        Ok(paths)
    }

    /// The directory with the layer's files, for overlayfs.
    pub(crate) fn path(&self, diff_id: Digest) -> PathBuf {
        self.store.inner.root.join("layers").join(diff_id.hex()).join("fs")
    }
}

/// The chain ids of layers, base first: each names a layer together with all below it (OCI
/// image-spec, "Layer ChainID").
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => *diff_id,
            Some(below) => {
                Digest::sha256(Sha256::digest(format!("{below} {diff_id}").as_bytes()).into())
            }
        });
    }
    chain
}

/// Extracts a plain tar into a layer's directory, with its recipe, and reads it to its end.
pub(crate) fn unpack(
    home: &OwnedFd,
    plain: impl Read,
    end: End,
    doors: &dyn Doors,
) -> Result<Extracted> {
    let making = || "make layer directory".to_owned();
    fs::mkdirat(home, c"fs", Mode::RWXU).act(making)?;
    let files = tree::child_dir(home, c"fs").act(making)?;
    fs::fchmod(&files, Mode::from_raw_mode(0o755)).act(making)?;
    let source = BufReader::with_capacity(HEADER_BUFFER, plain);
    let recipe = RecipeWriter::create(home.as_fd())?;
    let mut reader = TarReader::new(source, recipe, end);
    let extracted = Extractor::new(files.as_fd(), TreePath::default(), Rules::LAYER)
        .through(doors)
        .run(&mut reader)?;
    let (mut source, recipe) = reader.into_parts();
    // An archive that ends without a mark may have left the decompressor before its checksum.
    if source.read(&mut [0]).act(|| "read archive".into())? != 0 {
        return Err(Error::bad("archive goes on after its end"));
    }
    recipe.finish()?;
    Ok(extracted)
}

fn write_json(scratch: &Scratch, layer: &Layer) -> Result<()> {
    let meta = v1::LayerMeta {
        version: v1::VERSION,
        diff_id: layer.diff_id.to_string(),
        tar_bytes: layer.tar_size,
        bytes: layer.size,
        entries: layer.entries,
        root: layer.root,
    };
    crate::record::write_meta(&scratch.dir, &meta)
}

/// Hashes what passes.
struct HashReader<R> {
    source: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> HashReader<R> {
    fn new(source: R) -> Self {
        Self { source, hash: Sha256::new(), bytes: 0 }
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.source.read(buffer)?;
        self.hash.update(&buffer[..have]);
        self.bytes += have as u64;
        Ok(have)
    }
}

struct HashWriter<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl<'a> HashWriter<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hash: Sha256::new() }
    }
}

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes)?;
        self.hash.update(&bytes[..done]);
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
