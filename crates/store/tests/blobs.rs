//! What travels: downloads that are cut off and go on, layers packed for a registry, and the
//! documents that registries know an image by.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use model::ImageRef;
use std::io::Read;
use store::image::{LayerBlob, Source};
use support::*;
use wire::oci::image::media;

#[test]
fn a_download_goes_on_where_it_was_cut_also_after_a_restart() {
    let home = Home::new();
    let blob = b"0123456789".repeat(1000);
    let digest = sha256(&blob);
    let download = home.store.downloads().begin(digest, 10_000).unwrap().unwrap();
    assert!(home.store.downloads().begin(digest, 10_000).unwrap().is_none(), "claimed twice");
    download.append(&blob[..4000]).unwrap();
    let mut cut = download.follow();
    download.end();
    assert!(cut.drain().unwrap_err().to_string().contains("cut off"));
    drop((cut, download));
    assert_eq!(home.store.gc().unwrap().bytes, 0, "a fresh download is not garbage");

    let home = home.reopen();
    let download = home.store.downloads().begin(digest, 10_000).unwrap().unwrap();
    assert_eq!((download.len(), download.resumed()), (4000, 4000));
    let mut follow = download.follow();
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        follow.read_to_end(&mut read).map(|_| read)
    });
    download.append(&blob[4000..]).unwrap();
    download.end();
    assert_eq!(reader.join().unwrap().unwrap(), blob);
    let lease = home.store.lease();
    lease.pin(digest);
    download.keep().unwrap();
    assert_eq!(home.store.blobs().open(digest).unwrap().unwrap().1, 10_000);
    assert_eq!(home.store.gc().unwrap().blobs, 0, "leased");
    drop(lease);
    assert_eq!(home.store.gc().unwrap().blobs, 1);
}

#[test]
fn bytes_that_are_not_the_promised_ones_are_refused() {
    let home = Home::new();
    let downloads = home.store.downloads();
    let digest = sha256(b"right");
    let download = downloads.begin(digest, 5).unwrap().unwrap();
    assert!(download.append(b"longer").is_err());
    download.append(b"wrong").unwrap();
    download.end();
    let error = download.follow().drain().unwrap_err().to_string();
    assert!(error.contains(&digest.to_string()), "{error}");
    download.discard().unwrap();
    let download = downloads.begin(digest, 5).unwrap().unwrap();
    assert!(download.is_empty());
    download.append(b"rig").unwrap();
    assert_eq!(downloads.forget().unwrap(), 0, "somebody is at it");
    drop(download);
    assert!(downloads.forget().unwrap() > 0);
    assert!(downloads.begin(digest, 5).unwrap().unwrap().is_empty());
}

#[test]
fn a_layer_is_packed_once_and_always_to_the_same_bytes() {
    let data: Vec<u8> = (0..9_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let layer = tar(&[file("data", &data)]);
    let pack = || {
        let home = Home::new();
        let id = home.import(&layer, "big:1");
        let diff_id = home.store.images().record(id).unwrap().diff_ids[0];
        let lease = home.store.lease();
        let form = home.store.layers().pack(&lease, diff_id).unwrap();
        let (mut blob, size) = home.store.blobs().open(form.digest).unwrap().unwrap();
        assert_eq!(size, form.size);
        let mut packed = Vec::new();
        blob.read_to_end(&mut packed).unwrap();
        (form, packed)
    };
    let (form, packed) = pack();
    assert_eq!(pack().0, form);
    assert_eq!(sha256(&packed), form.digest);
    assert_eq!(form.media_type, media::OCI_LAYER_GZIP);
    let mut gunzip = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gunzip.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || std::io::Write::write_all(&mut input, &packed));
    let plain = gunzip.wait_with_output().unwrap().stdout;
    feeding.join().unwrap().unwrap();
    assert!(plain == layer, "gzip(1) reads other bytes");
}

#[test]
fn what_registries_know_an_image_by_lives_as_long_as_the_image() {
    let home = Home::new();
    let id = home.import(&small_root(), "known:1");
    let images = home.store.images();
    let diff_id = images.record(id).unwrap().diff_ids[0];
    let manifest = br#"{"schemaVersion":2}"#;
    let form = {
        let lease = home.store.lease();
        let form = home.store.layers().pack(&lease, diff_id).unwrap();
        let digest = home.store.blobs().put_document(&lease, manifest).unwrap();
        let source = Source {
            digest,
            media_type: media::OCI_MANIFEST.into(),
            size: manifest.len() as u64,
            layers: vec![form.clone()],
        };
        let extra = LayerBlob { digest: sha256(b"x"), ..form.clone() };
        let lying = Source { layers: vec![form.clone(), extra], ..source.clone() };
        assert!(images.add_source(&lease, id, lying).is_err());
        images.add_source(&lease, id, source).unwrap();
        form
    };
    let name = ImageRef::parse(&format!("r.example/a/b@{}", sha256(manifest))).unwrap();
    images.record_digest(id, &name).unwrap();
    drop(images);
    let home = home.reopen();
    home.store.gc().unwrap();
    let images = home.store.images();
    assert_eq!(images.packed(diff_id).unwrap(), Some(form.clone()));
    assert_eq!(images.by_manifest(sha256(manifest)), Some(id));
    assert_eq!(images.repositories_with("r.example", form.digest), ["a/b"]);
    assert_eq!(home.store.blobs().document(sha256(manifest)).unwrap().unwrap(), manifest);
    // A new name keeps what is known.
    images.tag("known:1", &ImageRef::parse("other:2").unwrap()).unwrap();
    assert_eq!(images.record(id).unwrap().sources.len(), 1);
    let force = store::image::RemoveOptions { force: true, prune_parents: true };
    images.remove(&id.to_string(), force, &|_| None).unwrap();
    assert!(!home.store.blobs().contains(form.digest).unwrap());
    assert!(!home.store.blobs().contains(sha256(manifest)).unwrap());
}
