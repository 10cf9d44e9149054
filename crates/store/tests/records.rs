//! Records on a disk that fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use store::record::Durability;

/// What a full disk refused is refused, what was there is there, and with room again it goes on.
#[test]
fn a_disk_that_was_full_is_written_to_again() {
    // A tmpfs of eight megabytes in a mount namespace of this thread's own.
    std::thread::spawn(|| {
        sys::mount::unshare(0x0002_0000).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let (none, size) = (MountFlags::empty(), c"size=8m");
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", none, size).unwrap();
        let root = dir.path().join("root");
        let filler = dir.path().join("filler");
        let store = store::Store::open(&root, store::Options::default()).unwrap();
        std::fs::write(&filler, vec![1; 2 << 20]).unwrap();
        let (records, value) = (store.records(), vec![7; 100 << 10]);
        let put = |n: u32| records.put("t", &n.to_string(), &value, Durability::Immediate);
        let kept = (0..200).take_while(|n| put(*n).is_ok()).count();
        assert!(kept < 200, "the disk is never full");
        let all = || records.iter("t").unwrap().len();
        assert!(put(1000).is_err() && put(1001).is_err());
        assert_eq!(all(), kept, "what was there is there, and nothing that was refused");
        std::fs::remove_file(&filler).unwrap();
        put(2000).unwrap();
        records.put("t", "small", b"x", Durability::Relaxed).unwrap();
        assert_eq!(all(), kept + 2);
        drop(store);
        let store = store::Store::open(&root, store::Options::default()).unwrap();
        assert_eq!(store.records().iter("t").unwrap().len(), kept + 2);
        drop(store);
        rustix::mount::unmount(dir.path(), UnmountFlags::DETACH).unwrap();
    })
    .join()
    .unwrap();
}
