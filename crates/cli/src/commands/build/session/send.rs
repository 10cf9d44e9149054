//! A directory to the daemon, in fsutil's protocol: entries first, content on request.
//!
//! ```text
//! ── STAT … STAT, STAT(end) ─▶
//! ◀─ REQ(id) ── DATA(id) … DATA(id, end) ─▶
//! ◀─ FIN ── FIN ─▶
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat as Told};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wire::file_mode::{self, DIR, NAMED_PIPE, SYMLINK};

use super::filter::Filter;

/// How much of a file goes into one packet.
const PIECE_BYTES: usize = 32 << 10;
/// How deep directories may be nested.
const MAX_DEPTH: usize = 512;

type Sender = mpsc::Sender<Result<Packet, Status>>;

/// Sends what the filter wants, and the content that is asked for.
pub(super) async fn directory(
    dir: OwnedFd,
    filter: Filter,
    mut asks: Streaming<Packet>,
    tx: Sender,
) {
    let (asked, inbox) = mpsc::channel(super::serve::QUEUE);
    let telling = tx.clone();
    let work = tokio::task::spawn_blocking(move || {
        if let Err(message) = tell(dir, filter, &telling, inbox) {
            let data = message.into_bytes();
            let packet = Packet { r#type: PacketType::PacketErr.into(), data, ..Packet::default() };
            // The daemon may have left already.
            let _ = telling.blocking_send(Ok(packet));
        }
    });
    while let Ok(Some(ask)) = asks.message().await {
        let last = ask.r#type == i32::from(PacketType::PacketFin);
        if asked.send(ask).await.is_err() || last {
            break;
        }
    }
    drop(asked);
    // It ends with its inbox.
    let _ = work.await;
}

fn tell(
    dir: OwnedFd,
    mut filter: Filter,
    tx: &Sender,
    mut asks: mpsc::Receiver<Packet>,
) -> Result<(), String> {
    filter.resolve(&dir);
    let mut walk = Walk { root: dir, filter, tx, files: Vec::new(), pending: Vec::new() };
    walk.directory("", 0)?;
    walk.send(PacketType::PacketStat, 0, None, Vec::new())?;
    while let Some(ask) = asks.blocking_recv() {
        match PacketType::try_from(ask.r#type) {
            Ok(PacketType::PacketReq) => walk.content(ask.id)?,
            Ok(PacketType::PacketFin) => {
                return walk.send(PacketType::PacketFin, 0, None, Vec::new());
            }
            _ => return Err("unexpected packet from the daemon".to_owned()),
        }
    }
    Ok(())
}

struct Walk<'a> {
    root: OwnedFd,
    filter: Filter,
    tx: &'a Sender,
    /// Paths by number.
    files: Vec<String>,
    /// Directories that are told once something in them is.
    pending: Vec<Told>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("{path}: directories are nested too deep"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let at = if path.is_empty() { "." } else { path };
        let failed = |error| format!("read directory {at}: {error}");
        let dir = openat(&self.root, at, flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A name that is no text cannot be told.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        for name in names {
            self.entry(&dir, path, &name, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, dir: impl AsFd, at: &str, name: &str, depth: usize) -> Result<(), String> {
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        let parts: Vec<&str> = path.split('/').collect();
        let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            // It went while we looked.
            return Ok(());
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let wanted = self.filter.wants(&parts);
        if kind == FileType::Directory {
            let told = told(&path, &stat, DIR, String::new());
            let pending = self.pending.len();
            match wanted {
                true => self.stat(told)?,
                false if !self.filter.enters(&parts) => return Ok(()),
                false => self.pending.push(told),
            }
            self.directory(&path, depth + 1)?;
            self.pending.truncate(pending);
            return Ok(());
        }
        if !wanted {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => self.stat(told(&path, &stat, 0, String::new())),
            FileType::Fifo => self.stat(told(&path, &stat, NAMED_PIPE, String::new())),
            FileType::Symlink => {
                let target = readlinkat(&dir, name, Vec::new());
                let target = target.map_err(|error| format!("read link {path}: {error}"))?;
                let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
                self.stat(told(&path, &stat, SYMLINK, target))
            }
            // Sockets and devices are nothing to build with.
            _ => Ok(()),
        }
    }

    fn stat(&mut self, told: Told) -> Result<(), String> {
        for parent in std::mem::take(&mut self.pending) {
            self.files.push(parent.path.clone());
            self.send(PacketType::PacketStat, 0, Some(parent), Vec::new())?;
        }
        self.files.push(told.path.clone());
        self.send(PacketType::PacketStat, 0, Some(told), Vec::new())
    }

    fn content(&self, id: u32) -> Result<(), String> {
        let path = usize::try_from(id).ok().and_then(|id| self.files.get(id));
        let path = path.ok_or_else(|| format!("the daemon asks for file {id}, which is none"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let failed = |error: std::io::Error| format!("read {path}: {error}");
        let file = openat(&self.root, path.as_str(), flags, Mode::empty());
        let mut file = File::from(file.map_err(|error| failed(error.into()))?);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = file.read(&mut piece).map_err(failed)?;
            self.send(PacketType::PacketData, id, None, piece[..read].to_vec())?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn send(
        &self,
        kind: PacketType,
        id: u32,
        stat: Option<Told>,
        data: Vec<u8>,
    ) -> Result<(), String> {
        let packet = Packet { r#type: kind.into(), stat, id, data };
        self.tx.blocking_send(Ok(packet)).map_err(|_| "the daemon left".to_owned())
    }
}

/// An entry as it is told. Who owns it here is nobody's business there.
fn told(path: &str, stat: &Stat, kind: u32, linkname: String) -> Told {
    let mode = kind | file_mode::from_kernel(stat.st_mode);
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Told {
        path: path.to_owned(),
        mode,
        size: if kind == 0 { stat.st_size } else { 0 },
        mod_time: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        linkname,
        ..Told::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataMap;

    #[test]
    fn a_directory_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        ["b/deep/f", "b/other", "a", "c.log"].into_iter().for_each(write);
        std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
        let paths = |include: &[&str]| {
            let mut metadata = MetadataMap::new();
            metadata.append("exclude-patterns", "*.log".parse().unwrap());
            for text in include {
                metadata.append("include-patterns", text.parse().unwrap());
            }
            let filter = Filter::read(&metadata).unwrap();
            let (tx, mut rx) = mpsc::channel(64);
            let (_, asks) = mpsc::channel(1);
            let root = std::fs::File::open(dir.path()).unwrap();
            tell(root.into(), filter, &tx, asks).unwrap();
            drop(tx);
            let mut paths = Vec::new();
            while let Some(Ok(packet)) = rx.blocking_recv() {
                paths.extend(packet.stat.map(|stat| (stat.path, stat.mode & DIR != 0)));
            }
            paths
        };
        let whole = paths(&[]);
        let names: Vec<&str> = whole.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["a", "b", "b/deep", "b/deep/f", "b/other", "l"]);
        let part = paths(&["b/deep/f"]);
        let names: Vec<&str> = part.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["b", "b/deep", "b/deep/f"]);
        assert!(part[0].1 && !part[2].1);
    }
}
