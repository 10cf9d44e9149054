//! Archives taken apart by processes of their own: the same trees, the same refusals, and nothing
//! left when they die. This program is started again as the unpackers, as the daemon is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/runner.rs"]
mod runner;
mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use store::archive::{self, WriteOptions};
use support::corpus::{Sentinel, corpus, no_overlay_steering, streams};
use support::*;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, descriptor] = &words[..]
        && word == store::unpacker::WORD
    {
        std::process::exit(store::unpacker::main(descriptor));
    }
    runner::run(&[
        ("the_same_trees_as_without", the_same_trees_as_without),
        ("the_corpus_is_refused_or_contained", the_corpus_is_refused_or_contained),
        ("damaged_streams_are_refused_or_harmless", damaged_streams_are_refused_or_harmless),
        ("plain_bytes_come_from_elsewhere", plain_bytes_come_from_elsewhere),
        ("bombs_are_stopped_in_little_memory", bombs_are_stopped_in_little_memory),
        ("who_dies_is_replaced", who_dies_is_replaced),
        ("many_at_once", many_at_once),
    ]);
}

fn install() {
    store::unpacker::install(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
}

/// A picture with the attributes too.
fn whole_picture(root: &Path) -> BTreeMap<String, String> {
    let mut all = picture(root);
    for (name, line) in &mut all {
        let path = root.join(name);
        let mut list = [0u8; 1024];
        let len = rustix::fs::llistxattr(&path, &mut list[..]).unwrap_or(0);
        let mut attributes: Vec<String> = Vec::new();
        for name in list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = std::str::from_utf8(name).unwrap();
            let mut value = [0u8; 256];
            let len = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
            attributes.push(format!("{name}={:?}", &value[..len]));
        }
        attributes.sort();
        line.push_str(&attributes.join(" "));
    }
    all
}

/// Everything that a layer can hold.
fn rich_layer() -> Vec<u8> {
    // VFS_CAP_REVISION_2 with the effective bit, CAP_NET_RAW permitted.
    let capability = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // user::rw-, user:33:r--, group::r--, mask::r--, other::r--
    let mut acl = vec![2u8, 0, 0, 0];
    for (tag, perm, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 33), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let mut all = small_root();
    all.truncate(all.len() - 1024);
    let more = tar(&[
        file("bin/ping", b"ping").mode(0o755).pax("SCHILY.xattr.security.capability", &capability),
        file("acl", b"x").owner(33, 33).pax("SCHILY.xattr.system.posix_acl_access", &acl),
        dir("sgid/").owner(0, 8).mode(0o2775),
        file("sgid/file", b"x").owner(8, 8).mode(0o2755),
        file("far", b"x").owner(2_147_483_646, 70_000),
        raw("fifo", b'6').mode(0o4622).owner(7, 7),
        device("dev/tty", b'3', 5, 0).mode(0o620).owner(0, 5),
        hardlink("dev/tty2", "dev/tty"),
        device("dev/sda", b'4', 8, 0).mode(0o6660).owner(0, 6),
        file("sgid/.wh.gone", b""),
        file("opaque/.wh..wh..opq", b""),
        file("hidden/.wh.x", b""),
        file("hidden/x/y", b"a directory in place of a mark"),
        device("mark", b'3', 0, 0),
        file("deep/er/than/named", b"implied parents"),
        file("again", b"first"),
        file("again", b"second"),
        dir("tree/"),
        file("tree/f", &[9; 700]),
        file("tree", b"a file in place of a directory"),
        symlink("links/a", "../../outside").owner(5, 5),
        file("sparse", &[1; 4])
            .pax("GNU.sparse.size", b"100000")
            .pax("GNU.sparse.map", b"10,2,99000,2"),
        file("big", &vec![3; 3 << 20]),
        dir("mtime/").pax("mtime", b"-3.25"),
        file("mtime/f", b"x").pax("mtime", b"4102444800.000000001"),
    ]);
    all.extend(more);
    all
}

/// What becomes of layers and trees: pictures, and the archives that come out again.
fn outcomes() -> Vec<(String, BTreeMap<String, String>, Vec<u8>)> {
    let home = Home::new();
    let plain = rich_layer();
    let mut out = Vec::new();
    for (form, bytes) in [
        ("plain", plain.clone()),
        ("gzip", gzip(&plain)),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
    ] {
        let lease = home.store.lease();
        let layers = home.store.layers();
        let layer = layers.apply(&lease, &mut &bytes[..], Some(sha256(&plain))).unwrap();
        let dir = home.store.root().join("layers").join(layer.diff_id.hex());
        let mut again = Vec::new();
        layers.write_tar(layer.diff_id, &mut again).unwrap();
        assert!(again == plain, "{form}");
        out.push((format!("{form} {layer:?}"), whole_picture(&dir.join("fs")), again));
        drop(lease);
        home.store.gc().unwrap();
    }
    for (name, options) in [
        ("cp", WriteOptions::default()),
        ("owned", WriteOptions { owner: Some((12, 34)), ..WriteOptions::default() }),
        ("shifted", WriteOptions { shift: (1 << 28, 1 << 28), ..WriteOptions::default() }),
    ] {
        let root = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(root.path()).unwrap();
        let (uid, gid) = options.shift;
        std::os::unix::fs::chown(root.path(), Some(uid), Some(gid)).unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::chown(root.path().join("real"), Some(uid), Some(gid)).unwrap();
        std::os::unix::fs::symlink("/real", root.path().join("to")).unwrap();
        let tar = tar(&[
            dir("d/").owner(5, 6).mode(0o750),
            file("d/f", b"content").owner(7, 8).mode(0o4755),
            file("to/through", b"a link inside"),
            device("d/null", b'3', 1, 3).mode(0o640).owner(1, 2),
            raw("d/fifo", b'6').owner(3, 3),
            hardlink("d/same", "d/f"),
            symlink("d/link", "/etc/passwd").owner(9, 9),
        ]);
        archive::write(fd.as_fd(), "/", &mut &gzip(&tar)[..], options).unwrap();
        archive::write(fd.as_fd(), "/to", &mut &tar[..], options).unwrap();
        out.push((name.to_owned(), whole_picture(root.path()), Vec::new()));
    }
    out
}

fn the_same_trees_as_without() {
    let without = outcomes();
    install();
    for (without, with) in without.into_iter().zip(outcomes()) {
        assert_eq!(without.0, with.0);
        for (name, line) in &without.1 {
            // Directories that are implied are made now; everything else has the archive's times.
            assert_eq!(Some(line), with.1.get(name), "{}: {name}", without.0);
        }
        assert_eq!(without.1.len(), with.1.len(), "{}", without.0);
        assert!(without.2 == with.2, "{}", without.0);
    }
    assert!(store::unpacker::peak_kib().unwrap() > 0);
}

fn the_corpus_is_refused_or_contained() {
    install();
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    for attack in corpus(&sentinel.dir) {
        let lease = home.store.lease();
        let done = home.store.layers().apply(&lease, &mut &attack.tar[..], None);
        assert_eq!(done.is_err(), attack.refused, "{}: {done:?}", attack.name);
        if let Ok(layer) = done {
            let files = home.store.root().join("layers").join(layer.diff_id.hex()).join("fs");
            no_overlay_steering(&files, &attack.name);
        }
        sentinel.check(&home, &attack.name);
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", attack.name);
        let root = tempfile::tempdir().unwrap();
        let target = sentinel.dir.to_str().unwrap();
        for name in ["a", "x", "l"] {
            std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
        }
        let fd = std::fs::File::open(root.path()).unwrap();
        let _ = archive::write(fd.as_fd(), "/", &mut &attack.tar[..], WriteOptions::default());
        sentinel.check(&home, &attack.name);
    }
}

fn damaged_streams_are_refused_or_harmless() {
    install();
    let home = Home::new();
    let plain = small_root();
    for stream in streams(&plain) {
        let lease = home.store.lease();
        let done = home.store.layers().apply(&lease, &mut &stream.tar[..], None);
        assert!(done.is_err() || !stream.refused, "{}: was accepted", stream.name);
        if let Ok(layer) = done {
            assert_eq!(layer.diff_id, sha256(&plain), "{}", stream.name);
        }
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", stream.name);
    }
}

fn plain_bytes_come_from_elsewhere() {
    install();
    let plain: Vec<u8> = (0..3_000_000u32).map(|n| n.wrapping_mul(n).to_le_bytes()[1]).collect();
    let read = |packed: &[u8]| {
        let mut out = Vec::new();
        store::plain(packed).unwrap().read_to_end(&mut out).map(|_| out)
    };
    let packed = gzip(&plain);
    assert!(read(&packed).unwrap() == plain);
    assert!(read(&zstd::encode_all(&plain[..], 1).unwrap()).unwrap() == plain);
    assert!(read(&plain).unwrap() == plain);
    assert_eq!(read(b"").unwrap(), b"");
    let cut = read(&packed[..packed.len() - 9]).unwrap_err();
    assert!(matches!(cut.kind(), std::io::ErrorKind::InvalidData), "{cut}");
    // Who reads no further than the beginning leaves nothing behind.
    let mut head = [0; 512];
    store::plain(&packed[..]).unwrap().read_exact(&mut head).unwrap();
    assert!(head[..] == plain[..512]);
    // An archive in an archive, as `load` takes it.
    let home = Home::new();
    let other = Home::new();
    home.import(&small_root(), "busybox:1");
    let saved = gzip(&home.save(&["busybox:1"]));
    let loaded = other.store.images().load(&mut &saved[..], &mut |_| {}).unwrap();
    assert_eq!(loaded.len(), 1);
}

fn bombs_are_stopped_in_little_memory() {
    install();
    let home = Home::new();
    let lease = home.store.lease();
    let apply = |bytes: &[u8]| home.store.layers().apply(&lease, &mut &bytes[..], None);
    // One file of zeros, in few bytes.
    let head = file("zeros", b"").size(4 << 30).bytes();
    let zeros = vec![0u8; 1 << 20];
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    bomb.write_all(&head).unwrap();
    (0..300).for_each(|_| bomb.write_all(&zeros).unwrap());
    let error = apply(&bomb.finish().unwrap()).unwrap_err().to_string();
    assert!(error.contains("times its size"), "{error}");
    // A window that would take 2 GiB, a dictionary as large.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0, 0, 0];
    assert!(apply(&window).is_err());
    // Directories without end: what is remembered of them is bounded by the process's memory.
    let deep = "d/".repeat(250);
    let mut many = Vec::new();
    for number in 0..4000 {
        many.extend(dir("x").pax("path", format!("{deep}{number}").as_bytes()).bytes());
    }
    many.extend([0; 1024]);
    apply(&gzip(&many)).unwrap();
    let peak = store::unpacker::peak_kib().unwrap();
    assert!(peak < 200 << 10, "an unpacker took {peak} KiB");
}

/// Processes of this test's own whose command line is a lobby's.
fn lobbies() -> Vec<i32> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Some(Ok(pid)) = path.file_name().map(|name| name.to_string_lossy().parse()) else {
            continue;
        };
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let parent =
            stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).map(str::to_owned);
        let words = std::fs::read(path.join("cmdline")).unwrap_or_default();
        if parent.as_deref() == Some(&own) && words.starts_with(b"estiba\0unpacker\0") {
            found.push(pid);
        }
    }
    found
}

fn who_dies_is_replaced() {
    install();
    let home = Home::new();
    let lease = home.store.lease();
    let apply = || home.store.layers().apply(&lease, &mut &small_root()[..], None);
    for _ in 0..3 {
        apply().unwrap();
        let lobbies = lobbies();
        assert!(!lobbies.is_empty());
        for pid in lobbies {
            sys::Pidfd::open(pid).unwrap().send_signal(9).unwrap();
        }
    }
    apply().unwrap();
    assert_eq!(home.tmp(), Vec::<String>::new());
    // A program that is only its owner's is executed all the same.
    let own = std::fs::metadata("/proc/self/exe").unwrap();
    assert!(own.permissions().mode() & 0o100 != 0);
}

fn many_at_once() {
    install();
    let home = Home::new();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let store = &home.store;
            scope.spawn(move || {
                for round in 0..4u8 {
                    let tar = tar(&[file(&format!("{thread}-{round}"), &vec![thread; 100_000])]);
                    let lease = store.lease();
                    let layers = store.layers();
                    let want = Some(sha256(&tar));
                    layers.apply(&lease, &mut &gzip(&tar)[..], want).unwrap();
                    let refused = layers.apply(&lease, &mut &gzip(&tar)[..], Some(sha256(b"x")));
                    assert!(refused.unwrap_err().to_string().contains("diff id"));
                    let mut again = Vec::new();
                    layers.write_tar(sha256(&tar), &mut again).unwrap();
                    assert!(again == tar);
                }
            });
        }
    });
    assert_eq!(home.tmp(), Vec::<String>::new());
}
