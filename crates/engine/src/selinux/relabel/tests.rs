//! What is labelled, by data; and the walk, on file systems of this kernel, which keep the
//! attribute whether SELinux is there or not.

use super::*;
use model::draft::{BindDraft, Draft};
use model::image::ImageConfig;
use model::resolve::{Ask, Defaults, HostFacts, resolve};
use model::selinux::{Contexts, Ground, Level};
use model::{ContainerId, Digest};
use rustix::fs::RenameFlags;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

const FILES: &str = "u:o:f_t:s0:c1,c2";
const ALL: &str = "u:o:f_t:s0";

fn decided(labelled: bool, draft: &Draft) -> ContainerSpec {
    let config = ImageConfig { command: Some(vec!["sh".into()]), ..ImageConfig::default() };
    let contexts = Contexts::parse("process = \"u:r:c_t:s0\"\nfile = \"u:o:f_t:s0\"").unwrap();
    let ground = Ground { contexts, level: Level::of(1, 2).unwrap(), joined: Vec::new() };
    let resolved = resolve(&Ask {
        id: &ContainerId::from_bytes([0xcd; 32]),
        name: "web",
        draft,
        image: Digest::sha256([0; 32]),
        config: &config,
        defaults: &Defaults { shm_size_bytes: 64 << 20, ..Defaults::default() },
        facts: &HostFacts::default(),
        inherited: &[],
        selinux: labelled.then_some(&ground),
    });
    resolved.unwrap().spec
}

fn bind(source: &str, target: &str, relabel: Option<Relabel>) -> BindDraft {
    let (source, target) = (source.to_owned(), target.to_owned());
    BindDraft { source, target, relabel, ..BindDraft::default() }
}

fn planned(labelled: bool, network: NetworkMode) -> Vec<(String, String, bool)> {
    let mut draft = Draft::default();
    draft.host.network = network;
    draft.host.binds = vec![
        bind("/a", "/1", None),
        bind("/b", "/2", Some(Relabel::Shared)),
        bind("/c", "/3", Some(Relabel::Private)),
        bind("vol", "/4", None),
        bind("own", "/5", Some(Relabel::Private)),
        bind("plugin", "/6", None),
    ];
    draft.host.tmpfs.insert("/7".to_owned(), String::new());
    let spec = decided(labelled, &draft);
    let beneath = |root: &str| Source::Beneath { root: root.into(), path: "sub".to_owned() };
    let sources = [
        Source::Path("/a".into()),
        beneath("/b"),
        Source::Path("/c".into()),
        Source::Path("/data/volumes/vol/_data".into()),
        beneath("/data/volumes/own/_data"),
        Source::Path("/var/plugin".into()),
        Source::Memory,
    ];
    let etc = EtcFiles { hosts: Some("/c/hosts".into()), ..EtcFiles::default() };
    let all = plan(&spec, &sources, &etc, Path::new("/data/volumes"));
    all.into_iter().map(|one| (one.shown(), one.label, one.asked)).collect()
}

#[test]
fn what_a_container_owns_and_what_it_was_told_to_is_labelled() {
    let row = |path: &str, label: &str, asked| (path.to_owned(), label.to_owned(), asked);
    let mounted = [
        row("/b/sub", ALL, true),
        row("/c", FILES, true),
        row("/data/volumes/vol/_data", ALL, false),
        row("/data/volumes/own/_data/sub", FILES, true),
    ];
    let want = [&[row("/c/hosts", FILES, false)], &mounted[..]].concat();
    assert_eq!(planned(true, NetworkMode::Default), want);
    // The files are another's then, and that one goes on using them.
    let want = [&[row("/c/hosts", ALL, false)], &mounted[..]].concat();
    assert_eq!(planned(true, NetworkMode::Container("x".into())), want);
    assert_eq!(planned(false, NetworkMode::Default), []);
}

fn label_of(path: &Path) -> String {
    let mut bytes = [0u8; 100];
    let length = fs::lgetxattr(path, ATTRIBUTE, &mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).trim_end_matches('\0').to_owned()
}

fn relabelling(root: &Path, beneath: Option<&str>) -> Relabelling {
    let (root, beneath) = (root.to_owned(), beneath.map(str::to_owned));
    Relabelling { root, beneath, label: FILES.to_owned(), asked: true }
}

/// A directory to be labelled and one that is not, with a link from the one to the other.
fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    std::fs::create_dir_all(inside.join("deep/er")).unwrap();
    std::fs::create_dir_all(outside.join("dir")).unwrap();
    for file in [inside.join("deep/er/file"), outside.join("file"), outside.join("dir/file")] {
        std::fs::write(file, "").unwrap();
    }
    symlink(&outside, inside.join("link")).unwrap();
    symlink(outside.join("file"), inside.join("deep/link")).unwrap();
    (dir, inside, outside)
}

fn untouched(outside: &Path) {
    for path in [".", "file", "dir", "dir/file"] {
        assert_eq!(label_of(&outside.join(path)), "", "{path}");
    }
}

#[test]
fn everything_below_is_labelled_and_nothing_that_links_lead_to() {
    let (_dir, inside, outside) = two();
    relabelling(&inside, None).apply(None).unwrap();
    for path in [".", "deep", "deep/er", "deep/er/file", "link", "deep/link"] {
        assert_eq!(label_of(&inside.join(path)), FILES, "{path}");
    }
    untouched(&outside);
    // Again, with another label for some: what is right is left.
    fs::lsetxattr(inside.join("deep"), ATTRIBUTE, b"other\0", XattrFlags::empty()).unwrap();
    relabelling(&inside, None).apply(None).unwrap();
    assert_eq!(label_of(&inside.join("deep")), FILES);
}

#[test]
fn no_way_leads_out_of_what_a_mount_is_tied_to() {
    let (_dir, inside, outside) = two();
    for way in ["link", "link/file", "../outside", "deep/link"] {
        let error = relabelling(&inside, Some(way)).apply(None).unwrap_err().to_string();
        assert!(error.contains("error setting label on mount source"), "{error}");
    }
    untouched(&outside);
    assert_eq!(label_of(&inside), "");
    relabelling(&inside, Some("deep/er")).apply(None).unwrap();
    assert_eq!(label_of(&inside.join("deep/er/file")), FILES);
    assert_eq!(label_of(&inside.join("deep")), "");
}

#[test]
fn the_systems_own_places_are_refused_whatever_leads_there() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("innocent");
    symlink("/etc", &link).unwrap();
    for path in [Path::new("/etc"), Path::new("/usr/../etc"), &link] {
        let error = relabelling(path, None).apply(None).unwrap_err().to_string();
        assert!(error.contains("SELinux relabeling of /etc is not allowed"), "{error}");
        // A volume that is such a place is left as it is.
        let unasked = Relabelling { asked: false, ..relabelling(path, None) };
        unasked.apply(None).unwrap();
    }
    assert_eq!(label_of(Path::new("/etc")), "");
    let home = dir.path().to_str().unwrap();
    let error = relabelling(dir.path(), None).apply(Some(home)).unwrap_err().to_string();
    assert!(error.contains("is not allowed"), "{error}");
    assert_eq!(label_of(dir.path()), "");
}

/// What is not there is the runtime's to say.
#[test]
fn a_missing_source_is_left_to_the_mount() {
    let dir = tempfile::tempdir().unwrap();
    relabelling(&dir.path().join("nothing"), None).apply(None).unwrap();
    relabelling(dir.path(), Some("nothing")).apply(None).unwrap();
}

/// Somebody who may write in the directory changes a directory for a link, back and forth.
#[test]
fn swaps_lead_the_walk_nowhere() {
    let (_dir, inside, outside) = two();
    let stop = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let (one, other) = (inside.join("deep"), inside.join("link"));
            let mut swaps = 0u32;
            while !stop.load(Ordering::Relaxed) {
                fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        for round in 0..2000 {
            let label = format!("u:o:f_t:s0:c{round}");
            Relabelling { label, ..relabelling(&inside, None) }.apply(None).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap()
    });
    assert!(swaps > 0);
    untouched(&outside);
}
