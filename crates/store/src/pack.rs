//! Layers made here get the form they travel in: gzip, compressed by all processors at once. The
//! same layer gives the same bytes, so a layer that another node packed has the same digest.
//!
//! ```text
//! tar ── pieces of 2 MiB ──▶ a gzip member each, in parallel ──▶ in order ──▶ blob
//! ```
//!
//! A gzip file is a sequence of members (RFC 1952, section 2.2); every reader of layers takes
//! them, as estargz has been relying on.

use crate::download::Making;
use crate::error::{Act, Error, Result};
use crate::image::LayerBlob;
use crate::layer::Layers;
use crate::store::{Lease, lock};
use flate2::{Compression, GzBuilder};
use model::Digest;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use wire::oci::image::media;

/// Bytes of the plain tar in one gzip member. Part of what makes the digest: never change it.
const PIECE_BYTES: usize = 2 << 20;
/// gzip level. Part of what makes the digest.
const LEVEL: u32 = 4;
/// The most threads that compress one layer.
const MAX_WORKERS: usize = 8;

type Piece = (u64, Vec<u8>);

impl Layers {
    /// The layer in the form it travels in: what is here already, or gzip made now.
    pub fn pack(&self, lease: &Lease, diff_id: Digest) -> Result<LayerBlob> {
        if let Some(form) = self.store.images().packed(diff_id)? {
            lease.pin(form.digest);
            if self.store.blobs().contains(form.digest)? {
                return Ok(form);
            }
        }
        let (digest, size) = self.gzip(lease, diff_id, None)?;
        Ok(LayerBlob { digest, size, media_type: media::OCI_LAYER_GZIP.into() })
    }

    /// The layer as gzip, made now; gives digest and length.
    pub(crate) fn gzip(
        &self,
        lease: &Lease,
        diff_id: Digest,
        level: Option<i32>,
    ) -> Result<(Digest, u64)> {
        let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(LEVEL).min(9);
        let mut blob = Making::begin(&self.store)?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(MAX_WORKERS);
        let (todo, rest) = sync_channel::<Piece>(workers);
        let (done, packed) = sync_channel::<io::Result<Piece>>(workers);
        let rest = Arc::new(Mutex::new(rest));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (rest, done) = (Arc::clone(&rest), done.clone());
                scope.spawn(move || compress(&rest, &done, level));
            }
            drop((rest, done));
            let reading = scope.spawn(move || {
                let mut pieces = Pieces { todo, number: 0, piece: Vec::new() };
                self.write_tar(diff_id, &mut pieces)?;
                pieces.send().act(|| format!("pack layer {diff_id}"))
            });
            let written = write_in_order(&packed, &mut blob);
            // Workers and reader end when nobody takes their pieces.
            drop(packed);
            let read = reading
                .join()
                .unwrap_or_else(|_| Err(Error::Damaged("layer reader panicked".into())));
            written.act(|| format!("pack layer {diff_id}")).and(read)
        })?;
        blob.publish(lease)
    }
}

/// Cuts a stream into pieces.
struct Pieces {
    todo: SyncSender<Piece>,
    number: u64,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() && self.number > 0 {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.todo.send((self.number, piece)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.number += 1;
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PIECE_BYTES);
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(rest: &Mutex<Receiver<Piece>>, done: &SyncSender<io::Result<Piece>>, level: u32) {
    loop {
        let piece = lock(rest).recv();
        let Ok((number, plain)) = piece else { return };
        // No name and no time: they would be part of the digest.
        let out = Vec::with_capacity(plain.len() / 2);
        let mut member = GzBuilder::new().write(out, Compression::new(level));
        let packed = member.write_all(&plain).and_then(|()| member.finish());
        if done.send(packed.map(|packed| (number, packed))).is_err() {
            return;
        }
    }
}

fn write_in_order(packed: &Receiver<io::Result<Piece>>, out: &mut Making) -> io::Result<()> {
    let mut next = 0;
    let mut early = BTreeMap::new();
    while let Ok(piece) = packed.recv() {
        let (number, bytes) = piece?;
        early.insert(number, bytes);
        while let Some(bytes) = early.remove(&next) {
            out.write_all(&bytes)?;
            next += 1;
        }
    }
    Ok(())
}
