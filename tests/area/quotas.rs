//! Where the file system holds nothing to a bound of disk space, whoever asks for one is told what
//! is missing (that the bounds hold where it does is shown in the virtual machine,
//! `tests/vm/quotas.sh`). Copies of volumes share their blocks where the file system can.

use lab::{Lab, Output, Setup};

fn on(kind: &'static str) -> Lab {
    Lab::with(Setup { data_on: Some(kind), ..Setup::default() })
}

/// Writes so many mebibytes to a file in a container.
fn write(lab: &Lab, options: &[&str], file: &str, mib: u32) -> Output {
    let dd = format!("dd if=/dev/urandom of={file} bs=1048576 count={mib} && sync");
    lab.estiba(&[&["run", "--rm"], options, &["busybox", "sh", "-c", &dd]].concat())
}

/// Kilobytes in use on the data root's file system.
fn used(lab: &Lab) -> u64 {
    let root = lab.data_root().to_string_lossy().into_owned();
    lab.in_network(&["sync", "-f", &root]).ok();
    let told = lab.in_network(&["df", "-k", "--output=used", &root]);
    told.ok().lines().last().unwrap().trim().parse().unwrap()
}

fn refused(lab: &Lab, parts: &[&str]) {
    for words in [
        &["run", "--rm", "--storage-opt", "size=8m", "busybox", "true"][..],
        &["volume", "create", "-o", "size=8m", "sized"],
    ] {
        let refused = lab.estiba(words);
        assert_ne!(refused.status, 0, "{refused:?}");
        for part in parts {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn where_no_quota_holds_it_is_said_what_is_missing() {
    let lab = Lab::with(Setup { data_mib: Some(64), ..Setup::default() });
    refused(&lab, &["the tmpfs below the data root", "put the data root on ext4 or xfs"]);
    refused(&on("ext4"), &["the ext4 below the data root", "-O quota,project", "prjquota"]);
    refused(&on("xfs"), &["the xfs below the data root", "mount it with \"prjquota\""]);
}

#[test]
fn sizes_that_are_none_are_refused() {
    let lab = Lab::new();
    for (wrong, why) in [("size=much", "invalid size"), ("colour=red", "unknown --storage-opt")] {
        let refused = lab.estiba(&["create", "--storage-opt", wrong, "busybox", "true"]);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let bind = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/tmp"];
    let refused = lab.estiba(&[&bind[..], &["-o", "size=8m"]].concat());
    assert!(refused.stderr.contains("bounded where it is kept"), "{refused:?}");
    // Memory needs no quota.
    let memory = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "size=8m"];
    lab.estiba(&[&memory[..], &["memory"]].concat()).ok();
    let full = write(&lab, &["-v", "memory:/v"], "/v/file", 16);
    assert!(full.stderr.contains("No space left on device"), "{full:?}");
}

#[test]
fn copies_of_volumes_share_their_blocks() {
    let lab = on("xfs");
    write(&lab, &["-v", "one:/v"], "/v/file", 64).ok();
    let before = used(&lab);
    lab.estiba(&["volume", "cp", "one", "two"]).ok();
    lab.estiba(&["volume", "snapshot", "one", "three"]).ok();
    let more = used(&lab).saturating_sub(before);
    assert!(more < 8 << 10, "two copies of 64 MiB took {more} KiB");
    let sum = |name: &str| {
        let volume = format!("{name}:/v:ro");
        let sum = lab.estiba(&["run", "--rm", "-v", &volume, "busybox", "md5sum", "/v/file"]);
        sum.ok().to_owned()
    };
    assert_eq!(sum("one"), sum("two"));
    // They go separate ways.
    lab.estiba(&["run", "--rm", "-v", "two:/v", "busybox", "sh", "-c", "echo x >/v/file"]).ok();
    assert_eq!(sum("one"), sum("three"));
    assert_ne!(sum("one"), sum("two"));
    lab.estiba(&["volume", "rm", "one", "two", "three"]).ok();
}
