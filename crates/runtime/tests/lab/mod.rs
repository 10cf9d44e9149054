//! A lab for containers: a root of busybox in a temporary directory, launches made from a few
//! words, output collected through pipes. Everything a test makes is gone when it ends.

#![allow(dead_code, reason = "each test program uses a part of the lab")]

pub(crate) mod bundle;

use runtime::container::{Running, Stdio, create};
use runtime::error::LaunchError;
use runtime::exec::{ExecOptions, exec};
use runtime::launch::{Ids, Launch, Rootfs, VERSION};
use runtime::monitor::log::LogConfig;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use sys::Ended;
use wire::oci::runtime::{
    Capabilities, IdMapping, Linux, Mount, Namespace, Process, Root, Seccomp, Spec, Syscall,
};

/// First host id of the containers' range.
pub(crate) const FIRST_ID: u32 = 200_000;

/// A container to be.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    pub(crate) launch: Launch,
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Makes the directory of an image: busybox and the files that programs expect.
pub(crate) fn image(root: &Path) {
    for dir in ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "var", "home"] {
        fs::create_dir_all(root.join(dir)).expect("image directory");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for name in [
        "sh", "cat", "ls", "id", "echo", "mount", "stat", "sleep", "true", "grep", "env", "touch",
        "mknod", "hostname", "readlink", "tty", "ps", "kill", "wc", "head", "mkdir", "rm", "chown",
        "sort", "find", "dd", "tr", "test", "ip", "umount", "unshare", "stty", "ln",
    ] {
        symlink("busybox", root.join("bin").join(name)).expect("applet");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\nwheel:x:10:app\napp:x:1000:\n").expect("group");
}

fn mount(destination: &str, kind: &str, source: &str, options: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: options.split(',').filter(|o| !o.is_empty()).map(Into::into).collect(),
        ..Mount::default()
    }
}

/// A bind mount.
pub(crate) fn bind(source: &Path, destination: &str, options: &str) -> Mount {
    mount(destination, "bind", source.to_str().expect("utf-8"), options)
}

fn default_mounts() -> Vec<Mount> {
    vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ]
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A process with the default posture.
pub(crate) fn process(args: &[&str]) -> Process {
    let caps = strings(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
    ]);
    Process {
        args: strings(args),
        env: strings(&["PATH=/bin"]),
        cwd: "/".into(),
        no_new_privileges: true,
        capabilities: Some(Capabilities {
            bounding: caps.clone(),
            effective: caps.clone(),
            permitted: caps,
            ..Capabilities::default()
        }),
        ..Process::default()
    }
}

/// Allows everything but one call, which is enough to see that a filter is there.
fn filter() -> Seccomp {
    Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: strings(&["SCMP_ARCH_X86_64"]),
        syscalls: vec![Syscall {
            names: strings(&["mkdir", "mkdirat"]),
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(95),
            ..Syscall::default()
        }],
        ..Seccomp::default()
    }
}

fn namespaces(kinds: &[&str]) -> Vec<Namespace> {
    kinds.iter().map(|k| Namespace { kind: (*k).into(), path: String::new() }).collect()
}

fn new_id() -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{:064x}", u64::from(std::process::id()) << 24 | u64::from(number))
}

impl Lab {
    /// A container with everything by default, that runs `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).expect("lab directory");
            path
        };
        let (lower, upper, work, state) = (at("lower"), at("upper"), at("work"), at("state"));
        image(&lower);
        let id = new_id();
        let map = vec![IdMapping { container_id: 0, host_id: FIRST_ID, size: 65_536 }];
        let spec = Spec {
            oci_version: "1.2.0".into(),
            process: Some(process(args)),
            root: Some(Root { path: "rootfs".into(), readonly: false }),
            hostname: "lab".into(),
            mounts: default_mounts(),
            linux: Some(Linux {
                uid_mappings: map.clone(),
                gid_mappings: map,
                cgroups_path: format!("/estiba-test-{id}"),
                namespaces: namespaces(&[
                    "pid", "network", "ipc", "uts", "mount", "cgroup", "user",
                ]),
                seccomp: Some(filter()),
                masked_paths: strings(&["/proc/kcore", "/proc/keys", "/sys/firmware"]),
                readonly_paths: strings(&["/proc/sys", "/proc/sysrq-trigger"]),
                ..Linux::default()
            }),
            ..Spec::default()
        };
        let launch = Launch {
            version: VERSION,
            id,
            spec,
            rootfs: Rootfs::Overlay {
                lower: vec![lower],
                upper,
                work,
                readonly: false,
                volatile: false,
            },
            ids: Ids::Container,
            user: None,
            seccomp: None,
            state_dir: state,
            log: LogConfig::None,
            stdin_open: false,
            stdin_once: false,
            init: false,
            stop_timeout_s: None,
            scopes: Default::default(),
            systemd: false,
            runtime: None,
            runtime_args: Vec::new(),
            bundle: None,
        };
        Self { dir, launch }
    }

    /// One that runs a line of shell.
    pub(crate) fn sh(line: &str) -> Self {
        Self::new(&["sh", "-c", line])
    }

    /// Without a user namespace.
    pub(crate) fn privileged(mut self) -> Self {
        let linux = self.linux();
        linux.uid_mappings.clear();
        linux.gid_mappings.clear();
        linux.namespaces.retain(|namespace| namespace.kind != "user");
        self
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.launch.spec.linux.as_mut().expect("linux")
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.launch.spec.process.as_mut().expect("process")
    }

    pub(crate) fn mounts(&mut self) -> &mut Vec<Mount> {
        &mut self.launch.spec.mounts
    }

    /// A directory of the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.try_run().expect("launch")
    }

    /// Runs it to its end, if it can be launched.
    pub(crate) fn try_run(&self) -> Result<Outcome, LaunchError> {
        let (stdio, pipes) = piped();
        let created = create(&self.launch, stdio)?;
        let running = created.start()?;
        Ok(pipes.finish(running.pidfd, || drop(running.cgroup.delete())))
    }

    /// Starts it, to be entered.
    pub(crate) fn start(self) -> Started {
        let created = create(&self.launch, Stdio::Null).expect("create");
        Started { running: created.start().expect("start"), lab: self }
    }
}

/// A running container; it is killed when dropped.
pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) lab: Lab,
}

impl Started {
    /// Runs a process in it to its end.
    pub(crate) fn exec(
        &self,
        process: &Process,
        user: Option<&str>,
    ) -> Result<Outcome, LaunchError> {
        let (stdio, pipes) = piped();
        let options = ExecOptions { user: user.map(Into::into), preserve_fds: 0 };
        let execed = exec(&self.running, process, stdio, &options)?;
        Ok(pipes.finish(execed.pidfd, || ()))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = sys::process::kill(self.running.pidfd.as_fd());
        let _ = wait(&self.running.pidfd);
        let _ = self.running.cgroup.delete();
    }
}

/// Waits for a child by its descriptor.
pub(crate) fn wait(pidfd: &OwnedFd) -> Ended {
    let copy = pidfd.try_clone().expect("copy pidfd");
    sys::Pidfd::from(copy).wait().expect("wait")
}

struct Pipes {
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
}

fn piped() -> (Stdio, Pipes) {
    let (stdin, _) = std::io::pipe().expect("pipe");
    let (stdout, out) = std::io::pipe().expect("pipe");
    let (stderr, err) = std::io::pipe().expect("pipe");
    let fds = Stdio::Fds { stdin: stdin.into(), stdout: out.into(), stderr: err.into() };
    (fds, Pipes { stdout, stderr })
}

impl Pipes {
    fn finish(mut self, pidfd: OwnedFd, after: impl FnOnce()) -> Outcome {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("stdout");
        self.stderr.read_to_string(&mut stderr).expect("stderr");
        let ended = wait(&pidfd);
        after();
        Outcome { ended, stdout, stderr }
    }
}
