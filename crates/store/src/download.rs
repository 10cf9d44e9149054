//! Blobs on their way in. What arrives is appended to a file that outlives a cut connection, a
//! cancelled request and the daemon; who unpacks reads the same file behind the writer, so that
//! nothing waits in memory and unpacking never starts again. This module never talks to a
//! registry.
//!
//! ```text
//! connection ── append ──▶ downloads/<hex> ── Follow (sha256) ──▶ decompress, unpack
//!                               │ digest right?
//!                               └─ keep ──▶ blobs/sha256/<hex>      or discard
//! ```

use crate::error::{Act, Error, Result};
use crate::store::{Store, lock};
use crate::tree;
use model::Digest;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a download that nobody takes up again is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The downloads of a store.
#[derive(Clone, Debug)]
pub struct Downloads {
    pub(crate) store: Store,
}

impl Downloads {
    /// Takes up the download of a blob of `size` bytes where it was left. Nothing while somebody
    /// else is at it.
    pub fn begin(&self, digest: Digest, size: u64) -> Result<Option<Download>> {
        if !lock(&self.store.inner.downloading).insert(digest) {
            return Ok(None);
        }
        let claim = Claim { store: self.store.clone(), digest };
        let opening = || format!("open download {digest}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let dir = &self.store.inner.dirs.downloads;
        let file = File::from(fs::openat(dir, digest.hex(), flags, mode).act(opening)?);
        let mut len = file.metadata().act(opening)?.len();
        if len > size {
            file.set_len(0).act(opening)?;
            len = 0;
        }
        let progress = Mutex::new(Progress { len, end: None });
        let shared = Arc::new(Shared { file, progress, moved: Condvar::new() });
        Ok(Some(Download { shared, digest, size, resumed: len, claim }))
    }

    /// Removes what was begun and not finished, and is not being downloaded now. Returns the bytes
    /// freed.
    pub fn forget(&self) -> Result<u64> {
        self.sweep(|_| true)
    }

    /// The same for what nobody took up in a week.
    pub(crate) fn forget_old(&self) -> Result<u64> {
        let now = SystemTime::now();
        self.sweep(|changed| now.duration_since(changed).is_ok_and(|age| age > KEPT))
    }

    fn sweep(&self, goes: impl Fn(SystemTime) -> bool) -> Result<u64> {
        let dir = &self.store.inner.dirs.downloads;
        let mut freed = 0;
        for name in tree::names(dir).act(|| "list downloads".into())? {
            // Nobody begins this download between the look and the removal.
            let claimed = lock(&self.store.inner.downloading);
            let digest = name.to_str().ok().map(|hex| Digest::parse(&format!("sha256:{hex}")));
            if matches!(digest, Some(Ok(digest)) if claimed.contains(&digest)) {
                continue;
            }
            let Ok(stat) = fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
            if goes(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)) {
                remove(&self.store, &name)?;
                freed += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            }
        }
        Ok(freed)
    }
}

/// A blob that is being downloaded. Dropped, it waits for who takes it up.
#[derive(Debug)]
pub struct Download {
    shared: Arc<Shared>,
    digest: Digest,
    size: u64,
    resumed: u64,
    claim: Claim,
}

#[derive(Debug)]
struct Shared {
    file: File,
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Debug)]
struct Progress {
    len: u64,
    /// Nothing more comes: whether all is there.
    end: Option<bool>,
}

/// The right to download a blob.
#[derive(Debug)]
struct Claim {
    store: Store,
    digest: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.store.inner.downloading).remove(&self.digest);
    }
}

impl Download {
    /// How many bytes are here.
    pub fn len(&self) -> u64 {
        lock(&self.shared.progress).len
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes were here when it was taken up.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Takes the next bytes; more than the blob has is an error.
    pub fn append(&self, bytes: &[u8]) -> Result<()> {
        let at = self.len();
        let end = at + bytes.len() as u64;
        if end > self.size {
            return Err(Error::bad(format!("{}: more than {} bytes", self.digest, self.size)));
        }
        self.shared
            .file
            .write_all_at(bytes, at)
            .act(|| format!("write download {}", self.digest))?;
        sys::writeback::follow(&self.shared.file, at, end);
        sys::failpoint::hit("store.download.written");
        self.shared.change(|progress| progress.len = end);
        Ok(())
    }

    /// Nothing more comes: readers end, with an error unless all is there.
    pub fn end(&self) {
        let size = self.size;
        self.shared.change(|progress| progress.end = Some(progress.len == size));
    }

    /// A reader of the whole blob, also of what comes later. At its end it has verified length and
    /// digest, and fails when they are not as promised.
    pub fn follow(&self) -> Follow {
        let (shared, want, size) = (Arc::clone(&self.shared), self.digest, self.size);
        Follow { shared, want, size, at: 0, hash: Sha256::new(), verified: false }
    }

    /// Makes it a blob. The caller has pinned the digest, and a [`Follow`] has verified it.
    pub fn keep(self) -> Result<()> {
        let dirs = &self.claim.store.inner.dirs;
        let name = self.digest.hex();
        sys::failpoint::hit("store.download.keep");
        fs::renameat(&dirs.downloads, &name, &dirs.blobs, &name)
            .act(|| format!("keep blob {}", self.digest))
    }

    /// Removes it: what came is not what was promised, or is not needed any more.
    pub fn discard(self) -> Result<()> {
        let name = CString::new(self.digest.hex()).unwrap_or_default();
        remove(&self.claim.store, &name)
    }
}

impl Drop for Download {
    /// Whoever follows it must not wait for ever.
    fn drop(&mut self) {
        self.end();
    }
}

fn remove(store: &Store, name: &CString) -> Result<()> {
    sys::failpoint::hit("store.download.remove");
    match fs::unlinkat(&store.inner.dirs.downloads, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).act(|| format!("remove download {name:?}")),
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
        self.moved.notify_all();
    }

    /// Waits for bytes behind `at`; returns how many are known, or the end.
    fn wait(&self, at: u64) -> io::Result<u64> {
        let mut progress = lock(&self.progress);
        loop {
            match progress.end {
                _ if progress.len > at => return Ok(progress.len),
                Some(true) => return Ok(at),
                Some(false) => return Err(io::Error::other("download was cut off")),
                None => {
                    progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Reads a download behind its writer, blocking; see [`Download::follow`].
pub struct Follow {
    shared: Arc<Shared>,
    want: Digest,
    size: u64,
    at: u64,
    hash: Sha256,
    verified: bool,
}

impl Follow {
    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether everything has arrived, read or not.
    pub fn is_complete(&self) -> bool {
        lock(&self.shared.progress).len == self.size
    }

    /// Reads what is left, so that everything is verified.
    pub fn drain(&mut self) -> Result<()> {
        let mut buffer = vec![0; 128 << 10];
        while self.read(&mut buffer).act(|| format!("read download {}", self.want))? > 0 {}
        Ok(())
    }

    fn verify(&mut self) -> io::Result<()> {
        if self.verified {
            return Ok(());
        }
        let have = Digest::sha256(std::mem::take(&mut self.hash).finalize().into());
        if self.at != self.size || have != self.want {
            let (want, have) = (self.want.to_string(), have.to_string());
            let what = "downloaded blob".to_owned();
            return Err(Error::DigestMismatch { what, want, have }.into_io());
        }
        self.verified = true;
        Ok(())
    }
}

impl Read for Follow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let known = self.shared.wait(self.at)?;
        if known == self.at {
            self.verify()?;
            return Ok(0);
        }
        let left = usize::try_from(known - self.at).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let have = self.shared.file.read_at(&mut buffer[..want], self.at)?;
        if have == 0 {
            return Err(io::Error::other("download file was cut"));
        }
        self.hash.update(&buffer[..have]);
        self.at += have as u64;
        Ok(have)
    }
}

/// Bytes that are made here become a blob: digest and length are known at the end.
pub(crate) struct Making {
    store: Store,
    name: CString,
    file: Option<File>,
    hash: Sha256,
    size: u64,
}

impl Making {
    /// Begins a blob in `tmp`.
    pub(crate) fn begin(store: &Store) -> Result<Self> {
        let name = crate::store::random_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(&store.inner.dirs.tmp, &name, flags, Mode::RUSR | Mode::WUSR)
            .act(|| "make temporary file".into())?;
        let (hash, size) = (Sha256::new(), 0);
        Ok(Self { store: store.clone(), name, file: Some(file.into()), hash, size })
    }

    /// Publishes it; it is pinned before it can be seen.
    pub(crate) fn publish(mut self, lease: &crate::Lease) -> Result<(Digest, u64)> {
        let digest = Digest::sha256(std::mem::take(&mut self.hash).finalize().into());
        lease.pin(digest);
        let dirs = &self.store.inner.dirs;
        sys::failpoint::hit("store.blob.publish");
        fs::renameat(&dirs.tmp, &self.name, &dirs.blobs, digest.hex())
            .act(|| format!("publish blob {digest}"))?;
        self.file = None;
        Ok((digest, self.size))
    }
}

impl Write for Making {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let done = file.write(bytes)?;
        self.hash.update(&bytes[..done]);
        self.size += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Ours and in tmp: what stays behind goes at the next open.
            let _ = fs::unlinkat(&self.store.inner.dirs.tmp, &self.name, AtFlags::empty());
        }
    }
}
