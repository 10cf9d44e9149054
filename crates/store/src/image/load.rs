//! `load`: images out of an archive, docker-archive (with `manifest.json`) or OCI layout, in one
//! pass over the stream. Layers are unpacked as they come; documents are kept until the end, when
//! they say what belongs together. What no document names is left to collection.
//!
//! ```text
//! stream -> entries -> looks like JSON? -> documents (bounded)
//!                   -> looks like tar, gzip, zstd? -> layer -> path => diff id
//! end    -> manifest.json | index.json | repositories -> images -> names
//! ```

use super::{ImageRef, Images, Source, oci};
use crate::blob::{MAX_DOCUMENT_BYTES, digest};
use crate::compress;
use crate::download::Making;
use crate::error::{Act, Error, Result};
use crate::layer::Layer;
use crate::store::Lease;
use crate::tar::header::Header;
use crate::tar::name::TreePath;
use crate::tar::reader::{Discard, End, TarReader};
use crate::tar::{BLOCK, Entry, Kind};
use model::{Denied, Digest, ImageId};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write as _};
use wire::oci::image::{ArchiveManifest, ImageConfig, Index, Repositories};

/// Where an OCI layout has its blobs.
pub(super) const BLOBS: &str = "blobs/sha256/";
/// Documents of one archive, all together.
const MAX_DOCUMENTS_BYTES: u64 = 64 << 20;
/// Links from one name of the archive to another.
const MAX_ALIASES: usize = 10_000;
/// Bytes between two reports of progress.
const PROGRESS_BYTES: u64 = 512 << 10;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: ImageId,
    /// The names it got.
    pub refs: Vec<ImageRef>,
    /// The names it took from other images, and which had them.
    pub moved: Vec<(ImageRef, ImageId)>,
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// The layer, by its digest where the archive has it, else by its path.
    pub layer: String,
    /// Bytes read.
    pub done: u64,
    /// Bytes in the archive.
    pub total: u64,
}

impl Images {
    /// Loads all images of an archive; the archive and its layers may be gzip or zstd. On failure
    /// no image is added and no name moves.
    pub fn load(
        &self,
        reader: &mut dyn Read,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Vec<LoadedImage>> {
        self.load_some(reader, &|_| true, progress)
    }

    /// The same, of those images that are wanted.
    pub fn load_some(
        &self,
        reader: &mut dyn Read,
        wanted: &dyn Fn(&ImageConfig) -> bool,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Vec<LoadedImage>> {
        let lease = self.store.lease();
        let mut archive = Archive::new(self, &lease);
        let source = BufReader::with_capacity(256 << 10, compress::plain(reader)?);
        let mut tar = TarReader::new(source, Discard, End::Marked);
        while let Some(entry) = tar.next()? {
            archive.entry(&entry, &mut tar, progress)?;
        }
        let index = archive.document::<Index>("index.json")?;
        let found = if let Some(index) = index.as_ref().filter(|index| oci::is_nested(index)) {
            // Only the index says what belongs together.
            archive.oci_images(index)?
        } else if let Some(list) = archive.document::<Vec<ArchiveManifest>>("manifest.json")? {
            list.iter().map(|image| archive.docker_image(image)).collect::<Result<Vec<_>>>()?
        } else if let Some(index) = index {
            archive.oci_images(&index)?
        } else if let Some(names) = archive.document::<Repositories>("repositories")? {
            super::legacy::images(&archive, &names)?
        } else {
            return Err(Error::bad("archive holds neither manifest.json nor index.json"));
        };
        self.add(&lease, choose(found, wanted)?)
    }

    fn add(&self, lease: &Lease, found: Vec<Found>) -> Result<Vec<LoadedImage>> {
        let mut loaded: Vec<LoadedImage> = Vec::new();
        for image in found {
            let id = self.put(lease, &image.config, None)?;
            for (source, bytes) in image.sources {
                self.store.blobs().put_document(lease, &bytes)?;
                self.add_source(lease, id, source)?;
            }
            let mut beside = Vec::new();
            for bytes in &image.beside {
                beside.push(self.store.blobs().put_document(lease, bytes)?);
            }
            self.keep_beside(lease, id, &beside)?;
            if image.held {
                continue;
            }
            let mut moved = Vec::new();
            for name in &image.names {
                if let Some(lost) = self.set_name(id, name)? {
                    moved.push((name.clone(), lost));
                }
            }
            match loaded.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    known.refs.extend(image.names);
                    known.moved.extend(moved);
                }
                None => loaded.push(LoadedImage { id, refs: image.names, moved }),
            }
        }
        Ok(loaded)
    }
}

/// An image found in an archive, verified, its layers present.
pub(super) struct Found {
    pub(super) config: Vec<u8>,
    pub(super) names: Vec<ImageRef>,
    /// The documents that it is known by, innermost first.
    pub(super) sources: Vec<(Source, Vec<u8>)>,
    /// Documents about it.
    pub(super) beside: Vec<Vec<u8>>,
    /// Whether another image of the same index stands for it.
    pub(super) held: bool,
}

impl Found {
    pub(super) fn plain(config: Vec<u8>, names: Vec<ImageRef>) -> Self {
        Self { config, names, sources: Vec::new(), beside: Vec::new(), held: false }
    }
}

/// Leaves out what is not wanted. The names of an image that goes are those of the next one of its
/// index that stays.
fn choose(found: Vec<Found>, wanted: &dyn Fn(&ImageConfig) -> bool) -> Result<Vec<Found>> {
    let mut chosen: Vec<Found> = Vec::new();
    let mut orphaned: Option<Vec<ImageRef>> = None;
    let some = !found.is_empty();
    for mut image in found {
        let config: ImageConfig = parse("image configuration", &image.config)?;
        if !image.held {
            orphaned = None;
        }
        if !wanted(&config) {
            if !image.held {
                orphaned = Some(image.names);
            }
            continue;
        }
        if let Some(names) = orphaned.take_if(|_| image.held) {
            (image.names, image.held) = (names, false);
        }
        chosen.push(image);
    }
    if some && chosen.is_empty() {
        return Err(Denied::not_found("the archive has no image for the wanted platform").into());
    }
    Ok(chosen)
}

/// What the pass over the stream collects.
pub(super) struct Archive<'a> {
    images: &'a Images,
    lease: &'a Lease,
    pub(super) documents: HashMap<String, Vec<u8>>,
    document_bytes: u64,
    pub(super) layers: HashMap<String, Blob>,
    /// Links, resolved to paths in the archive.
    aliases: HashMap<String, String>,
}

/// A layer in the archive.
pub(super) struct Blob {
    pub(super) diff_id: Digest,
    /// Digest and length of the bytes as they are in the archive; the digest is not known of
    /// layers that were here before.
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
}

impl<'a> Archive<'a> {
    fn new(images: &'a Images, lease: &'a Lease) -> Self {
        let (documents, layers, aliases) = Default::default();
        Self { images, lease, documents, document_bytes: 0, layers, aliases }
    }

    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        tar: &mut TarReader<R, Discard>,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<()> {
        let path = TreePath::parse(&entry.name)?;
        match entry.kind {
            Kind::File if entry.extents.is_none() => {
                self.file(&path.to_string(), entry, tar, progress)
            }
            Kind::Symlink | Kind::HardLink => {
                // Old archives link equal layers.
                let target = match (entry.kind, path.split_last()) {
                    (Kind::Symlink, Some((dir, _))) => {
                        TreePath::parse(&[&dir.to_bytes(), &b"/"[..], &entry.link].concat())?
                    }
                    _ => TreePath::parse(&entry.link)?,
                };
                if self.aliases.len() >= MAX_ALIASES {
                    return Err(Error::bad("archive has too many links"));
                }
                self.aliases.insert(path.to_string(), target.to_string());
                Ok(())
            }
            Kind::Dir => Ok(()),
            _ => Err(Error::bad(format!("archive entry {path}: unexpected type"))),
        }
    }

    fn file<R: Read>(
        &mut self,
        path: &str,
        entry: &Entry,
        tar: &mut TarReader<R, Discard>,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<()> {
        let mut content = Content { tar, hash: Sha256::new(), done: 0, report: &mut |_| {} };
        let mut head = vec![0; 512];
        let len = fill(&mut content, &mut head)?;
        head.truncate(len);
        if !is_layer(&head) {
            return self.keep_document(path, entry.size, head, content);
        }
        if let Some(layer) = self.known_layer(path)? {
            io::copy(&mut content, &mut io::sink()).act(|| "read archive".into())?;
            let blob = Blob { diff_id: layer.diff_id, digest: None, size: entry.size };
            self.layers.insert(path.to_owned(), blob);
            return Ok(());
        }
        let shown = path.strip_prefix(BLOBS).unwrap_or(path).to_owned();
        let mut next = 0;
        let mut report = |done: u64| {
            if done >= next || done == entry.size {
                next = done + PROGRESS_BYTES;
                progress(LoadProgress { layer: shown.clone(), done, total: entry.size });
            }
        };
        content.report = &mut report;
        // Compressed as it is, it can be pushed on as what it was.
        let packed = path.starts_with(BLOBS) && compress::is_compressed(&head);
        let copy = if packed { Some(Making::begin(&self.images.store)?) } else { None };
        let mut copied = Copied { source: io::Read::chain(&head[..], &mut content), copy };
        let layer = {
            let mut source = &mut copied;
            let layer = self.images.store.layers().apply(self.lease, &mut source, None)?;
            io::copy(&mut source, &mut io::sink()).act(|| "read archive".into())?;
            layer
        };
        let copy = copied.copy;
        let digest = Digest::sha256(content.hash.finalize().into());
        check_path(path, digest)?;
        if let Some(copy) = copy {
            copy.publish(self.lease)?;
        }
        let blob = Blob { diff_id: layer.diff_id, digest: Some(digest), size: entry.size };
        self.layers.insert(path.to_owned(), blob);
        Ok(())
    }

    /// A layer that needs no unpacking: a plain tar under its own digest that is here already.
    fn known_layer(&self, path: &str) -> Result<Option<Layer>> {
        let Some(hex) = path.strip_prefix(BLOBS) else { return Ok(None) };
        let Ok(diff_id) = Digest::parse(&format!("sha256:{hex}")) else { return Ok(None) };
        self.lease.pin(diff_id);
        self.images.store.layers().find(diff_id)
    }

    fn keep_document<R: Read>(
        &mut self,
        path: &str,
        size: u64,
        mut bytes: Vec<u8>,
        content: Content<'_, R>,
    ) -> Result<()> {
        self.document_bytes += size;
        if size > MAX_DOCUMENT_BYTES || self.document_bytes > MAX_DOCUMENTS_BYTES {
            return Err(Error::bad(format!("archive entry {path}: neither layer nor document")));
        }
        content.take(size).read_to_end(&mut bytes).act(|| "read archive".into())?;
        check_path(path, digest(&bytes))?;
        self.documents.insert(path.to_owned(), bytes);
        Ok(())
    }

    /// A document by its path, through links.
    fn bytes(&self, path: &str) -> Option<&Vec<u8>> {
        self.documents.get(&self.real_path(path)?)
    }

    fn real_path(&self, path: &str) -> Option<String> {
        let mut path = TreePath::parse(path.as_bytes()).ok()?.to_string();
        for _ in 0..8 {
            match self.aliases.get(&path) {
                Some(target) => path.clone_from(target),
                None => return Some(path),
            }
        }
        None
    }

    /// The diff id of a layer by its path, through links. One that the archive leaves out, because
    /// the other side said that it has it, is taken from the store.
    pub(super) fn layer(&self, path: &str) -> Result<Option<Digest>> {
        let Some(path) = self.real_path(path) else { return Ok(None) };
        match self.layers.get(&path) {
            Some(layer) => Ok(Some(layer.diff_id)),
            None => Ok(self.known_layer(&path)?.map(|layer| layer.diff_id)),
        }
    }

    /// A parsed document by its path, through links.
    pub(super) fn document<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        self.bytes(path).map(|bytes| parse(path, bytes)).transpose()
    }

    /// An image of `manifest.json`.
    fn docker_image(&self, image: &ArchiveManifest) -> Result<Found> {
        let config = self
            .bytes(&image.config)
            .ok_or_else(|| Error::bad(format!("archive has no {}", image.config)))?;
        let mut layers = Vec::new();
        for path in &image.layers {
            let diff_id = self.layer(path)?;
            layers.push(diff_id.ok_or_else(|| Error::bad(format!("archive has no layer {path}")))?);
        }
        check_layers(config, &layers)?;
        let mut names = Vec::new();
        for tag in image.repo_tags.iter().flatten() {
            let name = ImageRef::parse(tag)?;
            if name.tag().is_none() || name.digest().is_some() {
                return Err(Error::bad(format!("archive names an image {tag:?} without a tag")));
            }
            names.push(name);
        }
        Ok(Found::plain(config.clone(), names))
    }
}

/// Content of one entry, hashed.
struct Content<'t, R> {
    tar: &'t mut TarReader<R, Discard>,
    hash: Sha256,
    done: u64,
    report: &'t mut dyn FnMut(u64),
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.tar.read(buffer).map_err(Error::into_io)?;
        self.hash.update(&buffer[..have]);
        self.done += have as u64;
        (self.report)(self.done);
        Ok(have)
    }
}

/// Bytes that are kept as they pass.
struct Copied<R> {
    source: R,
    copy: Option<Making>,
}

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.source.read(buffer)?;
        if let Some(copy) = &mut self.copy {
            copy.write_all(&buffer[..have])?;
        }
        Ok(have)
    }
}

/// Blobs carry their digest in their path.
fn check_path(path: &str, have: Digest) -> Result<()> {
    let Some(hex) = path.strip_prefix(BLOBS) else { return Ok(()) };
    if hex == have.hex() {
        return Ok(());
    }
    let (want, have) = (format!("sha256:{hex}"), have.to_string());
    Err(Error::DigestMismatch { what: format!("archive entry {path}"), want, have })
}

/// The layers must be the ones that the configuration names.
pub(super) fn check_layers(config: &[u8], layers: &[Digest]) -> Result<()> {
    let config: ImageConfig = parse("image configuration", config)?;
    if config.rootfs.diff_ids.len() != layers.len() {
        return Err(Error::bad(format!(
            "image has {} layers, its configuration names {}",
            layers.len(),
            config.rootfs.diff_ids.len()
        )));
    }
    for (want, have) in config.rootfs.diff_ids.iter().zip(layers) {
        if *want != have.to_string() {
            let (want, have) = (want.clone(), have.to_string());
            return Err(Error::DigestMismatch { what: "layer diff id".into(), want, have });
        }
    }
    Ok(())
}

/// Layers begin as a compressed stream or a tar header; documents never do.
fn is_layer(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk() else { return compress::is_compressed(head) };
    compress::is_compressed(head) || *block == [0; BLOCK] || Header::parse(block).is_ok()
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::bad(format!("{what}: {error}")))
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]).act(|| "read archive".into())? {
            0 => break,
            have => filled += have,
        }
    }
    Ok(filled)
}
