//! Roots and volumes that may not grow beyond a size: on file systems with project quotas they do
//! not, on others whoever asks is told what is missing. Copies of volumes share their blocks where
//! the file system can.

use lab::{Lab, Output, Setup};

fn on(kind: &'static str, arguments: &[&str]) -> Lab {
    let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
    Lab::with(Setup { data_on: Some(kind), arguments, ..Setup::default() })
}

/// Writes so many mebibytes to a file in a container.
fn write(lab: &Lab, options: &[&str], file: &str, mib: u32) -> Output {
    let dd = format!("dd if=/dev/zero of={file} bs=1048576 count={mib} && sync");
    lab.estiba(&[&["run", "--rm"], options, &["busybox", "sh", "-c", &dd]].concat())
}

fn fits(output: Output) {
    output.ok();
}

fn does_not_fit(output: Output) {
    assert_ne!(output.status, 0, "{output:?}");
    let full = ["No space left on device", "Disk quota exceeded"];
    assert!(full.iter().any(|why| output.stderr.contains(why)), "{output:?}");
}

/// Kilobytes in use on the data root's file system.
fn used(lab: &Lab) -> u64 {
    let root = lab.data_root().to_string_lossy().into_owned();
    lab.in_network(&["sync", "-f", &root]).ok();
    let told = lab.in_network(&["df", "-k", "--output=used", &root]);
    told.ok().lines().last().unwrap().trim().parse().unwrap()
}

fn roots_are_bounded(kind: &'static str) {
    let lab = on(kind, &[]);
    let sized = ["--storage-opt", "size=8m"];
    does_not_fit(write(&lab, &sized, "/file", 16));
    fits(write(&lab, &sized, "/file", 4));
    // Its neighbours are not bounded, and neither is what comes after it.
    fits(write(&lab, &[], "/file", 16));
    lab.estiba(&[&["create", "--name", "cc"], &sized[..], &["busybox", "true"]].concat()).ok();
    let told = lab.estiba(&["inspect", "-f", "{{json .HostConfig.StorageOpt}}", "cc"]);
    assert_eq!(told.ok(), r#"{"size":"8m"}"#);
    // What is written by root with every capability counts too.
    does_not_fit(write(&lab, &["--privileged", "--storage-opt", "size=8m"], "/file", 16));
    for (wrong, why) in [("size=much", "invalid size"), ("colour=red", "unknown --storage-opt")] {
        let refused = lab.estiba(&["create", "--storage-opt", wrong, "busybox", "true"]);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
}

#[test]
fn roots_are_bounded_on_ext4() {
    roots_are_bounded("ext4");
}

#[test]
fn roots_are_bounded_on_xfs() {
    roots_are_bounded("xfs");
}

#[test]
fn the_daemon_bounds_roots_that_do_not_say() {
    let lab = on("ext4", &["--storage-opt", "overlay2.size=8m"]);
    does_not_fit(write(&lab, &[], "/file", 16));
    fits(write(&lab, &["--storage-opt", "size=32m"], "/file", 16));
}

#[test]
fn volumes_are_bounded() {
    let lab = on("ext4", &[]);
    lab.estiba(&["volume", "create", "-o", "size=8m", "sized"]).ok();
    lab.estiba(&["volume", "create", "free"]).ok();
    does_not_fit(write(&lab, &["-v", "sized:/v"], "/v/file", 16));
    fits(write(&lab, &["-v", "free:/v"], "/v/file", 16));
    lab.estiba(&["run", "--rm", "-v", "sized:/v", "busybox", "rm", "/v/file"]).ok();
    fits(write(&lab, &["-v", "sized:/v"], "/v/file", 4));
    // A copy has the same bound, and one of its own.
    lab.estiba(&["volume", "cp", "sized", "second"]).ok();
    fits(write(&lab, &["-v", "second:/v"], "/v/more", 3));
    does_not_fit(write(&lab, &["-v", "second:/v"], "/v/other", 4));
    fits(write(&lab, &["-v", "sized:/v"], "/v/more", 3));
    lab.estiba(&["volume", "rm", "sized", "second", "free"]).ok();
    let memory = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "size=8m"];
    lab.estiba(&[&memory[..], &["memory"]].concat()).ok();
    does_not_fit(write(&lab, &["-v", "memory:/v"], "/v/file", 16));
    let bind = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/tmp"];
    let refused = lab.estiba(&[&bind[..], &["-o", "size=8m"]].concat());
    assert!(refused.stderr.contains("bounded where it is kept"), "{refused:?}");
}

#[test]
fn where_no_quota_holds_it_is_said_what_is_missing() {
    // In memory there are no projects.
    let lab = Lab::with(Setup { data_mib: Some(64), ..Setup::default() });
    for words in [
        &["run", "--rm", "--storage-opt", "size=8m", "busybox", "true"][..],
        &["volume", "create", "-o", "size=8m", "sized"],
    ] {
        let refused = lab.estiba(words);
        assert_ne!(refused.status, 0, "{refused:?}");
        for part in ["tmpfs below the data root", "ext4 or xfs", "prjquota"] {
            assert!(refused.stderr.contains(part), "{refused:?}");
        }
    }
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn copies_of_volumes_share_their_blocks() {
    let lab = on("xfs", &[]);
    fits(write(&lab, &["-v", "one:/v"], "/v/file", 64));
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
