//! Walks down a directory tree whose content nobody vouches for: every name is looked up in the
//! open descriptor of its directory and never through a link. Rules decide what is seen. This
//! module never reads a file's content.

use crate::error::{Act, Error, Result};
use crate::ignore::{Matcher, State};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The deepest directory that is entered; every level costs a descriptor.
const MAX_DEPTH: usize = 512;

/// How names are resolved that may be links: inside the tree, whatever they say.
pub(crate) const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// What a tree shows: patterns for and against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    include: Matcher,
    exclude: Matcher,
}

impl Filter {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let compiled = |patterns: &[String]| {
            Matcher::new(patterns).map_err(|error| Error::invalid(error.to_string()))
        };
        Ok(Self { include: compiled(include)?, exclude: compiled(exclude)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether neither this directory nor anything in it is shown.
    pub(crate) fn hides_all(&self, dir: &str) -> bool {
        self.exclude.matches(dir) && self.exclude.prunes(dir)
    }

    /// Whether this one path is shown.
    pub(crate) fn shows(&self, path: &str) -> bool {
        (self.include.is_empty() || self.include.matches(path)) && !self.exclude.matches(path)
    }
}

/// A filter, and what comes before the walk's paths in its own.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) filter: &'a Filter,
    /// Without slash at the end; empty for none.
    pub(crate) base: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Take,
    /// Not itself, but perhaps something in it.
    Through,
    Skip,
}

/// What patterns matched on the way down, one per rule.
type States = Vec<(State, State)>;

/// One name that was found.
pub(crate) struct At<'a> {
    pub(crate) parent: &'a OwnedFd,
    pub(crate) name: &'a CStr,
    /// Relative to where the walk began.
    pub(crate) path: &'a [u8],
    pub(crate) stat: &'a Stat,
}

impl At<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Who is shown what is found; a directory comes before what is in it.
pub(crate) trait Visitor {
    fn visit(&mut self, at: &At<'_>) -> Result<()>;

    /// After everything in a directory that was visited.
    fn leave(&mut self, at: &At<'_>) -> Result<()> {
        let _ = at;
        Ok(())
    }
}

/// Visits everything in `dir` that the rules let through, sorted by name.
pub(crate) fn walk(dir: OwnedFd, rules: &[Rule<'_>], visitor: &mut dyn Visitor) -> Result<()> {
    let mut walk = Walk { rules, visitor, pending: Vec::new() };
    walk.dir(Rc::new(dir), b"", None, 0)
}

/// Visits one name, and everything in it if it is a directory.
pub(crate) fn walk_name(at: &At<'_>, rules: &[Rule<'_>], visitor: &mut dyn Visitor) -> Result<()> {
    visitor.visit(at)?;
    if at.kind() == FileType::Directory {
        walk(open_child(at.parent, at.name)?, rules, visitor)?;
        visitor.leave(at)?;
    }
    Ok(())
}

struct Walk<'a, 'b> {
    rules: &'a [Rule<'b>],
    visitor: &'a mut dyn Visitor,
    /// Directories that are shown only if something in them is.
    pending: Vec<Pending>,
}

struct Pending {
    parent: Rc<OwnedFd>,
    name: CString,
    path: Vec<u8>,
    stat: Stat,
    shown: bool,
}

impl Pending {
    fn at(&self) -> At<'_> {
        At { parent: &self.parent, name: &self.name, path: &self.path, stat: &self.stat }
    }
}

impl Walk<'_, '_> {
    fn dir(
        &mut self,
        dir: Rc<OwnedFd>,
        at: &[u8],
        states: Option<&States>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid("directory tree is too deep"));
        }
        for name in names(&dir)? {
            let path = join(at, name.to_bytes());
            let stat = match fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.act(|| format!("read {}", shown(&path)))?,
            };
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let (verdict, below) = self.judge(&path, is_dir, states);
            if verdict == Verdict::Skip {
                continue;
            }
            let entry = Pending { parent: Rc::clone(&dir), name, path, stat, shown: false };
            self.pending.push(entry);
            let outcome = self.entry(verdict, is_dir, &below, depth);
            let entry = self.pending.pop();
            outcome?;
            if let Some(entry) = entry.filter(|entry| entry.shown && is_dir) {
                self.visitor.leave(&entry.at())?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        verdict: Verdict,
        is_dir: bool,
        below: &States,
        depth: usize,
    ) -> Result<()> {
        if verdict == Verdict::Take {
            for pending in self.pending.iter_mut().filter(|pending| !pending.shown) {
                pending.shown = true;
                self.visitor.visit(&pending.at())?;
            }
        }
        if is_dir && let Some(entry) = self.pending.last() {
            let child = open_child(&entry.parent, &entry.name)?;
            let path = entry.path.clone();
            self.dir(Rc::new(child), &path, Some(below), depth + 1)?;
        }
        Ok(())
    }

    fn judge(&self, path: &[u8], is_dir: bool, states: Option<&States>) -> (Verdict, States) {
        let mut verdict = Verdict::Take;
        let mut below = States::with_capacity(self.rules.len());
        let text = String::from_utf8_lossy(path);
        for (index, rule) in self.rules.iter().enumerate() {
            let parent = states.and_then(|states| states.get(index));
            let full = match rule.base.as_str() {
                "" => text.to_string(),
                base => format!("{base}/{text}"),
            };
            let (excluded, against) = rule.filter.exclude.step(&full, parent.map(|it| &it.1));
            let (matched, towards) = rule.filter.include.step(&full, parent.map(|it| &it.0));
            let included = matched || rule.filter.include.is_empty();
            let own = match (excluded, included) {
                (false, true) => Verdict::Take,
                (false, false) if is_dir => Verdict::Through,
                (true, _) if is_dir && !rule.filter.exclude.prunes(&full) => Verdict::Through,
                _ => Verdict::Skip,
            };
            verdict = verdict.max(own);
            below.push((towards, against));
        }
        (verdict, below)
    }
}

/// The names in a directory, sorted by bytes.
pub(crate) fn names(dir: &OwnedFd) -> Result<Vec<CString>> {
    let listing = || "list directory".to_owned();
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir).act(listing)? {
        let entry = entry.act(listing)?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Opens the directory `name` directly below `parent`; a link is refused.
pub(crate) fn open_child(parent: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
        .act(|| format!("open directory {}", name.to_string_lossy()))
}

/// Opens a regular file directly below `parent` for reading; anything else is refused.
pub(crate) fn open_file(parent: impl AsFd, name: &CStr) -> Result<std::fs::File> {
    let opening = || format!("open {}", name.to_string_lossy());
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(parent, name, flags, Mode::empty()).act(opening)?;
    let stat = fs::fstat(&file).act(opening)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("{}: not a regular file", name.to_string_lossy())));
    }
    Ok(file.into())
}

/// Opens a path inside a tree; links mean what they mean inside it. Tries again when a concurrent
/// rename made the kernel give up.
pub(crate) fn open_in(
    root: impl AsFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    const ATTEMPTS: usize = 128;
    let path = path.into_c_str()?;
    let relative = match path.to_bytes() {
        b"" | b"/" => c".",
        _ => &*path,
    };
    for _ in 1..ATTEMPTS {
        let flags = flags | OFlags::CLOEXEC;
        match fs::openat2(root.as_fd(), relative, flags, Mode::empty(), IN_ROOT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

pub(crate) fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    if at.is_empty() { name.to_vec() } else { [at, b"/", name].concat() }
}

pub(crate) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// The names and values of a file's attributes that mean something in an image.
pub(crate) fn kept_xattrs(file: impl AsFd) -> Result<Vec<(String, Vec<u8>)>> {
    let reading = || "read extended attributes".to_owned();
    let mut list = vec![0u8; 4096];
    let len = loop {
        match fs::flistxattr(&file, list.as_mut_slice()) {
            Ok(len) => break len,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).act(reading),
        }
    };
    let mut kept = Vec::new();
    for name in list[..len].split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let known = matches!(
            name,
            "security.capability" | "system.posix_acl_access" | "system.posix_acl_default"
        );
        if !known && (!name.starts_with("user.") || name.starts_with("user.overlay.")) {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        match fs::fgetxattr(&file, name, value.as_mut_slice()) {
            Ok(len) => value.truncate(len),
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno).act(reading),
        }
        kept.push((name.to_owned(), value));
    }
    kept.sort();
    Ok(kept)
}
