//! Files of the host that nobody may touch, and how they were before somebody tried.

use crate::Lab;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Content (of a link: where it leads), mode, owner, group and inode.
pub type State = (Vec<u8>, u32, u32, u32, u64);

/// Host files that hostile paths point at, and how they were.
pub struct Sentinel {
    dir: PathBuf,
    before: BTreeMap<PathBuf, State>,
}

impl Sentinel {
    /// Makes `file`, `sub/deep` and `hosts`, the first two with the word `secret` in them.
    pub fn new(lab: &Lab) -> Self {
        let dir = lab.dir().join("sentinel");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::set_permissions(lab.dir(), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, text) in [("file", "host secret"), ("sub/deep", "deep secret"), ("hosts", "h")] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let before = state(&dir);
        Self { dir, before }
    }

    /// Their directory.
    pub fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// Nothing has become of them.
    #[track_caller]
    pub fn unchanged(&self, after: &str) {
        assert_eq!(state(&self.dir), self.before, "the host changed after {after}");
    }
}

/// Everything in a directory, and in those below.
pub fn state(dir: &Path) -> BTreeMap<PathBuf, State> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let mut content = Vec::new();
        if meta.is_symlink() {
            content = std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
        } else if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            content = std::fs::read(&path).unwrap();
        }
        all.insert(path, (content, meta.mode(), meta.uid(), meta.gid(), meta.ino()));
    }
    all
}
