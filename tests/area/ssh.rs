//! An engine behind ssh: a real server of it, and our own command line at both ends.

use lab::{Lab, Output, Session, binaries, eventually};
use rustix::process::Signal;
use std::path::Path;

/// What `scripts/deps.sh test` has installed.
const SSHD: &str = "/usr/local/lib/estiba-test/sshd";
const PORT: &str = "2222";

/// A server of ssh in the lab's network, where root comes in by one key and finds our programs.
struct Server<'a> {
    lab: &'a Lab,
    running: Session,
}

impl<'a> Server<'a> {
    /// `None` where there is no server to start.
    fn start(lab: &'a Lab) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: no {SSHD} here, run scripts/deps.sh test");
            return None;
        }
        let at = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
        for key in ["host", "key", "other"] {
            let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(key)];
            lab.in_network(&make).ok();
        }
        std::os::unix::fs::symlink(binaries().join("estiba"), lab.dir().join("docker")).unwrap();
        let settings = format!(
            "ListenAddress 127.0.0.1\nPort {PORT}\nHostKey {}\nAuthorizedKeysFile {}\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             PidFile none\nSetEnv PATH={}:/usr/bin:/bin\n",
            at("host"),
            at("key.pub"),
            lab.dir().display()
        );
        std::fs::write(lab.dir().join("sshd_config"), settings).unwrap();
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
        let known = accounts.lines().filter(|line| !line.starts_with("sshd:"));
        let own = ["sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin"];
        let accounts: Vec<&str> = known.chain(own).collect();
        std::fs::write(lab.dir().join("passwd"), accounts.join("\n") + "\n").unwrap();
        let begin = format!(
            "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && \
             mount --bind {} /etc/passwd && exec {SSHD} -D -e -f {}",
            at("passwd"),
            at("sshd_config")
        );
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &begin];
        let running = lab.start_in_network(&words);
        let mut host = String::new();
        eventually("the server answers", || {
            let scan = ["ssh-keyscan", "-p", PORT, "-t", "ed25519", "127.0.0.1"];
            host = lab.in_network(&scan).stdout;
            host.contains("ssh-ed25519")
        });
        std::fs::write(lab.dir().join("known"), host).unwrap();
        Some(Self { lab, running })
    }

    /// Our command line with the engine behind the server, and this key and list of known hosts.
    fn client(&self, key: &str, known: &str, words: &[&str]) -> Output {
        let dir = self.lab.dir().display();
        let settings = format!(
            "IdentityFile {dir}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {dir}/{known}\n\
             BatchMode yes\n"
        );
        std::fs::write(self.lab.dir().join("ssh_config"), settings).unwrap();
        // ssh looks for its settings where root is at home, whatever the environment says.
        let begin = format!(
            "mount -t tmpfs none /root && mkdir -m 700 /root/.ssh && \
             cp {dir}/ssh_config /root/.ssh/config && exec \"$@\""
        );
        let host =
            format!("DOCKER_HOST=ssh://root@127.0.0.1:{PORT}{}", self.lab.socket().display());
        let program = binaries().join("estiba").to_string_lossy().into_owned();
        let own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &begin, "sh"];
        let call = ["env", "HOME=/root", &*host, &*program];
        self.lab.in_network(&[&own[..], &call[..], words].concat())
    }
}

#[test]
fn an_engine_is_reached_through_a_server_of_ssh() {
    let lab = Lab::new();
    let Some(server) = Server::start(&lab) else { return };
    let client = |words: &[&str]| server.client("key", "known", words);
    assert_eq!(client(&["run", "--rm", "busybox", "echo", "far"]).ok(), "far");
    client(&["run", "-d", "--name", "box", "busybox", "sleep", "600"]).ok();
    assert_eq!(client(&["exec", "box", "sh", "-c", "exit 7"]).status, 7);
    let file = lab.dir().join("file");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    client(&["cp", &file.to_string_lossy(), "box:/tmp/there"]).ok();
    assert_eq!(client(&["exec", "box", "wc", "-c", "/tmp/there"]).ok(), "3145728 /tmp/there");
    // As many connections as it likes, and each of them ends.
    assert_eq!(client(&["ps", "-q", "--filter", "name=box"]).ok().len(), 12);
    let stranger = client_refused(&server, "other", "known");
    assert!(stranger.contains("Permission denied"), "{stranger}");
    let elsewhere = client_refused(&server, "key", "nobody");
    assert!(elsewhere.contains("Host key verification failed"), "{elsewhere}");
    server.running.signal(Signal::TERM);
    server.running.finish();
}

fn client_refused(server: &Server<'_>, key: &str, known: &str) -> String {
    let refused = server.client(key, known, &["ps"]);
    assert_ne!(refused.status, 0, "{refused:?}");
    refused.stderr
}
