//! An ordinary user's daemon: the same product without root. The user exists only in the test's
//! own mount namespace: /etc/passwd, /etc/subuid and their like are the test's files there.

use crate::{Output, archive, binaries, eventually};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The user's ids; nobody's on the host.
pub const USER: u32 = 24_711;

/// A user with a home, and a daemon of the user's.
pub struct Corner {
    dir: tempfile::TempDir,
    /// Who holds its namespaces.
    pub holder: Child,
    /// The daemon, while it runs.
    pub daemon: Option<Child>,
    environment: Vec<(&'static str, String)>,
}

/// What is unusual in a corner.
#[derive(Default)]
pub struct Unusual {
    /// No lines in /etc/subuid and /etc/subgid.
    pub no_ids: bool,
    /// `ESTIBA_ROOTLESS_NET`.
    pub network: Option<&'static str>,
}

impl Corner {
    /// A corner without a daemon.
    pub fn new(unusual: &Unusual) -> Self {
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
    pub fn ready() -> Self {
        Self::ready_with(&Unusual::default())
    }

    /// As [`Corner::ready`], with something unusual.
    pub fn ready_with(unusual: &Unusual) -> Self {
        let mut corner = Self::new(unusual);
        corner.start();
        corner.import();
        corner
    }

    /// Makes the `busybox` image.
    pub fn import(&self) {
        let tar = self.at("busybox.tar");
        self.ok(&["import", "-c", "CMD [\"sh\"]", &tar.to_string_lossy(), "busybox"]);
    }

    /// A path of the corner.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        self.at("run").join("docker.sock")
    }

    /// A program as the user, in the corner's namespaces.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--", "setpriv"]);
        let id = USER.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command.env_clear().envs(self.environment.iter().map(|(name, text)| (name, text)));
        command
    }

    /// The daemon, to be started.
    pub fn daemon(&self) -> Command {
        let mut command = self.command(&self.at("bin/estiba"));
        command.arg("daemon").stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) {
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

    /// What the daemon has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.at("daemon.log")).unwrap_or_default()
    }

    /// Ends the daemon by a signal, as kill(1) names it.
    pub fn end(&mut self, signal: &str) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // nsenter and setpriv have become the daemon: the pid is its.
        let pid = daemon.id().to_string();
        Command::new("kill").args([signal, &pid]).status().unwrap();
        daemon.wait().unwrap();
    }

    /// The command line, to be started.
    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = self.command(&self.at("bin/estiba"));
        command.args(words);
        command
    }

    /// The command line.
    #[track_caller]
    pub fn estiba(&self, words: &[&str]) -> Output {
        Output::of(self.client(words))
    }

    /// What the command line prints; it has to succeed.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        self.estiba(words).ok().to_owned()
    }

    /// In the corner's network namespace, as root there: somebody else on the host.
    pub fn shell(&self, text: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--", "sh", "-c", text]);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What is served at an address.
    pub fn page(&self, address: &str) -> String {
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
