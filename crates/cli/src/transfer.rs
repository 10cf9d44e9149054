//! Archives between this machine's files and the engine. What comes from a container is not
//! trusted: nothing is written outside the directory asked for, and no link is followed on the
//! way. It never knows which command moves them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use client::{Body, BodySender, Response};
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::terminal::is_terminal;

/// How much is moved at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// The most that is read of an archive which should be small.
const SMALL_BYTES: u64 = 10 << 20;
/// Chunks that may wait between the connection and the disk.
const CHUNKS_IN_FLIGHT: usize = 8;

/// Refuses to write an archive where it cannot go; `act` is what then fails (`save image`).
pub(crate) fn check_output(path: &str, act: &str) -> Result<(), Failure> {
    if path.is_empty() {
        if is_terminal(rustix::stdio::stdout()) {
            return Err(Failure::new(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        return Ok(());
    }
    let parent = match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(Failure::new(format!(
            "failed to {act}: invalid output path: stat {}: no such file or directory",
            parent.display()
        )));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Failure::new(format!("failed to {act}: cannot write to a directory")))
        }
        _ => Ok(()),
    }
}

/// Writes an answer's body to a file, or to standard output when `path` is empty. A file appears
/// only when it is complete.
pub(crate) async fn save(mut answer: Response<'_>, path: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(1),
        _ => Failure::new(format!(
            "write {}: {error}",
            if path.is_empty() { "output" } else { path }
        )),
    };
    if path.is_empty() {
        while let Some(chunk) = answer.chunk().await? {
            io::stdout().lock().write_all(&chunk).map_err(failed)?;
        }
        return io::stdout().lock().flush().map_err(failed);
    }
    let temporary = PathBuf::from(format!("{path}.tmp-{}", std::process::id()));
    let written = async {
        let mut file = File::create_new(&temporary).map_err(failed)?;
        while let Some(chunk) = answer.chunk().await? {
            file.write_all(&chunk).map_err(failed)?;
        }
        fs::rename(&temporary, path).map_err(failed)
    };
    let outcome = written.await;
    if outcome.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

/// A request body that is read from a file or a pipe while it is sent.
pub(crate) fn file_body(mut source: Box<dyn Read + Send>) -> Result<Body, Failure> {
    let (sender, body) = Body::channel();
    spawn("upload", move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            if !sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])) {
                return;
            }
        }
    })?;
    Ok(body)
}

/// An archive being packed and sent.
pub(crate) struct Packing {
    count: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<String>>>,
}

impl Packing {
    /// The bytes sent, or why the archive ended early; to be asked after the request.
    pub(crate) fn outcome(&self) -> Result<u64, Failure> {
        let failed = self.failed.lock().ok().and_then(|mut failed| failed.take());
        match failed {
            Some(why) => Err(Failure::new(why)),
            None => Ok(self.count.load(Ordering::Relaxed)),
        }
    }
}

/// A request body that is a tar archive of `path`, its first name replaced by `name` (dropped when
/// empty).
pub(crate) fn pack(path: PathBuf, name: String, follow: bool) -> Result<(Body, Packing), Failure> {
    let (sender, body) = Body::channel();
    let packing =
        Packing { count: Arc::new(AtomicU64::new(0)), failed: Arc::new(Mutex::new(None)) };
    let failed = Arc::clone(&packing.failed);
    let upload = Upload { sender, count: Arc::clone(&packing.count) };
    let writer = io::BufWriter::with_capacity(CHUNK_BYTES, upload);
    spawn("pack", move || {
        let mut builder = tar::Builder::new(writer);
        builder.follow_symlinks(false);
        let packed = add(&mut builder, &path, &name, follow).and_then(|()| builder.finish());
        // A request that the engine ended early says more than the broken pipe here.
        if let Err(error) = packed
            && error.kind() != io::ErrorKind::BrokenPipe
            && let Ok(mut failed) = failed.lock()
        {
            *failed = Some(format!("archive {}: {error}", path.display()));
        }
    })?;
    Ok((body, packing))
}

fn add<W: Write>(
    builder: &mut tar::Builder<W>,
    path: &Path,
    name: &str,
    follow: bool,
) -> io::Result<()> {
    let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) }?;
    if metadata.is_dir() {
        let name = if name.is_empty() { "." } else { name };
        return builder.append_dir_all(name, path);
    }
    if metadata.is_symlink() {
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        header.set_size(0);
        return builder.append_link(&mut header, name, fs::read_link(path)?);
    }
    if !metadata.is_file() {
        return Err(io::Error::other("neither a file nor a directory nor a link"));
    }
    builder.append_file(name, &mut File::open(path)?)
}

struct Upload {
    sender: BodySender,
    count: Arc<AtomicU64>,
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.sender.blocking_send(Bytes::copy_from_slice(bytes)) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks an answer's archive below `root`, its first name replaced by `name` (dropped when
/// empty). Returns the bytes received.
pub(crate) async fn unpack(
    mut answer: Response<'_>,
    root: PathBuf,
    name: String,
    keep_owner: bool,
) -> Result<u64, Failure> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let (report, outcome) = oneshot::channel();
    spawn("unpack", move || {
        let source = Download { chunks: receiver, rest: Bytes::new() };
        let _ = report.send(extract(source, &root, &name, keep_owner));
    })?;
    let mut received = 0;
    while let Some(chunk) = answer.chunk().await? {
        received += chunk.len() as u64;
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    match outcome.await {
        Ok(Ok(())) => Ok(received),
        Ok(Err(why)) => Err(Failure::new(why)),
        Err(_) => Err(Failure::new("unpack: the thread ended early")),
    }
}

struct Download {
    chunks: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn extract(source: impl Read, root: &Path, name: &str, keep_owner: bool) -> Result<(), String> {
    let mut archive = tar::Archive::new(source);
    let failed = |error: io::Error| format!("read the archive: {error}");
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let inner = entry.path().map_err(failed)?.into_owned();
        let Some(relative) = renamed(&inner, name)? else { continue };
        let target = root.join(&relative);
        let place = |error: io::Error| format!("write {}: {error}", target.display());
        make_parents(root, &relative).map_err(place)?;
        let kind = entry.header().entry_type();
        if kind.is_hard_link() {
            let link = entry.link_name().map_err(failed)?.ok_or("a hard link to nowhere")?;
            let link = renamed(&link, name)?.ok_or("a hard link to the root")?;
            make_parents(root, &link).map_err(place)?;
            let _ = fs::remove_file(&target);
            fs::hard_link(root.join(link), &target).map_err(place)?;
        } else if kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_contiguous() {
            write_entry(&mut entry, &target, keep_owner).map_err(place)?;
        } else {
            crate::terminal::complain(format!(
                "skipped {}: devices and pipes are not copied\n",
                inner.display()
            ));
        }
    }
    Ok(())
}

/// Makes one file, directory or link. What is in its place goes, but never a directory; a link is
/// replaced, not followed.
fn write_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    target: &Path,
    keep_owner: bool,
) -> io::Result<()> {
    let header = entry.header();
    let (kind, mode, modified) = (header.entry_type(), header.mode()?, header.mtime()?);
    let owner = (header.uid()?, header.gid()?);
    let in_place = fs::symlink_metadata(target).ok();
    let is_directory = in_place.as_ref().is_some_and(fs::Metadata::is_dir);
    match in_place {
        Some(_) if kind.is_dir() != is_directory => {
            let (new, old) = match kind.is_dir() {
                true => ("directory", "non-directory"),
                false => ("non-directory", "directory"),
            };
            return Err(io::Error::other(format!("cannot overwrite {old} with {new}")));
        }
        Some(_) if !is_directory => fs::remove_file(target)?,
        _ => {}
    }
    if kind.is_symlink() {
        let link = entry.link_name()?.ok_or_else(|| io::Error::other("a link to nowhere"))?;
        std::os::unix::fs::symlink(link, target)?;
    } else if kind.is_dir() {
        if !is_directory {
            fs::create_dir(target)?;
        }
    } else {
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(target)?;
        io::copy(entry, &mut file)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(modified))?;
    }
    if keep_owner {
        let id = |id: u64| u32::try_from(id).ok();
        std::os::unix::fs::lchown(target, id(owner.0), id(owner.1))?;
    }
    if !kind.is_symlink() {
        fs::set_permissions(target, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(())
}

/// The path of an entry below the root, its first name replaced. Refuses `..` and absolute names.
fn renamed(path: &Path, name: &str) -> Result<Option<PathBuf>, String> {
    // A leading `.` stands for the first name: the content of a directory without its name.
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => parts.push(std::ffi::OsStr::new(".")),
            _ => return Err(format!("the archive names {}: refused", path.display())),
        }
    }
    let mut relative = PathBuf::from(name);
    relative.extend(parts.iter().skip(1));
    Ok((!parts.is_empty()).then_some(relative))
}

/// Creates the directories above an entry; a link among them is refused, not followed.
fn make_parents(root: &Path, relative: &Path) -> io::Result<()> {
    let mut at = root.to_owned();
    let Some(parent) = relative.parent() else { return Ok(()) };
    for part in parent.components() {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let why = format!("{} is in the way and is no directory", at.display());
                return Err(io::Error::other(why));
            }
            Err(_) => fs::create_dir(&at)?,
        }
    }
    Ok(())
}

/// Those of the files called `names` that are in a small tar archive.
pub(crate) fn find(
    source: impl Read,
    names: &[&str],
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let failed = |error: io::Error| match error.to_string().contains("read entire block") {
        true => Failure::new("unexpected EOF"),
        false => Failure::new(format!("read the archive: {error}")),
    };
    let mut archive = tar::Archive::new(source.take(SMALL_BYTES));
    let mut found = BTreeMap::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.to_string_lossy().into_owned();
        if names.contains(&path.as_str()) && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            found.insert(path, bytes);
        }
    }
    Ok(found)
}

/// Whether standard input is something that can hold an archive.
pub(crate) fn check_stdin() -> Result<(), Failure> {
    if is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    Ok(())
}

/// Opens a file to send.
pub(crate) fn open(path: &str) -> Result<File, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(format!("open {path}: no such file or directory")),
        io::ErrorKind::PermissionDenied => Failure::new(format!("open {path}: permission denied")),
        _ => Failure::new(format!("open {path}: {error}")),
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() || metadata.mode() == 0 {
        return Err(Failure::new(format!("open {path}: is a directory")));
    }
    Ok(file)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::new(format!("start the {name} thread: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1);
            let link = kind.is_symlink() || kind.is_hard_link();
            header.set_size(if link { 0 } else { content.len() as u64 });
            if link {
                header.set_link_name(content).unwrap();
            }
            // `set_path` refuses what these tests are about.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, if link { &[] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn archives_stay_below_their_root() {
        use tar::EntryType::{Directory, Link, Regular, Symlink};
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        let outside_text = outside.to_str().unwrap().to_owned();
        for entries in [
            vec![("x/../../outside/f", Regular, "evil")],
            vec![("/outside/f", Regular, "evil")],
            vec![
                ("x", Directory, ""),
                ("x/l", Symlink, outside_text.as_str()),
                ("x/l/f", Regular, "evil"),
            ],
            vec![("x", Directory, ""), ("x/h", Link, "../outside/f")],
        ] {
            let outcome = extract(&archive(&entries)[..], &root, "x", false);
            assert!(outcome.is_err(), "{entries:?}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn the_first_name_is_replaced_or_dropped() {
        use tar::EntryType::{Directory, Link, Regular};
        let dir = tempfile::tempdir().unwrap();
        let tar = archive(&[("a", Directory, ""), ("a/f", Regular, "hi"), ("a/g", Link, "a/f")]);
        extract(&tar[..], dir.path(), "b", false).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("b/f")).unwrap(), "hi");
        assert_eq!(fs::read_to_string(dir.path().join("b/g")).unwrap(), "hi");
        let dots = archive(&[("./", Directory, ""), ("./f", Regular, "hi")]);
        let flat = dir.path().join("dots");
        fs::create_dir(&flat).unwrap();
        extract(&dots[..], &flat, "", false).unwrap();
        assert_eq!(fs::read_to_string(flat.join("f")).unwrap(), "hi");
        let flat = dir.path().join("flat");
        fs::create_dir(&flat).unwrap();
        extract(&tar[..], &flat, "", false).unwrap();
        assert_eq!(fs::read_to_string(flat.join("f")).unwrap(), "hi");
    }
}
