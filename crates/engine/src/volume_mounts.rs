//! Volumes of our own that are file systems (`type`, `device`): mounted once, on the volume's
//! directory, from the first who uses it to the last. So all see the same memory, nothing is
//! mounted twice that must not be, and a daemon that dies takes nothing away. Blocking; who uses
//! a volume is not known here, see [`crate::volume_uses`].

use crate::{EngineError, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use store::volume::{LocalMount, Volume};

/// Who is mounting or unmounting: one at a time for each volume, for a server that does not answer
/// may hold up its own volume and no other.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    busy: Mutex<BTreeSet<String>>,
    over: Condvar,
}

/// The turn of one; over when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    volume: String,
}

impl Turns {
    /// Waits for the turn to change what is mounted of a volume.
    pub(crate) fn take(&self, volume: &str) -> Turn<'_> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.over.wait_while(busy, |busy| busy.contains(volume));
        free.unwrap_or_else(PoisonError::into_inner).insert(volume.to_owned());
        Turn { turns: self, volume: volume.to_owned() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.turns.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.volume);
        self.turns.over.notify_all();
    }
}

/// What a volume mounts on its directory; a directory of the host (`o=bind`) is not mounted but
/// used where it is.
pub(crate) fn of(volume: &Volume) -> Option<&LocalMount> {
    volume.mount.as_ref().filter(|mount| !is_bind(mount))
}

/// Whether what a volume mounts is a directory of the host.
pub(crate) fn is_bind(mount: &LocalMount) -> bool {
    matches!(mount.fstype.as_str(), "none" | "bind" | "")
}

/// Mounts it, if it is not mounted yet. In the volume's turn.
pub(crate) fn mount(_turn: &Turn<'_>, volume: &Volume, mount: &LocalMount) -> Result<()> {
    let place = volume.data.display();
    if is_mounted(&volume.data)? {
        return Ok(());
    }
    let words: Vec<String> =
        mount.options.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    // Docker's words, which users search for.
    let failed = |why: &dyn std::fmt::Display| {
        EngineError::internal(format!(
            "error while mounting volume '{place}': failed to mount local volume: mount \
             {}:{place}, data: {}: {why}",
            mount.device, mount.options
        ))
    };
    let made = runtime::file_system(&mount.fstype, &mount.device, &words)
        .map_err(|error| failed(&error))?;
    store::failpoint::hit("engine.volume.made");
    move_mount(&made, "", CWD, &volume.data, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| failed(&errno))?;
    store::failpoint::hit("engine.volume.mounted");
    Ok(())
}

/// Takes it off again. What still has a file of it open goes on with that. In the volume's turn.
pub(crate) fn take_off(_turn: &Turn<'_>, volume: &Volume) -> Result<()> {
    if of(volume).is_none() || !is_mounted(&volume.data)? {
        return Ok(());
    }
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    unmount(&volume.data, flags)
        .map_err(|errno| EngineError::io(format!("unmount {}", volume.data.display()), errno))?;
    store::failpoint::hit("engine.volume.unmounted");
    Ok(())
}

/// Whether something is mounted on a directory. No server is asked.
fn is_mounted(dir: &Path) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let seen = statx(CWD, dir, flags, StatxFlags::TYPE)
        .map_err(|errno| EngineError::io(format!("look at {}", dir.display()), errno))?;
    Ok(seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn turns_of_a_volume_come_one_after_the_other_and_hold_up_no_other() {
        let turns = Arc::new(Turns::default());
        let first = turns.take("a");
        drop(turns.take("b"));
        let (told, hear) = channel();
        let second = std::thread::spawn({
            let turns = Arc::clone(&turns);
            move || {
                let turn = turns.take("a");
                told.send(()).unwrap();
                drop(turn);
            }
        });
        assert!(hear.try_recv().is_err());
        drop(first);
        hear.recv().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn what_is_mounted_is_seen_as_such() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
