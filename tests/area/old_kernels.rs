//! Kernels without a system call that the runtime uses, played by a filter that answers ENOSYS:
//! the container either runs with everything that it is promised, or is refused with a reason.
//! Nothing in between, and nothing left behind.

use lab::{Output, archive, binaries};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the container says of itself.
const POSTURE: &str = "grep -E '^(CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status; \
                       cat /proc/keys | wc -c; echo ran";

/// A bundle with busybox, and the runtime's state beside it.
struct Bundle(tempfile::TempDir);

impl Bundle {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-old-").tempdir().unwrap();
        let root = dir.path().join("rootfs");
        std::fs::create_dir(&root).unwrap();
        let tar = archive("busybox");
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(tar).arg("-C").arg(&root);
        assert!(unpack.status().unwrap().success());
        let bundle = Self(dir);
        let mut spec = Command::new(binaries().join("estiba-runtime"));
        Output::of({
            spec.args(["spec", "--bundle"]).arg(bundle.0.path());
            spec
        })
        .ok();
        let config = bundle.0.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["process"]["terminal"] = false.into();
        document["process"]["args"] = serde_json::json!(["sh", "-c", POSTURE]);
        document["linux"]["cgroupsPath"] = format!("/estiba-old-{}", std::process::id()).into();
        std::fs::write(config, document.to_string()).unwrap();
        bundle
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Runs it on a kernel without `calls`.
    fn run_without(&self, calls: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/without.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(calls).arg(binaries().join("estiba-runtime"));
        command.arg("--root").arg(self.state()).args(["run", "--bundle"]).arg(self.0.path());
        command.arg(format!("old-{}", calls.replace(',', "-")));
        Output::of(command)
    }

    fn leaves_nothing(&self, calls: &str) {
        let left = std::fs::read_dir(self.state()).into_iter().flatten().flatten().count();
        assert_eq!(left, 0, "without {calls}: state stays");
    }
}

fn whole_posture(calls: &str, output: &Output) {
    let text = output.ok();
    for promise in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(text.contains(promise), "without {calls}: {text}");
    }
    assert!(text.contains("Seccomp:\t2"), "without {calls}: {text}");
    assert!(text.ends_with("0\nran"), "without {calls}: {text}");
}

#[test]
fn what_the_kernel_lacks_is_refused_with_the_act_that_needs_it() {
    let bundle = Bundle::new();
    for (calls, act) in [
        ("clone3", "make the container's process"),
        ("openat2", "mount at /proc"),
        ("mount_setattr", "clone the root file system"),
        ("open_tree", "clone the root file system"),
        ("fsopen", "make masks"),
        ("fsmount", "make masks"),
        ("move_mount", "attach the root file system"),
        ("seccomp", "load the system call filter"),
    ] {
        let output = bundle.run_without(calls);
        assert!(output.status != 0 && output.stdout.is_empty(), "without {calls}: {output:?}");
        let said = output.stderr.to_lowercase();
        assert!(said.contains(act) && said.contains("not implemented"), "without {calls}: {said}");
        bundle.leaves_nothing(calls);
    }
}

#[test]
fn what_there_is_another_way_for_changes_nothing() {
    let bundle = Bundle::new();
    let all = ["faccessat2", "fchmodat2", "keyctl", "memfd_create", "pidfd_open,pidfd_send_signal"];
    for calls in all {
        whole_posture(calls, &bundle.run_without(calls));
        bundle.leaves_nothing(calls);
    }
}
