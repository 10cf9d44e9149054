//! A look at the files of a result, for clients that drive builds themselves (BuildKit's gateway).
//! The result is solved as for a build, mostly from the cache, and what would take it home looks at
//! it instead. Paths are resolved inside the result, whatever its links say.

use super::Builds;
use crate::node::blocking;
use build::client::{Client, Content, Credentials, Future, LocalAsk, LocalDir, Secret};
use build::layout::Layout;
use build::request::{Output, SolveRequest};
use build::{Error, Result};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use store::mirror::{Entry, Kind};
use tokio::net::UnixStream;

/// The most bytes of a file that are given at once.
const MAX_FILE_BYTES: u64 = 12 << 20;
/// The most entries of a directory that are given.
const MAX_ENTRIES: usize = 50_000;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The content of a file, or a part of it.
    File {
        /// Where it is.
        path: String,
        /// The first byte.
        offset: u64,
        /// How many bytes; `None` is to the end.
        length: Option<u64>,
    },
    /// The entries of a directory, without what is in them.
    Directory {
        /// Where it is.
        path: String,
    },
    /// What is at a path; a symbolic link at its end is not followed.
    Entry {
        /// Where.
        path: String,
    },
}

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The content of a file.
    Content(Vec<u8>),
    /// Entries; their paths are names.
    Entries(Vec<Entry>),
}

impl Builds {
    /// Solves and looks at the result.
    ///
    /// # Errors
    /// The build fails, or there is nothing at that path.
    pub async fn look(&self, mut request: SolveRequest, look: Look) -> Result<Seen> {
        let looker =
            Arc::new(Looker { inner: Arc::clone(&request.client), look, seen: Mutex::default() });
        request.client = Arc::clone(&looker) as Arc<dyn Client>;
        request.outputs = vec![Output::Local { platform_split: Some(false) }];
        self.solve(request).await?;
        let seen = looker.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        seen.ok_or_else(|| Error::internal("the result was not given"))?
    }
}

/// Whoever asked for the build, but for where its result goes.
struct Looker {
    inner: Arc<dyn Client>,
    look: Look,
    seen: Mutex<Option<Result<Seen>>>,
}

impl Client for Looker {
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, Result<LocalDir>> {
        self.inner.local(ask)
    }

    fn secret<'a>(&'a self, id: &'a str) -> Future<'a, Result<Option<Secret>>> {
        self.inner.secret(id)
    }

    fn has_ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<bool>> {
        self.inner.has_ssh(id)
    }

    fn ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<UnixStream>> {
        self.inner.ssh(id)
    }

    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, Result<Option<Credentials>>> {
        self.inner.auth(host)
    }

    fn layout<'a>(&'a self, name: &'a str) -> Future<'a, Result<Arc<dyn Layout>>> {
        self.inner.layout(name)
    }

    fn file<'a>(&'a self, output: usize, content: Content) -> Future<'a, Result<()>> {
        let _ = (output, content);
        Box::pin(async { Err(Error::internal("a look takes no archives")) })
    }

    fn directory<'a>(&'a self, _output: usize, dir: OwnedFd) -> Future<'a, Result<()>> {
        Box::pin(async move {
            let look = self.look.clone();
            let seen = blocking(move || Ok(see(&dir, &look))).await;
            let seen = seen.map_err(|error| Error::internal(error.to_string()))?;
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
            Ok(())
        })
    }
}

fn see(root: &OwnedFd, look: &Look) -> Result<Seen> {
    match look {
        Look::File { path, offset, length } => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let mut file = File::from(open(root, path, flags)?);
            let failed = |error| Error::io(format!("read {path}"), error);
            if !file.metadata().map_err(failed)?.is_file() {
                return Err(Error::invalid(format!("read {path}: not a regular file")));
            }
            file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
            let limit = length.unwrap_or(MAX_FILE_BYTES + 1).min(MAX_FILE_BYTES + 1);
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 > MAX_FILE_BYTES {
                return Err(Error::invalid(format!(
                    "read {path}: larger than {MAX_FILE_BYTES} bytes; ask for a part"
                )));
            }
            Ok(Seen::Content(bytes))
        }
        Look::Directory { path } => {
            let dir = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let failed = |errno: Errno| Error::io(format!("read directory {path}"), errno);
            let mut entries = Vec::new();
            for entry in Dir::read_from(&dir).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name == "." || name == ".." {
                    continue;
                }
                if entries.len() >= MAX_ENTRIES {
                    return Err(Error::invalid(format!(
                        "{path} has more than {MAX_ENTRIES} files"
                    )));
                }
                entries.push(entry_at(&dir, &name)?);
            }
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(Seen::Entries(entries))
        }
        Look::Entry { path } => {
            let whole = path.trim_end_matches('/');
            let (parent, name) = whole.rsplit_once('/').unwrap_or(("", whole));
            let dir = open(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
            let name = if name.is_empty() { "." } else { name };
            Ok(Seen::Entries(vec![entry_at(&dir, name)?]))
        }
    }
}

/// Opens a path inside a result.
fn open(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let relative = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    match openat2(root, relative, flags | OFlags::CLOEXEC, Mode::empty(), inside) {
        Err(Errno::NOENT | Errno::NOTDIR) => {
            Err(Error::not_found(format!("open {path}: no such file or directory")))
        }
        opened => opened.map_err(|errno| Error::io(format!("open {path}"), errno)),
    }
}

fn entry_at(dir: &OwnedFd, name: &str) -> Result<Entry> {
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {
            return Err(Error::not_found(format!("lstat {name}: no such file or directory")));
        }
        stat => stat.map_err(|errno| Error::io(format!("lstat {name}"), errno))?,
    };
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Kind::Dir,
        rustix::fs::FileType::RegularFile => Kind::File,
        rustix::fs::FileType::Fifo => Kind::Fifo,
        rustix::fs::FileType::Symlink => {
            let target = readlinkat(dir, name, Vec::new());
            let target = target.map_err(|errno| Error::io(format!("read link {name}"), errno))?;
            Kind::Symlink(String::from_utf8_lossy(target.as_bytes()).into_owned())
        }
        _ => Kind::Other,
    };
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(Entry {
        path: name.to_owned(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        xattrs: Default::default(),
        kind,
    })
}
