//! A daemon of one's own.

use crate::program::{self, Output, Session};
use crate::terminal::Terminal;
use crate::{archive, binaries, eventually, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How a lab's daemon is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Further arguments of the daemon.
    pub arguments: Vec<String>,
    /// Do not import the `busybox` image.
    pub empty: bool,
    /// Let the data root be a file system of this many mebibytes, inside the lab's mount
    /// namespace.
    pub data_mib: Option<u32>,
    /// Let the data root be a file system of this type (`ext4`, `xfs`), in a file of the lab's,
    /// inside the lab's mount namespace.
    pub data_on: Option<&'static str>,
    /// Let the daemon and its monitors look for failpoints in the lab's `failpoints` directory.
    pub failpoints: bool,
}

/// Size of a file system in a file; xfs does not come smaller. Most of it is a hole.
const DISK_BYTES: u64 = 320 << 20;

/// A daemon in namespaces of its own. Dropping it removes everything, and fails the test when
/// something was left behind.
pub struct Lab {
    dir: tempfile::TempDir,
    cgroup: String,
    setup: Setup,
    /// Holds the namespaces, so that the daemon can be killed and started again inside.
    holder: Child,
    daemon: Option<Child>,
}

impl Lab {
    /// A daemon with the `busybox` image.
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// A daemon started as told.
    pub fn with(setup: Setup) -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-lab-").tempdir().expect("a directory");
        let cgroup = dir.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "--propagation", "private", "sh", "-c"]);
        holder.arg("ip link set lo up; echo ready; exec sleep infinity");
        holder.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("unshare(1) is installed");
        let mut word = [0; 6];
        let pipe = holder.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(pipe, &mut word).expect("root can make namespaces");
        let mut lab = Self { dir, cgroup, setup, holder, daemon: None };
        if let Some(mib) = lab.setup.data_mib {
            std::fs::create_dir(lab.data_root()).expect("the lab's directory is ours");
            let size = format!("size={mib}m,mode=700");
            let data = lab.data_root();
            let data = data.to_string_lossy();
            lab.in_network(&["mount", "-t", "tmpfs", "-o", &size, "small", &data]).ok();
        }
        if let Some(kind) = lab.setup.data_on {
            lab.mount_image(kind);
        }
        lab.start_daemon();
        if !lab.setup.empty {
            let tar = archive("busybox");
            let words = ["import", "-c", "CMD [\"sh\"]", &tar.to_string_lossy(), "busybox:latest"];
            lab.estiba(&words).ok();
        }
        lab
    }

    /// A file system in a file, as the data root.
    fn mount_image(&self, kind: &str) {
        let (image, data) = (self.dir.path().join("disk"), self.data_root());
        std::fs::create_dir(&data).expect("the lab's directory is ours");
        let file = std::fs::File::create(&image).expect("the lab's directory is writable");
        file.set_len(DISK_BYTES).expect("files can have holes");
        let (image, data) = (image.to_string_lossy(), data.to_string_lossy());
        let make: &[&str] = match kind {
            "ext4" => &["mkfs.ext4", "-q"],
            "xfs" => &["mkfs.xfs", "-q"],
            other => panic!("{other} is not made here"),
        };
        self.in_network(&[make, &[&*image]].concat()).ok();
        self.in_network(&["mount", "-t", kind, "-o", "loop", &*image, &*data]).ok();
    }

    /// The lab's own directory, for files a test needs on the host.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The daemon's data root.
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("estiba.sock")
    }

    /// The name of the control group that the daemon's containers are below.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The process that holds the namespaces.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// The daemon's process id.
    pub fn daemon_pid(&self) -> Pid {
        let id = self.daemon.as_ref().expect("the daemon runs").id();
        Pid::from_raw(i32::try_from(id).expect("pids are i32")).expect("not zero")
    }

    /// What the kernel says of the daemon's memory, in KiB: `VmHWM`, the most that it has had at
    /// once; `RssFile`, what of it is its program.
    pub fn daemon_kib(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.daemon_pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).expect("the daemon runs");
        let mut lines = status.lines().map(|line| line.split_whitespace());
        let words = lines
            .find(|words| words.clone().next().and_then(|it| it.strip_suffix(':')) == Some(field));
        words.and_then(|mut words| words.nth(1)?.parse().ok()).expect("a field of memory")
    }

    /// The process that the daemon's monitors are forked from; anything must have been started.
    pub fn zygote(&self) -> i32 {
        let parent = format!("PPid:\t{}\n", self.daemon_pid().as_raw_nonzero());
        let mut found = None;
        eventually("there is a zygote", || {
            let all = std::fs::read_dir("/proc").expect("/proc").flatten();
            let mut all = all.filter_map(|one| one.file_name().to_str()?.parse::<i32>().ok());
            found = all.find(|pid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
                status.is_ok_and(|it| {
                    it.starts_with("Name:\testiba-zygote\n") && it.contains(&parent)
                })
            });
            found.is_some()
        });
        found.expect("it was found")
    }

    /// How the daemon ended by itself, if it did.
    pub fn daemon_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.daemon.as_mut().and_then(|daemon| daemon.try_wait().expect("wait"))
    }

    /// Starts the daemon again, after [`Lab::kill_daemon`] or [`Lab::stop_daemon`].
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let dir = self.dir.path();
        let mut command = self.inside(&binaries().join("estiba"));
        command.arg("daemon").arg("--data-root").arg(dir.join("data"));
        command.arg("--exec-root").arg(dir.join("run"));
        command.arg("--pidfile").arg(dir.join("pid"));
        command.arg("--config-file").arg(dir.join("daemon.json"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.arg("--cgroup-parent").arg(format!("/{}", self.cgroup));
        command.args(&self.setup.arguments);
        if self.setup.failpoints {
            let place = dir.join("failpoints");
            std::fs::create_dir_all(&place).expect("the lab's directory is writable");
            command.env("ESTIBA_FAILPOINTS", place);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("daemon.log"))
            .expect("the lab's directory is writable");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
        let _ = std::fs::remove_file(self.socket());
        self.daemon = Some(command.spawn().expect("the daemon starts"));
        eventually("the daemon answers", || {
            let daemon = self.daemon.as_mut().expect("just started");
            if let Some(status) = daemon.try_wait().expect("wait") {
                let log = std::fs::read_to_string(self.dir.path().join("daemon.log"));
                panic!("the daemon ended: {status}\n{}", log.unwrap_or_default());
            }
            std::os::unix::net::UnixStream::connect(self.dir.path().join("estiba.sock")).is_ok()
        });
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill_daemon(&mut self) {
        self.end_daemon(Signal::KILL);
    }

    /// Ends the daemon with SIGTERM.
    pub fn stop_daemon(&mut self) {
        self.end_daemon(Signal::TERM);
    }

    fn end_daemon(&mut self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("i32")).expect("not zero");
            let _ = kill_process(pid, signal);
            let _ = daemon.wait();
        }
    }

    /// What the daemon wrote.
    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default()
    }

    /// `estiba ARGUMENTS…` to its end.
    #[track_caller]
    pub fn estiba(&self, arguments: &[&str]) -> Output {
        self.estiba_with(arguments, b"")
    }

    /// `estiba ARGUMENTS…` with this input.
    #[track_caller]
    pub fn estiba_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.client(&binaries().join("estiba"));
        command.args(arguments);
        program::run(command, input)
    }

    /// `estiba ARGUMENTS…` while it runs.
    pub fn session(&self, arguments: &[&str]) -> Session {
        let mut command = self.client(&binaries().join("estiba"));
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Session::new(command.spawn().expect("estiba starts"))
    }

    /// `estiba ARGUMENTS…` on a terminal of 24 rows and 80 columns.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let mut command = self.client(&binaries().join("estiba"));
        command.args(arguments);
        Terminal::start(&command, (24, 80))
    }

    /// The stock `docker ARGUMENTS…` on such a terminal; `None` where it is not installed.
    pub fn docker_terminal(&self, arguments: &[&str]) -> Option<Terminal> {
        let mut command = self.client(stock_docker()?);
        command.args(arguments);
        Some(Terminal::start(&command, (24, 80)))
    }

    /// The stock `docker ARGUMENTS…`; `None` where it is not installed.
    pub fn docker(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = self.client(stock_docker()?);
        command.args(arguments);
        Some(program::run(command, b""))
    }

    /// `docker ARGUMENTS…` of Docker 20.10, which speaks BuildKit by itself; `None` where
    /// `scripts/deps.sh test` did not install it.
    pub fn buildkit_docker(&self, arguments: &[&str], input: &[u8]) -> Option<Output> {
        let program = Path::new("/usr/local/lib/estiba-test/docker20");
        if !program.exists() {
            return None;
        }
        let mut command = self.client(program);
        command.env("DOCKER_BUILDKIT", "1").env("BUILDKIT_PROGRESS", "plain").args(arguments);
        Some(program::run(command, input))
    }

    /// Any program, in the daemon's network and with its mounts.
    pub fn in_network(&self, arguments: &[&str]) -> Output {
        let (program, rest) = arguments.split_first().expect("a program");
        let mut command = self.inside(Path::new(program));
        command.args(rest);
        program::run(command, b"")
    }

    /// Any program in the daemon's network while it runs; it ends with this test at the latest.
    pub fn start_in_network(&self, arguments: &[&str]) -> Session {
        let (program, rest) = arguments.split_first().expect("a program");
        let mut command = self.inside(Path::new("setpriv"));
        command.args(["--pdeathsig", "KILL", "--", program]).args(rest);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Session::new(command.spawn().expect("it starts"))
    }

    /// Any program in the daemon's network, while it runs.
    pub fn background(&self, arguments: &[&str]) -> Session {
        let (program, rest) = arguments.split_first().expect("a program");
        let mut command = self.inside(Path::new(program));
        command.args(rest);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Session::new(command.spawn().expect("nsenter(1) is installed"))
    }

    /// A command that talks to this daemon.
    pub fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.dir.path()).env("LC_ALL", "C.UTF-8");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command
    }

    fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--mount"]);
        command.arg("--").arg(program);
        command
    }

    fn clean(&mut self) -> Vec<String> {
        if self.daemon.is_none() {
            self.start_daemon();
        }
        let all = self.estiba(&["ps", "-aq"]);
        let ids: Vec<&str> = all.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            self.estiba(&[&["rm", "-f"], &*ids].concat());
        }
        self.stop_daemon();
        let mut left = Vec::new();
        for _ in 0..100 {
            left = leftovers::find(self.dir.path(), &self.cgroup);
            if left.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        left
    }
}

/// Where the stock command line is, if it is installed.
fn stock_docker() -> Option<&'static Path> {
    let mut places = ["/usr/local/bin/docker", "/usr/bin/docker"].into_iter().map(Path::new);
    places.find(|path| path.exists())
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("--- daemon.log ---\n{}", self.daemon_log());
        }
        let cleaned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clean()));
        self.end_daemon(Signal::KILL);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        leftovers::remove_group(&self.cgroup);
        match cleaned {
            Ok(left) if left.is_empty() || failed => {}
            Ok(left) => panic!("left behind:\n{}", left.join("\n")),
            Err(_) if failed => {}
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }
}
