//! The file systems of a container: layers, devices, masks, binds, and what hostile images try.

mod lab;

use lab::{Lab, Outcome, bind};
use runtime::launch::Rootfs;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use sys::Ended;

fn ok(outcome: Outcome) -> String {
    assert_eq!(outcome.ended, Ended::Exited(0), "{outcome:?}");
    outcome.stdout
}

fn lower(lab: &Lab) -> PathBuf {
    lab.path("lower")
}

#[test]
fn files_made_inside_carry_the_ids_of_the_container_on_disk() {
    let line = "echo x > /made; chown 33:44 /made; touch /root-file; \
        cat /etc/passwd >> /etc/group; stat -c %u:%g /made /etc/group";
    let lab = Lab::sh(line);
    assert_eq!(ok(lab.run()), "33:44\n0:0\n");
    let owner = |name: &str| {
        let stat = fs::metadata(lab.path("upper").join(name)).expect(name);
        (stat.uid(), stat.gid())
    };
    assert_eq!(owner("made"), (33, 44));
    assert_eq!(owner("root-file"), (0, 0));
    assert_eq!(owner("etc/group"), (0, 0));
}

#[test]
fn the_topmost_layer_wins() {
    let mut lab = Lab::sh("cat /etc/which");
    let Rootfs::Overlay { lower, .. } = &mut lab.launch.rootfs else { unreachable!() };
    let above = lower[0].with_file_name("above");
    fs::create_dir_all(above.join("etc")).expect("layer");
    fs::write(above.join("etc/which"), "above").expect("file");
    fs::write(lower[0].join("etc/which"), "below").expect("file");
    lower.insert(0, above);
    assert_eq!(ok(lab.run()), "above");
}

#[test]
fn a_directory_can_be_the_root() {
    let mut lab = Lab::sh("touch /made; stat -c %u /made /bin/busybox");
    lab.launch.rootfs = Rootfs::Directory(lower(&lab));
    assert_eq!(ok(lab.run()), "0\n0\n");
    assert_eq!(fs::metadata(lower(&lab).join("made")).expect("made").uid(), 0);
}

#[test]
fn a_read_only_root_is() {
    let mut lab = Lab::sh("touch /x || echo refused; touch /dev/shm/x && echo fine");
    let Rootfs::Overlay { readonly, .. } = &mut lab.launch.rootfs else { unreachable!() };
    *readonly = true;
    assert_eq!(lab.run().stdout, "refused\nfine\n");
}

#[test]
fn nothing_is_mounted_on_the_host_and_nothing_stays() {
    let table = || fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let before = table();
    let started = Lab::sh("sleep 1000").start();
    assert_eq!(table(), before);
    drop(started);
    assert_eq!(table(), before);
}

#[test]
fn nothing_of_the_host_is_mounted_inside() {
    // Where the root begins is asked twice: by who came with it, and by who joined later.
    let started = Lab::sh("sleep 1000").start();
    let table = ["cat", "/proc/1/mountinfo"];
    let entered = ok(started.exec(&lab::process(&table), None).expect("exec"));
    let roots = entered.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{entered}");
    let pid = started.running.pid;
    let from_outside = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts");
    assert_eq!(entered.lines().count(), from_outside.lines().count());
    assert!(!entered.contains(" ext4 "), "{entered}");
}

#[test]
fn devices_are_the_usual_ones_and_work() {
    let out = ok(Lab::sh(
        "cd /dev; ls | tr '\\n' ' '; echo x > null; head -c 4 zero | wc -c; \
         head -c 4 urandom | wc -c; stat -c '%t:%T:%a:%u' null tty full; \
         readlink fd; readlink ptmx",
    )
    .run());
    let expect = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom \
        zero 4\n4\n1:3:666:0\n5:0:666:0\n1:7:666:0\n/proc/self/fd\npts/ptmx\n";
    assert_eq!(out, expect);
}

#[test]
fn extra_devices_appear_with_their_owner() {
    let mut lab = Lab::sh("stat -c '%t:%T:%a:%u:%g' /dev/net/tun2 /dev/null");
    lab.linux().devices = vec![wire::oci::runtime::Device {
        path: "/dev/net/tun2".into(),
        kind: "c".into(),
        major: 10,
        minor: 200,
        file_mode: Some(0o640),
        uid: Some(5),
        gid: Some(6),
    }];
    assert_eq!(ok(lab.run()), "a:c8:640:5:6\n1:3:666:0:0\n");
}

#[test]
fn masked_paths_read_as_empty_and_cannot_be_written() {
    let line = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do \
        [ -e $f ] && { cat $f | wc -c; echo x > $f 2>/dev/null && echo written; }; done; \
        ls /sys/firmware | wc -l; touch /sys/firmware/x 2>/dev/null && echo written; true";
    for word in ok(Lab::sh(line).run()).split_whitespace() {
        assert_eq!(word, "0");
    }
}

#[test]
fn masks_are_not_the_containers_null_device() {
    // An image that brings a file as /dev/null cannot put it behind the masks (CVE-2025-31133).
    let lab = Lab::sh("cat /proc/kcore /dev/null | wc -c; [ -c /dev/null ] && echo device");
    fs::write(lower(&lab).join("dev/null"), "bait").expect("bait");
    assert_eq!(ok(lab.run()), "0\ndevice\n");
}

#[test]
fn read_only_paths_cannot_be_written() {
    let line = "echo x > /proc/sysrq-trigger || echo refused; \
        echo y > /proc/sys/kernel/hostname || echo refused; \
        touch /sys/x || echo refused; echo 1 > /sys/fs/cgroup/pids/x || echo refused";
    let outcome = Lab::sh(line).run();
    assert_eq!(outcome.stdout, "refused\n".repeat(4), "{outcome:?}");
    assert!(outcome.stderr.matches("Read-only file system").count() >= 3, "{outcome:?}");
}

#[test]
fn control_groups_show_only_the_containers_own() {
    let out = ok(Lab::sh("cat /proc/self/cgroup; ls /sys/fs/cgroup").run());
    for line in out.lines().filter(|line| line.contains(':')) {
        assert!(line.ends_with(":/"), "{line}");
    }
    assert!(out.contains("memory"), "{out}");
}

#[test]
fn images_with_links_instead_of_proc_sys_and_dev_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let lab = Lab::new(&["true"]);
        let path = lower(&lab).join(name);
        fs::remove_dir(&path).expect("empty directory");
        symlink("/tmp", &path).expect("link");
        let error = lab.try_run().expect_err(name);
        assert!(error.to_string().contains("link"), "{name}: {error}");
    }
}

#[test]
fn links_of_an_image_lead_nowhere_outside() {
    let lab_dir = Lab::new(&["true"]);
    let outside = lab_dir.path("outside");
    fs::create_dir(&outside).expect("outside");
    let volume = lab_dir.path("volume");
    fs::create_dir(&volume).expect("volume");
    fs::write(volume.join("file"), "volume").expect("file");
    let mut lab = Lab::sh("cat /escape/x/file");
    // Absolute and climbing links are both resolved inside the root.
    symlink(&outside, lower(&lab).join("escape")).expect("link");
    let inside = outside.strip_prefix("/").expect("absolute");
    fs::create_dir_all(lower(&lab).join(inside)).expect("the same path inside");
    lab.mounts().push(bind(&volume, "/escape/x", "rbind"));
    assert_eq!(ok(lab.run()), "volume");
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn a_mount_point_that_leads_into_proc_is_refused() {
    let source = Lab::new(&["true"]);
    fs::write(source.path("file"), "lie").expect("file");
    let mut lab = Lab::sh("cat /attr");
    symlink("/proc/self/attr/current", lower(&lab).join("attr")).expect("link");
    lab.mounts().push(bind(&source.path("file"), "/attr", "bind"));
    lab.try_run().expect_err("mounted over procfs");
    for place in ["/proc/self/attr", "/proc/1", "/proc/sys", "/"] {
        let mut lab = Lab::new(&["true"]);
        lab.mounts().push(bind(&source.path("file"), place, "bind"));
        assert_eq!(lab.try_run().expect_err(place).exit_code(), 125);
    }
    let mut lab = Lab::new(&["cat", "/proc/meminfo"]);
    lab.mounts().push(bind(&source.path("file"), "/proc/meminfo", "bind"));
    assert_eq!(ok(lab.run()), "lie");
}

#[test]
fn binds_keep_the_ids_that_files_have_on_disk() {
    let mut lab = Lab::sh("stat -c %u:%g /v /v/f; touch /v/new; chown 7:8 /v/new");
    let volume = lab.path("volume");
    fs::create_dir(&volume).expect("volume");
    fs::write(volume.join("f"), "").expect("file");
    std::os::unix::fs::chown(volume.join("f"), Some(12), Some(13)).expect("chown");
    lab.mounts().push(bind(&volume, "/v", "rbind,rprivate"));
    assert_eq!(ok(lab.run()), "0:0\n12:13\n");
    let new = fs::metadata(volume.join("new")).expect("new");
    assert_eq!((new.uid(), new.gid()), (7, 8));
}

#[test]
fn binds_of_the_host_style_keep_the_hosts_ids() {
    let mut lab = Lab::sh("stat -c %u /v/f");
    lab.launch.ids = runtime::launch::Ids::Host;
    // The root's files are the host's as well then.
    std::os::unix::fs::chown(lab.path("upper"), Some(lab::FIRST_ID), Some(lab::FIRST_ID))
        .expect("chown");
    let volume = lab.path("volume");
    fs::create_dir(&volume).expect("volume");
    fs::write(volume.join("f"), "").expect("file");
    lab.mounts().push(bind(&volume, "/v", "rbind"));
    assert_eq!(ok(lab.run()), "65534\n");
}

#[test]
fn bind_options_hold() {
    let mut lab = Lab::sh(
        "touch /ro/x || echo ro; /noexec/prog 2>/dev/null || echo noexec; \
        touch /ro/sub/x || echo rro",
    );
    let volume = lab.path("volume");
    fs::create_dir_all(volume.join("sub")).expect("volume");
    fs::copy("/bin/busybox", volume.join("prog")).expect("program");
    fs::set_permissions(volume.join("prog"), fs::Permissions::from_mode(0o755)).expect("mode");
    lab.mounts().push(bind(&volume, "/ro", "rbind,rro"));
    lab.mounts().push(bind(&volume, "/noexec", "bind,noexec"));
    assert_eq!(lab.run().stdout, "ro\nnoexec\nrro\n");
}

#[test]
fn files_can_be_bound_and_mount_points_are_made() {
    let mut lab = Lab::sh("cat /deep/er/file; ls -ld /deep | head -c 10");
    let file = lab.path("file");
    fs::write(&file, "content ").expect("file");
    lab.mounts().push(bind(&file, "/deep/er/file", "bind,ro"));
    assert_eq!(ok(lab.run()), "content drwxr-xr-x");
}

#[test]
fn a_missing_source_is_told() {
    let mut lab = Lab::new(&["true"]);
    let nothing = lab.path("nothing");
    lab.mounts().push(bind(&nothing, "/v", "bind"));
    let error = lab.try_run().expect_err("missing source");
    assert!(error.to_string().starts_with("bind source path does not exist"), "{error}");
    assert_eq!(error.exit_code(), 125);
}

#[test]
fn a_tmpfs_can_begin_as_a_copy() {
    let mut lab =
        Lab::sh("cat /etc/passwd | wc -l; stat -c %u /etc/passwd; touch /etc/x && echo new");
    let mut tmpfs = bind(&PathBuf::from("tmpfs"), "/etc", "tmpcopyup,size=1m");
    tmpfs.kind = "tmpfs".into();
    lab.mounts().push(tmpfs);
    assert_eq!(ok(lab.run()), "2\n0\nnew\n");
    assert!(!lab.path("upper/etc/x").exists());
}
