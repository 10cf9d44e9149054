//! Volumes, bind mounts and tmpfs as a user sees them.

use lab::Lab;

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
