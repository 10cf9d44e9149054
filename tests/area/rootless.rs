//! An ordinary user's daemon: the same product without root. The user exists only in the test's
//! own mount namespace: /etc/passwd, /etc/subuid and their like are the test's files there.

use lab::{Output, archive, binaries, eventually};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The user's ids; nobody's on the host.
const USER: u32 = 24_711;

/// A user with a home, and a daemon of the user's.
struct Corner {
    dir: tempfile::TempDir,
    holder: Child,
    daemon: Option<Child>,
    environment: Vec<(&'static str, String)>,
}

/// What is unusual in a corner.
#[derive(Default)]
struct Unusual {
    /// Lines of /etc/subuid and /etc/subgid.
    no_ids: bool,
    /// `ESTIBA_ROOTLESS_NET`.
    network: Option<&'static str>,
}

impl Corner {
    fn new(unusual: &Unusual) -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-user-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["home", "run", "bin", "etc"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        chown(at("home"), Some(USER), Some(USER)).unwrap();
        // Where the build is may be a directory of root's alone.
        for program in ["estiba", "estiba-runtime"] {
            std::fs::copy(binaries().join(program), at("bin").join(program)).unwrap();
        }
        std::fs::copy(archive("busybox"), at("busybox.tar")).unwrap();
        let host = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let ids = if unusual.no_ids { "" } else { "ada:700000:65536\n" };
        let home = at("home").display().to_string();
        for (file, text) in [
            ("passwd", format!("{}ada:x:{USER}:{USER}::{home}:/bin/sh\n", host("/etc/passwd"))),
            ("group", format!("{}ada:x:{USER}:\n", host("/etc/group"))),
            ("subuid", ids.to_owned()),
            ("subgid", ids.to_owned()),
            ("resolv.conf", "nameserver 127.0.0.1\n".to_owned()),
        ] {
            std::fs::write(at("etc").join(file), text).unwrap();
        }
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "--propagation", "private", "sh", "-ec"]);
        holder.arg(format!(
            "cd {0}; for f in etc/*; do test -e /$f; mount --bind $f /$f; done
             mount -t tmpfs -o mode=700,uid={USER},gid={USER} run {0}/run
             mknod -m 666 {0}/tun c 10 200; mount --bind {0}/tun /dev/net/tun
             ip link set lo up; ip link add out type veth peer name far
             ip addr add 192.0.2.9/24 dev out; ip link set out up; ip link set far up
             ip route add default via 192.0.2.1
             echo ready; exec sleep infinity",
            dir.path().display()
        ));
        holder.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("unshare(1) is installed");
        let mut word = [0; 6];
        holder.stdout.as_mut().unwrap().read_exact(&mut word).expect("/etc/subuid is there");
        let mut environment = vec![
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", home),
            ("XDG_RUNTIME_DIR", at("run").display().to_string()),
        ];
        environment.extend(unusual.network.map(|name| ("ESTIBA_ROOTLESS_NET", name.to_owned())));
        Self { dir, holder, daemon: None, environment }
    }

    /// With a daemon and the `busybox` image.
    fn ready() -> Self {
        Self::ready_with(&Unusual::default())
    }

    fn ready_with(unusual: &Unusual) -> Self {
        let mut corner = Self::new(unusual);
        corner.start();
        let tar = corner.at("busybox.tar");
        corner.ok(&["import", "-c", "CMD [\"sh\"]", &tar.to_string_lossy(), "busybox"]);
        corner
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.at("run").join("docker.sock")
    }

    /// A program as the user, in the corner's namespaces.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--", "setpriv"]);
        let id = USER.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command.env_clear().envs(self.environment.iter().map(|(name, text)| (name, text)));
        command
    }

    fn daemon(&self) -> Command {
        let mut command = self.command(&self.at("bin/estiba"));
        command.arg("daemon").stdin(Stdio::null());
        command
    }

    fn start(&mut self) {
        let log = self.dir.path().join("daemon.log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.daemon();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let _ = std::fs::remove_file(self.socket());
        self.daemon = Some(command.spawn().unwrap());
        eventually("the user's daemon answers", || {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", self.log());
            self.client(&["version"]).output().is_ok_and(|it| it.status.success())
        });
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.at("daemon.log")).unwrap_or_default()
    }

    fn end(&mut self, signal: &str) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // nsenter and setpriv have become the daemon: the pid is its.
        let pid = daemon.id().to_string();
        Command::new("kill").args([signal, &pid]).status().unwrap();
        daemon.wait().unwrap();
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = self.command(&self.at("bin/estiba"));
        command.args(words);
        command
    }

    #[track_caller]
    fn estiba(&self, words: &[&str]) -> Output {
        Output::of(self.client(words))
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        self.estiba(words).ok().to_owned()
    }

    /// In the corner's network namespace, as root there: somebody else on the host.
    fn shell(&self, text: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--", "sh", "-c", text]);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn page(&self, address: &str) -> String {
        let fetch = format!("curl -s --max-time 5 http://{address}/index.html");
        self.shell(&fetch)
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let all = self.estiba(&["ps", "-aq"]).stdout;
            for id in all.split_whitespace() {
                let _ = self.estiba(&["rm", "-f", id]);
            }
            self.end("-TERM");
            // Nothing needs the namespaces any more: their keeper ends, and everything with it.
            eventually("the keeper has ended", || {
                !self.at("run/estiba/rootless/keeper.sock").exists()
            });
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

const SERVE: &str = "echo page > /index.html; exec httpd -f -p 80 -h /";

#[test]
fn a_user_runs_containers_as_nobody_on_the_host() {
    let corner = Corner::ready();
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "echo", "hello"]), "hello");
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "id", "-u"]), "0");
    let info = corner.ok(&["info", "--format", "{{.SecurityOptions}} {{.CgroupDriver}}"]);
    assert!(info.contains("name=rootless"), "{info}");
    // Root inside is the user outside, and everybody else one of the user's subordinate ids.
    corner.ok(&["run", "-d", "--name", "dd", "busybox", "sleep", "1000"]);
    let pid = corner.ok(&["inspect", "-f", "{{.State.Pid}}", "dd"]);
    let uid = corner.shell(&format!("awk '/^Uid:/ {{print $2}}' /proc/{pid}/status"));
    assert_eq!(uid, USER.to_string());
    assert_eq!(corner.ok(&["exec", "-u", "33", "dd", "id", "-u"]), "33");
    // A user namespace of the container's own: its root rules nothing of the daemon's.
    let own = |id: &str| corner.shell(&format!("readlink /proc/{id}/ns/user"));
    let daemon = corner.daemon.as_ref().unwrap().id().to_string();
    assert_ne!(own(&pid), own(&daemon));
    corner.ok(&["rm", "-f", "dd"]);
}

#[test]
fn a_users_containers_have_the_same_posture() {
    let corner = Corner::ready();
    let status = "grep -E '^(Cap(Inh|Amb)|NoNewPrivs|Seccomp):' /proc/self/status";
    let words = ["sh", "-c", status];
    corner.ok(&["run", "-d", "--name", "pp", "busybox", "sleep", "1000"]);
    for text in [
        corner.ok(&[&["run", "--rm", "busybox"][..], &words].concat()),
        corner.ok(&[&["exec", "pp"][..], &words].concat()),
    ] {
        assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
        assert!(text.contains("CapInh:\t0000000000000000"), "{text}");
        assert!(text.contains("CapAmb:\t0000000000000000"), "{text}");
    }
    // No device but those that were handed in, and none can be made.
    let devices =
        corner.ok(&["exec", "pp", "sh", "-c", "ls /dev/null /dev/zero && echo x > /dev/null"]);
    assert!(devices.contains("/dev/null"), "{devices}");
    let made = corner.estiba(&[
        "run",
        "--rm",
        "--cap-add",
        "MKNOD",
        "busybox",
        "mknod",
        "/x",
        "b",
        "7",
        "0",
    ]);
    assert!(!made.stderr.is_empty() && made.status != 0, "{made:?}");
    let masked = corner.ok(&["exec", "pp", "sh", "-c", "cat /proc/kcore | wc -c"]);
    assert_eq!(masked, "0");
    corner.ok(&["rm", "-f", "pp"]);
}

#[test]
fn files_are_the_users() {
    let corner = Corner::ready();
    let shared = corner.at("home/shared");
    std::fs::create_dir(&shared).unwrap();
    chown(&shared, Some(USER), Some(USER)).unwrap();
    let bind = format!("{}:/s", shared.display());
    corner.ok(&["run", "--rm", "-v", &bind, "busybox", "touch", "/s/made"]);
    let owner = corner.shell(&format!("stat -c %u {}/made", shared.display()));
    assert_eq!(owner, USER.to_string());
    corner.ok(&["volume", "create", "vv"]);
    let chowned = "touch /v/f && chown 33:33 /v/f && stat -c %u:%g /v/f";
    assert_eq!(corner.ok(&["run", "--rm", "-v", "vv:/v", "busybox", "sh", "-c", chowned]), "33:33");
    corner.ok(&["volume", "rm", "vv"]);
}

#[test]
fn a_user_builds_and_networks() {
    let corner = Corner::ready();
    let context = corner.at("home/context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN echo built > /index.html && chown 33 /index.html\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/\"]\n",
    )
    .unwrap();
    corner.ok(&["build", "-q", "-t", "built", &context.to_string_lossy()]);
    corner.ok(&["network", "create", "nn"]);
    corner.ok(&["run", "-d", "--name", "db", "--network", "nn", "built"]);
    let fetch = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 db 80 | tail -n 1";
    let mut got = String::new();
    eventually("it is reached by name", || {
        got =
            corner.estiba(&["run", "--rm", "--network", "nn", "busybox", "sh", "-c", fetch]).stdout;
        got.trim() == "built"
    });
    corner.ok(&["rm", "-f", "db"]);
    corner.ok(&["network", "rm", "nn"]);
}

#[test]
fn published_ports_are_the_hosts_and_outlive_the_daemon() {
    let mut corner = Corner::ready();
    let run =
        ["run", "-d", "--name", "web", "-p", "18080:80", "-p", "127.0.0.1:18081:80", "busybox"];
    corner.ok(&[&run[..], &["sh", "-c", SERVE]].concat());
    eventually("it is served", || corner.page("127.0.0.1:18080") == "page");
    assert_eq!(corner.page("192.0.2.9:18080"), "page");
    assert_eq!(corner.page("127.0.0.1:18081"), "page");
    assert_eq!(corner.page("192.0.2.9:18081"), "", "published on loopback alone");
    // A port that is taken is refused at once, with the kernel's word.
    let mut holder = std::process::Command::new("nsenter");
    holder.args([
        "-t",
        &corner.holder.id().to_string(),
        "-n",
        "--",
        "busybox",
        "nc",
        "-l",
        "-p",
        "18090",
    ]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    eventually("somebody has the port", || {
        corner.shell("ss -Hltn sport = :18090").contains("18090")
    });
    let refused = corner.estiba(&["run", "--rm", "-p", "18090:80", "busybox", "true"]);
    assert!(refused.stderr.contains("in use"), "{refused:?}");
    let low = corner.estiba(&["run", "--rm", "-p", "81:80", "busybox", "true"]);
    assert!(low.stderr.contains("net.ipv4.ip_unprivileged_port_start"), "{low:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let pid = corner.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]);
    corner.end("-KILL");
    assert_eq!(corner.page("127.0.0.1:18080"), "page", "served without a daemon");
    corner.start();
    assert_eq!(corner.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]), pid);
    assert_eq!(corner.page("127.0.0.1:18080"), "page");
    assert_eq!(corner.ok(&["exec", "web", "echo", "again"]), "again");
    corner.ok(&["rm", "-f", "web"]);
    eventually("the port is free", || corner.shell("ss -Hltn sport = :18080").is_empty());
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let corner = Corner::ready();
    let driver = corner.ok(&["info", "--format", "{{.CgroupDriver}}"]);
    if driver != "none" {
        // The control group of whoever runs the tests was delegated.
        return;
    }
    assert!(corner.log().contains("no control groups were delegated"), "{}", corner.log());
    let limited = corner.estiba(&["run", "--rm", "-m", "32m", "busybox", "true"]);
    assert!(limited.status != 0 && limited.stderr.contains("no memory cgroup"), "{limited:?}");
    corner.ok(&["run", "-d", "--name", "pp", "busybox", "sleep", "1000"]);
    let paused = corner.estiba(&["pause", "pp"]);
    assert!(paused.status != 0 && paused.stderr.contains("freezer"), "{paused:?}");
    assert!(corner.ok(&["top", "pp"]).contains("sleep 1000"));
    assert_eq!(corner.ok(&["stop", "-t", "1", "pp"]), "pp");
    corner.ok(&["rm", "pp"]);
}

#[test]
fn without_a_way_out_containers_still_reach_each_other() {
    let corner = Corner::ready_with(&Unusual { network: Some("none"), ..Unusual::default() });
    corner.ok(&["run", "-d", "--name", "web", "-p", "18085:80", "busybox", "sh", "-c", SERVE]);
    eventually("it is served", || corner.page("127.0.0.1:18085") == "page");
    corner.ok(&["rm", "-f", "web"]);
}

#[test]
fn slirp4netns_is_a_way_out_too() {
    let corner =
        Corner::ready_with(&Unusual { network: Some("slirp4netns"), ..Unusual::default() });
    let route = corner.ok(&["run", "--rm", "--network", "host", "busybox", "ip", "route"]);
    assert!(route.contains("default via 10.0.2.2"), "{route}");
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "echo", "hello"]), "hello");
}

#[test]
fn what_is_missing_is_said_with_its_cure() {
    let said = |unusual: &Unusual, change: &dyn Fn(&mut Command)| {
        let corner = Corner::new(unusual);
        let mut command = corner.daemon();
        change(&mut command);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = said(&Unusual { no_ids: true, ..Unusual::default() }, &|_| ());
    assert!(text.contains("usermod --add-subuids"), "{text}");
    let text = said(&Unusual { network: Some("carrier-pigeons"), ..Unusual::default() }, &|_| ());
    assert!(text.contains("want pasta, slirp4netns or none"), "{text}");
    let text = said(&Unusual::default(), &|command| {
        command.env_remove("XDG_RUNTIME_DIR");
    });
    assert!(text.contains("XDG_RUNTIME_DIR is not set"), "{text}");
    let mut root = Command::new(binaries().join("estiba"));
    let output = root.args(["daemon", "--rootless", "--validate"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_stock_command_line_speaks_to_it() {
    if Command::new("docker").arg("--version").output().is_err() {
        eprintln!("skipped: the stock docker is not installed");
        return;
    }
    let corner = Corner::ready();
    let mut docker = corner.command(Path::new("docker"));
    docker.args(["-H", &format!("unix://{}", corner.socket().display())]);
    docker.args(["run", "--rm", "-i", "busybox", "cat"]).stdin(Stdio::piped());
    let mut running = docker.stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through");
}
