//! Images: import, save, load, names, removal by Docker's rules, history, commit, collection, and
//! what a killed process leaves.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod support;

use model::error::HasKind;
use model::image::{ImageDraft, Removed};
use model::{Digest, ErrorKind, ImageRef};
use std::io::Read;
use std::os::unix::fs::symlink as make_symlink;
use store::image::{ImageUse, RemoveOptions};
use support::*;
use wire::oci::image::{ImageConfig, RunConfig};

const FREE: &dyn Fn(Digest) -> Option<ImageUse> = &|_| None;
const FORCE: RemoveOptions = RemoveOptions { force: true, prune_parents: true };
const GENTLE: RemoveOptions = RemoveOptions { force: false, prune_parents: true };

fn name(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

fn shown(removed: &[Removed]) -> Vec<String> {
    removed
        .iter()
        .map(|removed| match removed {
            Removed::Untagged(name) => format!("untagged {name}"),
            Removed::Deleted(id) => format!("deleted {}", id.short()),
        })
        .collect()
}

#[test]
fn an_import_is_an_image_after_a_restart_as_well() {
    let home = Home::new();
    let draft = ImageDraft {
        reference: "busy:1".into(),
        message: "first".into(),
        changes: vec!["CMD [\"sh\"]".into(), "ENV A=b".into()],
        ..ImageDraft::default()
    };
    let tar = small_root();
    let id = home.store.images().import(&mut &gzip(&tar)[..], "-", &draft).unwrap();
    let check = |home: &Home| {
        let image = home.store.images().resolve("busy:1").unwrap();
        assert_eq!(image.id, id);
        assert_eq!(image.diff_ids, [sha256(&tar)]);
        assert_eq!(image.chain(), [sha256(&tar)]);
        assert_eq!(image.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.config.comment.as_deref(), Some("first"));
        assert_eq!((image.config.os.as_str(), image.refs.len()), ("linux", 1));
        assert!(image.size > 100_000 && image.created.0 > 0 && image.tagged_at.0 > 0);
        let config = home.store.images().config_bytes(id).unwrap();
        assert_eq!(sha256(&config), id);
        let history = home.store.images().history("busy:1").unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!((history[0].id, history[0].size_bytes), (Some(id), image.size));
    };
    check(&home);
    check(&home.reopen());
}

#[test]
fn save_and_load_give_the_same_image() {
    let home = Home::new();
    let id = home.import(&small_root(), "busy:1");
    home.store.images().tag("busy:1", &name("other.host:5000/team/busy:2")).unwrap();
    let second = home.import(&tar(&[file("x", b"y")]), "second");
    let saved = home.save(&["busy:1", "other.host:5000/team/busy:2", "second"]);
    assert_eq!(saved, home.save(&["busy:1", "other.host:5000/team/busy:2", "second"]));
    let files = listing(&saved);
    for want in ["index.json", "manifest.json", "oci-layout", "repositories"] {
        assert!(files.iter().any(|file| file == want), "{want} in {files:?}");
    }
    assert!(files.contains(&format!("blobs/sha256/{}", id.hex())));

    let zstd = zstd::encode_all(&saved[..], 1).unwrap();
    let (mut xz, mut bzip2) = (Vec::new(), Vec::new());
    liblzma::bufread::XzEncoder::new(&saved[..], 0).read_to_end(&mut xz).unwrap();
    let level = bzip2::Compression::fast();
    bzip2::bufread::BzEncoder::new(&saved[..], level).read_to_end(&mut bzip2).unwrap();
    for archive in [saved.clone(), gzip(&saved), zstd, xz, bzip2] {
        let other = Home::new();
        let mut reports = Vec::new();
        let loaded = other
            .store
            .images()
            .load(&mut &archive[..], &mut |progress| reports.push(progress))
            .unwrap();
        assert_eq!(loaded.iter().map(|image| image.id).collect::<Vec<_>>(), [id, second]);
        assert_eq!(loaded[0].refs.len(), 2);
        assert!(reports.iter().any(|report| report.done == report.total && report.total > 0));
        let image = other.store.images().resolve("other.host:5000/team/busy:2").unwrap();
        assert_eq!(image.id, id);
        assert_eq!(other.store.images().resolve("second:latest").unwrap().id, second);
        assert_eq!(other.save(&["busy:1", "other.host:5000/team/busy:2", "second"]), saved);
        // Again: everything is known already.
        let again = other.store.images().load(&mut &archive[..], &mut |_| {}).unwrap();
        assert_eq!(again[0].id, id);
        assert_eq!(other.tmp(), Vec::<String>::new());
    }
}

/// An archive in other tools' ways: from the image's own parts.
fn parts(home: &Home, id: Digest) -> (Vec<u8>, Vec<u8>) {
    let config = home.store.images().config_bytes(id).unwrap();
    let layer = home.store.images().record(id).unwrap().diff_ids[0];
    let mut tar = Vec::new();
    home.store.layers().write_tar(layer, &mut tar).unwrap();
    (config, tar)
}

#[test]
fn archives_of_other_tools_are_loaded() {
    let source = Home::new();
    let id = source.import(&small_root(), "busy:1");
    let (config, layer) = parts(&source, id);
    let packed = gzip(&layer);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes).hex());

    // docker save before 25: configuration beside directories, equal layers linked.
    let manifest = format!(
        r#"[{{"Config":"{}.json","RepoTags":["old:1"],"Layers":["aaaa/layer.tar"]}}]"#,
        id.hex()
    );
    let old = tar(&[
        dir("aaaa/"),
        file("aaaa/VERSION", b"1.0"),
        file("aaaa/json", b"{\"id\":\"aaaa\"}"),
        symlink("aaaa/layer.tar", "../bbbb/layer.tar"),
        file("bbbb/layer.tar", &layer),
        file(&format!("{}.json", id.hex()), &config),
        file("manifest.json", manifest.as_bytes()),
        file("repositories", b"{\"old\":{\"1\":\"aaaa\"}}"),
    ]);

    // An OCI layout: gzip layer, nested index, other platforms beside.
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
        "digest":"{id}","size":{}}},"layers":[{{"mediaType":"x","digest":"{}","size":{}}}]}}"#,
        config.len(),
        sha256(&packed),
        packed.len()
    );
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let oci_manifest = "application/vnd.oci.image.manifest.v1+json";
    let nested = format!(
        r#"{{"schemaVersion":2,"manifests":[
        {{"mediaType":"{oci_manifest}","digest":"{}","size":3,
          "platform":{{"os":"linux","architecture":"s390x"}}}},
        {{"mediaType":"{oci_manifest}","digest":"{}","size":{},
          "platform":{{"os":"linux","architecture":"{arch}"}}}}]}}"#,
        sha256(b"absent"),
        sha256(manifest.as_bytes()),
        manifest.len()
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{
        "mediaType":"application/vnd.oci.image.index.v1+json","digest":"{}","size":{},
        "annotations":{{"io.containerd.image.name":"docker.io/library/oci:1",
        "org.opencontainers.image.ref.name":"1"}}}}]}}"#,
        sha256(nested.as_bytes()),
        nested.len()
    );
    let oci = tar(&[
        file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        file("index.json", index.as_bytes()),
        file(&blob(&packed), &packed),
        file(&blob(&config), &config),
        file(&blob(manifest.as_bytes()), manifest.as_bytes()),
        file(&blob(nested.as_bytes()), nested.as_bytes()),
    ]);
    for (archive, reference) in [(old, "old:1"), (oci, "oci:1")] {
        let home = Home::new();
        let loaded = home.store.images().load(&mut &archive[..], &mut |_| {}).unwrap();
        assert_eq!((loaded[0].id, loaded[0].refs[0].familiar().as_str()), (id, reference));
        assert_eq!(home.store.images().resolve(reference).unwrap().id, id);
    }
}

#[test]
fn archives_from_before_manifests_are_loaded() {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let lower = small_root();
    let upper = tar(&[file("new", b"x")]);
    let json = format!(
        r#"{{"id":"{two}","parent":"{one}","created":"2015-01-01T00:00:00Z","os":"linux",
        "architecture":"amd64","config":{{"Cmd":["sh"]}},"container_config":{{"Cmd":["/bin/sh",
        "-c","touch new"]}},"Size":1}}"#
    );
    let archive = tar(&[
        file(&format!("{two}/json"), json.as_bytes()),
        file(&format!("{two}/layer.tar"), &upper),
        file(&format!("{one}/json"), format!(r#"{{"id":"{one}"}}"#).as_bytes()),
        file(&format!("{one}/layer.tar"), &lower),
        file("repositories", format!(r#"{{"old":{{"1":"{two}"}}}}"#).as_bytes()),
    ]);
    let home = Home::new();
    home.store.images().load(&mut &archive[..], &mut |_| {}).unwrap();
    let image = home.store.images().resolve("old:1").unwrap();
    assert_eq!(image.diff_ids, [sha256(&lower), sha256(&upper)]);
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert!(!image.config.extra.contains_key("parent"));
    let history = home.store.images().history("old:1").unwrap();
    assert_eq!((history[0].created_by.as_str(), history.len()), ("/bin/sh -c touch new", 2));
    // A chain that ends nowhere, or in itself.
    for parent in ["3".repeat(64), two.clone(), "../x".to_owned()] {
        let json = format!(r#"{{"id":"{two}","parent":"{parent}"}}"#);
        let archive = tar(&[
            file(&format!("{two}/json"), json.as_bytes()),
            file(&format!("{two}/layer.tar"), &upper),
            file("repositories", format!(r#"{{"bad":{{"1":"{two}"}}}}"#).as_bytes()),
        ]);
        assert!(home.store.images().load(&mut &archive[..], &mut |_| {}).is_err(), "{parent}");
    }
}

#[test]
fn archives_that_lie_are_refused_and_change_nothing() {
    let source = Home::new();
    let id = source.import(&small_root(), "busy:1");
    let (config, layer) = parts(&source, id);
    let other = tar(&[file("evil", b"x")]);
    let manifest = |layer: &str| {
        format!(r#"[{{"Config":"c","RepoTags":["evil:1"],"Layers":[{layer}]}}]"#).into_bytes()
    };
    let with = |config: &[u8], layer: &[u8], manifest: &[u8]| {
        tar(&[file("c", config), file("l", layer), file("manifest.json", manifest)])
    };
    let wrong_blob = format!("blobs/sha256/{}", sha256(b"other").hex());
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],
        "config":{"mediaType":"x","digest":"x","size":1}}"#;
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":
        "application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}]}}"#,
        sha256(both),
        both.len()
    );
    let cases = [
        ("other layer", with(&config, &other, &manifest("\"l\""))),
        ("no layer", with(&config, &layer, &manifest(""))),
        ("twice", with(&config, &layer, &manifest("\"l\",\"l\""))),
        ("absent layer", with(&config, &layer, &manifest("\"m\""))),
        ("absent config", with(&config, &layer, br#"[{"Config":"x","Layers":["l"]}]"#)),
        ("no JSON", with(&config, &layer, b"[{]")),
        (
            "bad name",
            with(&config, &layer, br#"[{"Config":"c","RepoTags":["../x:1"],"Layers":["l"]}]"#),
        ),
        ("config no JSON", with(b"{", &layer, &manifest("\"l\""))),
        (
            "circle",
            tar(&[symlink("c", "d"), symlink("d", "c"), file("manifest.json", &manifest(""))]),
        ),
        ("blob", tar(&[file(&wrong_blob, &layer), file("manifest.json", b"[]")])),
        ("document", tar(&[file(&wrong_blob, b"{}"), file("manifest.json", b"[]")])),
        (
            "both kinds",
            tar(&[
                file("index.json", index.as_bytes()),
                file(&format!("blobs/sha256/{}", sha256(both).hex()), both),
            ]),
        ),
        ("nothing", tar(&[file("x", b"y")])),
        ("binary", tar(&[file("x", &vec![1; 9 << 20])])),
    ];
    let home = Home::new();
    for (what, archive) in cases {
        let error = home.store.images().load(&mut &archive[..], &mut |_| {}).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
        assert!(home.store.images().list().unwrap().is_empty(), "{what}");
    }
    home.store.gc().unwrap();
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn names_and_ids_resolve_as_docker_s_do() {
    let home = Home::new();
    let id = home.import(&small_root(), "busy:1");
    let images = home.store.images();
    let digest = sha256(b"a manifest");
    images.record_digest(id, &name(&format!("busy@{digest}"))).unwrap();
    let hex = id.hex();
    for query in [
        "busy:1".to_owned(),
        "docker.io/library/busy:1".to_owned(),
        format!("busy@{digest}"),
        format!("busy:whatever@{digest}"),
        hex.clone(),
        id.to_string(),
        hex[..12].to_owned(),
        format!("sha256:{}", &hex[..7]),
    ] {
        assert_eq!(images.resolve(&query).unwrap().id, id, "{query}");
    }
    for query in ["busy", "busy:2", "other:1", &format!("other@{digest}"), &sha256(b"no").hex()] {
        assert_eq!(images.resolve(query).unwrap_err().kind(), ErrorKind::NotFound, "{query}");
    }
    let error = images.resolve("nope").unwrap_err();
    assert_eq!(error.to_string(), "No such image: nope:latest");
    // A name wins over the beginning of an id.
    let other = home.import(&tar(&[file("x", b"y")]), &hex[..6]);
    assert_eq!(images.resolve(&hex[..6]).unwrap().id, other);
    // With seventeen images two share their first digit.
    for n in 0..17u8 {
        home.import(&tar(&[file("n", &[n])]), "");
    }
    let ambiguous = "0123456789abcdef"
        .chars()
        .any(|c| images.resolve(&c.to_string()).is_err_and(|e| e.kind() == ErrorKind::Invalid));
    assert!(ambiguous);
    // Names move.
    images.tag(&other.to_string(), &name("busy:1")).unwrap();
    assert_eq!(images.resolve("busy:1").unwrap().id, other);
    assert!(images.record(id).unwrap().refs.is_empty());
}

#[test]
fn a_repository_with_a_tag_is_asked_for_what_the_image_is_too() {
    let home = Home::new();
    let id = home.import(&small_root(), "busy:1");
    let images = home.store.images();
    // No manifest came with it: it is known by the one that it is saved with.
    let plain = images.plain(&images.record(id).unwrap()).unwrap();
    let path = format!("blobs/sha256/{}", plain.digest.hex());
    assert!(listing(&home.save(&["busy:1"])).contains(&path), "{path}");
    images.tag("busy:1", &name("busy:2")).unwrap();
    images.tag("busy:1", &name("keep:1")).unwrap();
    for query in [format!("busy@{id}"), format!("busy:2@{}", plain.digest), format!("keep@{id}")] {
        assert_eq!(images.resolve(&query).unwrap().id, id, "{query}");
    }
    for query in [format!("other@{id}"), format!("busy@{}", sha256(b"else"))] {
        assert_eq!(images.resolve(&query).unwrap_err().kind(), ErrorKind::NotFound, "{query}");
    }
    // What is removed by it are the repository's tags, and the image with the last one.
    let removed = images.remove(&format!("busy@{id}"), GENTLE, FREE).unwrap();
    assert_eq!(shown(&removed), ["untagged busy:1", "untagged busy:2"]);
    let removed = images.remove(&format!("keep@{}", plain.digest), GENTLE, FREE).unwrap();
    assert_eq!(
        shown(&removed)[..2],
        ["untagged keep:1".to_owned(), format!("deleted {}", id.short())]
    );
}

#[test]
fn removal_follows_docker_s_rules() {
    let home = Home::new();
    let images = home.store.images();
    let id = home.import(&small_root(), "a:1");
    let layer = sha256(&small_root());
    images.tag("a:1", &name("a:2")).unwrap();
    images.tag("a:1", &name("b:1")).unwrap();
    // By name: only the name, while there are others, whoever uses the image.
    let user = |running| move |_| Some(ImageUse { container: container(1), running });
    let removed = images.remove("a:2", GENTLE, &user(true)).unwrap();
    assert_eq!(shown(&removed), ["untagged a:2"]);
    // By id with several repositories: only by force.
    let error = images.remove(&id.short(), GENTLE, FREE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("(must be forced) - image is referenced in multiple"));
    // A running container holds it against force.
    let error = images.remove(&id.hex(), FORCE, &user(true)).unwrap_err();
    assert!(error.to_string().contains("(cannot be forced) - image is being used by running"));
    images.remove("b:1", GENTLE, FREE).unwrap();
    // The last name with a container behind it.
    let error = images.remove("a:1", GENTLE, &user(false)).unwrap_err();
    assert!(
        error.to_string().contains("unable to remove repository reference \"a:1\" (must force)")
    );
    let error = images.remove(&id.hex(), GENTLE, &user(false)).unwrap_err();
    assert!(error.to_string().contains("(must be forced) - image is being used by stopped"));
    // Digest names go with the last tag of their repository.
    let digest = format!("a@{}", sha256(b"m"));
    images.record_digest(id, &name(&digest)).unwrap();
    let removed = images.remove("a:1", GENTLE, FREE).unwrap();
    let (id, layer) = (id.short(), layer.short());
    assert_eq!(
        shown(&removed),
        [
            "untagged a:1".to_owned(),
            format!("untagged {digest}"),
            format!("deleted {id}"),
            format!("deleted {layer}")
        ]
    );
    assert!(images.list().unwrap().is_empty());
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
    assert_eq!(names(&home.store.root().join("blobs/sha256")), Vec::<String>::new());
    drop(images);
    let home = home.reopen();
    assert!(home.store.images().list().unwrap().is_empty());
}

#[test]
fn a_snapshot_keeps_its_layers_when_the_image_is_forced_away() {
    let home = Home::new();
    let id = home.import(&small_root(), "a");
    home.store.snapshots().create(container(1), Some(id)).unwrap();
    let user = |_| Some(ImageUse { container: container(1), running: false });
    let removed = home.store.images().remove("a", FORCE, &user).unwrap();
    assert_eq!(
        shown(&removed),
        ["untagged a:latest".to_owned(), format!("deleted {}", id.short())]
    );
    assert!(home.store.snapshots().open(container(1)).unwrap().lower[0].join("bin/sh").exists());
    home.store.snapshots().remove(container(1)).unwrap();
    assert_eq!(home.store.gc().unwrap().layers, 1);
}

#[test]
fn commit_stacks_a_layer_and_children_hold_their_parent() {
    let home = Home::new();
    let images = home.store.images();
    let base = home.import(&small_root(), "base");
    let snapshot = home.store.snapshots().create(container(1), Some(base)).unwrap();
    std::fs::write(snapshot.upper.join("new"), "content").unwrap();
    std::fs::create_dir(snapshot.upper.join("etc")).unwrap();
    make_whiteout(&snapshot.upper.join("etc/passwd"));
    let run = RunConfig { cmd: Some(vec!["x".into()]), ..RunConfig::default() };
    let draft = ImageDraft {
        reference: "child:1".into(),
        author: "me".into(),
        message: "why".into(),
        changes: vec!["ENV A=1".into()],
        ..ImageDraft::default()
    };
    let child = images.commit(container(1), run, "/bin/sh -c x", &[], &draft).unwrap();
    let image = images.resolve("child:1").unwrap();
    assert_eq!((image.id, image.parent, image.diff_ids.len()), (child, Some(base), 2));
    let config: ImageConfig = serde_json::from_slice(&images.config_bytes(child).unwrap()).unwrap();
    assert_eq!(config.config.env.unwrap(), ["A=1"]);
    assert_eq!(config.config.cmd.unwrap(), ["x"]);
    let history = images.history("child:1").unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (history[0].created_by.as_str(), history[0].comment.as_str()),
        ("/bin/sh -c x", "why")
    );
    assert_eq!((history[0].size_bytes, history[1].id), (7, Some(base)));
    // Nothing written: no layer.
    home.store.snapshots().create(container(2), Some(child)).unwrap();
    let same =
        images.commit(container(2), RunConfig::default(), "", &[], &ImageDraft::default()).unwrap();
    let same = images.record(same).unwrap();
    assert_eq!((same.diff_ids.len(), same.config.history[2].empty_layer), (2, true));

    let error = images.remove(&base.hex(), FORCE, FREE).unwrap_err();
    assert!(error.to_string().contains("image has dependent child images"), "{error}");
    for id in [1, 2] {
        home.store.snapshots().remove(container(id)).unwrap();
    }
    // Names of the base go; the image stays for its children and goes with the last one.
    images.untag(&name("base:latest")).unwrap();
    images.remove(&same.id.hex(), GENTLE, FREE).unwrap();
    let removed = images.remove("child:1", GENTLE, FREE).unwrap();
    assert_eq!(removed.len(), 1 + 1 + 1 + 1 + 1, "{:?}", shown(&removed));
    assert!(images.list().unwrap().is_empty());
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
}

fn make_whiteout(path: &std::path::Path) {
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::empty(), 0).unwrap();
}

#[test]
fn leases_spare_what_no_image_names_yet() {
    let home = Home::new();
    let lease = home.store.lease();
    let layer = home.store.layers().apply(&lease, &mut &small_root()[..], None).unwrap();
    assert_eq!(home.store.gc().unwrap(), store::Reclaimed::default());
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.diff_id
    );
    let id = home.store.images().put(&lease, config.as_bytes(), None).unwrap();
    assert_eq!(id, sha256(config.as_bytes()));
    drop(lease);
    assert_eq!(home.store.gc().unwrap(), store::Reclaimed::default());
    assert!(home.store.disk_usage().unwrap().layers > 100_000);
    home.store.images().remove(&id.hex(), GENTLE, FREE).unwrap();
    let lease = home.store.lease();
    home.store.layers().apply(&lease, &mut &small_root()[..], None).unwrap();
    drop(lease);
    let reclaimed = home.store.gc().unwrap();
    assert_eq!((reclaimed.layers, reclaimed.blobs), (1, 0));
    assert!(reclaimed.bytes > 100_000);
    // An image needs its layers.
    let lease = home.store.lease();
    assert!(home.store.images().put(&lease, config.as_bytes(), None).is_err());
}

#[test]
fn a_process_that_died_in_the_middle_leaves_only_garbage_in_tmp() {
    let home = Home::new();
    home.import(&small_root(), "kept");
    // What it looks like in the middle of an unpack, of a snapshot and of a removal.
    let tmp = home.store.root().join("tmp");
    std::fs::create_dir_all(tmp.join("0123/fs/deep")).unwrap();
    std::fs::write(tmp.join("0123/fs/deep/file"), "half").unwrap();
    std::fs::write(tmp.join("blob"), "half").unwrap();
    make_symlink("/", tmp.join("link")).unwrap();
    let home = home.reopen();
    assert_eq!(home.tmp(), Vec::<String>::new());
    assert_eq!(home.store.images().resolve("kept").unwrap().refs.len(), 1);
    assert!(std::path::Path::new("/proc").exists());
}

/// Not a test of its own: the process that the next test kills while it takes things in.
#[test]
fn victim() {
    let Ok(root) = std::env::var("ESTIBA_TEST_VICTIM") else { return };
    let store = store::Store::open(root.as_ref(), store::Options::default()).unwrap();
    for round in 0u64.. {
        let records = store.records();
        let key = format!("{round:08}");
        records.put("rounds", &key, b"begun", store::record::Durability::Relaxed).unwrap();
        let many: Vec<Raw> =
            (0..40).map(|n| file(&format!("f{n}"), &round.to_le_bytes().repeat(100))).collect();
        let draft = ImageDraft { reference: format!("r:{round}"), ..ImageDraft::default() };
        let id = store.images().import(&mut &gzip(&tar(&many))[..], "-", &draft).unwrap();
        let container = model::ContainerId::from_bytes(*id.as_bytes());
        store.snapshots().create(container, Some(id)).unwrap();
        records.put("rounds", &key, b"done", store::record::Durability::Relaxed).unwrap();
        if round % 2 == 1 {
            store.snapshots().remove(container).unwrap();
            store.images().remove(&format!("r:{round}"), GENTLE, FREE).unwrap();
        }
    }
}

#[test]
fn a_killed_process_leaves_a_store_without_damage() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    let mut rounds = 0;
    for delay_ms in [90, 1300, 410, 730, 570, 940] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("ESTIBA_TEST_VICTIM", &root)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = store::Store::open(&root, store::Options::default()).unwrap();
        assert!(names(&root.join("tmp")).is_empty());
        let records = store.records().iter("rounds").unwrap();
        rounds += records.len();
        for (key, value) in &records {
            // Even rounds stay: what was said to be done is there and whole.
            let number: u64 = key.parse().unwrap();
            if value == b"done" && number.is_multiple_of(2) {
                let image = store.images().resolve(&format!("r:{number}")).unwrap();
                let mut out = Vec::new();
                store.layers().write_tar(image.diff_ids[0], &mut out).unwrap();
                let container = model::ContainerId::from_bytes(*image.id.as_bytes());
                assert!(store.snapshots().open(container).unwrap().lower[0].join("f9").exists());
            }
        }
        for container in store.snapshots().list().unwrap() {
            store.snapshots().remove(container).unwrap();
        }
        for image in store.images().list().unwrap() {
            store.images().remove(&image.id.hex(), FORCE, FREE).unwrap();
        }
        store.gc().unwrap();
        assert!(
            names(&root.join("layers")).is_empty() && names(&root.join("blobs/sha256")).is_empty()
        );
        for (key, _) in records {
            store.records().delete("rounds", &key, store::record::Durability::Immediate).unwrap();
        }
    }
    assert!(rounds > 6, "the victim did nothing: {rounds}");
}

#[test]
fn the_store_is_closed_to_everyone_else() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    home.import(&small_root(), "a");
    assert_eq!(home.store.root().metadata().unwrap().mode() & 0o7777, 0o700);
    for name in names(home.store.root()) {
        let mode = home.store.root().join(&name).metadata().unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    let second = store::Store::open(home.store.root(), store::Options::default());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);
}
