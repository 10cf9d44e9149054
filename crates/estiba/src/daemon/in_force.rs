//! The settings in force, in a file that the running daemon keeps locked: so whoever only looks
//! (`--validate`) knows what they are, and that there is somebody they are in force for.

use super::given::Given;
use super::settings;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

const NAME: &str = "settings.json";

/// The file, while this daemon runs.
#[derive(Debug)]
pub(crate) struct InForce(File);

impl InForce {
    /// Takes the file over from whoever had it.
    pub(crate) fn keep(exec_root: &Path, given: &Given) -> std::io::Result<Self> {
        std::fs::create_dir_all(exec_root)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = open(exec_root.join(NAME), flags, Mode::RUSR | Mode::WUSR)?;
        // Somebody who looks has it for a moment.
        flock(&file, FlockOperation::LockExclusive)?;
        let kept = Self(file.into());
        kept.write(given)?;
        Ok(kept)
    }

    /// Other settings are in force now.
    pub(crate) fn write(&self, given: &Given) -> std::io::Result<()> {
        let text = serde_json::to_vec(given)?;
        self.0.set_len(0)?;
        self.0.write_all_at(&text, 0)
    }
}

/// What is in force for the daemon of this directory, if one runs.
pub(crate) fn of(exec_root: &Path) -> Option<Given> {
    let mut file = File::open(exec_root.join(NAME)).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let read: BTreeMap<String, Vec<String>> = serde_json::from_str(&text).ok()?;
    let known =
        |(name, texts): (String, Vec<String>)| Some((settings::find(&name)?.flag.long, texts));
    Some(read.into_iter().filter_map(known).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_force_while_somebody_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(dir.path()), None);
        let first = Given::from([("mtu", vec!["1400".to_owned()])]);
        let kept = InForce::keep(dir.path(), &first).unwrap();
        assert_eq!(of(dir.path()), Some(first));
        let second = Given::from([("label", vec!["a=b".to_owned(), "c=d".to_owned()])]);
        kept.write(&second).unwrap();
        assert_eq!(of(dir.path()), Some(second));
        drop(kept);
        assert_eq!(of(dir.path()), None);
    }
}
