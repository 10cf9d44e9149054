//! Volumes as a whole: out as an archive, in again, copied, renamed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use model::VolumeName;
use model::volume::VolumeDraft;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use support::{Home, picture};

fn name(text: &str) -> VolumeName {
    VolumeName::parse(text).unwrap()
}

/// A volume with files of every sort.
fn full(home: &Home) -> std::path::PathBuf {
    let draft = VolumeDraft {
        name: "full".into(),
        labels: BTreeMap::from([("k".into(), "v".into())]),
        ..VolumeDraft::default()
    };
    let data = home.store.volumes().create(&draft).unwrap().data;
    std::fs::create_dir_all(data.join("a/b")).unwrap();
    std::fs::write(data.join("a/b/file"), "content").unwrap();
    std::fs::hard_link(data.join("a/b/file"), data.join("a/same")).unwrap();
    symlink("../nowhere", data.join("a/link")).unwrap();
    chown(data.join("a/b/file"), Some(1000), Some(33)).unwrap();
    std::fs::set_permissions(data.join("a/b"), PermissionsExt::from_mode(0o2750)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(data.join("a/b/file"), "user.note", b"kept", flags).unwrap();
    let sparse = std::fs::File::create(data.join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    // What overlayfs would take for a deleted file is one like any other here.
    let device = rustix::fs::makedev(0, 0);
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, data.join("whiteout"), kind, mode, device).unwrap();
    chown(&data, Some(5), Some(6)).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o1770)).unwrap();
    data
}

fn note(data: &std::path::Path) -> Vec<u8> {
    let mut value = [0; 10];
    let length = rustix::fs::getxattr(data.join("a/b/file"), "user.note", &mut value).unwrap();
    value[..length].to_vec()
}

#[test]
fn what_comes_back_is_what_was_there() {
    let home = Home::new();
    let volumes = home.store.volumes();
    let data = full(&home);
    let want = picture(&data);
    let mut tar = Vec::new();
    volumes.export(&name("full"), &mut tar).unwrap();
    let draft = VolumeDraft { name: "imported".into(), ..VolumeDraft::default() };
    let imported = volumes.import(&draft, &mut tar.as_slice()).unwrap();
    let copied = volumes.copy(&name("full"), &name("copied")).unwrap();
    assert_eq!(copied.labels["k"], "v");
    for volume in [imported, copied] {
        let have = picture(&volume.data);
        for (path, line) in &want {
            assert_eq!(have.get(path), Some(line), "{}: {path}", volume.name);
        }
        assert_eq!(have.len(), want.len());
        assert_eq!(note(&volume.data), b"kept");
    }
    // The same archive again, byte for byte.
    let mut again = Vec::new();
    volumes.export(&name("imported"), &mut again).unwrap();
    assert!(again == tar, "the archives differ");
}

#[test]
fn names_are_taken_once_and_nothing_is_left_of_a_failure() {
    let home = Home::new();
    let volumes = home.store.volumes();
    full(&home);
    let draft = |text: &str| VolumeDraft { name: text.into(), ..VolumeDraft::default() };
    volumes.create(&draft("other")).unwrap();
    let refused = volumes.import(&draft("other"), &mut [].as_slice()).unwrap_err();
    assert_eq!(refused.to_string(), "volume other exists already");
    assert!(volumes.copy(&name("full"), &name("other")).is_err());
    assert!(volumes.rename(&name("full"), &name("other")).is_err());
    assert!(volumes.rename(&name("none"), &name("some")).is_err());
    let mut tar = Vec::new();
    volumes.export(&name("full"), &mut tar).unwrap();
    volumes.import(&draft("half"), &mut &tar[..tar.len() / 2]).unwrap_err();
    volumes.rename(&name("full"), &name("moved")).unwrap();
    let all: Vec<String> = volumes.list().unwrap().iter().map(|it| it.name.to_string()).collect();
    assert_eq!(all, ["moved", "other"]);
    assert_eq!(note(&volumes.find(&name("moved")).unwrap().data), b"kept");
    let mounts = VolumeDraft {
        name: "mounts".into(),
        options: [("type", "tmpfs"), ("device", "tmpfs")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..VolumeDraft::default()
    };
    volumes.create(&mounts).unwrap();
    assert!(volumes.export(&name("mounts"), &mut Vec::new()).is_err());
}
