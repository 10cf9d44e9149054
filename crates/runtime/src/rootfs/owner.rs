//! Bind mounts whose files appear to belong to somebody else: a user namespace whose maps exchange
//! two ids, made for one mount alone. Nothing on disk is changed.
//!
//! ```text
//!  on disk          0 … d … i … n        d: who owns the source; i: whom it appears as inside
//!  in the container 0 … i … d … n        what is made inside by i belongs to d on disk
//! ```

use super::Mapped;
use crate::container::write_map;
use crate::error::LaunchError;
use crate::plan::step::Owner;
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use wire::oci::runtime::IdMapping;

/// Every id there is; the last one means none.
const ALL_IDS: u32 = u32::MAX;

/// Lets the files of a detached mount appear as `owner`'s, where they belong to whoever owns its
/// root. A mount without a user namespace of the container's exchanges the host's ids.
pub(super) fn show_as(
    mount: BorrowedFd<'_>,
    mapped: Option<&Mapped>,
    owner: &Owner,
    recursive: bool,
) -> Result<(), LaunchError> {
    let failed = |errno: Errno| LaunchError::at("map the owner of a bind mount", errno);
    let root = rustix::fs::fstat(mount).map_err(failed)?;
    let whole = [IdMapping { container_id: 0, host_id: 0, size: ALL_IDS }];
    let (uids, gids) = match mapped {
        Some(mapped) => (mapped.maps.uid.as_slice(), mapped.maps.gid.as_slice()),
        None => (&whole[..], &whole[..]),
    };
    let uids = exchanged(uids, root.st_uid, owner.uid.unwrap_or(root.st_uid));
    let gids = exchanged(gids, root.st_gid, owner.gid.unwrap_or(root.st_gid));
    let userns = namespace(&uids, &gids)?;
    super::map_by(mount, userns.as_fd(), recursive).map_err(failed)
}

/// `maps` with the ids on disk `a` and `b` exchanged. One that `maps` lacks is shown as the other
/// where that one is mapped.
fn exchanged(maps: &[IdMapping], a: u32, b: u32) -> Vec<IdMapping> {
    let host = |id: u32| {
        let line = maps.iter().find(|line| {
            id.checked_sub(line.container_id).is_some_and(|offset| offset < line.size)
        })?;
        Some(line.host_id + (id - line.container_id))
    };
    if a == b {
        return maps.to_vec();
    }
    let mut out = Vec::new();
    for line in maps {
        let end = line.container_id.saturating_add(line.size);
        let mut at = line.container_id;
        let mut cuts: Vec<u32> =
            [a, b].into_iter().filter(|id| (line.container_id..end).contains(id)).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([end]) {
            if cut > at {
                let host_id = line.host_id + (at - line.container_id);
                out.push(IdMapping { container_id: at, host_id, size: cut - at });
            }
            at = cut.saturating_add(1);
        }
    }
    for (on_disk, shown) in [(a, b), (b, a)] {
        if let Some(host_id) = host(shown) {
            out.push(IdMapping { container_id: on_disk, host_id, size: 1 });
        }
    }
    out
}

/// A user namespace with these maps. It lives as long as its descriptor.
pub(super) fn namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, LaunchError> {
    let failed = |errno| LaunchError::at("make a user namespace for a bind mount", errno);
    let child = sys::clone::clone3(sys::clone::ns::USER, || {
        // Held until the maps are written, and no longer than whoever waits for it.
        let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        while tied.is_ok() {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
        1
    })
    .map_err(failed)?;
    let proc = format!("/proc/{}", child.pid);
    let made = write_map(&format!("{proc}/uid_map"), uids)
        .and_then(|()| write_map(&format!("{proc}/gid_map"), gids))
        .and_then(|()| {
            sys::netns::open(Path::new(&format!("{proc}/ns/user")))
                .map_err(|error| failed(error.errno))
        });
    // It is ours and was not reaped: the signal can only reach it.
    let killed = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
    let _ = sys::Pidfd::from(child.pidfd).wait();
    killed.map_err(failed)?;
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn two_ids_are_exchanged_and_the_others_stay() {
        let range = [line(0, 1000, 10)];
        assert_eq!(exchanged(&range, 3, 3), range);
        assert_eq!(
            exchanged(&range, 2, 5),
            [
                line(0, 1000, 2),
                line(3, 1003, 2),
                line(6, 1006, 4),
                line(2, 1005, 1),
                line(5, 1002, 1)
            ]
        );
        assert_eq!(exchanged(&range, 0, 9), [line(1, 1001, 8), line(0, 1009, 1), line(9, 1000, 1)]);
    }

    #[test]
    fn an_owner_outside_of_the_range_is_shown_all_the_same() {
        let range = [line(0, 1000, 10)];
        assert_eq!(
            exchanged(&range, 70_000, 4),
            [line(0, 1000, 4), line(5, 1005, 5), line(70_000, 1004, 1)]
        );
    }
}
