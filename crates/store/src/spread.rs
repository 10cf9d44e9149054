//! Where a file system puts trees that have nothing to do with each other. Knows nothing of what is
//! in them.
//!
//! ext4 puts the files of a directory beside each other, and its directories beside it: into the
//! same group of blocks, as long as there is room. For a directory of layers, containers or volumes
//! this is wrong twice. What belongs together is not what was made at the same time; and where
//! trees come and go, each new file steps over all that were deleted there in the last minutes,
//! whose inodes ext4 does not give out again so soon (`recently_deleted` in fs/ext4/ialloc.c). A
//! pull of 8,700 files right after the removal of as many took four times as long for it.
//!
//! A directory that says so (`T` of [chattr(1)], `EXT4_TOPDIR_FL`) is the top of hierarchies: each
//! directory made in it gets a group of its own with more room than most (`find_group_orlov`).
//!
//! [chattr(1)]: https://man7.org/linux/man-pages/man1/chattr.1.html

use rustix::fd::AsFd;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// Each directory made in `dir` from now on is put where there is room. A file system that knows
/// nothing of this goes on as it does.
pub fn spread(dir: impl AsFd) {
    if let Ok(flags) = ioctl_getflags(&dir)
        && !flags.contains(IFlags::TOPDIR)
    {
        // Only speed is lost.
        let _ = ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn directories_of_the_store_are_spread_where_the_file_system_can() {
        let dir = tempfile::tempdir().unwrap();
        let own = File::open(dir.path()).unwrap();
        let can = ioctl_getflags(&own)
            .and_then(|flags| ioctl_setflags(&own, flags | IFlags::TOPDIR))
            .is_ok();
        let root = dir.path().join("store");
        drop(crate::Store::open(&root, crate::Options::default()).unwrap());
        for name in ["tmp", "volumes"] {
            let dir = File::open(root.join(name)).unwrap();
            let spread = ioctl_getflags(&dir).is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
            assert_eq!(spread, can, "{name}");
            // What is made in it is no top itself.
            std::fs::create_dir(root.join(name).join("tree")).unwrap();
            let tree = File::open(root.join(name).join("tree")).unwrap();
            let top = ioctl_getflags(&tree).is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
            assert!(!top, "{name}");
        }
    }
}
