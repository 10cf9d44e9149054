//! Mirrors: what is asked for again, and what is refused.

use super::*;
use crate::store::Options;
use std::io::Read;
use std::path::Path;

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("store"), Options::default()).unwrap()
}

fn file(path: &str, size: u64, mtime_ns: i64) -> Entry {
    let (uid, gid) = (0, 0);
    let (path, kind, mode) = (path.to_owned(), Kind::File, 0o640);
    Entry { path, kind, mode, uid, gid, size, mtime_ns, xattrs: Vec::new() }
}

fn dir(path: &str) -> Entry {
    Entry { kind: Kind::Dir, mode: 0o755, ..file(path, 0, 5_000_000_007) }
}

fn read(mirror: &Mirror, path: &str) -> Option<String> {
    let flags = rustix::fs::OFlags::RDONLY;
    let file = tree::beneath(mirror.tree().unwrap(), path, flags).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// Sends a list of entries with contents; returns the paths whose content was wanted.
fn send(mirror: &Mirror, entries: &[(Entry, &str)]) -> Result<Vec<String>> {
    let mut update = mirror.update()?;
    let mut wanted = Vec::new();
    for (id, (entry, content)) in (0..).zip(entries) {
        if update.entry(id, entry.clone())? {
            wanted.push(entry.path.clone());
            assert_eq!(update.next_wanted()?, Some(id));
            update.data(id, content.as_bytes())?;
            update.end(id)?;
        }
    }
    update.all_told()?;
    update.finish()?;
    Ok(wanted)
}

#[test]
fn only_what_changed_is_wanted_again() {
    let lab = tempfile::tempdir().unwrap();
    let store = store(lab.path());
    let link = Entry { kind: Kind::Symlink("a".into()), ..file("s", 0, 9) };
    let hard = Entry { kind: Kind::Hardlink("a".into()), ..file("d/h", 1, 10) };
    let first = [
        (file("a", 1, 10), "1"),
        (dir("d"), ""),
        (file("d/b", 2, 11), "22"),
        (hard, ""),
        (link, ""),
    ];
    let mirror = store.mirror("key").unwrap();
    assert!(mirror.is_lasting());
    assert_eq!(send(&mirror, &first).unwrap(), ["a", "d/b"]);
    assert_eq!(read(&mirror, "d/h").as_deref(), Some("1"));
    assert_eq!(send(&mirror, &first).unwrap(), [""; 0]);
    let stat = fs::statat(mirror.tree().unwrap(), "d", fs::AtFlags::empty()).unwrap();
    assert_eq!((stat.st_mtime, stat.st_mode & 0o7777), (5, 0o755));
    // One file changed, one gone, a directory that becomes a file.
    let second = [(file("a", 1, 12), "x"), (file("d", 3, 1), "now")];
    assert_eq!(send(&mirror, &second).unwrap(), ["a", "d"]);
    assert_eq!(read(&mirror, "d").as_deref(), Some("now"));
    assert_eq!(read(&mirror, "a").as_deref(), Some("x"));
    assert!(read(&mirror, "s").is_none());
}

#[test]
fn a_mirror_in_use_is_not_shared() {
    let lab = tempfile::tempdir().unwrap();
    let store = store(lab.path());
    let first = store.mirror("key").unwrap();
    send(&first, &[(file("a", 1, 10), "1")]).unwrap();
    let second = store.mirror("key").unwrap();
    assert!(!second.is_lasting());
    assert!(read(&second, "a").is_none());
    store.remove_mirrors().unwrap();
    assert_eq!(read(&first, "a").as_deref(), Some("1"));
    drop((first, second));
    assert_eq!(read(&store.mirror("key").unwrap(), "a").as_deref(), Some("1"));
    store.remove_mirrors().unwrap();
    assert!(read(&store.mirror("key").unwrap(), "a").is_none());
}

#[test]
fn an_update_that_broke_off_leaves_whole_files() {
    let lab = tempfile::tempdir().unwrap();
    let store = store(lab.path());
    let mirror = store.mirror("key").unwrap();
    send(&mirror, &[(file("a", 3, 10), "old")]).unwrap();
    let mut update = mirror.update().unwrap();
    assert!(update.entry(0, file("a", 3, 11)).unwrap());
    assert!(update.data(0, b"n").is_err(), "nothing was asked for");
    assert_eq!(update.next_wanted().unwrap(), Some(0));
    assert_eq!(update.next_wanted().unwrap(), None);
    update.data(0, b"n").unwrap();
    assert!(!update.is_complete());
    drop(update);
    assert_eq!(read(&mirror, "a").as_deref(), Some("old"));
    assert_eq!(send(&mirror, &[(file("a", 3, 11), "new")]).unwrap(), ["a"]);
    assert_eq!(read(&mirror, "a").as_deref(), Some("new"));
}

#[test]
fn lists_that_lead_elsewhere_are_refused() {
    let lab = tempfile::tempdir().unwrap();
    let sentinel = lab.path().join("sentinel");
    std::fs::create_dir(&sentinel).unwrap();
    let store = store(lab.path());
    let mirror = store.mirror("key").unwrap();
    let out = sentinel.display().to_string();
    let link = |path: &str| Entry { kind: Kind::Symlink(out.clone()), ..file(path, 0, 1) };
    let long = "x".repeat(300);
    let deep = ["d"; 300].join("/");
    for path in ["", "/a", "../a", "a/../b", "a//b", "a/", ".", "a/.", "a\0b", &long, &deep] {
        assert!(send(&mirror, &[(file(path, 1, 1), "1")]).is_err(), "{path:?}");
    }
    // Below a link, without the directory, twice, backwards.
    assert!(send(&mirror, &[(link("l"), ""), (file("l/a", 1, 1), "1")]).is_err());
    assert!(send(&mirror, &[(file("d/a", 1, 1), "1")]).is_err());
    assert!(send(&mirror, &[(file("a", 1, 1), "1"), (file("a", 1, 1), "1")]).is_err());
    assert!(send(&mirror, &[(file("b", 1, 1), "1"), (file("a", 1, 1), "1")]).is_err());
    let hard = |to: &str| Entry { kind: Kind::Hardlink(to.into()), ..file("z", 0, 1) };
    for target in ["../../sentinel/x", "/etc/passwd", "l/x", "none"] {
        assert!(send(&mirror, &[(link("l"), ""), (hard(target), "")]).is_err(), "{target}");
    }
    assert_eq!(std::fs::read_dir(&sentinel).unwrap().count(), 0);
    let mut update = mirror.update().unwrap();
    assert!(update.data(7, b"x").is_err());
    assert!(update.end(7).is_err());
}

#[test]
fn a_directory_is_told_as_it_would_be_taken() {
    let lab = tempfile::tempdir().unwrap();
    let store = store(lab.path());
    let from = store.mirror("from").unwrap();
    let hard = Entry { kind: Kind::Hardlink("d/b".into()), ..file("d/c", 2, 11) };
    let entries = [
        (dir("d"), ""),
        (file("d/b", 2, 11), "22"),
        (hard, ""),
        (file("d.x", 1, 12), "1"),
        (Entry { kind: Kind::Symlink("d/b".into()), mode: 0o777, ..file("s", 0, 9) }, ""),
    ];
    send(&from, &entries).unwrap();
    let mut told = Vec::new();
    let listing = Listing::of(from.tree().unwrap(), |listed| {
        told.push(listed);
        Ok(())
    });
    let listing = listing.unwrap();
    let want: Vec<Listed> = (0..).zip(entries.iter().map(|(entry, _)| entry.clone())).collect();
    assert_eq!(told, want);
    let mut text = String::new();
    listing.open(1).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "22");
    assert!(listing.open(0).is_err(), "a directory has no content");
    assert!(listing.open(4).is_err(), "a link has no content");
}

#[test]
fn a_result_is_put_among_what_is_there() {
    let lab = tempfile::tempdir().unwrap();
    let store = store(lab.path());
    let from = store.mirror("from").unwrap();
    let entries = [
        (dir("d"), ""),
        (file("d/b", 2, 11), "22"),
        (Entry { kind: Kind::Symlink("/etc".into()), ..file("s", 0, 9) }, ""),
        (file("t", 3, 12), "new"),
    ];
    send(&from, &entries).unwrap();
    let out = lab.path().join("out");
    std::fs::create_dir_all(out.join("d")).unwrap();
    std::fs::write(out.join("d/keep"), "kept").unwrap();
    std::fs::write(out.join("t"), "old").unwrap();
    let to = tree::open_dir(&out).unwrap();
    for _ in 0..2 {
        deliver(from.tree().unwrap(), &to, (7, 8)).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("d/b")).unwrap(), "22");
        assert_eq!(std::fs::read_to_string(out.join("d/keep")).unwrap(), "kept");
        assert_eq!(std::fs::read_to_string(out.join("t")).unwrap(), "new");
        assert_eq!(std::fs::read_link(out.join("s")).unwrap(), Path::new("/etc"));
        let stat = fs::statat(&to, "d/b", fs::AtFlags::empty()).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777), (7, 8, 0o640));
    }
    // A link of the receiver's is not written through.
    std::fs::remove_dir_all(out.join("d")).unwrap();
    std::fs::create_dir(lab.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(lab.path().join("elsewhere"), out.join("d")).unwrap();
    deliver(from.tree().unwrap(), &to, (7, 8)).unwrap();
    assert_eq!(std::fs::read_dir(lab.path().join("elsewhere")).unwrap().count(), 0);
}
