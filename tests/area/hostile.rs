//! Images, containers and options that try to get out: every path they name leads elsewhere, and
//! nothing on the host may change, be read or stay mounted. (Laws A1-A4, B1, B2, B5, C2, C5.)

use lab::{Lab, Sentinel, eventually, state};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root filesystem of the busybox image, to be made hostile and imported.
fn root(lab: &Lab, name: &str) -> PathBuf {
    let root = lab.dir().join(format!("root-{name}"));
    std::fs::create_dir(&root).unwrap();
    tar(&["-C", root.to_str().unwrap(), "-xf", lab::archive("busybox").to_str().unwrap()]);
    root
}

fn tar(words: &[&str]) {
    assert!(Command::new("tar").args(words).status().unwrap().success(), "tar {words:?}");
}

/// Puts something else in a path's place.
fn replace(root: &Path, path: &str, with: &str) {
    let place = root.join(path.trim_start_matches('/'));
    let _ = std::fs::remove_dir_all(&place);
    let _ = std::fs::remove_file(&place);
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).unwrap();
    }
    match with {
        "a file" => std::fs::write(&place, "not what you think").unwrap(),
        "a directory" => std::fs::create_dir(&place).unwrap(),
        "a pipe" => {
            assert!(Command::new("mkfifo").arg(&place).status().unwrap().success());
        }
        target => symlink(target, &place).unwrap(),
    }
}

fn import(lab: &Lab, root: &Path, name: &str, changes: &[&str]) {
    let file = lab.dir().join(format!("{name}.tar"));
    tar(&["-C", root.to_str().unwrap(), "-cf", file.to_str().unwrap(), "."]);
    let mut words = vec!["import", "-c", "CMD [\"sh\"]"];
    words.extend(changes.iter().flat_map(|change| ["-c", *change]));
    words.extend([file.to_str().unwrap(), name]);
    lab.estiba(&words).ok();
    std::fs::remove_file(file).unwrap();
}

/// Mounts in the lab's namespace that belong to containers.
fn mounts(lab: &Lab) -> Vec<String> {
    let table = lab.in_network(&["cat", "/proc/self/mountinfo"]);
    let ours = lab.dir().to_str().unwrap().to_owned();
    let lines = table.ok().lines().filter(|line| line.contains(&ours));
    lines.map(|line| line.split(' ').skip(3).take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[track_caller]
fn nothing_left(lab: &Lab, before: &[String]) {
    eventually("no mount is left", || mounts(lab) == before);
}

/// A container either is refused, or all that it sees is right.
const SEES: &str = "
    [ -c /dev/null ] && [ ! -L /dev/null ] || echo WRONG null
    [ \"$(stat -c %t:%T /dev/null)\" = 1:3 ] || echo WRONG null device
    [ -e /proc/self/status ] || echo WRONG proc
    grep -q 'proc /proc proc' /proc/self/mounts || echo WRONG proc mount
    [ -s /proc/kcore ] && head -c 1 /proc/kcore 2>/dev/null | grep -q . && echo WRONG kcore
    (echo 1 > /proc/sysrq-trigger) 2>/dev/null && echo WRONG sysrq
    for f in /etc/hosts /etc/hostname /etc/resolv.conf /etc/passwd /etc/group; do
        [ -p $f ] || ! grep -qs 'host secret' $f || echo WRONG $f; done
    echo x > /dev/null
    echo seen";

#[test]
fn what_an_image_puts_in_the_way_of_mounts() {
    let lab = Lab::new();
    let sentinel = Sentinel::new(&lab);
    let host = sentinel.path().to_owned();
    let file = format!("{host}/file");
    let before = mounts(&lab);
    let cases: Vec<(&str, String)> = ["/proc", "/sys", "/dev", "/etc"]
        .into_iter()
        .flat_map(|path| {
            let up = format!("../../../../../../../..{host}");
            [(path, host.clone()), (path, up), (path, "a file".into()), (path, "loop".into())]
        })
        .chain(
            ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group"]
                .into_iter()
                .flat_map(|path| {
                    [
                        (path, file.clone()),
                        (path, "a directory".into()),
                        (path, "a pipe".into()),
                        (path, "/proc/self/exe".into()),
                    ]
                }),
        )
        .chain(
            ["/dev/null", "/dev/console", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/ptmx"]
                .into_iter()
                .flat_map(|path| [(path, file.clone()), (path, "a directory".into())]),
        )
        .collect();
    for (number, (path, with)) in cases.iter().enumerate() {
        let root = root(&lab, &number.to_string());
        let with = if with == "loop" { *path } else { with.as_str() };
        replace(&root, path, with);
        let name = format!("case{number}:1");
        import(&lab, &root, &name, &[]);
        std::fs::remove_dir_all(&root).unwrap();
        for tty in [false, true].into_iter().take(1 + usize::from(path.starts_with("/dev"))) {
            let mut words = vec!["run", "--rm", "--network", "none"];
            words.extend(tty.then_some("-t"));
            words.extend([name.as_str(), "sh", "-c", SEES]);
            let output = lab.estiba(&words);
            let told = format!("{path} → {with} (tty {tty}): {output:?}");
            assert!(!output.stdout.contains("WRONG"), "{told}");
            assert!(!output.stdout.contains("host secret"), "{told}");
            if output.status == 0 {
                assert!(output.stdout.contains("seen"), "{told}");
            } else {
                assert!(!output.stderr.is_empty() || !output.stdout.is_empty(), "{told}");
            }
            sentinel.unchanged(&told);
        }
        lab.estiba(&["rmi", &name]).ok();
    }
    nothing_left(&lab, &before);
}

#[test]
fn working_directories_that_lead_elsewhere() {
    let lab = Lab::new();
    let sentinel = Sentinel::new(&lab);
    let root = root(&lab, "wd");
    symlink(sentinel.path(), root.join("out")).unwrap();
    symlink("/proc/self/fd/5", root.join("descriptor")).unwrap();
    symlink("/proc/1/root", root.join("init")).unwrap();
    import(&lab, &root, "wd:1", &[]);
    lab.estiba(&["run", "-d", "--name", "xx", "wd:1", "sleep", "1000"]).ok();
    let mut dirs: Vec<String> = (0..20).map(|fd| format!("/proc/self/fd/{fd}")).collect();
    dirs.extend(
        ["/out", "/out/sub", "/descriptor", "/init/../../..", "/proc/1/cwd"].map(Into::into),
    );
    let script = "cat file deep ../file sub/deep 2>/dev/null; ls -a | grep -x estiba.sock; \
                  ls -d ../../../../../../etc/estiba-is-here 2>/dev/null; pwd -P";
    for dir in &dirs {
        for words in [
            &["run", "--rm", "-w", dir, "wd:1", "sh", "-c", script][..],
            &["exec", "-w", dir, "xx", "sh", "-c", script],
        ] {
            let output = lab.estiba(words);
            assert!(!output.stdout.contains("secret"), "{words:?}: {output:?}");
            assert!(!output.stdout.contains("estiba.sock"), "{words:?}: {output:?}");
            assert!(!output.stdout.contains("(unreachable)"), "{words:?}: {output:?}");
            sentinel.unchanged(dir);
        }
    }
    let sub = lab.estiba(&["exec", "xx", "ls", sentinel.path()]);
    assert_ne!(sub.stdout, "deep\n", "{sub:?}");
}

/// Bytes of a program, to see that they stay.
fn programs() -> Vec<(PathBuf, u64, Vec<u8>)> {
    let names = ["estiba", "estiba-runtime"].map(|name| lab::binaries().join(name));
    let read = |path: PathBuf| {
        let (inode, bytes) = (path.metadata().unwrap().ino(), std::fs::read(&path).unwrap());
        (path, inode, bytes)
    };
    names.into_iter().filter(|path| path.exists()).map(read).collect()
}

#[test]
fn the_runtimes_own_program_is_out_of_reach() {
    let lab = Lab::new();
    let before = programs();
    assert_eq!(before.len(), 2, "both programs are watched");
    let root = root(&lab, "exe");
    symlink("/proc/self/exe", root.join("link")).unwrap();
    std::fs::write(root.join("script"), "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(root.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
    import(&lab, &root, "exe:1", &[]);
    for entry in ["/link", "/script", "/proc/self/exe", "/proc/1/exe"] {
        let output = lab.estiba(&["run", "--rm", "--entrypoint", entry, "exe:1", "sh"]);
        assert_ne!(output.status, 0, "{entry}: {output:?}");
    }
    lab.estiba(&["run", "-d", "--name", "xx", "exe:1", "sleep", "1000"]).ok();
    // While execs come in, try to write to the program of every process that can be seen.
    let attack = "while :; do for p in /proc/[0-9]*; do ( : >> $p/exe; echo evil > $p/exe ) \
                  2>/dev/null && readlink $p/exe; done; done";
    lab.estiba(&["exec", "-d", "xx", "sh", "-c", attack]).ok();
    for _ in 0..30 {
        for entry in ["/link", "/script", "/proc/self/exe"] {
            lab.estiba(&["exec", "xx", entry]);
        }
        lab.estiba(&["exec", "xx", "true"]);
    }
    assert!(programs() == before, "a program of the host was changed");
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "fine"]).ok(), "fine");
}

#[test]
fn volumes_at_paths_that_lead_elsewhere() {
    let lab = Lab::new();
    let sentinel = Sentinel::new(&lab);
    let before = mounts(&lab);
    let root = root(&lab, "vol");
    let host = sentinel.path();
    symlink(host, root.join("abs")).unwrap();
    symlink(format!("../../../../../../../..{host}"), root.join("rel")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    import(&lab, &root, "vol:1", &[]);
    let write = "for d in /abs /rel /abs/sub /rel/new/dir; do echo in > $d/written; done; true";
    for target in ["/abs", "/rel", "/abs/sub", "/rel/new/dir", "/magic/abs", "/abs/../../x"] {
        for kind in ["vv:", "bind"] {
            let source = lab.dir().join("source");
            std::fs::create_dir_all(&source).unwrap();
            let source =
                if kind == "bind" { format!("{}:", source.display()) } else { kind.into() };
            let volume = format!("{source}{target}");
            let words = ["run", "--rm", "-v", &volume, "vol:1", "sh", "-c", write];
            let output = lab.estiba(&words);
            sentinel.unchanged(&format!("-v {volume}: {output:?}"));
        }
    }
    let tmpfs = lab.estiba(&["run", "--rm", "--tmpfs", "/abs/sub", "vol:1", "touch", "/abs/sub/x"]);
    sentinel.unchanged(&format!("{tmpfs:?}"));
    nothing_left(&lab, &before);
    // The kernel's own files are no place for mounts.
    for target in ["/proc/self/attr", "/proc/self", "/proc/sys", "/proc/1", "/proc", "/sys/kernel"]
    {
        let volume = format!("vv:{target}");
        for words in [
            &["run", "--rm", "-v", &volume, "busybox", "true"][..],
            &["run", "--rm", "--tmpfs", target, "busybox", "true"],
        ] {
            let output = lab.estiba(words);
            if target.starts_with("/proc") {
                assert_ne!(output.status, 0, "{words:?}: {output:?}");
                assert!(output.stderr.contains("/proc"), "{words:?}: {output:?}");
            }
        }
    }
    nothing_left(&lab, &before);
}

#[test]
fn copies_through_links_stay_inside() {
    let lab = Lab::new();
    let sentinel = Sentinel::new(&lab);
    let host = sentinel.path();
    let root = root(&lab, "cp");
    symlink(host, root.join("abs")).unwrap();
    symlink(format!("../../../../../../../..{host}/file"), root.join("rel")).unwrap();
    import(&lab, &root, "cp:1", &[]);
    lab.estiba(&["create", "--name", "stopped", "cp:1"]).ok();
    lab.estiba(&["run", "-d", "--name", "running", "cp:1", "sleep", "1000"]).ok();
    let from = lab.dir().join("evil");
    std::fs::write(&from, "evil").unwrap();
    let from = from.to_str().unwrap();
    for name in ["stopped", "running"] {
        for path in ["abs", "abs/", "abs/file", "abs/sub/deep", "rel", "abs/../../../x", "../../y"]
        {
            let place = format!("{name}:/{path}");
            let into = lab.estiba(&["cp", from, &place]);
            sentinel.unchanged(&format!("cp into {place}: {into:?}"));
            let out = lab.dir().join("out");
            lab.estiba(&["cp", "-L", &place, out.to_str().unwrap()]);
            if let Ok(text) = std::fs::read(&out) {
                assert!(!String::from_utf8_lossy(&text).contains("secret"), "{place}");
            }
            let _ = std::fs::remove_file(&out);
            let _ = std::fs::remove_dir_all(&out);
        }
    }
    assert!(!Path::new("/x").exists() && !Path::new("/y").exists());
}

#[test]
fn copies_while_directories_become_links() {
    let lab = Lab::new();
    let sentinel = Sentinel::new(&lab);
    let host = sentinel.path().to_owned();
    let script = format!(
        "mkdir -p /a/sub; echo inner > /a/file; echo inner > /a/sub/deep; ln -s {host} /b; \
         i=0; while :; do mv /a /c; mv /b /a; mv /a /b; mv /c /a; i=$((i+1)); echo $i >/count; done"
    );
    lab.estiba(&["run", "-d", "--name", "race", "busybox", "sh", "-c", &script]).ok();
    let from = lab.dir().join("evil");
    std::fs::write(&from, "evil").unwrap();
    let count = || {
        let read = lab.estiba(&["exec", "race", "cat", "/count"]).stdout;
        read.trim().parse::<u32>().unwrap_or(0)
    };
    for round in 0..1000 {
        let out = lab.dir().join("out");
        for path in ["race:/a/file", "race:/a/sub/deep", "race:/a"] {
            lab.estiba(&["cp", path, out.to_str().unwrap()]);
            // A link is copied as a link; what it points at must not be.
            if out.symlink_metadata().is_ok() {
                let copied = state(&out);
                let secret = copied.values().any(|file| file.0.ends_with(b"secret"));
                assert!(!secret, "{path} gave the host's file: {copied:?}");
            }
            let _ = std::fs::remove_file(&out);
            let _ = std::fs::remove_dir_all(&out);
        }
        for path in ["race:/a/evil", "race:/a/sub/evil", "race:/a/file"] {
            lab.estiba(&["cp", from.to_str().unwrap(), path]);
        }
        lab.estiba(&["exec", "-w", "/a", "race", "touch", "here"]);
        sentinel.unchanged("cp against a race");
        if round >= 20 && count() > 5000 {
            return;
        }
    }
    panic!("only {} swaps were raced against", count());
}

#[test]
fn users_and_groups_that_lie() {
    let lab = Lab::new();
    let root = root(&lab, "users");
    let passwd = root.join("etc/passwd");
    let more = "1000:x:0:0:a number for a name:/:/bin/sh\n\
                00:x:5:5::/:/bin/sh\n\
                big:x:4294967296:0::/:/bin/sh\n\
                neg:x:-1:-1::/:/bin/sh\n\
                half\n\
                plain:x:1234:1234::/:/bin/sh\n";
    let text = std::fs::read_to_string(&passwd).unwrap() + more;
    std::fs::write(&passwd, text).unwrap();
    import(&lab, &root, "users:1", &[]);
    lab.estiba(&["run", "-d", "--name", "xx", "users:1", "sleep", "1000"]).ok();
    for (user, id) in [
        ("1000", Some("1000")),
        ("plain", Some("1234")),
        ("1234:4321", Some("1234")),
        ("big", None),
        ("neg", None),
        ("-1", None),
        ("4294967295", None),
        ("4294967296", None),
        ("1:2:3", None),
        ("half", None),
        ("root\nroot", None),
    ] {
        for words in [
            &["run", "--rm", "-u", user, "users:1", "id", "-u"][..],
            &["exec", "-u", user, "xx", "id", "-u"],
        ] {
            let output = lab.estiba(words);
            match id {
                Some(id) => assert_eq!(output.ok(), id, "{words:?}"),
                None => assert_ne!(output.status, 0, "{words:?}: {output:?}"),
            }
        }
    }
    // A group file without end: refused or read in part, soon, and in bounded memory.
    let line = "g:x:7:plain\n";
    std::fs::write(root.join("etc/group"), line.repeat((100 << 20) / line.len())).unwrap();
    import(&lab, &root, "users:2", &[]);
    std::fs::remove_dir_all(&root).unwrap();
    let start = std::time::Instant::now();
    let output = lab.estiba(&["run", "--rm", "-m", "64m", "-u", "plain", "users:2", "id", "-u"]);
    assert!(output.status != 0 || output.stdout == "1234\n", "{output:?}");
    assert!(start.elapsed().as_secs() < 30, "{output:?}");
    let peak = lab.daemon_kib("VmHWM");
    assert!(peak < 200_000, "the daemon read it all: {peak} kB");
}

#[test]
fn separators_in_values() {
    let lab = Lab::new();
    // Where a value ends up in a file of lines, a newline would be a second line.
    for words in [
        &["run", "--rm", "-h", "a\nb", "busybox", "true"][..],
        &["run", "--rm", "-h", "bad host", "busybox", "true"],
        &["run", "--rm", "-h", "bad/host", "busybox", "true"],
        &["run", "--rm", "-h", &"h".repeat(65), "busybox", "true"],
        &["run", "--rm", "--domainname", "a\nb", "busybox", "true"],
        &["run", "--rm", "--add-host", "x\n6.6.6.6 y:1.2.3.4", "busybox", "true"],
        &["run", "--rm", "--add-host", "x:not-an-address", "busybox", "true"],
        &["run", "--rm", "--dns", "1.2.3.4\nnameserver 6.6.6.6", "busybox", "true"],
        &["run", "--rm", "--dns-search", "a\nnameserver 6.6.6.6", "busybox", "true"],
        &["run", "--rm", "--dns-option", "a\nnameserver 6.6.6.6", "busybox", "true"],
        &["run", "--rm", "--sysctl", "net.ipv4.ip_forward=1\n2", "busybox", "true"],
        &["run", "--rm", "--sysctl", "net/../kernel/panic=1", "busybox", "true"],
        &["run", "--rm", "--cgroup-parent", "/../../escape", "busybox", "true"],
        &["run", "--rm", "-e", "=x", "busybox", "true"],
    ] {
        let output = lab.estiba(words);
        assert_ne!(output.status, 0, "{words:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "", "nothing half-made");
    // Where it is only data, it stays what it is.
    let env = ["run", "--rm", "-e", "A=1\nB=2", "busybox", "sh", "-c", "echo \"$A|$B|\""];
    assert_eq!(lab.estiba(&env).ok(), "1\nB=2||");
    lab.estiba(&["create", "--name", "ll", "-l", "k=1\nx=2", "busybox"]).ok();
    let label = lab.estiba(&["inspect", "-f", "{{json .Config.Labels}}", "ll"]);
    assert_eq!(label.ok(), "{\"k\":\"1\\nx=2\"}");
}

/// The processes that the daemon has started to take archives apart.
fn unpackers(lab: &Lab) -> Vec<PathBuf> {
    let daemon = lab.daemon_pid().as_raw_nonzero();
    let children = std::fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
    let lists = children
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let text = lists.collect::<Vec<_>>().join(" ");
    let places = text.split_whitespace().map(|pid| PathBuf::from(format!("/proc/{pid}")));
    let is_one = |place: &PathBuf| {
        let words = std::fs::read(place.join("cmdline")).unwrap_or_default();
        words.starts_with(b"estiba\0unpacker\0")
    };
    places.filter(is_one).collect()
}

/// Law A5, in the product: whoever takes an archive apart has nothing, and stays only for a moment.
#[test]
fn archives_are_taken_apart_by_processes_that_have_nothing() {
    let lab = Lab::new();
    let root = root(&lab, "unpacked");
    let mut seen = None;
    eventually("an unpacker is looked at", || {
        import(&lab, &root, "unpacked", &[]);
        let look = |place: &PathBuf| {
            let status = std::fs::read_to_string(place.join("status")).ok()?;
            let entries = std::fs::read_dir(place.join("root")).ok()?.count();
            let spaces = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
                .map(|kind| std::fs::read_link(place.join("ns").join(kind)).ok());
            Some((status, entries, spaces))
        };
        seen = unpackers(&lab).iter().find_map(look);
        seen.is_some()
    });
    let (status, entries, spaces) = seen.unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["2147483648"; 4]);
    assert_eq!(field("Gid:"), ["2147483648"; 4]);
    assert_eq!(field("Groups:"), Vec::<String>::new());
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("CapEff:"), ["000000008000001b"]);
    assert_eq!(field("CapBnd:"), ["000000008000001b"]);
    assert_eq!(entries, 0, "its root is empty");
    for (kind, space) in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"].iter().zip(spaces) {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(space.is_some_and(|space| space != own), "{kind}");
    }
    eventually("no unpacker is left", || unpackers(&lab).is_empty());
}

/// Law D5: what an image says of itself is shown and decides nothing. The same command in it and in
/// one that says nothing has the same posture, mounts and settings.
#[test]
fn what_an_image_says_of_itself_sets_no_policy() {
    let lab = Lab::new();
    let said = [
        "LABEL estiba.owner=uid:0",
        "LABEL org.opencontainers.image.ref.name=busybox:latest",
        "LABEL RUN=\"docker run --privileged --pid host IMAGE\"",
        "LABEL com.docker.security.privileged=true com.docker.compose.project=other",
        "LABEL io.containerd.runtime=host io.containerd.image.name=busybox:latest",
        "LABEL io.podman.annotations.privileged=TRUE io.podman.annotations.seccomp=unconfined",
        "LABEL io.podman.annotations.userns=host io.podman.annotations.label=disable",
        "LABEL io.kubernetes.cri-o.Devices=/dev/sda io.kubernetes.cri-o.userns-mode=host",
        "LABEL seccomp.security.alpha.kubernetes.io/pod=unconfined",
        "LABEL org.systemd.property.DevicePolicy=auto run.oci.hooks.stdout=/etc/passwd",
        "LABEL cdi.k8s.io/x=vendor.com/device=all security-opt=profile=docker",
        "ENV NVIDIA_VISIBLE_DEVICES=all",
    ];
    let files = root(&lab, "told");
    import(&lab, &files, "silent:1", &[]);
    import(&lab, &files, "told:1", &said);
    std::fs::remove_dir_all(&files).unwrap();
    let posture = "grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Groups)' /proc/self/status; \
                   awk '{print $1 - 0, $3}' /proc/self/uid_map; ls /dev; \
                   awk '{print $5, $6}' /proc/self/mountinfo | sort; cat /proc/self/cgroup | wc -l";
    let seen = |image: &str| {
        lab.estiba(&["run", "--name", "looking", image, "sh", "-c", posture]).ok();
        let shown = lab.estiba(&["logs", "looking"]).ok().to_owned();
        let inspect = |part: &str| {
            let form = format!("{{{{json .{part}}}}}");
            lab.estiba(&["inspect", "-f", &form, "looking"]).ok().to_owned()
        };
        let parts = ["HostConfig", "Mounts", "AppArmorProfile", "ProcessLabel"].map(inspect);
        let labels = inspect("Config.Labels");
        lab.estiba(&["rm", "looking"]).ok();
        (shown, parts, labels)
    };
    let busybox = || lab.estiba(&["images", "-q", "--no-trunc", "busybox:latest"]).ok().to_owned();
    let before = busybox();
    let (silent, told) = (seen("silent:1"), seen("told:1"));
    assert_eq!(told.0, silent.0);
    assert_eq!(told.1, silent.1);
    assert!(told.2.contains("io.podman") && !told.2.contains("estiba.owner"), "{}", told.2);
    // Loading and pulling name what the archive or the asker names, not what a label does.
    let saved = lab.dir().join("told-saved.tar");
    lab.estiba(&["save", "-o", saved.to_str().unwrap(), "told:1"]).ok();
    lab.estiba(&["rmi", "told:1"]).ok();
    assert!(lab.estiba(&["load", "-i", saved.to_str().unwrap()]).ok().contains("told:1"));
    assert_eq!(busybox(), before);
}

/// Law A9: whoever else is on the host, and knows every name, reads, writes and runs nothing of
/// what the daemon keeps.
#[test]
fn the_daemons_state_is_closed_to_others() {
    let lab = Lab::new();
    // What else keeps others out is the directory that the lab itself is in.
    std::fs::set_permissions(lab.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let opened = "umask 0; mkdir /v/all; echo x > /v/all/x; cp /bin/busybox /all; chmod 4777 /all; \
                  echo said; exec sleep 1000";
    lab.estiba(&["run", "-d", "--name", "one", "-v", "vol:/v", "busybox", "sh", "-c", opened]).ok();
    eventually("it has written", || lab.estiba(&["logs", "one"]).ok() == "said");
    let built = "FROM busybox\nCOPY Dockerfile /\nRUN umask 0; cp /bin/busybox /x; chmod 6777 /x\n";
    lab.build(&lab.dockerfile(built), &["-t", "made"]).ok();
    lab.estiba(&["save", "-o", lab.dir().join("saved.tar").to_str().unwrap(), "made"]).ok();
    let (data, run) = (lab.data_root(), lab.dir().join("run"));
    let names = lab.in_network(&["find", data.to_str().unwrap(), run.to_str().unwrap()]);
    let count = names.ok().lines().count();
    assert!(count > 100, "only {count} names");
    let list = lab.dir().join("names");
    std::fs::write(&list, names.ok()).unwrap();
    // Directories may be gone through by their names; the sockets of monitors are files here.
    let look = "while IFS= read -r name; do \
                if [ -r \"$name\" ] || [ -w \"$name\" ] || \
                { [ ! -d \"$name\" ] && [ -x \"$name\" ]; }; \
                then echo \"$name\"; fi; done < \"$0\"";
    let open = |who: &str| {
        let ids = [format!("--reuid={who}"), format!("--regid={who}")];
        let words = ["setpriv", &ids[0], &ids[1], "--clear-groups", "sh", "-c", look];
        let found = lab.in_network(&[&words[..], &[list.to_str().unwrap()]].concat());
        found.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Root sees them all, so looking works.
    assert!(open("0").len() > 100);
    assert_eq!(open("65534"), Vec::<String>::new());
    lab.estiba(&["rm", "-f", "one"]).ok();
}
