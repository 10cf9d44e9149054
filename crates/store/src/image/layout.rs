//! An OCI layout as a tar, from parts that somebody else puts together. The bytes depend only on
//! the parts. Knows nothing of what they mean.

use crate::error::Result;
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use model::Digest;
use std::io::{Read, Write};

/// Writes the archive.
pub struct LayoutWriter<W> {
    tar: TarWriter<W>,
}

impl<W: Write> LayoutWriter<W> {
    /// Begins with the directories.
    pub fn begin(out: W) -> Result<Self> {
        let mut tar = TarWriter::new(out);
        for dir in ["blobs/", "blobs/sha256/"] {
            tar.node(&Entry::plain(dir.as_bytes(), Kind::Dir, 0o755))?;
        }
        Ok(Self { tar })
    }

    /// A blob of `size` bytes.
    pub fn blob(&mut self, digest: Digest, size: u64, source: &mut dyn Read) -> Result<()> {
        self.entry(&format!("blobs/sha256/{}", digest.hex()), size, source)
    }

    /// A file beside the blobs: `index.json`, `oci-layout`, `manifest.json`.
    pub fn file(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes.len() as u64, &mut bytes)
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<W> {
        self.tar.finish()
    }

    fn entry(&mut self, path: &str, size: u64, source: &mut dyn Read) -> Result<()> {
        let plain = Entry::plain(path.as_bytes(), Kind::File, 0o644);
        self.tar.file(&Entry { size, ..plain }, source).map(drop)
    }
}

impl<W: Write> std::fmt::Debug for LayoutWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayoutWriter")
    }
}
