//! Hostile archives: whatever they try, nothing outside the directory they are extracted into is
//! read, made, changed or removed. Every archive of a generated corpus goes through every way in:
//! as a layer, as an import, inside a docker-archive, and by `cp` into a container's tree that
//! holds hostile links itself.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod support;

use model::image::ImageDraft;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use store::archive::{self, WriteOptions};
use support::*;

/// One attack: what it is called, its archive, and whether it must be refused as a layer.
struct Attack {
    name: String,
    tar: Vec<u8>,
    refused: bool,
}

fn attack(name: impl Into<String>, refused: bool, entries: &[Raw]) -> Attack {
    Attack { name: name.into(), tar: tar(entries), refused }
}

/// Ways to spell a path to the sentinel that stays or leads outside.
fn escapes(outside: &Path) -> Vec<String> {
    let absolute = outside.to_str().unwrap();
    let climb = "../".repeat(12);
    vec![
        absolute.to_owned(),
        format!("{climb}{}", &absolute[1..]),
        format!("x/../../../../../../../../../../../..{absolute}"),
        format!("./{climb}{}", &absolute[1..]),
        format!("/..{absolute}"),
        format!("//{absolute}"),
    ]
}

fn by_name(outside: &Path) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for path in escapes(outside) {
        let refused = TreeOf(&path).climbs();
        for (what, flag) in [("file", b'0'), ("dir", b'5'), ("fifo", b'6'), ("symlink", b'2')] {
            let target = format!("{path}/made-by-{what}");
            let entry = Raw { link: b"x".to_vec(), ..raw("short", flag) };
            let entry = entry.pax("path", target.as_bytes());
            attacks.push(attack(format!("{what} named {path}"), refused, &[entry]));
        }
        let victim = format!("{path}/victim");
        attacks.push(attack(
            format!("overwrite {path}"),
            refused,
            &[file("short", b"owned").pax("path", victim.as_bytes())],
        ));
        let mark = format!("{path}/.wh.victim");
        attacks.push(attack(
            format!("whiteout {path}"),
            refused,
            &[file("short", b"").pax("path", mark.as_bytes())],
        ));
        let gnu = Raw { data: [victim.as_bytes(), b"\0"].concat(), ..raw("././@LongLink", b'L') };
        attacks.push(attack(format!("GNU name {path}"), refused, &[gnu, file("short", b"owned")]));
        attacks.push(attack(
            format!("sparse name {path}"),
            refused,
            &[file("short", b"12")
                .pax("GNU.sparse.name", victim.as_bytes())
                .pax("GNU.sparse.size", b"2")
                .pax("GNU.sparse.map", b"0,2")],
        ));
    }
    attacks
}

/// Whether a name climbs out of its tree by words alone.
struct TreeOf<'a>(&'a str);

impl TreeOf<'_> {
    fn climbs(&self) -> bool {
        !self.0.starts_with('/')
    }
}

fn through_links(outside: &Path) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for target in escapes(outside) {
        let link = symlink("l", "x").pax("linkpath", target.as_bytes());
        let hard = hardlink("h", "x").pax("linkpath", format!("{target}/victim").as_bytes());
        let through: [(&str, Vec<Raw>); 10] = [
            ("file", vec![file("l/victim", b"owned")]),
            ("new file", vec![file("l/new", b"owned")]),
            ("dir", vec![dir("l/new/")]),
            ("deep", vec![file("l/a/b/c", b"owned")]),
            ("whiteout", vec![file("l/.wh.victim", b"")]),
            ("opaque", vec![file("l/.wh..wh..opq", b"")]),
            ("hard link", vec![hardlink("h", "l/victim"), file("h", b"owned")]),
            ("device", vec![device("l/dev", b'3', 1, 3)]),
            ("chain", vec![symlink("m", "l"), file("m/new", b"owned")]),
            ("dots", vec![dir("d/"), symlink("d/up", "../l"), file("d/up/new", b"owned")]),
        ];
        for (what, entries) in through {
            let all = [vec![link.clone()], entries].concat();
            attacks.push(attack(format!("{what} through a link to {target}"), true, &all));
        }
        // Replacing the link itself is fine, and touches only the link.
        for (what, entry) in [
            ("file over", file("l", b"mine").mode(0o777)),
            ("dir over", dir("l/").mode(0o777).owner(5, 5)),
            ("mode of", symlink("l", "y").mode(0o777).owner(5, 5)),
        ] {
            let all = [link.clone(), entry];
            attacks.push(attack(format!("{what} a link to {target}"), false, &all));
        }
        let all = [hard, file("h", b"owned").mode(0o777)];
        attacks.push(attack(format!("hard link to {target}"), true, &all));
    }
    attacks
}

fn by_whiteout() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh..", ".wh.a/b", "x/.wh.y/z"] {
        attacks.push(attack(format!("whiteout {name}"), true, &[dir("a/"), file(name, b"")]));
    }
    let evil = file("x", b"").pax("path", b"a/.wh.b\0/../../c");
    attacks.push(attack("whiteout with NUL", true, &[evil]));
    attacks.push(attack("opaque root", false, &[file(".wh..wh..opq", b"")]));
    attacks.push(attack("link to a mark", true, &[file(".wh.a", b""), hardlink("b", "a")]));
    attacks
}

fn by_header() -> Vec<Attack> {
    let huge = u64::MAX.to_string();
    let mut attacks = vec![
        attack("size of all", true, &[file("a", b"x").pax("size", huge.as_bytes())]),
        attack("size in octal", true, &[file("a", b"x").size(0o77_777_777_777)]),
        attack("owner -1", true, &[file("a", b"x").pax("uid", b"4294967295")]),
        attack("owner beyond", true, &[file("a", b"x").pax("gid", b"4294967296")]),
        attack("negative owner", true, &[file("a", b"x").pax("uid", b"-1")]),
        attack("NUL in name", true, &[file("a", b"x").pax("path", b"a\0b")]),
        attack("NUL in target", true, &[symlink("a", "b").pax("linkpath", b"a\0b")]),
        attack("long component", true, &[file("a", b"").pax("path", &[b'n'; 256])]),
        attack("long name", true, &[file("a", b"").pax("path", &b"n/".repeat(3000))]),
        attack("deep name", true, &[file("a", b"").pax("path", &b"n/".repeat(600))]),
        attack("huge PAX", true, &[file("a", b"").pax("comment", &vec![b'c'; 2 << 20])]),
        attack("huge GNU name", true, &[Raw { data: vec![b'n'; 2 << 20], ..raw("x", b'L') }]),
        attack(
            "empty GNU name",
            true,
            &[Raw { data: vec![0; 8], ..raw("x", b'L') }, file("a", b"")],
        ),
        attack("unknown type", true, &[raw("a", b'V')]),
        attack("file as root", true, &[file(".", b"x")]),
        attack("link as root", true, &[symlink("./", "/etc")]),
        attack("file named nothing", true, &[file("", b"x")]),
        attack("whiteout of all", true, &[file("a/../.wh.", b"")]),
        attack("sparse overlap", true, &[sparse("0,2,1,2", "10", 4)]),
        attack("sparse beyond", true, &[sparse("100,2", "10", 2)]),
        attack("sparse overflow", true, &[sparse("18446744073709551615,2", "10", 2)]),
        attack("sparse giant", true, &[sparse("0,2", "9223372036854775807", 2)]),
        attack("link to itself", true, &[hardlink("a", "a")]),
        attack("link to a directory", true, &[dir("d/"), hardlink("a", "d")]),
        attack("link to the root", true, &[hardlink("a", ".")]),
        attack(
            "links in a circle",
            true,
            &[symlink("a", "b"), symlink("b", "a"), file("a/c", b"")],
        ),
        attack("file below a file", true, &[file("a", b""), file("a/b", b"")]),
        attack("dir below a device", true, &[device("a", b'3', 1, 3), dir("a/b/")]),
        attack(
            "two long names",
            true,
            &[
                Raw { data: b"gnu\0".to_vec(), ..raw("x", b'L') },
                file("a", b"").pax("path", b"pax"),
            ],
        ),
    ];
    for name in [
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "security.selinux",
    ] {
        let entry = dir("d/").pax(&format!("SCHILY.xattr.{name}"), b"/etc");
        attacks.push(attack(format!("attribute {name}"), false, &[entry]));
    }
    for name in ["é", "\u{202e}gpj", "a\nb", "-rf", "~", "*", " ", "\u{7f}", "CON", "a\\b", "C:"] {
        attacks.push(attack(format!("name {name:?}"), false, &[file(name, b"x")]));
    }
    attacks
}

fn sparse(map: &str, size: &str, len: usize) -> Raw {
    file("a", &vec![1; len])
        .pax("GNU.sparse.size", size.as_bytes())
        .pax("GNU.sparse.map", map.as_bytes())
}

fn corpus(outside: &Path) -> Vec<Attack> {
    let mut attacks = by_name(outside);
    attacks.extend(through_links(outside));
    attacks.extend(by_whiteout());
    attacks.extend(by_header());
    attacks
}

/// A directory that must not change in any way.
struct Sentinel {
    dir: PathBuf,
    before: BTreeMap<String, String>,
    around: Vec<String>,
}

impl Sentinel {
    fn new(home: &Home) -> Self {
        let dir = home.dir.path().join("outside");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        for name in ["victim", "sub/victim"] {
            std::fs::write(dir.join(name), "untouched").unwrap();
        }
        let around = names(home.dir.path());
        Self { before: picture(&dir), dir, around }
    }

    fn check(&self, home: &Home, name: &str) {
        assert_eq!(picture(&self.dir), self.before, "{name}");
        assert_eq!(names(home.dir.path()), self.around, "{name}");
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            let mut list = [0u8; 64];
            let len = rustix::fs::llistxattr(&path, &mut list[..]).unwrap();
            assert_eq!(len, 0, "{name}: {}", path.display());
        }
    }
}

#[test]
fn nothing_outside_a_layer_is_touched() {
    let home = Home::new();
    let sentinel = Sentinel::new(&home);
    let attacks = corpus(&sentinel.dir);
    assert!(attacks.len() >= 150, "{}", attacks.len());
    for attack in &attacks {
        let lease = home.store.lease();
        let done = home.store.layers().apply(&lease, &mut &attack.tar[..], None);
        sentinel.check(&home, &attack.name);
        assert_eq!(home.tmp(), Vec::<String>::new(), "{}", attack.name);
        match done {
            Err(error) => assert!(attack.refused, "{}: {error}", attack.name),
            Ok(layer) => {
                assert!(!attack.refused, "{}: was accepted", attack.name);
                let files = home.store.root().join("layers").join(layer.diff_id.hex()).join("fs");
                no_overlay_steering(&files, &attack.name);
                let mut again = Vec::new();
                home.store.layers().write_tar(layer.diff_id, &mut again).unwrap();
                assert!(again == attack.tar, "{}: other bytes", attack.name);
            }
        }
    }
    home.store.gc().unwrap();
    sentinel.check(&home, "collection");
    assert_eq!(names(&home.store.root().join("layers")), Vec::<String>::new());
}

/// No attribute that overlayfs obeys, except what a mark of the archive made.
fn no_overlay_steering(files: &Path, name: &str) {
    for path in picture(files).keys() {
        let mut list = [0u8; 256];
        let Ok(len) = rustix::fs::llistxattr(files.join(path), &mut list[..]) else { continue };
        let text = String::from_utf8_lossy(&list[..len]).into_owned();
        let steering = text.contains("overlay.redirect")
            || text.contains("overlay.metacopy")
            || text.contains("user.overlay");
        assert!(!steering, "{name}: {path}: {text}");
        let opaque = name == "attribute trusted.overlay.opaque" && text.contains("overlay.opaque");
        assert!(!opaque, "{name}: {path}: {text}");
    }
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
        assert_eq!(loaded.is_err(), attack.refused, "load {}", attack.name);
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
