//! What an ordinary user does with containers all day: namespaces are shared, images come and go,
//! processes are watched and entered, files are deleted from layers, and other people's engines run
//! on our runtime. See `rootless.rs` for how the user's daemon comes to be.

use lab::corner::{Corner, USER, Unusual};
use lab::{Output, eventually};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;

#[test]
fn namespaces_of_another_container_are_shared() {
    let corner = Corner::ready();
    corner.ok(&["run", "-d", "--name", "aa", "--ipc", "shareable", "busybox", "sleep", "1000"]);
    let inside =
        |kind: &str| corner.ok(&["exec", "aa", "readlink", &format!("/proc/self/ns/{kind}")]);
    for (option, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
        let path = format!("/proc/self/ns/{kind}");
        let words = ["run", "--rm", option, "container:aa", "busybox", "readlink", &path];
        let output = corner.estiba(&words);
        assert_eq!(output.stdout.trim(), inside(kind), "{option}: {output:?}");
    }
    let seen = corner.ok(&["run", "--rm", "--pid", "container:aa", "busybox", "ps"]);
    assert!(seen.contains("sleep 1000"), "{seen}");
    let killed = ["run", "--rm", "--pid", "container:aa", "busybox", "kill", "-0", "1"];
    corner.ok(&killed);
    // Memory too: what one writes the other reads, whoever of its users it belongs to.
    let write = "echo there > /dev/shm/note && chown 33:33 /dev/shm/note";
    corner.ok(&["run", "--rm", "--ipc", "container:aa", "busybox", "sh", "-c", write]);
    assert_eq!(corner.ok(&["exec", "aa", "cat", "/dev/shm/note"]), "there");
    assert_eq!(corner.ok(&["exec", "aa", "stat", "-c", "%u:%g", "/dev/shm/note"]), "33:33");
    // All three at once, and an exec into that.
    let all = ["--pid", "container:aa", "--ipc", "container:aa", "--network", "container:aa"];
    let words = [&["run", "-d", "--name", "bb"][..], &all, &["busybox", "sleep", "1001"]];
    corner.ok(&words.concat());
    let seen = corner.ok(&["exec", "bb", "ps"]);
    assert!(seen.contains("sleep 1000") && seen.contains("sleep 1001"), "{seen}");
    corner.ok(&["rm", "-f", "bb"]);
    assert_eq!(corner.ok(&["inspect", "-f", "{{.State.Running}}", "aa"]), "true");
    corner.ok(&["rm", "-f", "aa"]);
}

#[test]
fn health_checks_logs_and_restarts() {
    let mut corner = Corner::ready();
    let check = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '";
    let health = ["--health-cmd", check, "--health-interval", "1s"];
    let script =
        "trap 'echo bye; exit 3' TERM; echo up; echo wrong >&2; while :; do sleep 0.1; done";
    let words = ["run", "-d", "--name", "aa"];
    corner.ok(&[&words[..], &health, &["busybox", "sh", "-c", script]].concat());
    eventually("it is healthy", || {
        corner.ok(&["inspect", "-f", "{{.State.Health.Status}}", "aa"]) == "healthy"
    });
    // The check is under all that the first process is under.
    let log = "{{(index .State.Health.Log 0).Output}}";
    let checked = corner.ok(&["inspect", "-f", log, "aa"]);
    let first = corner.ok(&["exec", "aa", "sh", "-c", &check.replace("self", "1")]);
    assert_eq!(checked.trim(), first.trim());
    assert!(first.contains("NoNewPrivs: 1") && first.contains("Seccomp: 2"), "{first}");
    let logs = corner.estiba(&["logs", "aa"]);
    assert_eq!((logs.stdout.trim(), logs.stderr.trim()), ("up", "wrong"));
    // Both go on without a daemon, and with the next.
    corner.end("-KILL");
    corner.start();
    corner.ok(&["stop", "-t", "20", "aa"]);
    assert_eq!(corner.ok(&["inspect", "-f", "{{.State.ExitCode}}", "aa"]), "3");
    assert!(corner.estiba(&["logs", "aa"]).stdout.contains("bye"));
    corner.ok(&["start", "aa"]);
    eventually("it is healthy again", || {
        corner.ok(&["inspect", "-f", "{{.State.Health.Status}}", "aa"]) == "healthy"
    });
    corner.ok(&["rm", "-f", "aa"]);
    // A step of a build.
    let context = corner.at("home/posture");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM busybox\nRUN {check} >/said\n"))
        .unwrap();
    corner.ok(&["build", "-q", "-t", "said", &context.to_string_lossy()]);
    let step = corner.ok(&["run", "--rm", "said", "cat", "/said"]);
    assert_eq!(step.trim(), first.trim());
}

/// A registry on the host, at an address that is not its loopback.
struct Registry(std::process::Child);

impl Registry {
    const AT: &str = "198.51.100.7:5000";

    fn start(corner: &Corner) -> Self {
        corner.shell("ip addr add 198.51.100.7/32 dev lo");
        let root = corner.at("home/registry");
        std::fs::create_dir(&root).unwrap();
        chown(&root, Some(USER), Some(USER)).unwrap();
        let mut serve = corner.command(&corner.at("bin/estiba"));
        serve.args(["registry", "serve", "--insecure", "--listen", Self::AT, "--root"]);
        serve.arg(&root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self(serve.spawn().unwrap());
        let probe = format!("curl -s -o /dev/null http://{}/healthz && echo up", Self::AT);
        eventually("the registry answers", || corner.shell(&probe) == "up");
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Files go, a directory comes again with other content, links and owners are mixed.
const DELETES: &str = "\
FROM busybox
RUN mkdir -p /d/sub && echo old > /d/sub/old && echo gone > /gone && echo x > /keep
RUN ln -s /keep /l
RUN rm /gone && rm -r /d && mkdir /d && echo new > /d/new && chown 33:44 /d/new && rm /l
RUN mv /keep /kept && mkdir /d/sub
";

/// What a container of that image sees.
const SEES: &str = "ls / | grep -E '^(gone|keep|kept|l|d)$' | tr '\\n' ' '; ls /d | tr '\\n' ' '; \
                    ls /d/sub; stat -c %u:%g /d/new; cat /kept";

#[test]
fn images_are_pushed_pulled_saved_and_loaded_with_what_their_layers_delete() {
    let corner = Corner::new(&Unusual::default());
    let config = corner.at("home/.config/estiba");
    std::fs::create_dir_all(&config).unwrap();
    let text = format!("{{\"insecure-registries\": [\"{}\"]}}", Registry::AT);
    std::fs::write(config.join("daemon.json"), text).unwrap();
    let mut corner = corner;
    corner.start();
    corner.import();
    let _registry = Registry::start(&corner);
    let context = corner.at("home/deletes");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), DELETES).unwrap();
    let name = format!("{}/ada/deletes:v1", Registry::AT);
    corner.ok(&["build", "-q", "-t", &name, &context.to_string_lossy()]);
    let sees = |image: &str| corner.ok(&["run", "--rm", image, "sh", "-c", SEES]);
    let built = sees(&name);
    assert_eq!(built, "d kept new sub 33:44\nx");
    corner.ok(&["push", "-q", &name]);
    let saved = corner.at("home/saved.tar").display().to_string();
    corner.ok(&["save", "-o", &saved, &name]);
    corner.ok(&["rmi", &name]);
    corner.ok(&["pull", "-q", &name]);
    assert_eq!(sees(&name), built, "pulled");
    corner.ok(&["rmi", &name]);
    corner.ok(&["load", "-q", "-i", &saved]);
    assert_eq!(sees(&name), built, "loaded");
    // A container's own deletions: committed, exported, copied.
    corner.ok(&["run", "--name", "cc", &name, "sh", "-c", "rm -r /d /kept; echo y > /made"]);
    let changed = corner.ok(&["diff", "cc"]);
    for line in ["D /d", "D /kept", "A /made"] {
        assert!(changed.lines().any(|it| it == line), "{line}: {changed}");
    }
    corner.ok(&["commit", "cc", "less"]);
    let left = corner.ok(&[
        "run",
        "--rm",
        "less",
        "sh",
        "-c",
        "ls / | grep -cE '^(d|kept)$' || cat /made",
    ]);
    assert_eq!(left, "0\ny");
    let whiteout = corner.ok(&["run", "--rm", "less", "sh", "-c", "ls -a / | grep -c wh || true"]);
    assert_eq!(whiteout, "0");
    corner.ok(&["rm", "cc"]);
}

/// podman as the user, with our runtime and directories of its own.
fn podman(corner: &Corner, words: &[&str]) -> Output {
    let at = |name: &str| corner.at(&format!("home/podman/{name}")).display().to_string();
    let mut command = corner.command(Path::new("podman"));
    let runtime = corner.at("bin/estiba-runtime").display().to_string();
    command.args(["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")]);
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
    command.args(["--runtime", &runtime]).args(words);
    command.env("CONTAINERS_CONF", at("containers.conf"));
    Output::of(command)
}

#[test]
fn the_users_podman_runs_on_our_runtime() {
    let corner = Corner::new(&Unusual::default());
    let dir = corner.at("home/podman");
    std::fs::create_dir_all(corner.at("home/.config/containers")).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let settings = "[engine]\nevents_logger = \"file\"\n";
    std::fs::write(dir.join("containers.conf"), settings).unwrap();
    let policy = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}";
    std::fs::write(corner.at("home/.config/containers/policy.json"), policy).unwrap();
    for path in ["home/podman", "home/.config", "home/.config/containers"] {
        chown(corner.at(path), Some(USER), Some(USER)).unwrap();
    }
    let tar = corner.at("busybox.tar").display().to_string();
    podman(&corner, &["import", "-q", "-c", "CMD=sh", &tar, "localhost/busybox:latest"]).ok();
    let run = |words: &[&str]| {
        let common = ["run", "--rm", "--network", "none", "busybox"];
        podman(&corner, &[&common[..], words].concat())
    };
    assert_eq!(run(&["echo", "hello"]).ok(), "hello");
    assert_eq!(run(&["id", "-u"]).ok(), "0");
    assert_eq!(run(&["sh", "-c", "exit 42"]).status, 42);
    assert_eq!(run(&["nonesuch"]).status, 127);
    let detached = ["run", "-d", "--name", "aa", "--network", "none", "busybox", "sleep", "1000"];
    podman(&corner, &detached).ok();
    assert_eq!(podman(&corner, &["exec", "aa", "echo", "in"]).ok(), "in");
    assert_eq!(podman(&corner, &["exec", "-u", "33", "aa", "id", "-u"]).ok(), "33");
    let pid = podman(&corner, &["inspect", "-f", "{{.State.Pid}}", "aa"]).ok().to_owned();
    let process = std::fs::metadata(format!("/proc/{pid}")).unwrap();
    assert_eq!(process.uid(), USER, "root inside is the user outside");
    podman(&corner, &["rm", "-f", "-t", "0", "aa"]).ok();
    assert_eq!(podman(&corner, &["ps", "-aq"]).ok(), "");
}

#[test]
fn the_runtimes_command_line_wants_a_namespace_in_which_it_is_root() {
    let corner = Corner::new(&Unusual::default());
    let bundle = corner.at("home/bundle");
    std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
    let untar = std::process::Command::new("tar")
        .args(["--no-same-owner", "-xf", &corner.at("busybox.tar").to_string_lossy(), "-C"])
        .arg(bundle.join("rootfs"))
        .status();
    assert!(untar.unwrap().success());
    corner.shell(&format!("chown -R {USER}:{USER} {}", bundle.display()));
    let runtime = corner.at("bin/estiba-runtime");
    let state = corner.at("run/state").display().to_string();
    let bundle = bundle.display().to_string();
    let mut plain = corner.command(&runtime);
    plain.args(["--root", &state, "run", "--bundle", &bundle, "aa"]);
    let refused = Output::of(plain);
    assert!(refused.status != 0, "{refused:?}");
    assert!(refused.stderr.contains("unshare --map-root-user"), "{refused:?}");
    let mut spec = corner.command(&runtime);
    Output::of({
        spec.args(["spec", "--rootless", "--bundle", &bundle]);
        spec
    })
    .ok();
    let config = format!("{bundle}/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\"terminal\": true", "\"terminal\": false");
    let script = "\"sh\", \"-c\", \"id -u; id -g; head -c1 /dev/zero | wc -c; hostname\"";
    std::fs::write(&config, text.replace("\"sh\"", script)).unwrap();
    let mut within = corner.command(Path::new("unshare"));
    within.args(["--map-root-user", "--mount"]).arg(&runtime);
    within.args(["--root", &state, "run", "--bundle", &bundle, "aa"]);
    assert_eq!(Output::of(within).ok(), "0\n0\n1\nestiba");
}
