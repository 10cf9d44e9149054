//! Volumes, bind mounts and tmpfs as a user sees them.

use lab::{Lab, eventually};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn named_volumes_last_and_start_with_the_images_content() {
    let lab = Lab::new();
    lab.estiba(&["run", "--rm", "-v", "data:/etc", "busybox", "sh", "-c", "echo kept > /etc/kept"])
        .ok();
    let seen = lab.estiba(&[
        "run",
        "--rm",
        "-v",
        "data:/x",
        "busybox",
        "sh",
        "-c",
        "cat /x/kept; grep -c root /x/passwd",
    ]);
    assert_eq!(seen.ok(), "kept\n1");
    let readonly = lab.estiba(&["run", "--rm", "-v", "data:/x:ro", "busybox", "touch", "/x/no"]);
    assert!(readonly.stderr.contains("Read-only file system"), "{readonly:?}");
    lab.estiba(&["create", "--name", "user", "-v", "data:/x", "busybox"]).ok();
    lab.estiba(&["volume", "rm", "data"]).fails(1, "volume is in use");
    lab.estiba(&["rm", "user"]).ok();
    lab.estiba(&["volume", "rm", "data"]).ok();
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    let lab = Lab::new();
    lab.estiba(&["run", "--rm", "-v", "/anon", "busybox", "touch", "/anon/x"]).ok();
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "");
    lab.estiba(&["create", "--name", "kk", "-v", "/anon", "busybox"]).ok();
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok().len(), 64);
    lab.estiba(&["rm", "-v", "kk"]).ok();
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn binds_and_tmpfs() {
    let lab = Lab::new();
    let dir = lab.dir().join("bind");
    let bind = format!("{}:/b", dir.display());
    lab.estiba(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "echo in > /b/f"]).ok();
    assert_eq!(std::fs::read_to_string(dir.join("f")).unwrap(), "in\n");
    let file = format!("{}:/one:ro", dir.join("f").display());
    assert_eq!(lab.estiba(&["run", "--rm", "-v", &file, "busybox", "cat", "/one"]).ok(), "in");
    let mount = format!("type=bind,source={},target=/m,readonly", dir.display());
    let tried = lab.estiba(&["run", "--rm", "--mount", &mount, "busybox", "touch", "/m/x"]);
    assert!(tried.stderr.contains("Read-only file system"), "{tried:?}");
    let tmpfs = ["run", "--rm", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m", "busybox"];
    let df = lab.estiba(&[&tmpfs[..], &["df", "-k", "/t"]].concat());
    assert!(df.ok().contains("1024"), "{df:?}");
    lab.estiba(&["create", "--name", "src", "-v", "shared:/s", "busybox"]).ok();
    lab.estiba(&["run", "--rm", "--volumes-from", "src", "busybox", "touch", "/s/x"]).ok();
    lab.estiba(&["run", "--rm", "-v", "shared:/q", "busybox", "ls", "/q/x"]).ok();
}

fn is_mounted(lab: &Lab, place: &str) -> bool {
    lab.in_network(&["grep", "-q", place, "/proc/self/mounts"]).status == 0
}

/// A volume of memory, and where it is.
fn memory(lab: &Lab) -> String {
    let options = "o=size=2m,uid=1000,mode=0750";
    let made = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", options, "mem"];
    lab.estiba(&made).ok();
    lab.estiba(&["volume", "inspect", "-f", "{{.Mountpoint}}", "mem"]).ok().to_owned()
}

#[test]
fn memory_is_one_for_all_who_use_the_volume() {
    let mut lab = Lab::new();
    let place = memory(&lab);
    let look = |lab: &Lab, script: &str| {
        lab.estiba(&["run", "--rm", "-v", "mem:/m", "busybox", "sh", "-c", script]).ok().to_owned()
    };
    lab.estiba(&["run", "-d", "--name", "first", "-v", "mem:/m", "busybox", "sleep", "1h"]).ok();
    lab.estiba(&["exec", "first", "sh", "-c", "echo in > /m/file"]).ok();
    let seen = look(&lab, "cat /m/file; stat -c '%u %a' /m; df -k /m | grep -c 2048");
    assert_eq!(seen, "in\n1000 750\n1", "whom it belongs to is not whom ids are mapped to");
    let host = format!("{place}/file");
    assert_eq!(lab.in_network(&["cat", &host]).ok(), "in");
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(look(&lab, "cat /m/file; echo more > /m/file"), "in");
    assert_eq!(lab.estiba(&["exec", "first", "cat", "/m/file"]).ok(), "more");
    lab.estiba(&["create", "--name", "still", "-v", "mem:/m", "busybox"]).ok();
    let out = lab.dir().join("out");
    lab.estiba(&["cp", "still:/m/file", &out.to_string_lossy()]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "more\n");
    lab.estiba(&["rm", "-f", "first"]).ok();
    eventually("the last one takes it off", || !is_mounted(&lab, &place));
    assert_eq!(look(&lab, "ls /m"), "");
    lab.estiba(&["rm", "still"]).ok();
    lab.estiba(&["volume", "rm", "mem"]).ok();
}

#[test]
fn a_volume_that_nobody_uses_after_a_crash_is_not_mounted() {
    let mut lab = Lab::new();
    let place = memory(&lab);
    for name in ["stays", "ends"] {
        let words = ["run", "-d", "--name", name, "-v", "mem:/m", "busybox", "sleep", "1h"];
        lab.estiba(&words).ok();
    }
    let end_unseen = |lab: &mut Lab, name: &str| {
        let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", name]).ok().to_owned();
        lab.kill_daemon();
        lab.in_network(&["kill", "-KILL", &pid]).ok();
        lab.start_daemon();
    };
    end_unseen(&mut lab, "ends");
    lab.estiba(&["exec", "stays", "touch", "/m/kept"]).ok();
    assert!(is_mounted(&lab, &place), "somebody uses it");
    end_unseen(&mut lab, "stays");
    eventually("it is taken off", || !is_mounted(&lab, &place));
    lab.estiba(&["rm", "stays", "ends"]).ok();
    lab.estiba(&["volume", "rm", "mem"]).ok();
}

#[test]
fn what_cannot_be_mounted_says_why_and_leaves_nothing() {
    let lab = Lab::new();
    let create =
        ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=nonsense=1", "bad"];
    lab.estiba(&create).ok();
    let failed = lab.estiba(&["run", "--rm", "-v", "bad:/b", "busybox", "true"]);
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("error while mounting volume '"), "{failed:?}");
    assert!(failed.stderr.contains("failed to mount local volume: mount tmpfs:"), "{failed:?}");
    eventually("its container is gone", || lab.estiba(&["ps", "-aq"]).ok().is_empty());
    lab.estiba(&["volume", "rm", "bad"]).ok();
}

/// Directories whose owner is 1000:1001, of the host and of a volume.
fn owned(lab: &Lab, name: &str) -> String {
    let dir = lab.dir().join(name);
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(1000), Some(1001)).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    dir.to_string_lossy().into_owned()
}

#[test]
fn files_belong_to_whom_a_mount_says() {
    let lab = Lab::new();
    let (short, long) = (owned(&lab, "short"), owned(&lab, "long"));
    let made = ["volume", "create", "-o", "uid=1000", "-o", "gid=1001", "-o", "mode=0700", "vol"];
    lab.estiba(&made).ok();
    let place = lab.estiba(&["volume", "inspect", "-f", "{{.Mountpoint}}", "vol"]).ok().to_owned();
    for (option, mount, source) in [
        ("-v", format!("{short}:/b:uid=1234,gid=1235"), &short),
        ("--mount", format!("type=bind,source={long},target=/b,uid=1234,gid=1235"), &long),
        ("-v", "vol:/b:uid=1234,gid=1235".to_owned(), &place),
        ("--mount", "type=volume,source=vol,target=/b,uid=1234,gid=1235".to_owned(), &place),
    ] {
        let script = "stat -c %u:%g:%a /b; rm -f /b/new; echo x > /b/new; stat -c %u:%g /b/new";
        let words = ["run", "--rm", "-u", "1234:1235", option, &mount, "busybox", "sh", "-c"];
        let seen = lab.estiba(&[&words[..], &[script]].concat());
        assert_eq!(seen.ok(), "1234:1235:700\n1234:1235", "{option} {mount}");
        let made = std::path::Path::new(source).join("new").metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (1000, 1001), "{option} {mount}: on disk");
        let dir = std::path::Path::new(source).metadata().unwrap();
        assert_eq!((dir.uid(), dir.gid()), (1000, 1001), "{option} {mount}: nothing changed hands");
    }
    // Without a word everything is as on disk, whatever the container's ids are to the host.
    let plain = format!("{short}:/b");
    let seen = lab.estiba(&["run", "--rm", "-v", &plain, "busybox", "stat", "-c", "%u:%g", "/b"]);
    assert_eq!(seen.ok(), "1000:1001");
    let script = "touch /b/roots; stat -c %u:%g /b/roots";
    let seen = lab.estiba(&["run", "--rm", "-v", &plain, "busybox", "sh", "-c", script]);
    assert_eq!(seen.ok(), "0:0");
    let made = std::path::Path::new(&short).join("roots").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
    let memory = "type=tmpfs,target=/t,uid=33,gid=34,mode=0750";
    let seen =
        lab.estiba(&["run", "--rm", "--mount", memory, "busybox", "stat", "-c", "%u:%g:%a", "/t"]);
    assert_eq!(seen.ok(), "33:34:750");
    lab.estiba(&["volume", "rm", "vol"]).ok();
}

/// A tree of mounts of the host: `below` is a mount in it.
fn tree(lab: &Lab) -> String {
    let dir = lab.dir().join("tree").to_string_lossy().into_owned();
    let script = "mkdir $0 && mount -t tmpfs top $0 && mount --make-shared $0 && mkdir $0/below && \
                  mount -t tmpfs below $0/below && touch $0/below/mark && mkdir $0/late";
    lab.in_network(&["sh", "-c", script, &dir]).ok();
    dir
}

#[test]
fn what_is_mounted_below_a_bind_is_as_asked() {
    let lab = Lab::new();
    let dir = tree(&lab);
    let try_both = "for at in /m /m/below; do touch $at/x 2>/dev/null && echo $at; done; \
                    ls /m/below; rm -f /m/x /m/below/x";
    for (option, mount, want) in [
        ("-v", format!("{dir}:/m"), "/m\n/m/below\nmark\nx"),
        ("-v", format!("{dir}:/m:ro"), "mark"),
        ("--mount", format!("type=bind,src={dir},dst=/m,readonly"), "mark"),
        (
            "--mount",
            format!("type=bind,src={dir},dst=/m,readonly,bind-recursive=writable"),
            "/m/below\nmark\nx",
        ),
        (
            "--mount",
            format!(
                "type=bind,src={dir},dst=/m,readonly,bind-recursive=readonly,\
                 bind-propagation=rprivate"
            ),
            "mark",
        ),
        (
            "--mount",
            format!("type=bind,src={dir},dst=/m,bind-recursive=disabled"),
            "/m\n/m/below\nx",
        ),
    ] {
        let words = ["run", "--rm", option, &mount, "busybox", "sh", "-c", try_both];
        assert_eq!(lab.estiba(&words).ok(), want, "{option} {mount}");
    }
    for (name, mode) in [("alone", ""), ("told", ":rslave")] {
        let bind = format!("{dir}:/m{mode}");
        let words = ["run", "-d", "--name", name, "-v", &bind, "busybox", "sleep", "1000"];
        lab.estiba(&words).ok();
    }
    let script = "mount -t tmpfs late $0/late && touch $0/late/mark";
    lab.in_network(&["sh", "-c", script, &dir]).ok();
    lab.estiba(&["exec", "told", "test", "-e", "/m/late/mark"]).ok();
    assert_ne!(lab.estiba(&["exec", "alone", "test", "-e", "/m/late/mark"]).status, 0);
    lab.estiba(&["rm", "-f", "told", "alone"]).ok();
    lab.in_network(&["umount", "-R", &dir]).ok();
}

#[test]
fn a_part_of_a_volume_or_of_an_image_is_mounted() {
    let lab = Lab::new();
    let run = |mount: &str, script: &str| {
        lab.estiba(&["run", "--rm", "--mount", mount, "busybox", "sh", "-c", script])
    };
    run("type=volume,src=vv,dst=/m", "mkdir -p /m/a/b; echo in > /m/a/b/file; ln -s / /m/out").ok();
    let seen = run("type=volume,src=vv,dst=/m,volume-subpath=a/b", "cat /m/file; echo x > /m/new");
    assert_eq!(seen.ok(), "in");
    assert_eq!(run("type=volume,src=vv,dst=/m", "cat /m/a/b/new").ok(), "x");
    for (subpath, why) in [("none", "cannot access path"), ("out", "escapes"), ("../x", "subpath")]
    {
        let refused = run(&format!("type=volume,src=vv,dst=/m,volume-subpath={subpath}"), "true");
        assert_ne!(refused.status, 0, "{subpath}");
        assert!(refused.stderr.contains(why), "{subpath}: {}", refused.stderr);
    }
    let image = "type=image,src=busybox,dst=/i,image-subpath=bin";
    assert_eq!(
        run(image, "ls /i/busybox; touch /i/x 2>/dev/null || echo ro").ok(),
        "/i/busybox\nro"
    );
    lab.estiba(&["volume", "rm", "vv"]).ok();
}
