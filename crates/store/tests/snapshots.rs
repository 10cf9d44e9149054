//! Snapshots against the kernel's own overlayfs: what is written through a mount is what `changes`,
//! `export` and `commit` tell; `cp` in and out; volumes.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod support;

use model::error::HasKind;
use model::image::ImageDraft;
use model::volume::VolumeDraft;
use model::{ErrorKind, VolumeName};
use rustix::fs::{AtFlags, CWD};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use store::archive::{self, PathStat, ReadOptions, WriteOptions};
use store::snapshot::ChangeKind;
use support::*;
use wire::oci::image::RunConfig;

/// A mounted snapshot, reached through the kernel's link to its descriptor.
struct Mounted {
    fd: OwnedFd,
}

impl Mounted {
    fn new(home: &Home, id: u8) -> Self {
        Self { fd: home.store.snapshots().mount(container(id)).unwrap() }
    }

    fn path(&self, below: &str) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(below)
    }
}

fn changes(home: &Home, id: u8) -> Vec<String> {
    let changes = home.store.snapshots().changes(container(id)).unwrap();
    changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", change.path.display())
        })
        .collect()
}

/// A base of two layers, so that marks of the upper one count.
fn base(home: &Home) -> model::Digest {
    let lower = home.import(&small_root(), "lower");
    let snapshot = home.store.snapshots().create(container(99), Some(lower)).unwrap();
    let root = Mounted::new(home, 99);
    std::fs::remove_file(root.path("dev/loop0")).unwrap();
    std::fs::create_dir_all(root.path("data/sub")).unwrap();
    for n in 0..4 {
        std::fs::write(root.path(&format!("data/f{n}")), vec![n; 1000]).unwrap();
    }
    std::fs::write(root.path("data/sub/deep"), "deep").unwrap();
    std::os::unix::fs::chown(root.path("data"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(root.path("data"), PermissionsExt::from_mode(0o750)).unwrap();
    drop(root);
    assert_eq!(snapshot.lower.len(), 2, "a layer, and the mount points");
    let draft = ImageDraft { reference: "base".into(), ..ImageDraft::default() };
    let images = home.store.images();
    let id = images.commit(container(99), RunConfig::default(), "", &[], &draft).unwrap();
    home.store.snapshots().remove(container(99)).unwrap();
    id
}

/// Changes of every sort, made through the mount.
fn change_everything(root: &Mounted) {
    std::fs::write(root.path("etc/passwd"), "changed").unwrap();
    std::fs::remove_file(root.path("bin/ls")).unwrap();
    std::fs::write(root.path("bin/new"), "new").unwrap();
    std::fs::remove_dir_all(root.path("data/sub")).unwrap();
    std::fs::create_dir(root.path("data/sub")).unwrap();
    std::fs::write(root.path("data/sub/other"), "other").unwrap();
    std::fs::remove_file(root.path("data/f0")).unwrap();
    std::fs::set_permissions(root.path("data/f1"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::hard_link(root.path("data/f2"), root.path("data/link")).unwrap();
    std::fs::rename(root.path("data/f3"), root.path("f3")).unwrap();
    std::fs::create_dir_all(root.path("a/b/c")).unwrap();
    std::os::unix::fs::symlink("/etc", root.path("a/link")).unwrap();
    std::os::unix::net::UnixListener::bind(root.path("a/socket")).unwrap();
    std::fs::remove_dir_all(root.path("home")).unwrap();
}

#[test]
fn changes_are_what_was_changed() {
    let home = Home::new();
    let base = base(&home);
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    assert_eq!(changes(&home, 1), Vec::<String>::new());
    let root = Mounted::new(&home, 1);
    change_everything(&root);
    drop(root);
    assert_eq!(
        changes(&home, 1),
        [
            "A /a",
            "A /a/b",
            "A /a/b/c",
            "A /a/link",
            "A /a/socket",
            "C /bin",
            "D /bin/ls",
            "A /bin/new",
            "C /data",
            "D /data/f0",
            "C /data/f1",
            "C /data/f2",
            "D /data/f3",
            "A /data/link",
            "C /data/sub",
            "D /data/sub/deep",
            "A /data/sub/other",
            "C /etc/passwd",
            "A /f3",
            "D /home",
        ]
    );
    let usage = home.store.snapshots().usage(container(1)).unwrap();
    assert_eq!(usage.rw, 7 + 3 + 5 + 3000);
    assert!(usage.root_fs > usage.rw + 100_000);
}

#[test]
fn a_commit_leaves_out_empty_mount_points_and_nothing_else() {
    let home = Home::new();
    let base = base(&home);
    let points = ["/media", "/etc/point", "/etc/other", "/data"];
    let images = home.store.images();
    let commit = |container_id: u8| {
        let draft = ImageDraft::default();
        let run = RunConfig::default();
        images.commit(container(container_id), run, "", &points, &draft).unwrap()
    };
    let layers = |id| images.record(id).unwrap().config.rootfs.diff_ids.len();
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    let root = Mounted::new(&home, 1);
    std::fs::create_dir(root.path("media")).unwrap();
    std::fs::write(root.path("etc/point"), "").unwrap();
    drop(root);
    assert_eq!(layers(commit(1)), layers(base), "nothing was changed");

    home.store.snapshots().create(container(2), Some(base)).unwrap();
    let root = Mounted::new(&home, 2);
    std::fs::create_dir(root.path("media")).unwrap();
    std::fs::write(root.path("media/kept"), "").unwrap();
    std::fs::write(root.path("etc/point"), "").unwrap();
    std::fs::write(root.path("etc/other"), "x").unwrap();
    std::fs::write(root.path("data/f0"), "").unwrap();
    drop(root);
    home.store.snapshots().create(container(3), Some(commit(2))).unwrap();
    let root = Mounted::new(&home, 3);
    assert!(root.path("media/kept").exists() && root.path("etc/other").exists());
    assert!(!root.path("etc/point").exists(), "an empty mount point");
    assert_eq!(std::fs::read(root.path("data/f0")).unwrap(), b"", "the image's own directory");
}

#[test]
fn the_export_and_the_commit_are_what_the_kernel_shows() {
    let home = Home::new();
    let base = base(&home);
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    let root = Mounted::new(&home, 1);
    change_everything(&root);
    std::fs::remove_file(root.path("a/socket")).unwrap();
    let mut want = picture(&root.path("."));
    drop(root);
    let mut exported = Vec::new();
    home.store.snapshots().export(container(1), &mut exported).unwrap();
    let id = home.import(&exported, "exported");
    home.store.snapshots().create(container(2), Some(id)).unwrap();
    let images = home.store.images();
    let committed =
        images.commit(container(1), RunConfig::default(), "", &[], &ImageDraft::default()).unwrap();
    home.store.snapshots().create(container(3), Some(committed)).unwrap();
    assert_eq!(home.store.snapshots().open(container(3)).unwrap().lower.len(), 4);
    // Of the root itself only a layer that names it decides.
    want.remove("");
    for id in [2, 3] {
        let root = Mounted::new(&home, id);
        let mut have = picture(&root.path("."));
        have.remove("");
        for (path, line) in &want {
            assert_eq!(have.get(path), Some(line), "container {id}: {path}");
        }
        assert_eq!(have.len(), want.len(), "container {id}");
    }
}

#[test]
fn what_is_mounted_on_is_there_and_nobodys_change() {
    let home = Home::new();
    home.store.snapshots().create(container(1), None).unwrap();
    let root = Mounted::new(&home, 1);
    for directory in ["dev", "proc", "sys", "etc"] {
        assert_eq!(root.path(directory).metadata().unwrap().mode(), 0o40755, "{directory}");
    }
    for file in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
        let found = root.path(file).metadata().unwrap();
        assert_eq!((found.mode(), found.len()), (0o100_644, 0), "{file}");
    }
    assert_eq!(root.path(".dockerenv").metadata().unwrap().mode(), 0o100_755);
    assert_eq!(changes(&home, 1), Vec::<String>::new());
    // What one writes there the next does not find.
    std::fs::write(root.path("etc/hosts"), "mine").unwrap();
    std::fs::write(root.path("etc/new"), "").unwrap();
    std::fs::remove_file(root.path(".dockerenv")).unwrap();
    drop(root);
    assert_eq!(changes(&home, 1), ["D /.dockerenv", "C /etc", "C /etc/hosts", "A /etc/new"]);
    home.store.snapshots().create(container(2), None).unwrap();
    let other = Mounted::new(&home, 2);
    assert_eq!(other.path("etc/hosts").metadata().unwrap().len(), 0);
    assert!(other.path(".dockerenv").exists() && !other.path("etc/new").exists());
}

#[test]
fn repeated_and_empty_layers_are_mounted() {
    let home = Home::new();
    let lease = home.store.lease();
    let apply = |tar: &[u8]| {
        home.store.layers().apply(&lease, &mut &tar[..], None).unwrap().diff_id.to_string()
    };
    let (one, two, none) =
        (apply(&tar(&[file("a", b"1")])), apply(&tar(&[file(".wh.a", b"")])), apply(&tar(&[])));
    let image = |layers: &[&String]| {
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":{}}}}}"#,
            serde_json::to_string(layers).unwrap()
        );
        home.store.images().put(&lease, config.as_bytes(), None).unwrap()
    };
    for (number, layers, visible) in [
        (1, vec![&one, &two, &one], true),
        (2, vec![&one, &none, &two, &none], false),
        (3, vec![&none], false),
        (4, vec![], false),
    ] {
        home.store.snapshots().create(container(number), Some(image(&layers))).unwrap();
        assert_eq!(Mounted::new(&home, number).path("a").exists(), visible, "{number}");
    }
    home.store.snapshots().create(container(5), None).unwrap();
    std::fs::write(Mounted::new(&home, 5).path("x"), "y").unwrap();
    assert_eq!(changes(&home, 5), ["A /x"]);
}

#[test]
fn snapshots_come_and_go() {
    let home = Home::new();
    let base = base(&home);
    let snapshots = home.store.snapshots();
    let made = snapshots.create(container(1), Some(base)).unwrap();
    assert_eq!(snapshots.open(container(1)).unwrap(), made);
    assert_eq!(snapshots.create(container(1), None).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(snapshots.list().unwrap(), [container(1)]);
    assert_eq!(made.upper.metadata().unwrap().mode(), 0o040_755);
    // Files that nobody may remove.
    let path = made.upper.join("immutable");
    let file = std::fs::File::create(&path).unwrap();
    rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::IMMUTABLE).unwrap();
    assert!(std::fs::remove_file(&path).is_err());
    drop(snapshots);
    let home = home.reopen();
    let snapshots = home.store.snapshots();
    snapshots.remove(container(1)).unwrap();
    snapshots.remove(container(1)).unwrap();
    assert_eq!(snapshots.list().unwrap(), []);
    assert_eq!(snapshots.open(container(1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(home.tmp(), Vec::<String>::new());
}

#[test]
fn cp_out_gives_what_docker_gives() {
    let home = Home::new();
    let base = base(&home);
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    let root = home.store.snapshots().mount(container(1)).unwrap();
    let stat = |path: &str| archive::stat(root.as_fd(), path);
    let passwd = stat("/etc/passwd").unwrap();
    assert_eq!((passwd.name.as_str(), passwd.size, passwd.mode), ("passwd", 30, 0o644));
    assert_eq!(passwd.mtime.seconds(), 1_700_000_000);
    let dir = stat("etc/").unwrap();
    assert_eq!((dir.name.as_str(), dir.mode), ("etc", 1 << 31 | 0o755));
    let link = stat("/bin/ls").unwrap();
    assert_eq!((link.mode >> 27, link.link_target.as_str()), (1, "/bin/busybox"));
    assert_eq!(stat("/usr/bin/su").unwrap().mode, 1 << 23 | 0o755);
    assert_eq!(stat("/").unwrap().name, "/");
    assert_eq!(stat("/nope").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(stat("/etc/passwd/x").unwrap_err().kind(), ErrorKind::Invalid);
    assert_ne!(stat("/bin/../../../etc/passwd").unwrap(), PathStat::default());
    let read = |path: &str| {
        let mut out = Vec::new();
        archive::read(root.as_fd(), path, ReadOptions::default(), &mut out).unwrap();
        listing(&out)
    };
    assert_eq!(read("/etc/passwd"), ["passwd"]);
    let names = ["caps", "hostname", "hosts", "passwd", "resolv.conf"];
    let below = |directory: &str| {
        let names = names.map(|name| format!("{directory}{name}"));
        [vec![directory.to_owned()], names.to_vec()].concat()
    };
    assert_eq!(read("/etc"), below("etc/"));
    assert_eq!(read("/etc/"), below("etc/"));
    assert_eq!(read("/etc/."), below("./"));
    assert_eq!(read("/bin/ls"), ["ls"]);
    assert_eq!(read("/")[..3], ["/", "/.dockerenv", "/bin/"]);
}

#[test]
fn cp_in_follows_links_inside_the_container_only() {
    let home = Home::new();
    let base = base(&home);
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    let root = home.store.snapshots().mount(container(1)).unwrap();
    let at = |path: &str| Path::new(&format!("/proc/self/fd/{}", root.as_raw_fd())).join(path);
    std::os::unix::fs::symlink("/data", at("abs")).unwrap();
    std::os::unix::fs::symlink("../../../../data/sub", at("climb")).unwrap();
    let write = |path: &str, entries: &[Raw], options: WriteOptions| {
        archive::write(root.as_fd(), path, &mut &tar(entries)[..], options)
    };
    let plain = WriteOptions::default();
    write("/abs", &[file("one", b"1").owner(3, 4)], plain).unwrap();
    write("/climb/", &[file("two", b"2")], plain).unwrap();
    write("/", &[file("abs/three", b"3"), file(".wh.data", b"literal")], plain).unwrap();
    let meta = at("data/one").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid()), (3, 4));
    assert_eq!(std::fs::read_to_string(at("data/sub/two")).unwrap(), "2");
    assert_eq!(std::fs::read_to_string(at("data/three")).unwrap(), "3");
    assert_eq!(std::fs::read_to_string(at(".wh.data")).unwrap(), "literal");
    // Owner and shift.
    let shifted = WriteOptions { shift: (100_000, 200_000), ..plain };
    write("/tmp", &[file("s", b"").owner(1, 2)], shifted).unwrap();
    let meta = at("tmp/s").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid()), (100_001, 200_002));
    let mut out = Vec::new();
    let back = ReadOptions { shift: (100_000, 200_000), ..ReadOptions::default() };
    archive::read(root.as_fd(), "/tmp/s", back, &mut out).unwrap();
    let mut archive = tar::Archive::new(&out[..]);
    let header = archive.entries().unwrap().next().unwrap().unwrap().header().clone();
    assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1, 2));
    let owned = WriteOptions { owner: Some((5, 6)), ..plain };
    write("/tmp", &[file("o", b"").owner(1, 2)], owned).unwrap();
    assert_eq!(at("tmp/o").metadata().unwrap().uid(), 5);
    // Kinds.
    let keep = WriteOptions { no_overwrite_dir_non_dir: true, ..plain };
    let error = write("/", &[file("etc", b"x")], keep).unwrap_err();
    assert!(error.to_string().contains("cannot overwrite directory"), "{error}");
    let error = write("/etc", &[dir("passwd/")], keep).unwrap_err();
    assert!(error.to_string().contains("cannot overwrite non-directory"), "{error}");
    write("/etc", &[dir("passwd/"), file("passwd/x", b"")], plain).unwrap();
    assert_eq!(write("/none", &[], plain).unwrap_err().kind(), ErrorKind::NotFound);
    let error = write("/bin/busybox", &[], plain).unwrap_err();
    assert_eq!(error.to_string(), "extraction point is not a directory");
    // The directory copied into keeps its attributes, others are merged.
    write("/data", &[dir("./").mode(0o777), dir("sub/").mode(0o711)], plain).unwrap();
    assert_eq!(at("data").metadata().unwrap().mode() & 0o777, 0o750);
    assert_eq!(at("data/sub").metadata().unwrap().mode() & 0o777, 0o711);
    assert!(at("data/sub/deep").exists());
}

#[test]
fn cp_stays_inside_while_names_are_swapped() {
    let home = Home::new();
    let root = home.dir.path().join("container");
    let outside = home.dir.path().join("outside");
    for dir in [&root, &outside, &root.join("real/sub")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::fs::create_dir(outside.join("sub")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("evil")).unwrap();
    let before = picture(&outside);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let done = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(done) {
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, root.join("real"), CWD, root.join("evil"), swap)
                    .unwrap();
            }
        });
        let fd = std::fs::File::open(&root).unwrap();
        for round in 0..1500 {
            let tar = tar(&[dir("sub/").mode(0o700), file("sub/x", b"owned"), symlink("l", "x")]);
            let options = WriteOptions::default();
            let _ = archive::write(fd.as_fd(), "/real", &mut &tar[..], options);
            let mut out = Vec::new();
            let path = if round % 2 == 0 { "/real/secret" } else { "/real/." };
            let _ = archive::read(fd.as_fd(), path, ReadOptions::default(), &mut out);
            assert!(!out.windows(6).any(|window| window == b"secret"), "round {round}");
        }
        stop.store(true, done);
    });
    assert_eq!(picture(&outside), before);
}

/// A user namespace with ids 0..65536 at 100000, held by a process that ends with this value.
struct UserNamespace(std::process::Child);

impl UserNamespace {
    fn new() -> Self {
        let child =
            std::process::Command::new("unshare").args(["-U", "sleep", "60"]).spawn().unwrap();
        let at = |file: &str| format!("/proc/{}/{file}", child.id());
        let own = std::fs::read_link("/proc/self/ns/user").unwrap();
        while std::fs::read_link(at("ns/user")).unwrap() == own {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        for map in ["uid_map", "gid_map"] {
            std::fs::write(at(map), "0 100000 65536").unwrap();
        }
        Self(child)
    }

    fn open(&self) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/ns/user", self.0.id())).unwrap()
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn cp_reaches_through_idmapped_mounts() {
    use rustix::mount::OpenTreeFlags;
    let home = Home::new();
    let dir = home.dir.path().join("tree");
    std::fs::create_dir_all(dir.join("d")).unwrap();
    let namespace = UserNamespace::new();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, &dir, flags).unwrap();
    let userns = namespace.open();
    let change = sys::mount::MountChange {
        set: sys::mount::attr::IDMAP,
        userns: Some(userns.as_fd()),
        ..sys::mount::MountChange::default()
    };
    sys::mount::change(mount.as_fd(), &change).unwrap();
    let shift = (100_000, 100_000);
    let options = WriteOptions { shift, ..WriteOptions::default() };
    let entries = [
        dir_entry("new/"),
        file("new/f", b"x").owner(7, 8).mode(0o4755),
        symlink("l", "f").owner(7, 8),
        file("implied/g", b"y"),
    ];
    archive::write(mount.as_fd(), "/d", &mut &tar(&entries)[..], options).unwrap();
    let on_disk = |path: &str| {
        let meta = dir.join(path).symlink_metadata().unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(on_disk("d/new/f"), (7, 8, 0o4755));
    assert_eq!(on_disk("d/new"), (0, 0, 0o755));
    assert_eq!(on_disk("d/l"), (7, 8, 0o777));
    assert_eq!(on_disk("d/implied"), (0, 0, 0o755));
    let mut out = Vec::new();
    archive::read(
        mount.as_fd(),
        "/d/new/f",
        ReadOptions { shift, ..ReadOptions::default() },
        &mut out,
    )
    .unwrap();
    let mut archive = tar::Archive::new(&out[..]);
    let header = archive.entries().unwrap().next().unwrap().unwrap().header().clone();
    assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (7, 8));
}

fn dir_entry(name: &str) -> Raw {
    support::dir(name)
}

fn volume(name: &str) -> VolumeDraft {
    VolumeDraft { name: name.into(), ..VolumeDraft::default() }
}

#[test]
fn volumes_are_made_listed_and_removed() {
    let home = Home::new();
    let volumes = home.store.volumes();
    let mut draft = volume("data");
    draft.labels.insert("a".into(), "b".into());
    draft.options.insert("uid".into(), "5".into());
    draft.options.insert("mode".into(), "0700".into());
    let made = volumes.create(&draft).unwrap();
    assert_eq!(volumes.create(&volume("data")).unwrap(), made, "the existing one");
    let meta = made.data.metadata().unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (5, 0o700));
    let anonymous = volumes.create(&volume("")).unwrap();
    assert!(anonymous.anonymous && anonymous.name.as_str().len() == 64);
    std::fs::write(made.data.join("f"), vec![0; 1234]).unwrap();
    assert_eq!(volumes.usage(&made.name).unwrap(), 1234);
    drop(volumes);
    let home = home.reopen();
    let volumes = home.store.volumes();
    assert_eq!(volumes.list().unwrap().len(), 2);
    assert_eq!(volumes.find(&made.name).unwrap(), made);
    volumes.remove(&made.name).unwrap();
    let error = volumes.remove(&made.name).unwrap_err();
    assert_eq!(error.to_string(), "get data: no such volume");
    assert_eq!(home.tmp(), Vec::<String>::new());

    for (options, error) in [
        (&[("x", "y")][..], "invalid option: \"x\""),
        (&[("type", "nfs")], "missing required option: \"device\""),
        (&[("o", "ro")], "missing required option: \"type\""),
        (&[("uid", "x")], "invalid uid \"x\""),
        (&[("mode", "9")], "invalid mode: want octal digits"),
    ] {
        let mut draft = volume("bad");
        draft.options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(volumes.create(&draft).unwrap_err().to_string(), error);
    }
    for bad in ["../x", "a/b", ".", "x"] {
        assert_eq!(volumes.create(&volume(bad)).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    let mut draft = volume("mounted");
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
    draft.options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let mount = volumes.create(&draft).unwrap().mount.unwrap();
    assert_eq!((mount.fstype.as_str(), mount.options.as_str()), ("tmpfs", "size=1m"));
}

#[test]
fn an_empty_volume_is_filled_from_the_image() {
    let home = Home::new();
    let base = base(&home);
    home.store.snapshots().create(container(1), Some(base)).unwrap();
    let root = Mounted::new(&home, 1);
    std::os::unix::fs::symlink("/data", root.path("var")).unwrap();
    let mut want = picture(&root.path("data/."));
    drop(root);
    let volumes = home.store.volumes();
    let name = |text: &str| VolumeName::parse(text).unwrap();
    for (volume_name, path) in [("direct", "/data"), ("linked", "/var/sub/..")] {
        let made = volumes.create(&volume(volume_name)).unwrap();
        assert!(volumes.copy_up(&made.name, "", container(1), path).unwrap());
        let mut have = picture(&made.data);
        assert_eq!((have.remove(""), have.len()), (want.get("").cloned(), want.len() - 1));
        let top = want.remove("").unwrap();
        assert_eq!(have, want);
        want.insert(String::new(), top);
    }
    // Not again over content, not of what is no directory.
    std::fs::remove_file(home.store.root().join("volumes/direct/_data/f1")).unwrap();
    assert!(!volumes.copy_up(&name("direct"), "", container(1), "/data").unwrap());
    let made = volumes.create(&volume("empty")).unwrap();
    for path in ["/nope", "/etc/passwd", "/etc/passwd/x"] {
        assert!(!volumes.copy_up(&made.name, "", container(1), path).unwrap(), "{path}");
    }
    assert!(volumes.copy_up(&made.name, "", container(1), "/tmp").unwrap());
    assert_eq!(made.data.metadata().unwrap().mode() & 0o7777, 0o1777);
    assert!(
        rustix::fs::accessat(CWD, &made.data, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    );
}
