//! Hostile archives: whatever they try, nothing outside the directory they are extracted into is
//! read, made, changed or removed. Every archive of a generated corpus goes through every way in:
//! as a layer, as an import, inside a docker-archive, and by `cp` into a container's tree that
//! holds hostile links itself.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod support;

use model::image::ImageDraft;
use std::os::fd::AsFd;
use store::archive::{self, WriteOptions};
use support::corpus::{Sentinel, corpus, no_overlay_steering, streams};
use support::*;

#[test]
fn nothing_outside_a_layer_is_touched() {
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    let attacks = corpus(&sentinel.dir);
    assert!(attacks.len() >= 350, "{}", attacks.len());
    let mut wrong = Vec::new();
    for attack in &attacks {
        let lease = home.store.lease();
        let done = home.store.layers().apply(&lease, &mut &attack.tar[..], None);
        sentinel.check(&home, &attack.name);
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", attack.name);
        if done.is_err() != attack.refused {
            wrong.push(format!("{}: {:?}", attack.name, done.as_ref().map(|layer| layer.entries)));
        }
        match done {
            Err(_) => {}
            Ok(layer) => {
                let files = home.store.root().join("layers").join(layer.diff_id.hex()).join("fs");
                no_overlay_steering(&files, &attack.name);
                let mut again = Vec::new();
                home.store.layers().write_tar(layer.diff_id, &mut again).unwrap();
                assert!(again == attack.tar, "{}: other bytes", attack.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    home.store.gc().unwrap();
    sentinel.check(&home, "collection");
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
}

#[test]
fn nothing_outside_is_touched_by_import_and_load() {
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    for attack in corpus(&sentinel.dir) {
        let draft = ImageDraft::default();
        let done = home.store.images().import(&mut &attack.tar[..], "test", &draft);
        assert_eq!(done.is_err(), attack.refused, "import {}", attack.name);
        // The attack as the archive itself, and as a layer in an archive.
        let _ = home.store.images().load(&mut &attack.tar[..], &mut |_| {});
        let outer = tar(&[file("layer.tar", &attack.tar), file("manifest.json", b"[]")]);
        let loaded = home.store.images().load(&mut &outer[..], &mut |_| {});
        // A few bytes that are no header are no layer either, but a file that nobody names.
        let is_layer = !attack.name.starts_with("cut at");
        assert!(!is_layer || loaded.is_err() == attack.refused, "load {}", attack.name);
        sentinel.check(&home, &attack.name);
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", attack.name);
    }
}

#[test]
fn nothing_outside_a_container_is_touched_by_cp() {
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    for attack in corpus(&sentinel.dir) {
        for no_overwrite_dir_non_dir in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let target = sentinel.dir.to_str().unwrap();
            std::os::unix::fs::symlink(target, root.path().join("a")).unwrap();
            std::os::unix::fs::symlink(target, root.path().join("x")).unwrap();
            std::os::unix::fs::symlink("../../../../../../../..", root.path().join("d")).unwrap();
            let fd = std::fs::File::open(root.path()).unwrap();
            let options = WriteOptions { no_overwrite_dir_non_dir, ..WriteOptions::default() };
            for place in ["/", "/d", "d/../d/."] {
                let tar = &mut &attack.tar[..];
                // Refused or contained: both are fine here.
                let _ = archive::write(fd.as_fd(), place, tar, options);
                sentinel.check(&home, &attack.name);
            }
        }
    }
}

#[test]
fn bombs_are_stopped() {
    let home = Home::new();
    let lease = home.store.lease();
    let apply = |bytes: &[u8]| home.store.layers().apply(&lease, &mut &bytes[..], None);
    // Zeros behind the end of the archive, and in a mark that has no file.
    let mut trailer = tar(&[file("a", b"x")]);
    trailer.resize(80 << 20, 0);
    assert!(apply(&gzip(&trailer)).is_err());
    assert!(apply(&gzip(&tar(&[file(".wh.a", &vec![0; 4 << 20])]))).is_err());
    // Entries that replace each other for ever.
    let mut many: Vec<u8> = file("a", b"x").bytes().repeat(10_002);
    many.extend_from_slice(&[0; 1024]);
    let error = apply(&gzip(&many)).unwrap_err();
    assert!(error.to_string().contains("replaces"), "{error}");
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn damaged_streams_are_refused_or_harmless() {
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    let plain = small_root();
    let streams = streams(&plain);
    assert!(streams.len() >= 100, "{}", streams.len());
    for stream in streams {
        let lease = home.store.lease();
        let done = home.store.layers().apply(&lease, &mut &stream.tar[..], None);
        assert!(done.is_err() || !stream.refused, "{}: was accepted", stream.name);
        if let Ok(layer) = done {
            assert_eq!(layer.diff_id, sha256(&plain), "{}", stream.name);
        }
        sentinel.check(&home, &stream.name);
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", stream.name);
    }
}
