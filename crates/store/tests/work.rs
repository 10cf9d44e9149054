//! Trees that builds work on become layers where they lie, and give back the same tar.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use model::{ContainerId, Digest};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use store::record::{Batch, Durability};
use store::{LayerOptions, Lease, Store, Work, kept};

fn open(home: &tempfile::TempDir) -> Store {
    Store::open(home.path(), store::Options::default()).unwrap()
}

/// A path by which this process reaches the tree behind a descriptor.
fn path(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn change(work: Work, lease: &Lease, act: impl FnOnce(&PathBuf)) -> Option<Digest> {
    let root = work.root().unwrap();
    act(&path(&root));
    drop(root);
    work.commit(lease, LayerOptions::default()).unwrap().map(|layer| layer.diff_id)
}

fn names_of(store: &Store, layer: Digest) -> Vec<String> {
    let mut tar = Vec::new();
    store.layers().write_tar(layer, &mut tar).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let names = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn a_tree_becomes_a_layer_and_the_layer_the_same_tar() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    let base = change(store.work(&[]).unwrap(), &lease, |root| {
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/a"), "one").unwrap();
        fs::write(root.join("etc/b"), "two").unwrap();
        fs::hard_link(root.join("etc/b"), root.join("etc/c")).unwrap();
        symlink("a", root.join("etc/link")).unwrap();
    })
    .unwrap();
    let top = change(store.work(&[base]).unwrap(), &lease, |root| {
        assert_eq!(fs::read_to_string(root.join("etc/link")).unwrap(), "one");
        fs::remove_file(root.join("etc/a")).unwrap();
        fs::write(root.join("etc/d"), vec![7; 300_000]).unwrap();
        fs::set_permissions(root.join("etc/d"), fs::Permissions::from_mode(0o4755)).unwrap();
    })
    .unwrap();
    assert_eq!(names_of(&store, base), ["etc/", "etc/a", "etc/b", "etc/c", "etc/link"]);
    assert_eq!(names_of(&store, top), ["etc/", "etc/.wh.a", "etc/d"]);
    let view = store.view(&[base, top]).unwrap();
    let seen = path(&view);
    assert!(!seen.join("etc/a").exists());
    assert_eq!(fs::metadata(seen.join("etc/d")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(seen.join("etc/b")).unwrap().nlink(), 2);
    fs::write(seen.join("etc/x"), "").unwrap_err();
    // The same tar taken in from outside is the same layer.
    let mut tar = Vec::new();
    store.layers().write_tar(top, &mut tar).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = open(&other);
    let taken = other.layers().apply(&other.lease(), &mut tar.as_slice(), Some(top)).unwrap();
    assert_eq!(taken, store.layers().find(top).unwrap().unwrap());
}

#[test]
fn nothing_changed_is_no_layer_and_dates_have_a_limit() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    assert_eq!(change(store.work(&[]).unwrap(), &lease, |_| ()), None);
    let dated = |text: &str| {
        let work = store.work(&[]).unwrap();
        let root = work.root().unwrap();
        fs::write(path(&root).join("file"), text).unwrap();
        drop(root);
        let options = LayerOptions { latest_mtime: Some(1_000_000), ..LayerOptions::default() };
        work.commit(&lease, options).unwrap().unwrap().diff_id
    };
    let first = dated("x");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(first, dated("x"));
    assert_ne!(first, dated("y"));
}

#[test]
fn a_changed_root_is_told() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    let layer = change(store.work(&[]).unwrap(), &lease, |root| {
        fs::set_permissions(root.join("."), fs::Permissions::from_mode(0o711)).unwrap();
    })
    .unwrap();
    assert_eq!(names_of(&store, layer), ["./"]);
    let work = store.work(&[layer]).unwrap();
    let root = work.root().unwrap();
    assert_eq!(fs::metadata(path(&root).join(".")).unwrap().mode() & 0o777, 0o711);
}

#[test]
fn a_container_s_changes_are_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    let base = change(store.work(&[]).unwrap(), &lease, |root| {
        fs::write(root.join("a"), "one").unwrap();
    })
    .unwrap();
    let id = ContainerId::from_bytes([7; 32]);
    let snapshot = store.snapshots().create_on(id, &[base]).unwrap();
    fs::write(snapshot.upper.join("b"), "two").unwrap();
    let layer = store.layers().take(&lease, id, LayerOptions::default()).unwrap().unwrap();
    assert_eq!(names_of(&store, layer.diff_id), ["b"]);
    assert!(store.snapshots().list().unwrap().is_empty());
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_kept_is_spared_until_released() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    let layer = change(store.work(&[]).unwrap(), &lease, |root| {
        fs::write(root.join("a"), "one").unwrap();
    })
    .unwrap();
    let batch = kept::keep(Batch::new(), "mine", &[layer]);
    store.records().commit(batch, Durability::Relaxed).unwrap();
    drop(lease);
    store.gc().unwrap();
    let mut text = String::new();
    let view = store.view(&[layer]).unwrap();
    fs::File::open(path(&view).join("a")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one");
    drop(view);
    let batch = kept::release(Batch::new(), "mine");
    store.records().commit(batch, Durability::Relaxed).unwrap();
    assert_eq!(store.gc().unwrap().layers, 1);
}

#[test]
fn what_was_made_to_mount_upon_is_no_change() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let lease = store.lease();
    let base = change(store.work(&[]).unwrap(), &lease, |root| {
        fs::create_dir_all(root.join("etc/kept")).unwrap();
    })
    .unwrap();
    let work = store.work(&[base]).unwrap();
    let root = work.root().unwrap();
    let seen = path(&root);
    fs::write(seen.join("etc/hosts"), "").unwrap();
    fs::create_dir_all(seen.join("run/secrets")).unwrap();
    fs::write(seen.join("run/secrets/x"), "").unwrap();
    fs::create_dir_all(seen.join("srv/cache")).unwrap();
    fs::write(seen.join("srv/cache/full"), "mine").unwrap();
    drop(root);
    let mounted = ["/etc/hosts", "/run/secrets/x", "/srv/cache", "/etc/kept", "/not/there"];
    let mounted = mounted.map(str::to_owned).to_vec();
    let options = LayerOptions { mounted, ..LayerOptions::default() };
    let layer = work.commit(&lease, options).unwrap().unwrap();
    assert_eq!(names_of(&store, layer.diff_id), ["srv/", "srv/cache/", "srv/cache/full"]);
}
