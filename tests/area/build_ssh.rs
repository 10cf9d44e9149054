//! Repositories behind ssh: a real server of it, the client's agent, host keys that are given or
//! not, and addresses that are traps (law A7).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, Session, Setup, binaries, eventually, text};
use rustix::process::Signal;
use std::path::{Path, PathBuf};

/// What `scripts/deps.sh test` has installed.
const SSHD: &str = "/usr/local/lib/estiba-test/sshd";
const ADDRESS: &str = "tcp://127.0.0.1:2375";

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A server of ssh with one user, `git`, and one key that opens; an agent that has the key.
struct Server<'a> {
    lab: &'a Lab,
    home: PathBuf,
    running: Vec<Session>,
}

impl<'a> Server<'a> {
    /// `None` where there is no server to start.
    fn start(lab: &'a Lab) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: no {SSHD} here, run scripts/deps.sh test");
            return None;
        }
        let home = lab.dir().join("ssh");
        std::fs::create_dir_all(&home).unwrap();
        let mut server = Self { lab, home, running: Vec::new() };
        for key in ["host", "key"] {
            let path = server.at(key);
            let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path];
            lab.in_network(&make).ok();
        }
        std::fs::copy(server.home.join("key.pub"), server.home.join("authorized")).unwrap();
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
        let known = |line: &&str| !line.starts_with("git:") && !line.starts_with("sshd:");
        let mut accounts: Vec<&str> = accounts.lines().filter(known).collect();
        let git = format!("git:x:0:0:git:{}:/bin/sh", text(&server.home));
        accounts.extend(["sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin", &git]);
        write(&server.home.join("passwd"), &format!("{}\n", accounts.join("\n")));
        let settings = format!(
            "ListenAddress 127.0.0.1\nPort 22\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n",
            server.at("host"),
            server.at("authorized")
        );
        write(&server.home.join("config"), &settings);
        let begin = format!(
            "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && \
             mount --bind {} /etc/passwd && exec {SSHD} -D -e -f {}",
            server.at("passwd"),
            server.at("config")
        );
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &begin];
        server.running.push(lab.start_in_network(&words));
        let agent = server.at("agent");
        server.running.push(lab.start_in_network(&["ssh-agent", "-D", "-a", &agent]));
        eventually("the agent takes the key", || {
            let add = ["env", &format!("SSH_AUTH_SOCK={agent}"), "ssh-add", "-q"];
            lab.in_network(&[&add[..], &[&server.at("key")]].concat()).status == 0
        });
        eventually("the server answers", || {
            let scan = lab.in_network(&["ssh-keyscan", "-t", "ed25519", "127.0.0.1"]);
            scan.stdout.contains("ssh-ed25519")
        });
        Some(server)
    }

    fn at(&self, name: &str) -> String {
        text(&self.home.join(name)).to_owned()
    }

    /// A command of ours with the agent in its environment.
    fn estiba(&self, host: &str, words: &[&str]) -> Output {
        let program = binaries().join("estiba");
        let begin = [
            "env",
            &format!("SSH_AUTH_SOCK={}", self.at("agent")),
            &format!("DOCKER_HOST={host}"),
            &format!("HOME={}", self.lab.dir().display()),
            text(&program),
        ];
        self.lab.in_network(&[&begin[..], words].concat())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        for session in self.running.drain(..) {
            session.signal(Signal::KILL);
            session.finish();
        }
    }
}

fn git(lab: &Lab, dir: &Path, words: &[&str]) {
    let settings = ["git", "-C", text(dir), "-c", "user.name=t", "-c", "user.email=t@t"];
    let more = ["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"];
    lab.in_network(&[&settings[..], &more, words].concat()).ok();
}

fn repository(lab: &Lab) -> PathBuf {
    let app = lab.dir().join("git/app");
    write(&app.join("Dockerfile"), "FROM busybox\nCOPY . /src\n");
    write(&app.join("version"), "1\n");
    write(&app.join("sub/Dockerfile"), "FROM busybox\nCOPY only /only\n");
    write(&app.join("sub/only"), "in the directory\n");
    for words in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"], &["tag", "v1"]] {
        git(lab, &app, words);
    }
    app
}

fn show(lab: &Lab, image: &str, path: &str) -> String {
    lab.estiba(&["run", "--rm", image, "cat", path]).ok().to_owned()
}

#[test]
fn repositories_come_over_ssh_with_the_clients_agent() {
    let arguments = ["--host", ADDRESS, "--allow-plain-tcp"].map(str::to_owned).to_vec();
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let app = repository(&lab);
    let Some(server) = Server::start(&lab) else { return };
    let near = format!("unix://{}", lab.socket().display());
    let path = text(&app);
    let build = |host: &str, words: &[&str]| server.estiba(host, &[&["build"], words].concat());
    let with = ["--ssh", "default", "-t"];
    // In the words of scp, and as an address; handed over as a descriptor, and by a session.
    for (number, host) in [near.as_str(), ADDRESS].into_iter().enumerate() {
        let (scp, url) = (format!("scp{number}"), format!("url{number}"));
        let address = format!("git@127.0.0.1:{path}#v1");
        build(host, &[&with[..], &[&scp, &address]].concat()).ok();
        assert_eq!(show(&lab, &scp, "/src/version"), "1");
        let address = format!("ssh://git@127.0.0.1:22{path}#main:sub");
        build(host, &[&with[..], &[&url, "--no-cache", &address]].concat()).ok();
        assert_eq!(show(&lab, &url, "/only"), "in the directory");
    }
    let dir = lab.dir().join("by-add");
    write(&dir.join("Dockerfile"), &format!("FROM busybox\nADD git@127.0.0.1:{path}#v1 /added\n"));
    build(&near, &[&with[..], &["added", text(&dir)]].concat()).ok();
    assert_eq!(show(&lab, "added", "/added/version"), "1");
    // Without an agent there is no key: the daemon has none of its own to lend.
    let address = format!("git@127.0.0.1:{path}#v1");
    let refused = build(&near, &["--no-cache", &address]);
    assert_ne!(refused.status, 0, "{refused:?}");
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
    // Names that ssh could take for options stay names.
    let trap = lab.dir().join("trap");
    let hit = format!("touch {}", text(&trap));
    for address in [
        format!("ssh://-oProxyCommand={hit}/x.git"),
        format!("ssh://git@-oProxyCommand={hit}/x.git"),
        format!("git@127.0.0.1:--upload-pack={hit}"),
        format!("ssh://git@127.0.0.1{path}#--upload-pack={hit}"),
        format!("ssh://git@127.0.0.1/$({hit})"),
        format!("git@127.0.0.1:';{hit};'"),
    ] {
        let refused = build(&near, &["--ssh", "default", &address]);
        assert_ne!(refused.status, 0, "{address}: {refused:?}");
        assert!(!trap.exists(), "{address} was run");
    }
}

/// What a repository says of its submodules is no way to files of the host.
#[test]
fn submodules_of_this_host_are_refused() {
    let lab = Lab::new();
    let secret = lab.dir().join("git/secret");
    write(&secret.join("word"), "canary\n");
    for words in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"]] {
        git(&lab, &secret, words);
    }
    let app = repository(&lab);
    git(&lab, &app, &["submodule", "--quiet", "add", text(&secret), "taken"]);
    git(&lab, &app, &["commit", "-qm", "two"]);
    let Some(server) = Server::start(&lab) else { return };
    let near = format!("unix://{}", lab.socket().display());
    let address = format!("git@127.0.0.1:{}", text(&app));
    let refused = server.estiba(&near, &["build", "--ssh", "default", &address]);
    assert_ne!(refused.status, 0, "{refused:?}");
    assert!(refused.stderr.contains("git submodule"), "{refused:?}");
    // Who does not want them gets the rest.
    let without = format!("{address}?submodules=0");
    server.estiba(&near, &["build", "--ssh", "default", "-t", "without", &without]).ok();
    assert_eq!(show(&lab, "without", "/src/version"), "1");
}
