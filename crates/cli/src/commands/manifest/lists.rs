//! Manifest lists between commands: a directory for each list below `manifests` beside
//! `config.json`, in it a file for each manifest, as Docker's command line keeps them. It never
//! knows what is in a manifest.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::entry::Entry;
use crate::config::write_whole;
use crate::failure::Failure;
use crate::invocation::Invocation;

/// The longest file that is read: base64 of the largest manifest, and the manifest again.
const MAX_ENTRY_BYTES: u64 = 16 << 20;

/// All lists of the user.
pub(super) struct Lists(PathBuf);

impl Lists {
    pub(super) fn of(invocation: &Invocation) -> Self {
        Self(invocation.globals.config_dir().join("manifests"))
    }

    /// Whether there is a list of this name.
    pub(super) fn exists(&self, list: &str) -> bool {
        self.0.join(file_name(list)).is_dir()
    }

    /// A list's manifests, by the names of their files; none when there is no such list.
    pub(super) fn entries(&self, list: &str) -> Result<Vec<Entry>, Failure> {
        let dir = self.0.join(file_name(list));
        let failed = |error: io::Error| Failure::new(format!("read manifest list {list}: {error}"));
        let files = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut paths = Vec::new();
        for file in files {
            paths.push(file.map_err(failed)?.path());
        }
        paths.sort();
        paths.into_iter().map(|path| read(&path)).collect()
    }

    /// One manifest of a list, if it is there.
    pub(super) fn entry(&self, list: &str, member: &str) -> Result<Option<Entry>, Failure> {
        let path = self.path(list, member);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    }

    /// Adds a manifest to a list, or replaces it there.
    pub(super) fn keep(&self, list: &str, entry: &Entry) -> Result<(), Failure> {
        write_whole(&self.path(list, &entry.reference), entry.json()?.as_bytes())
    }

    /// Forgets a list.
    pub(super) fn remove(&self, list: &str) -> Result<(), Failure> {
        fs::remove_dir_all(self.0.join(file_name(list)))
            .map_err(|error| Failure::new(format!("remove manifest list {list}: {error}")))
    }

    fn path(&self, list: &str, member: &str) -> PathBuf {
        self.0.join(file_name(list)).join(file_name(member))
    }
}

fn read(path: &std::path::Path) -> Result<Entry, Failure> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_ENTRY_BYTES).read_to_end(&mut bytes));
    read.map_err(|error| Failure::new(format!("read {}: {error}", path.display())))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("read {}: {error}", path.display())))
}

/// A name as part of a path: without slashes, so it never leads elsewhere.
fn file_name(name: &str) -> String {
    name.replace(':', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_docker() {
        assert_eq!(file_name("localhost:5000/x:multi"), "localhost-5000_x-multi");
        assert_eq!(file_name("docker.io/library/a:latest"), "docker.io_library_a-latest");
    }

    #[test]
    fn a_list_is_kept_amended_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let lists = Lists(dir.path().join("manifests"));
        assert!(!lists.exists("x.io/l:1") && lists.entries("x.io/l:1").unwrap().is_empty());
        for name in ["x.io/b:1", "x.io/a:1", "x.io/b:1"] {
            lists.keep("x.io/l:1", &Entry::named(name)).unwrap();
        }
        let names: Vec<String> =
            lists.entries("x.io/l:1").unwrap().into_iter().map(|entry| entry.reference).collect();
        assert_eq!(names, ["x.io/a:1", "x.io/b:1"]);
        assert!(lists.entry("x.io/l:1", "x.io/c:1").unwrap().is_none());
        lists.remove("x.io/l:1").unwrap();
        assert!(!lists.exists("x.io/l:1"));
    }
}
