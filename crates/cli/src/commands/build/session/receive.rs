//! Results from the daemon: a file as it comes, a directory in fsutil's protocol. What comes is
//! not trusted: nothing is written outside the place that was asked for, and no link is followed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wire::file_mode::{self, DIR, SYMLINK};

const OTHER: u32 = file_mode::TYPE & !(DIR | SYMLINK);

/// Writes a file as it comes.
pub(super) async fn file(fd: OwnedFd, mut stream: Streaming<BytesMessage>) -> Result<(), Status> {
    let (tx, mut rx) = mpsc::channel::<Vec<u8>>(8);
    let writing = tokio::task::spawn_blocking(move || {
        let mut file = File::from(fd);
        while let Some(piece) = rx.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.flush()
    });
    while let Some(message) = stream.message().await? {
        if tx.send(message.data).await.is_err() {
            break;
        }
    }
    drop(tx);
    let written = writing.await.map_err(|error| Status::internal(error.to_string()))?;
    written.map_err(|error| Status::unknown(format!("write the result: {error}")))
}

/// Takes a directory in.
pub(super) async fn directory(
    root: OwnedFd,
    mut stream: Streaming<Packet>,
    tx: mpsc::Sender<Result<Packet, Status>>,
) {
    let (packets, inbox) = mpsc::channel(super::serve::QUEUE);
    let telling = tx.clone();
    let work = tokio::task::spawn_blocking(move || {
        if let Err(message) = take(root, inbox, &telling) {
            let data = message.into_bytes();
            let packet = Packet { r#type: PacketType::PacketErr.into(), data, ..Packet::default() };
            // The daemon may have left already.
            let _ = telling.blocking_send(Ok(packet));
        }
    });
    while let Ok(Some(packet)) = stream.message().await {
        if packets.send(packet).await.is_err() {
            break;
        }
    }
    drop(packets);
    // It ends with its inbox.
    let _ = work.await;
}

struct Taker<'a> {
    root: OwnedFd,
    tx: &'a mpsc::Sender<Result<Packet, Status>>,
    /// Entries by number.
    entries: Vec<Stat>,
    /// Files that were asked for and are not whole yet.
    wanted: usize,
    open: HashMap<u32, File>,
}

fn take(
    root: OwnedFd,
    mut inbox: mpsc::Receiver<Packet>,
    tx: &mpsc::Sender<Result<Packet, Status>>,
) -> Result<(), String> {
    let (entries, open) = (Vec::new(), HashMap::new());
    let mut taker = Taker { root, tx, entries, wanted: 0, open };
    let mut told = false;
    while let Some(packet) = inbox.blocking_recv() {
        match (PacketType::try_from(packet.r#type), packet.stat) {
            (Ok(PacketType::PacketStat), Some(stat)) => taker.entry(stat)?,
            (Ok(PacketType::PacketStat), None) => told = true,
            (Ok(PacketType::PacketData), _) => taker.data(packet.id, &packet.data)?,
            (Ok(PacketType::PacketFin), _) => return Ok(()),
            (Ok(PacketType::PacketErr), _) => {
                return Err(String::from_utf8_lossy(&packet.data).into_owned());
            }
            _ => return Err("unexpected packet from the daemon".to_owned()),
        }
        if told && taker.wanted == 0 {
            told = false;
            taker.finish()?;
            taker.send(PacketType::PacketFin, 0)?;
        }
    }
    Ok(())
}

impl Taker<'_> {
    fn send(&self, kind: PacketType, id: u32) -> Result<(), String> {
        let packet = Packet { r#type: kind.into(), id, ..Packet::default() };
        self.tx.blocking_send(Ok(packet)).map_err(|_| "the daemon left".to_owned())
    }

    fn entry(&mut self, stat: Stat) -> Result<(), String> {
        let id = u32::try_from(self.entries.len()).map_err(|_| "too many files".to_owned())?;
        let failed = |errno: Errno| format!("write {}: {errno}", stat.path);
        let (dir, name) = self.parent(&stat.path)?;
        let kind = stat.mode & file_mode::TYPE;
        if kind & OTHER != 0 {
            return Err(format!("{}: devices and sockets are not taken", stat.path));
        }
        if kind == DIR {
            match mkdirat(&dir, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    let flags =
                        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    if openat(&dir, &name, flags, Mode::empty()).is_err() {
                        unlinkat(&dir, &name, AtFlags::empty()).map_err(failed)?;
                        mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).map_err(failed)?;
                    }
                }
                Err(errno) => return Err(failed(errno)),
            }
        } else {
            match unlinkat(&dir, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if kind == SYMLINK {
                rustix::fs::symlinkat(&stat.linkname, &dir, &name).map_err(failed)?;
            } else if !stat.linkname.is_empty() {
                let (from, from_name) = self.parent(&stat.linkname)?;
                rustix::fs::linkat(&from, from_name, &dir, &name, AtFlags::empty())
                    .map_err(failed)?;
            } else {
                self.wanted += 1;
                self.send(PacketType::PacketReq, id)?;
            }
        }
        self.entries.push(stat);
        Ok(())
    }

    fn data(&mut self, id: u32, data: &[u8]) -> Result<(), String> {
        let stat = usize::try_from(id).ok().and_then(|id| self.entries.get(id)).cloned();
        let stat = stat.ok_or_else(|| format!("the daemon sends file {id}, which is none"))?;
        if !self.open.contains_key(&id) {
            let (dir, name) = self.parent(&stat.path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(&dir, &name, flags, Mode::from_raw_mode(0o600))
                .map_err(|errno| format!("write {}: {errno}", stat.path))?;
            self.open.insert(id, file.into());
        }
        if data.is_empty() {
            if let Some(file) = self.open.remove(&id) {
                settle(&file, &stat)?;
                self.wanted = self.wanted.saturating_sub(1);
            }
            return Ok(());
        }
        let file = self.open.get_mut(&id).ok_or("a file was closed early")?;
        file.write_all(data).map_err(|error| format!("write {}: {error}", stat.path))
    }

    /// Modes and times of directories, once nothing is written into them any more.
    fn finish(&mut self) -> Result<(), String> {
        for stat in std::mem::take(&mut self.entries).iter().rev() {
            if stat.mode & DIR != 0 {
                let (dir, name) = self.parent(&stat.path)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = openat(&dir, &name, flags, Mode::empty())
                    .map_err(|errno| format!("open {}: {errno}", stat.path))?;
                settle(&opened, stat)?;
            }
        }
        Ok(())
    }

    /// The directory that a path is in, and its last name. No link is followed on the way.
    fn parent(&self, path: &str) -> Result<(OwnedFd, String), String> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let bad = || format!("{path:?} is no path of a result");
        if parts.iter().any(|part| matches!(*part, "." | "..") || part.contains('\0')) {
            return Err(bad());
        }
        let name = parts.pop().ok_or_else(bad)?.to_owned();
        let failed = |errno: Errno| format!("open the directory of {path}: {errno}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = openat(&self.root, ".", flags, Mode::empty()).map_err(failed)?;
        for part in parts {
            dir = openat(&dir, part, flags, Mode::empty()).map_err(failed)?;
        }
        Ok((dir, name))
    }
}

/// Mode and time.
fn settle(file: impl AsFd, stat: &Stat) -> Result<(), String> {
    let failed = |errno: Errno| format!("set the mode and time of {}: {errno}", stat.path);
    let mode = file_mode::to_kernel(stat.mode);
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)?;
    let time = Timespec {
        tv_sec: stat.mod_time.div_euclid(1_000_000_000),
        tv_nsec: stat.mod_time.rem_euclid(1_000_000_000),
    };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(&file, &times).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn stat(path: &str, mode: u32, linkname: &str) -> Packet {
        let (path, linkname) = (path.to_owned(), linkname.to_owned());
        let stat = Stat { path, mode, linkname, mod_time: 5_000_000_001, ..Stat::default() };
        Packet { stat: Some(stat), ..Packet::default() }
    }

    fn of(kind: PacketType, id: u32, data: &[u8]) -> Packet {
        Packet { r#type: kind.into(), id, data: data.to_vec(), ..Packet::default() }
    }

    fn taken(dir: &std::path::Path, packets: Vec<Packet>) -> Result<(), String> {
        let (tx, inbox) = mpsc::channel(64);
        let (answers, _kept) = mpsc::channel(64);
        packets.into_iter().for_each(|packet| tx.blocking_send(packet).unwrap());
        drop(tx);
        take(std::fs::File::open(dir).unwrap().into(), inbox, &answers)
    }

    #[test]
    fn a_directory_is_written() {
        let dir = tempfile::tempdir().unwrap();
        taken(
            dir.path(),
            vec![
                stat("d", DIR | 0o750, ""),
                stat("d/f", 0o640, ""),
                stat("d/l", SYMLINK | 0o777, "f"),
                of(PacketType::PacketStat, 0, b""),
                of(PacketType::PacketData, 1, b"text"),
                of(PacketType::PacketData, 1, b""),
                of(PacketType::PacketFin, 0, b""),
            ],
        )
        .unwrap();
        assert_eq!(std::fs::read(dir.path().join("d/l")).unwrap(), b"text");
        let meta = std::fs::metadata(dir.path().join("d")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o750);
        let file = std::fs::metadata(dir.path().join("d/f")).unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, 0o640);
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&file), 5);
    }

    #[test]
    fn nothing_is_written_outside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().to_str().unwrap();
        for packets in [
            vec![stat("../x", DIR, "")],
            vec![stat("l", SYMLINK, link), stat("l/x", DIR, "")],
            vec![stat("h", 0o600, "../../etc/passwd")],
            vec![stat("dev", 1 << 26, "")],
        ] {
            assert!(taken(dir.path(), packets).is_err());
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
