//! A bundle for the command line of the runtime.

use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A bundle and a place for state, gone with everything in it when dropped.
pub(crate) struct Bundle {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) id: String,
    /// The runtime that is run.
    pub(crate) program: PathBuf,
}

impl Bundle {
    pub(crate) fn new(name: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let id = format!("oci-{name}-{}", std::process::id());
        let bundle = Self { id, dir, program: env!("CARGO_BIN_EXE_estiba-runtime").into() };
        super::image(&bundle.path("rootfs"));
        let out = bundle.runtime(&["spec", "--bundle", bundle.dir.path().to_str().expect("utf-8")]);
        assert!(out.status.success(), "{out:?}");
        bundle.edit(|config| {
            config["process"]["args"] = json!(args);
            config["process"]["terminal"] = json!(false);
            config["linux"]["cgroupsPath"] = json!(format!("/estiba-test-{}", bundle.id));
        });
        bundle
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).expect("config")).expect("JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("config");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.path("state")).args(args).current_dir(self.dir.path());
        command
    }

    pub(crate) fn runtime(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("runtime")
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.runtime(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).expect("utf-8")
    }

    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let out = self.runtime(args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {out:?}");
        String::from_utf8(out.stderr).expect("utf-8")
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.ok(&["state", &self.id])).expect("JSON")
    }

    pub(crate) fn create(&self) {
        // The container keeps the descriptors: a pipe would never end.
        let mut create = self.command(&["create", "--pid-file", "pid", &self.id]);
        let out = fs::File::create(self.path("out")).expect("output");
        let err = fs::File::create(self.path("err")).expect("errors");
        let status = create.stdin(Stdio::null()).stdout(out).stderr(err).status().expect("create");
        assert!(status.success(), "{}", fs::read_to_string(self.path("err")).expect("errors"));
    }

    pub(crate) fn await_status(&self, status: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.state()["status"] != status {
            assert!(Instant::now() < deadline, "never {status}: {}", self.state());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.runtime(&["delete", "--force", &self.id]);
    }
}
