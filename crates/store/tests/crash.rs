//! Killed at any point, a store loses nothing that was promised and keeps nothing that nobody
//! needs.
//! The operations run in a process of their own, once to learn at which points it can be killed,
//! then once for each of them; what it leaves behind is opened again and looked through.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use model::{Digest, ImageRef};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use store::failpoint;
use store::image::{LayerBlob, RemoveOptions, Source};
use store::{Options, Store};
use support::*;
use wire::oci::image::{ImageConfig, RunConfig, media};

/// Names the directory of the child that is to be killed.
const CHILD: &str = "ESTIBA_TEST_STORE";

fn reference(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

/// A layer of some size with the name of what it is for.
fn layer(name: &str) -> Vec<u8> {
    let content: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    tar(&[dir("d/"), file(&format!("d/{name}"), &content), file("d/.wh.gone", b"")])
}

/// An archive to load, made once.
fn archive() -> Vec<u8> {
    let home = Home::new();
    home.import(&layer("loaded"), "loaded:1");
    home.save(&["loaded:1"])
}

/// Everything that changes a store, in an order that any part of it may have been done before.
fn script(store: &Store, archive: &[u8]) {
    store.images().load(&mut &archive[..], &mut |_| {}).unwrap();
    pull(store);
    let pulled = store.images().resolve("example.com/pulled:1").unwrap().id;
    if store.snapshots().open(container(1)).is_err() {
        store.snapshots().create(container(1), Some(pulled)).unwrap();
    }
    let upper = store.root().join("snapshots").join(container(1).to_string()).join("upper");
    std::fs::write(upper.join("written"), vec![7; 50_000]).unwrap();
    // The layer must be the same every time.
    let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    std::fs::File::options()
        .write(true)
        .open(upper.join("written"))
        .unwrap()
        .set_times(times)
        .unwrap();
    let draft = model::image::ImageDraft { reference: "committed:1".into(), ..Default::default() };
    let run = RunConfig::default();
    store.images().commit(container(1), run, "cmd", &[], &draft).unwrap();
    store.images().tag("committed:1", &reference("other:1")).unwrap();
    store.snapshots().remove(container(1)).unwrap();
    store
        .snapshots()
        .create(container(2), Some(pulled))
        .unwrap_or_else(|_| store.snapshots().open(container(2)).unwrap());
    let _ = store.images().remove("loaded:1", RemoveOptions::default(), &|_| None);
    store.gc().unwrap();
}

/// What a pull does, layer by layer, document by document.
fn pull(store: &Store) {
    let plain = layer("pulled");
    let packed = gzip(&plain);
    let (diff_id, digest) = (sha256(&plain), sha256(&packed));
    let lease = store.lease();
    lease.pin(digest);
    if !store.blobs().contains(digest).unwrap() || store.layers().find(diff_id).unwrap().is_none() {
        let download = store.downloads().begin(digest, packed.len() as u64).unwrap().unwrap();
        let have = usize::try_from(download.len()).unwrap();
        for piece in packed[have..].chunks(packed.len() / 3 + 1) {
            download.append(piece).unwrap();
        }
        download.end();
        let mut follow = download.follow();
        store.layers().apply(&lease, &mut follow, Some(diff_id)).unwrap();
        follow.drain().unwrap();
        download.keep().unwrap();
    }
    let mut config: ImageConfig = serde_json::from_str("{}").unwrap();
    config.rootfs.kind = "layers".into();
    config.rootfs.diff_ids = vec![diff_id.to_string()];
    let config = serde_json::to_vec(&config).unwrap();
    let id = store.images().put(&lease, &config, None).unwrap();
    let manifest = br#"{"schemaVersion":2}"#;
    let document = store.blobs().put_document(&lease, manifest).unwrap();
    let size = packed.len() as u64;
    let blob = LayerBlob { digest, media_type: media::OCI_LAYER_GZIP.into(), size };
    let (media_type, size) = (media::OCI_MANIFEST.into(), manifest.len() as u64);
    let source = Source { digest: document, media_type, size, layers: vec![blob] };
    store.images().add_source(&lease, id, source).unwrap();
    let name = format!("example.com/pulled@{document}");
    store.images().record_digest(id, &reference(&name)).unwrap();
    store.images().rename(id, &reference("example.com/pulled:1")).unwrap();
}

/// The process that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let archive = std::fs::read(dir.join("archive")).unwrap();
    let store = Store::open(&dir.join("root"), Options::default()).unwrap();
    script(&store, &archive);
}

/// Runs it in `dir`; whether it came to its end.
fn run(dir: &Path) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    child.env(CHILD, dir).env(failpoint::DIR, dir.join("points"));
    let out = child.output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() || out.status.code().is_none(), "{text}");
    out.status.success()
}

/// Bytes of the blocks below a directory, hard links once.
fn blocks(dir: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    let mut sum = 0;
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        if seen.insert(meta.ino()) {
            sum += meta.blocks() * 512;
        }
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    sum
}

/// Nothing that is named is missing, and nothing is there that is not needed.
fn look_through(store: &Store, at: &str) {
    let root = store.root();
    assert_eq!(support::names(&root.join("tmp")), Vec::<String>::new(), "{at}");
    store.gc().unwrap();
    let (mut layers, mut blobs) = (BTreeSet::new(), BTreeSet::new());
    for image in store.images().list().unwrap() {
        assert_eq!(sha256(&store.images().config_bytes(image.id).unwrap()), image.id, "{at}");
        blobs.insert(image.id.hex());
        for diff_id in &image.diff_ids {
            let mut tar = Vec::new();
            store.layers().write_tar(*diff_id, &mut tar).unwrap();
            assert_eq!(sha256(&tar), *diff_id, "{at}");
            layers.insert(diff_id.hex());
        }
        for source in &image.sources {
            let bytes = store.blobs().document(source.digest).unwrap();
            assert_eq!(bytes.map(|bytes| sha256(&bytes)), Some(source.digest), "{at}");
            blobs.insert(source.digest.hex());
            for layer in &source.layers {
                let (mut file, size) = store.blobs().open(layer.digest).unwrap().unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert_eq!((sha256(&bytes), size), (layer.digest, layer.size), "{at}");
                blobs.insert(layer.digest.hex());
            }
        }
        for name in image.names() {
            let found = store.images().resolve(&name.to_string()).unwrap();
            assert_eq!(found.id, image.id, "{at}");
        }
    }
    for id in store.snapshots().list().unwrap() {
        store.snapshots().open(id).unwrap();
        // Its layers are needed, whether or not an image still names them.
        let mut out = Vec::new();
        store.snapshots().export(id, &mut out).unwrap();
        let meta = std::fs::read(root.join("snapshots").join(id.to_string()).join("meta.json"));
        let meta: serde_json::Value = serde_json::from_slice(&meta.unwrap()).unwrap();
        let below = meta["layers"].as_array().cloned().unwrap_or_default();
        let hex = |text: &str| Digest::parse(text).unwrap().hex();
        layers.extend(below.iter().map(|layer| hex(layer.as_str().unwrap())));
    }
    let there = |dir: &str| support::names(&root.join(dir)).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(there("layers"), layers, "{at}");
    assert_eq!(there("blobs/sha256"), blobs, "{at}");
    let again = store.gc().unwrap();
    assert_eq!((again.layers, again.blobs), (0, 0), "{at}");
    honest(store, at);
}

/// What the store says it takes is what it takes.
fn honest(store: &Store, at: &str) {
    let said = store.disk_usage().unwrap().total();
    let parts = ["blobs/sha256", "downloads", "layers", "snapshots", "volumes", "tmp"];
    let have: u64 = parts.iter().map(|part| blocks(&store.root().join(part))).sum();
    // The directories of the parts themselves are there in an empty store too.
    let empty = parts.len() as u64 * 4096;
    assert!(said <= have && have - said <= empty + have / 50, "{at}: says {said}, has {have}");
}

/// Names and what they mean, when all is done.
fn outcome(store: &Store) -> Vec<(String, Vec<Digest>)> {
    let images = store.images().list().unwrap();
    let mut all: Vec<_> = images
        .iter()
        .flat_map(|image| image.names().map(|name| (name.to_string(), image.diff_ids.clone())))
        .collect();
    all.sort();
    all
}

/// A directory for one run, with the file that arms its points.
fn prepared(archive: &[u8], file: &str, content: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("archive"), archive).unwrap();
    std::fs::create_dir(dir.path().join("points")).unwrap();
    std::fs::write(dir.path().join("points").join(file), content).unwrap();
    dir
}

#[test]
fn a_store_that_is_killed_anywhere_recovers() {
    let archive = archive();
    let whole = prepared(&archive, "trace", "");
    assert!(run(whole.path()));
    let trace = std::fs::read_to_string(whole.path().join("points/trace")).unwrap();
    let points: Vec<&str> = trace.lines().collect();
    let kinds: BTreeSet<&str> = points.iter().copied().collect();
    assert!(kinds.len() >= 20, "{kinds:?}");
    let store = Store::open(&whole.path().join("root"), Options::default()).unwrap();
    look_through(&store, "without a crash");
    let want = outcome(&store);
    drop(store);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(point) = points.get(number) else { return };
                    killed_at(&archive, (number, point), &want);
                }
            });
        }
    });
}

fn killed_at(archive: &[u8], (number, point): (usize, &str), want: &[(String, Vec<Digest>)]) {
    let at = format!("killed at {number}: {point}");
    let dir = prepared(archive, "arm", &format!("{number} "));
    assert!(!run(dir.path()), "{at}: it was not");
    let store = Store::open(&dir.path().join("root"), Options::default()).unwrap();
    look_through(&store, &at);
    // Whatever was half done can be done as a whole.
    script(&store, archive);
    look_through(&store, &at);
    assert_eq!(outcome(&store), want, "{at}");
}
