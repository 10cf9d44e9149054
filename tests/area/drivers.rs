//! Another engine, Debian's podman, runs its containers on our runtime, unchanged. The long list
//! of what other engines do is `make drivers`.

use lab::{archive, binaries};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Podman with directories and control groups of its own; everything it holds goes with it.
struct Podman {
    dir: tempfile::TempDir,
    cgroup: String,
}

impl Podman {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-podman-").tempdir().expect("a directory");
        let cgroup = dir.path().file_name().unwrap().to_string_lossy().into_owned();
        // The machine may not let anybody raise limits.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\"]\n\
            [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        std::fs::write(dir.path().join("containers.conf"), settings).unwrap();
        let podman = Self { dir, cgroup };
        let tar = archive("busybox").to_string_lossy().into_owned();
        podman.ok(&["import", "-q", &tar, "localhost/box"]);
        podman
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let at = |name: &str| self.dir.path().join(name);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "podman", "--storage-driver", "vfs"]);
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run"));
        command.arg("--tmpdir").arg(at("tmp"));
        command.arg("--runtime").arg(binaries().join("estiba-runtime"));
        command.args(arguments).stdin(Stdio::null());
        command.env("CONTAINERS_CONF", at("containers.conf")).env("TMPDIR", self.dir.path());
        command.output().expect("unshare(1) is installed")
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// `podman run`, in no network, under limits that any machine allows.
    fn start(&self, arguments: &[&str]) -> Output {
        let parent = format!("--cgroup-parent=/{}", self.cgroup);
        let (files, processes) = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=2048:2048");
        let first = ["run", "--network=none", files, processes, &parent];
        self.run(&[&first, arguments].concat())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let removed = self.run(&["rm", "-f", "-t", "0", "-a"]);
        for tree in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_groups(&tree.path().join(&self.cgroup));
        }
        remove_groups(&Path::new("/sys/fs/cgroup").join(&self.cgroup));
        let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.dir.path().to_string_lossy();
        if !std::thread::panicking() {
            assert!(removed.status.success(), "{removed:?}");
            assert!(!left.contains(&*dir), "a mount is left in {dir}");
        }
    }
}

fn remove_groups(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[test]
fn podman_runs_its_containers_on_our_runtime() {
    let podman = Podman::new();
    let hello = podman.start(&["--rm", "localhost/box", "sh", "-c", "echo hello; exit 3"]);
    assert_eq!(said(&hello), (Some(3), "hello".into()), "{hello:?}");
    for (word, code) in [("nonesuch", 127), ("/etc", 126)] {
        let refused = podman.start(&["--rm", "localhost/box", word]);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
    }
    let filter = "/^Seccomp:/ {print $2}";
    let words = ["-d", "--name=box", "localhost/box", "sh", "-c", "echo up; exec sleep 1000"];
    let started = podman.start(&words);
    assert!(started.status.success(), "{started:?}");
    assert_eq!(podman.ok(&["exec", "box", "awk", filter, "/proc/self/status"]), "2");
    assert_eq!(podman.run(&["exec", "box", "sh", "-c", "exit 5"]).status.code(), Some(5));
    podman.ok(&["pause", "box"]);
    assert_eq!(podman.ok(&["inspect", "-f", "{{.State.Status}}", "box"]), "paused");
    podman.ok(&["unpause", "box"]);
    assert_eq!(podman.ok(&["logs", "box"]), "up");
    podman.ok(&["kill", "box"]);
    assert_eq!(podman.ok(&["wait", "box"]), "137");
}
