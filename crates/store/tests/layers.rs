//! Layers: what is unpacked is what the archive says, in overlayfs form, and the same archive comes
//! out again; what is damaged leaves nothing.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod support;

use model::Digest;
use model::error::HasKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use store::Result;
use store::layer::Layer;
use support::*;

impl Home {
    fn apply(&self, tar: &[u8], expect: Option<Digest>) -> Result<Layer> {
        self.store.layers().apply(&self.store.lease(), &mut &tar[..], expect)
    }

    fn files(&self, layer: &Layer) -> PathBuf {
        self.store.root().join("layers").join(layer.diff_id.hex()).join("fs")
    }

    /// Applies, and demands the very same bytes back.
    fn there_and_back(&self, tar: &[u8]) -> Layer {
        let layer = self.apply(tar, None).unwrap();
        assert_eq!(layer.diff_id, sha256(tar));
        assert_eq!(layer.tar_size, tar.len() as u64);
        let mut out = Vec::new();
        self.store.layers().write_tar(layer.diff_id, &mut out).unwrap();
        assert!(out == tar, "{} bytes became {}", tar.len(), out.len());
        assert_eq!(self.tmp(), Vec::<String>::new());
        layer
    }
}

#[test]
fn every_kind_of_entry_is_unpacked_and_written_again() {
    let home = Home::new();
    let layer = home.there_and_back(&small_root());
    let files = home.files(&layer);
    let meta = |path: &str| files.join(path).symlink_metadata().unwrap();
    assert_eq!(meta("bin/busybox").mode(), 0o100_755);
    assert_eq!(meta("bin/busybox").ino(), meta("bin/sh").ino());
    assert_eq!(std::fs::read_link(files.join("bin/ls")).unwrap().to_str(), Some("busybox"));
    assert_eq!(meta("usr/bin/su").mode(), 0o104_755);
    assert_eq!(meta("tmp").mode(), 0o041_777);
    assert_eq!((meta("home/user/empty").uid(), meta("home/user/empty").gid()), (1000, 70_000));
    assert_eq!((meta("home").uid(), meta("home").mode()), (0, 0o040_755), "implied");
    assert!(meta("run/fifo").file_type().is_fifo());
    assert_eq!(meta("dev/null").rdev(), 0x103);
    assert!(meta("dev/loop0").file_type().is_block_device());
    assert_eq!(
        (meta("etc/caps").mtime(), meta("etc/caps").mtime_nsec()),
        (1_700_000_000, 500_000_000)
    );
    assert_eq!(meta("bin").mtime(), 1_700_000_000, "set after the children");
    let mut value = [0u8; 8];
    let len = rustix::fs::getxattr(files.join("etc/caps"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"\0\n=");
    assert_eq!(layer.entries, 15);
}

#[test]
fn equal_layers_are_kept_once_whatever_their_compression() {
    let home = Home::new();
    let tar = small_root();
    let first = home.apply(&tar, None).unwrap();
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    for packed in [gzip(&tar), zstd] {
        assert_eq!(home.apply(&packed, Some(first.diff_id)).unwrap(), first);
    }
    assert_eq!(names(&home.store.root().join("layers")).len(), 1);
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn whiteouts_become_overlayfs_marks_and_hide_only_lower_layers() {
    let home = Home::new();
    let layer = home.there_and_back(&tar(&[
        dir("a/"),
        file("a/.wh.gone", b""),
        dir("b/"),
        file("b/.wh..wh..opq", b""),
        file("b/new", b"1"),
        file(".wh.c", b""),
        dir("c/"),
        file("c/x", b"2"),
        file("d/y", b"3"),
        file(".wh.d", b""),
        file("e", b"4"),
        file(".wh.e", b""),
        file(".wh.f", b""),
        file("f/deep/z", b"5"),
        file(".wh..wh.plnk/1.2", b"junk"),
        device("g", b'3', 0, 0),
        file("implied/.wh..wh..opq", b"content of a mark"),
    ]));
    let files = home.files(&layer);
    let is_mark = |path: &str| {
        let meta = files.join(path).symlink_metadata().unwrap();
        meta.file_type().is_char_device() && meta.rdev() == 0
    };
    let is_opaque = |path: &str| {
        let mut value = [0u8; 4];
        rustix::fs::getxattr(files.join(path), "trusted.overlay.opaque", &mut value[..])
            .is_ok_and(|len| &value[..len] == b"y")
    };
    assert!(is_mark("a/gone") && is_mark("g"));
    assert_eq!(
        ["a", "b", "c", "d", "f", "implied"].map(is_opaque),
        [false, true, true, true, true, true]
    );
    for (path, content) in
        [("b/new", "1"), ("c/x", "2"), ("d/y", "3"), ("e", "4"), ("f/deep/z", "5")]
    {
        assert_eq!(std::fs::read_to_string(files.join(path)).unwrap(), content);
    }
    assert!(!files.join(".wh..wh.plnk").exists());
}

#[test]
fn entries_that_replace_earlier_ones_win_and_the_archive_is_still_the_same() {
    let home = Home::new();
    let layer = home.there_and_back(&tar(&[
        file("a", b"first"),
        file("a", b"second, longer"),
        file("a", b"third"),
        file("d/one", b"1"),
        file("d/two", b"2"),
        symlink("d", "elsewhere"),
        file("x", b"was a file"),
        dir("x/"),
        file("x/y", b"now below"),
        file("x/y", b"again"),
        file("x", b"and a file once more"),
        dir("x/"),
        file("x/y", b"last"),
        symlink("l", "a"),
        file("l", b"not through the link"),
        dir("k/").mode(0o700),
        file("k/f", b"kept"),
        dir("k/").mode(0o750),
    ]));
    let files = home.files(&layer);
    let read = |path: &str| std::fs::read_to_string(files.join(path)).unwrap();
    assert_eq!(read("a"), "third");
    assert_eq!(std::fs::read_link(files.join("d")).unwrap().to_str(), Some("elsewhere"));
    assert_eq!(read("x/y"), "last");
    assert_eq!(read("l"), "not through the link");
    assert_eq!(read("k/f"), "kept");
    assert_eq!(files.join("k").metadata().unwrap().mode(), 0o040_750);
}

#[test]
fn long_names_and_sparse_files_of_all_formats() {
    let home = Home::new();
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
    let gnu = |flag: u8, text: &str| Raw {
        data: [text.as_bytes(), b"\0"].concat(),
        ..raw("././@LongLink", flag)
    };
    let mut old = raw("old-sparse", b'S').bytes();
    old[257..265].copy_from_slice(b"ustar  \0");
    old[345..500].fill(0);
    let mut put = |at: usize, value: u64| {
        old[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    };
    put(124, 6);
    put(386, 1000);
    put(398, 3);
    put(410, 500_000);
    put(422, 3);
    put(483, 1_000_000);
    seal(&mut old);
    old.extend_from_slice(b"abcdef");
    old.resize(1024, 0);
    let map = b"2\n0\n4\n100000\n2\n";
    let mut new = map.to_vec();
    new.resize(512, 0);
    new.extend_from_slice(b"wxyzUV");
    let mut bytes: Vec<u8> = [
        file("short", b"s").pax("path", long.as_bytes()).bytes(),
        gnu(b'L', "gnu/long/name").bytes(),
        gnu(b'K', "gnu/long/target").bytes(),
        symlink("ignored", "ignored").bytes(),
        old,
        file("GNUSparseFile.0/new", &new)
            .pax("GNU.sparse.major", b"1")
            .pax("GNU.sparse.minor", b"0")
            .pax("GNU.sparse.name", b"new-sparse")
            .pax("GNU.sparse.realsize", b"200000")
            .bytes(),
        file("mid-sparse", b"12")
            .pax("GNU.sparse.size", b"10")
            .pax("GNU.sparse.numblocks", b"1")
            .pax("GNU.sparse.map", b"4,2")
            .bytes(),
        raw("global", b'g').bytes(),
    ]
    .concat();
    bytes.extend_from_slice(&[0; 1024]);
    let layer = home.there_and_back(&bytes);
    let files = home.files(&layer);
    assert!(files.join(&long).exists());
    assert_eq!(
        std::fs::read_link(files.join("gnu/long/name")).unwrap().to_str(),
        Some("gnu/long/target")
    );
    let old = std::fs::read(files.join("old-sparse")).unwrap();
    assert_eq!(
        (old.len(), &old[1000..1003], &old[500_000..500_003]),
        (1_000_000, &b"abc"[..], &b"def"[..])
    );
    let new = std::fs::read(files.join("new-sparse")).unwrap();
    assert_eq!((new.len(), &new[..4], &new[100_000..100_002]), (200_000, &b"wxyz"[..], &b"UV"[..]));
    assert_eq!(std::fs::read(files.join("mid-sparse")).unwrap(), b"\0\0\0\x0012\0\0\0\0");
}

#[test]
fn an_archive_of_gnu_tar_comes_back_the_same() {
    let home = Home::new();
    let source = home.dir.path().join("source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::write(source.join("deep/er/file"), vec![7; 100_000]).unwrap();
    std::fs::write(source.join("é ü"), "x").unwrap();
    std::fs::hard_link(source.join("é ü"), source.join("deep/link")).unwrap();
    let hole = std::fs::File::create(source.join("hole")).unwrap();
    hole.set_len(10 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&hole, b"end", 9 << 20).unwrap();
    for args in [
        &["--format=gnu", "-S"][..],
        &["--format=pax", "-S"],
        &["--format=ustar"],
        &["--format=v7"],
    ] {
        let out = std::process::Command::new("tar")
            .args(args)
            .args(["-C", source.to_str().unwrap(), "-c", "."])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let layer = home.there_and_back(&out.stdout);
        let mut want = picture(&source);
        let mut have = picture(&home.files(&layer));
        // The directory itself was made by this test, at another time.
        want.remove("");
        have.remove("");
        assert_eq!(have, want, "{args:?}");
    }
}

#[test]
fn trailing_bytes_and_a_wrong_digest() {
    let home = Home::new();
    let mut long = tar(&[file("a", b"1")]);
    long.extend_from_slice(&[0; 9000]);
    home.there_and_back(&long);
    home.there_and_back(&[0; 1024]);
    let error = home.apply(&small_root(), Some(sha256(b"other"))).unwrap_err();
    assert_eq!(error.kind(), model::ErrorKind::Invalid);
    // Cut off at an entry: only a digest known beforehand makes that whole.
    let cut = file("a", b"1").bytes();
    assert!(home.apply(&cut, None).is_err());
    assert_eq!(home.apply(&cut, Some(sha256(&cut))).unwrap().diff_id, sha256(&cut));
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn damaged_streams_leave_nothing() {
    let home = Home::new();
    let tar = small_root();
    let packed = gzip(&tar);
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let mut cases: Vec<Vec<u8>> = vec![b"garbage".to_vec(), b"x".repeat(4096)];
    for whole in [&tar[..tar.len() - 1024], &packed, &zstd] {
        let step = whole.len() / 23;
        cases.extend((0..23).map(|n| whole[..1 + n * step].to_vec()));
    }
    for at in [10, packed.len() / 2, packed.len() - 5] {
        let mut flipped = packed.clone();
        flipped[at] ^= 0x55;
        cases.push(flipped);
    }
    cases.push([&packed[..], b"trailing"].concat());
    for (number, case) in cases.iter().enumerate() {
        let error = home.apply(case, None).expect_err(&format!("case {number}"));
        assert_eq!(error.kind(), model::ErrorKind::Invalid, "case {number}: {error}");
    }
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    // A tmpfs of two megabytes in a mount namespace of this thread's own.
    std::thread::spawn(|| {
        sys::mount::unshare(0x0002_0000).unwrap();
        let dir = tempfile::tempdir().unwrap();
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::PRIVATE
                | rustix::mount::MountPropagationFlags::REC,
        )
        .unwrap();
        rustix::mount::mount(
            "tmpfs",
            dir.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            c"size=2m",
        )
        .unwrap();
        let store =
            store::Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
        let tar = tar(&[file("big", &vec![1; 4 << 20])]);
        let error = store.layers().apply(&store.lease(), &mut &tar[..], None).unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::Exhausted, "{error}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(names(&store.root().join("tmp")).is_empty());
        assert!(names(&store.root().join("layers")).is_empty());
        drop(store);
        rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn layers_are_applied_by_many_threads() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for number in 0..6u8 {
            let home = &home;
            scope.spawn(move || {
                for round in 0..6u8 {
                    // Pairs of threads apply the same layer at the same time.
                    let data = vec![number / 2, round];
                    let layer = home.apply(&tar(&[file("f", &data)]), None).unwrap();
                    let files = home.files(&layer);
                    assert_eq!(std::fs::read(files.join("f")).unwrap(), data);
                }
            });
        }
    });
    assert_eq!(names(&home.store.root().join("layers")).len(), 18);
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn a_layer_that_was_tampered_with_is_not_written() {
    let home = Home::new();
    let layer = home.apply(&tar(&[file("f", b"content")]), None).unwrap();
    std::fs::write(home.files(&layer).join("f"), "CONTENT").unwrap();
    let mut out = Vec::new();
    assert!(home.store.layers().write_tar(layer.diff_id, &mut out).is_err());
}
