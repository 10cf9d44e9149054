//! A layer's recipe: what, beside the files themselves, is needed to write the layer's tar again
//! bit by bit. Without it the digest of a saved or pushed layer would differ from the one it came
//! with.
//!
//! ```text
//! recipe    = zstd( "estiba-recipe-1\n" step* 'E' replaced* 'Z' )
//! step      = 'R' varint(len) bytes            the stream's own bytes: headers, padding, trailer
//!           | 'F' varint(len) path varint(offset) varint(len)     content of a file
//! replaced  = 'S' varint(len) path varint(before)    the file or tree at this path was moved to
//!                                                    shadow/<n> after `before` F steps
//! ```
//!
//! A recipe is written by whoever took the archive apart, and that may be an archive's by then: it
//! is decompressed where archives are ([`crate::unpacker`]), its lengths are bounded, its paths are
//! resolved below the layer, and what comes of it counts only with the layer's digest.
//!
//! A later entry may replace an earlier one whose content the stream still needs; what is replaced
//! is moved to `shadow/<n>`, n counting from 0, instead of being removed.

use crate::error::{Act, Error, Result};
use crate::tar::extract::LayerSink;
use crate::tar::limits::{MAX_EXTENSION_BYTES, MAX_PATH_BYTES, MAX_REPLACED};
use crate::tar::name::TreePath;
use crate::tar::reader::RawSink;
use crate::tree;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MAGIC: &[u8] = b"estiba-recipe-1\n";
const COPY_BUFFER: usize = 128 << 10;
const STEPS_BUFFER: usize = 64 << 10;
/// Raw bytes collected before they are written as one step.
const RAW_BUFFER: usize = 32 << 10;
/// Decompressing recipes needs no large window.
const ZSTD_LEVEL: i32 = 1;

/// Records a layer while it is extracted.
pub(crate) struct RecipeWriter<'a> {
    out: zstd::Encoder<'static, File>,
    raw: Vec<u8>,
    /// The layer's directory, in which `shadow` is made when needed.
    home: BorrowedFd<'a>,
    shadow: Option<OwnedFd>,
    files: u64,
    replaced: Vec<(TreePath, u64)>,
}

impl<'a> RecipeWriter<'a> {
    /// Starts `recipe` in the layer's directory.
    pub(crate) fn create(home: BorrowedFd<'a>) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(home, c"recipe", flags, Mode::RUSR | Mode::WUSR)
            .act(|| "create layer recipe".into())?;
        let mut out = zstd::Encoder::new(File::from(file), ZSTD_LEVEL)
            .act(|| "create layer recipe".into())?;
        out.write_all(MAGIC).act(writing)?;
        let (raw, replaced) = (Vec::with_capacity(RAW_BUFFER), Vec::new());
        Ok(Self { out, raw, home, shadow: None, files: 0, replaced })
    }

    /// Completes the recipe.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush_raw().act(writing)?;
        let mut tail = vec![b'E'];
        for (path, before) in &self.replaced {
            tail.push(b'S');
            put_bytes(&mut tail, &path.to_bytes());
            put_number(&mut tail, *before);
        }
        tail.push(b'Z');
        self.out.write_all(&tail).act(writing)?;
        self.out.finish().act(writing)?;
        Ok(())
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let mut step = vec![b'R'];
        put_number(&mut step, self.raw.len() as u64);
        self.out.write_all(&step)?;
        self.out.write_all(&self.raw)?;
        self.raw.clear();
        Ok(())
    }
}

impl RawSink for RecipeWriter<'_> {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(RAW_BUFFER) {
            if self.raw.len() + piece.len() > RAW_BUFFER {
                self.flush_raw()?;
            }
            self.raw.extend_from_slice(piece);
        }
        Ok(())
    }
}

impl LayerSink for RecipeWriter<'_> {
    fn content(&mut self, path: &TreePath, offset: u64, len: u64) -> Result<()> {
        self.flush_raw().act(writing)?;
        let mut step = vec![b'F'];
        put_bytes(&mut step, &path.to_bytes());
        put_number(&mut step, offset);
        put_number(&mut step, len);
        self.files += 1;
        self.out.write_all(&step).act(writing)
    }

    fn displace(&mut self, path: &TreePath) -> Result<Option<(BorrowedFd<'_>, CString)>> {
        if self.replaced.len() >= MAX_REPLACED {
            return Err(Error::bad("archive replaces too many of its own entries"));
        }
        let slot = slot_name(self.replaced.len());
        self.replaced.push((path.clone(), self.files));
        let shadow = match self.shadow.take() {
            Some(shadow) => shadow,
            None => {
                fs::mkdirat(self.home, c"shadow", Mode::RWXU).act(writing)?;
                tree::child_dir(self.home, c"shadow").act(writing)?
            }
        };
        let shadow: &OwnedFd = self.shadow.insert(shadow);
        Ok(Some((shadow.as_fd(), slot)))
    }
}

/// Writes the layer's plain tar again. `home` is the layer's directory. The caller verifies the
/// digest of what was written.
pub(crate) fn replay(home: BorrowedFd<'_>, out: &mut dyn Write) -> Result<()> {
    let replaced = replacements(home)?;
    let mut steps = Steps::open(home)?;
    let mut files = Files { home, replaced, current: None, buffer: vec![0; COPY_BUFFER] };
    let mut count = 0;
    while let Some(step) = steps.next()? {
        match step {
            Step::Raw(len) => steps.copy(len, out)?,
            Step::File { path, offset, len } => {
                files.copy(&path, count, (offset, len), out)?;
                count += 1;
            }
            Step::Replaced { .. } => {}
        }
    }
    Ok(())
}

/// What was replaced, by path: after how many files, and into which slot.
type Replacements = HashMap<Vec<u8>, Vec<(u64, usize)>>;

fn replacements(home: BorrowedFd<'_>) -> Result<Replacements> {
    let mut replaced: Replacements = HashMap::new();
    if tree::lstat(home, c"shadow").is_err() {
        return Ok(replaced);
    }
    let mut steps = Steps::open(home)?;
    let mut count = 0;
    while let Some(step) = steps.next()? {
        match step {
            Step::Raw(len) => steps.copy(len, &mut io::sink())?,
            Step::File { .. } => {}
            Step::Replaced { path, before } => {
                replaced.entry(path).or_default().push((before, count));
                count += 1;
            }
        }
    }
    Ok(replaced)
}

struct Files<'a> {
    home: BorrowedFd<'a>,
    replaced: Replacements,
    /// The file of the last step: the extents of a sparse file follow each other.
    current: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Files<'_> {
    fn copy(
        &mut self,
        path: &[u8],
        number: u64,
        (mut offset, mut len): (u64, u64),
        out: &mut dyn Write,
    ) -> Result<()> {
        let place = self.place(path, number);
        let shown = || format!("read layer file {}", String::from_utf8_lossy(&place));
        if self.current.as_ref().is_none_or(|(current, _)| *current != place) {
            let file = tree::beneath(self.home, place.as_slice(), OFlags::RDONLY).act(shown)?;
            self.current = Some((place.clone(), file));
        }
        let Some((_, file)) = &self.current else { return Ok(()) };
        while len > 0 {
            let want = usize::try_from(len).unwrap_or(usize::MAX).min(COPY_BUFFER);
            match rustix::io::pread(file, &mut self.buffer[..want], offset) {
                Ok(0) => return Err(Error::Damaged(format!("{}: file is cut off", shown()))),
                Ok(have) => {
                    out.write_all(&self.buffer[..have]).act(|| "write layer".into())?;
                    offset += have as u64;
                    len -= have as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).act(shown),
            }
        }
        Ok(())
    }

    /// Where the content of file number `number` is now: in `fs`, or in the shadow of the first
    /// replacement after it of the file or of a directory above it.
    fn place(&self, path: &[u8], number: u64) -> Vec<u8> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let moved = ends
            .chain([path.len()])
            .filter_map(|end| {
                let events = self.replaced.get(&path[..end])?;
                let (_, slot) = events.iter().find(|(before, _)| *before > number)?;
                Some((*slot, end))
            })
            .min();
        match moved {
            Some((slot, end)) => [b"shadow/", slot_name(slot).to_bytes(), &path[end..]].concat(),
            None => [b"fs/", path].concat(),
        }
    }
}

enum Step {
    Raw(u64),
    File { path: Vec<u8>, offset: u64, len: u64 },
    Replaced { path: Vec<u8>, before: u64 },
}

struct Steps(BufReader<Box<dyn Read>>);

impl Steps {
    fn open(home: BorrowedFd<'_>) -> Result<Self> {
        let opening = || "open layer recipe".to_owned();
        let file = tree::beneath(home, c"recipe", OFlags::RDONLY).act(opening)?;
        let plain = crate::plain(File::from(file))?;
        let mut steps = Self(BufReader::with_capacity(STEPS_BUFFER, plain));
        let mut magic = [0u8; MAGIC.len()];
        steps.0.read_exact(&mut magic).act(opening)?;
        if magic != MAGIC {
            return Err(damaged());
        }
        Ok(steps)
    }

    fn next(&mut self) -> Result<Option<Step>> {
        loop {
            return Ok(Some(match self.byte()? {
                b'R' => Step::Raw(self.number()?),
                b'F' => {
                    Step::File { path: self.path()?, offset: self.number()?, len: self.number()? }
                }
                b'S' => Step::Replaced { path: self.path()?, before: self.number()? },
                b'E' => continue,
                b'Z' => return Ok(None),
                _ => return Err(damaged()),
            }));
        }
    }

    fn copy(&mut self, len: u64, out: &mut dyn Write) -> Result<()> {
        if len > MAX_EXTENSION_BYTES {
            return Err(damaged());
        }
        let done = io::copy(&mut self.0.by_ref().take(len), out).act(|| "write layer".into())?;
        if done == len { Ok(()) } else { Err(damaged()) }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).act(|| "read layer recipe".into())?;
        Ok(byte[0])
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn path(&mut self) -> Result<Vec<u8>> {
        let len = usize::try_from(self.number()?).map_err(|_| damaged())?;
        if len > MAX_PATH_BYTES {
            return Err(damaged());
        }
        let mut path = vec![0; len];
        self.0.read_exact(&mut path).act(|| "read layer recipe".into())?;
        Ok(path)
    }
}

fn slot_name(slot: usize) -> CString {
    CString::new(slot.to_string()).unwrap_or_default()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn writing() -> String {
    "write layer recipe".into()
}

fn damaged() -> Error {
    Error::Damaged("layer recipe is damaged".into())
}
