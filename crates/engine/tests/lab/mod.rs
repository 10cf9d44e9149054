//! A node of its own for each test: network namespace, data root, run root, cgroups. Containers
//! run busybox from an image made here. Nothing is left behind, and that is checked.

#![allow(dead_code, reason = "every test binary uses a part of the lab")]

use bytes::Bytes;
use engine::{
    AttachOptions, ClientStream, Engine, ExitStatus, Options, RemoveOptions, WaitCondition,
};
use model::image::ImageDraft;
use model::view::ContainerView;
use model::{ContainerName, Draft};
use std::future::Future;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Programs that the image has, each busybox by another name.
const PROGRAMS: [&str; 26] = [
    "sh", "cat", "echo", "sleep", "true", "false", "id", "ls", "mount", "hostname", "env", "wget",
    "nslookup", "kill", "touch", "mkdir", "rm", "grep", "stat", "ip", "ping", "head", "dd", "test",
    "pwd", "nc",
];

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Lab {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    dir: TempDir,
}

/// Runs a test in a world of its own.
pub(crate) fn world<F, T>(test: T)
where
    T: FnOnce(Lab) -> F + Send + 'static,
    F: Future<Output = Lab>,
{
    std::thread::spawn(move || {
        own_network();
        let runtime = runtime();
        let (dir, options) = runtime.block_on(async {
            let lab = Lab::open().await;
            let lab = tokio::time::timeout(Duration::from_secs(120), test(lab)).await;
            lab.expect("the test hangs").close().await
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        check_nothing_left(&options);
        drop(dir);
    })
    .join()
    .unwrap();
}

/// Moves the calling thread to a network namespace of its own.
#[expect(deprecated, reason = "its successor is unsafe for the sake of flags not used here")]
pub(crate) fn own_network() {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Lab {
    async fn open() -> Self {
        let (dir, options) = place();
        let lab = Self::open_at(dir, options).await;
        lab.import_busybox().await;
        lab
    }

    /// A node in a place that may have been another daemon's.
    pub(crate) async fn open_at(dir: TempDir, options: Options) -> Self {
        let engine = Engine::open(options.clone()).await.unwrap();
        Self { engine, options, dir }
    }

    /// Leaves the place to another daemon.
    pub(crate) fn leave(self) -> (TempDir, Options) {
        (self.dir, self.options)
    }

    pub(crate) async fn close(self) -> (TempDir, Options) {
        for view in self.engine.containers.list() {
            let options = RemoveOptions { force: true, volumes: true };
            match self.engine.containers.remove(&view.id.to_string(), options).await {
                // One that removes itself was quicker.
                Ok(_) | Err(engine::EngineError::NoSuchContainer(_)) => {}
                Err(error) => panic!("remove {}: {error}", view.id),
            }
        }
        self.engine.shutdown().await;
        (self.dir, self.options)
    }

    pub(crate) async fn import_busybox(&self) {
        let (tx, rx) = tokio::sync::mpsc::channel(4);
        tx.send(Ok(Bytes::from(busybox_tar()))).await.unwrap();
        drop(tx);
        let draft = ImageDraft {
            reference: "busybox".into(),
            changes: vec!["CMD [\"sh\"]".into()],
            ..Default::default()
        };
        self.engine.images.import(draft, rx).await.unwrap();
    }

    pub(crate) fn state_dir(&self, id: &str) -> PathBuf {
        self.options.exec_root.join("containers").join(id)
    }

    pub(crate) async fn create(&self, draft: Draft) -> String {
        self.engine.containers.create(None, draft).await.unwrap().id.to_string()
    }

    pub(crate) async fn create_named(&self, name: &str, draft: Draft) -> String {
        let name = ContainerName::parse(name).unwrap();
        self.engine.containers.create(Some(name), draft).await.unwrap().id.to_string()
    }

    pub(crate) async fn start(&self, id: &str) {
        self.engine.containers.start(id).await.unwrap();
    }

    pub(crate) async fn rm(&self, id: &str) {
        let options = RemoveOptions { force: true, volumes: true };
        self.engine.containers.remove(id, options).await.unwrap();
    }

    pub(crate) fn view(&self, id: &str) -> Arc<ContainerView> {
        self.engine.containers.view(id).unwrap()
    }

    pub(crate) async fn wait(&self, id: &str) -> ExitStatus {
        let wait = self.engine.containers.wait(id, WaitCondition::NotRunning).await.unwrap();
        wait.done().await.unwrap()
    }

    /// Creates, attaches, starts, waits and removes; what it wrote, and how it ended.
    pub(crate) async fn run(&self, draft: Draft) -> Ran {
        let id = self.create(draft).await;
        let output = self.attach(&id).await;
        let wait = self.engine.containers.wait(&id, WaitCondition::NextExit).await.unwrap();
        let started = self.engine.containers.start(&id).await;
        if let Err(error) = started {
            self.rm(&id).await;
            return Ran { code: -1, stdout: String::new(), stderr: error.to_string() };
        }
        let status = wait.done().await.unwrap();
        let (stdout, stderr) = output.await.unwrap();
        if self.engine.containers.view(&id).is_ok() {
            self.rm(&id).await;
        }
        Ran { code: status.code, stdout, stderr }
    }

    /// Attaches to the output of a container; what it wrote by its end.
    pub(crate) async fn attach(&self, id: &str) -> tokio::task::JoinHandle<(String, String)> {
        self.attach_slowly(id, Duration::ZERO).await
    }

    /// [`Lab::attach`] by a client that begins to read after a pause.
    pub(crate) async fn attach_slowly(
        &self,
        id: &str,
        pause: Duration,
    ) -> tokio::task::JoinHandle<(String, String)> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            stream: true,
            framed: true,
            ..Default::default()
        };
        let client = ClientStream { fd: theirs.into(), read_ahead: Bytes::new() };
        self.engine.containers.attach(id, options, client).await.unwrap();
        tokio::task::spawn_blocking(move || {
            std::thread::sleep(pause);
            unframe(ours)
        })
    }

    /// Runs a command in a running container.
    pub(crate) async fn exec(&self, id: &str, command: &[&str]) -> Ran {
        let draft = model::exec::ExecDraft {
            command: words(command),
            attach_stdout: true,
            attach_stderr: true,
            ..Default::default()
        };
        self.exec_as(id, draft).await
    }

    pub(crate) async fn exec_as(&self, id: &str, draft: model::exec::ExecDraft) -> Ran {
        let exec = self.engine.execs.create(id, draft).await.unwrap().to_string();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = ClientStream { fd: theirs.into(), read_ahead: Bytes::new() };
        let output = tokio::task::spawn_blocking(move || unframe(ours));
        let started = self
            .engine
            .execs
            .start(&exec, false, None, Some((client, engine::StreamKind::Framed)))
            .await;
        let (stdout, stderr) = output.await.unwrap();
        if let Err(error) = started {
            return Ran { code: -1, stdout, stderr: error.to_string() };
        }
        let code = eventually("the exec ends", || async {
            match self.engine.execs.view(&exec).await.unwrap().state {
                model::exec::ExecState::Exited { code, .. } => Some(code),
                _ => None,
            }
        })
        .await;
        Ran { code: code.into(), stdout, stderr }
    }
}

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    for _ in 0..1000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}")
}

pub(crate) fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// A container of busybox that runs a command, without a network unless asked.
pub(crate) fn draft(command: &[&str]) -> Draft {
    let mut draft =
        Draft { image: "busybox".into(), command: Some(words(command)), ..Default::default() };
    draft.host.network = model::network::NetworkMode::None;
    draft
}

/// A shell script in a container.
pub(crate) fn script(text: &str) -> Draft {
    draft(&["sh", "-c", text])
}

/// Directories and names that no other test has.
pub(crate) fn place() -> (TempDir, Options) {
    let dir = tempfile::Builder::new().prefix("engine-test-").tempdir().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let parent = format!("/engine-test-{}-{number}", std::process::id());
    let options = options(dir.path(), parent);
    (dir, options)
}

/// The options of a node in a directory.
pub(crate) fn options(dir: &Path, cgroup_parent: String) -> Options {
    Options {
        data_root: dir.join("data"),
        exec_root: dir.join("run"),
        cgroup_parent,
        runtime_exe: runtime_exe(),
        ..Options::default()
    }
}

/// Built with `cargo build -p runtime`, beside this test.
fn runtime_exe() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("estiba-runtime");
    assert!(path.exists(), "build the runtime first: {} is missing", path.display());
    path
}

fn busybox_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            tar.append_data(&mut header, path, content).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    let directory = tar::EntryType::Directory;
    for path in ["bin", "etc", "proc", "sys", "dev", "root", "data", "var"] {
        add(path, directory, 0o755, b"", "");
    }
    add("tmp", directory, 0o1777, b"", "");
    let busybox = std::fs::read("/bin/busybox").unwrap();
    add("bin/busybox", tar::EntryType::Regular, 0o755, &busybox, "");
    for program in PROGRAMS {
        add(&format!("bin/{program}"), tar::EntryType::Symlink, 0o777, b"", "busybox");
    }
    let passwd = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
    add("etc/passwd", tar::EntryType::Regular, 0o644, passwd, "");
    add("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\napp:x:1000:\nextra:x:77:\n", "");
    add("data/from-image", tar::EntryType::Regular, 0o644, b"from the image\n", "");
    tar.into_inner().unwrap()
}

/// Takes Docker's frames apart.
fn unframe(mut stream: UnixStream) -> (String, String) {
    let mut outputs = [Vec::new(), Vec::new()];
    let mut head = [0u8; 8];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        outputs[usize::from(head[0]) - 1].extend(body);
    }
    let [stdout, stderr] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (stdout, stderr)
}

pub(crate) fn check_nothing_left(options: &Options) {
    let root = options.exec_root.to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let data = options.data_root.to_string_lossy().into_owned();
    assert!(!mounts.contains(&root) && !mounts.contains(&data), "mounts are left");
    for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let parent = controller.path().join(options.cgroup_parent.trim_start_matches('/'));
        let Ok(children) = std::fs::read_dir(&parent) else { continue };
        let left: Vec<_> = children.flatten().filter(|it| it.path().is_dir()).collect();
        assert!(left.is_empty(), "cgroups are left: {left:?}");
        // The parent is this lab's alone.
        let _ = std::fs::remove_dir(&parent);
    }
    let snapshots = std::fs::read_dir(options.data_root.join("snapshots")).unwrap();
    assert_eq!(snapshots.count(), 0, "roots are left");
}
