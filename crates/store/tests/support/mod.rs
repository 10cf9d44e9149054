//! What the store's tests share: a store in a temporary directory, archives made byte by byte (so
//! that they can be wrong in any way), and a picture of a directory tree.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part")]

pub mod corpus;

use model::image::ImageDraft;
use model::{ContainerId, Digest};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use store::{Options, Store};

/// A store that is removed with its directory.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), Options::default()).unwrap();
        Self { dir, store }
    }

    /// Closes and opens the store, as a restarted daemon does.
    pub fn reopen(self) -> Self {
        let Self { dir, store } = self;
        drop(store);
        let store = Store::open(&dir.path().join("root"), Options::default()).unwrap();
        Self { dir, store }
    }

    pub fn import(&self, tar: &[u8], name: &str) -> Digest {
        let draft = ImageDraft { reference: name.into(), ..ImageDraft::default() };
        self.store.images().import(&mut &tar[..], "test", &draft).unwrap()
    }

    pub fn save(&self, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        self.store.images().save(&names, &store::image::SaveOptions::default(), &mut out).unwrap();
        out
    }

    /// Everything in `tmp`: must be empty between operations.
    pub fn tmp(&self) -> Vec<String> {
        names(&self.store.root().join("tmp"))
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn container(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

/// A tar entry as raw as it gets.
#[derive(Clone)]
pub struct Raw {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub data: Vec<u8>,
    /// Size in the header, if not that of the data.
    pub size: Option<u64>,
    pub device: (u32, u32),
    pub pax: Vec<(String, Vec<u8>)>,
}

pub fn raw(name: &str, flag: u8) -> Raw {
    Raw {
        name: name.into(),
        link: Vec::new(),
        flag,
        mode: if flag == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        data: Vec::new(),
        size: None,
        device: (0, 0),
        pax: Vec::new(),
    }
}

pub fn file(name: &str, data: &[u8]) -> Raw {
    Raw { data: data.to_vec(), ..raw(name, b'0') }
}

pub fn dir(name: &str) -> Raw {
    raw(name, b'5')
}

pub fn symlink(name: &str, target: &str) -> Raw {
    Raw { link: target.into(), mode: 0o777, ..raw(name, b'2') }
}

pub fn hardlink(name: &str, target: &str) -> Raw {
    Raw { link: target.into(), ..raw(name, b'1') }
}

pub fn device(name: &str, flag: u8, major: u32, minor: u32) -> Raw {
    Raw { device: (major, minor), ..raw(name, flag) }
}

impl Raw {
    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.into(), value.to_vec()));
        self
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    pub fn size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.pax.is_empty() {
            let mut data = Vec::new();
            for (key, value) in &self.pax {
                let rest = key.len() + value.len() + 3;
                let mut len = rest;
                while len != rest + len.to_string().len() {
                    len = rest + len.to_string().len();
                }
                data.extend_from_slice(format!("{len} {key}=").as_bytes());
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            out.extend(Raw { data, ..raw("pax", b'x') }.bytes());
        }
        let mut block = [0u8; 512];
        let name = &self.name[..self.name.len().min(100)];
        block[..name.len()].copy_from_slice(name);
        let mut number = |at: usize, len: usize, value: u64| {
            let text = format!("{value:0len$o}\0", len = len - 1);
            block[at..at + len].copy_from_slice(&text.as_bytes()[text.len() - len..]);
        };
        number(100, 8, self.mode.into());
        number(108, 8, self.uid.into());
        number(116, 8, self.gid.into());
        number(124, 12, self.size.unwrap_or(self.data.len() as u64));
        number(136, 12, self.mtime);
        number(329, 8, self.device.0.into());
        number(337, 8, self.device.1.into());
        block[156] = self.flag;
        let link = &self.link[..self.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

/// Writes the checksum of a header.
pub fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A whole archive, with its end.
pub fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    out.extend_from_slice(&[0; 1024]);
    out
}

/// A small root like busybox' with every kind of file.
pub fn small_root() -> Vec<u8> {
    tar(&[
        dir("./"),
        dir("bin/"),
        file("bin/busybox", &b"\x7fELF busybox ".repeat(9000)).mode(0o755),
        hardlink("bin/sh", "bin/busybox"),
        symlink("bin/ls", "busybox"),
        dir("etc/").owner(0, 0),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/caps", b"x")
            .pax("SCHILY.xattr.user.note", b"\0\n=")
            .pax("mtime", b"1700000000.5"),
        dir("home/user/").owner(1000, 1000),
        file("home/user/empty", b"").owner(1000, 70_000),
        dir("tmp/").mode(0o1777),
        file("usr/bin/su", b"setuid").mode(0o4755),
        raw("run/fifo", b'6'),
        device("dev/null", b'3', 1, 3),
        device("dev/loop0", b'4', 7, 0),
    ])
}

/// A file system as text, one line per name: type, mode, owner, size or target, content.
pub fn picture(root: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut stack = vec![root.to_owned()];
    while let Some(at) = stack.pop() {
        let meta = at.symlink_metadata().unwrap();
        let mut line = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        let kind = meta.file_type();
        if kind.is_symlink() {
            write!(line, " -> {}", std::fs::read_link(&at).unwrap().display()).unwrap();
        } else if kind.is_file() {
            let data = std::fs::read(&at).unwrap();
            let sum = data.iter().fold(7u64, |s, b| s.wrapping_mul(31).wrapping_add((*b).into()));
            write!(line, " {} {sum:x} {}.{}", data.len(), meta.mtime(), meta.nlink()).unwrap();
        } else if kind.is_dir() {
            stack.extend(std::fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            write!(line, " dev {:x}", meta.rdev()).unwrap();
        }
        let name = at.strip_prefix(root).unwrap().as_os_str().as_bytes();
        out.insert(String::from_utf8_lossy(name).into_owned(), line);
    }
    out
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

pub fn sha256(data: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::sha256(sha2::Sha256::digest(data).into())
}

/// The files of an archive, by name.
pub fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|e| String::from_utf8_lossy(&e.unwrap().path_bytes()).into_owned()).collect()
}
