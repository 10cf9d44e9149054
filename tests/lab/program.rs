//! Running a program to its end, or with pipes to it while it runs.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest any command of a test may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a finished program left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status; 128+n for signal n.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// What a command leaves, run to its end without input.
    pub fn of(command: Command) -> Self {
        run(command, b"")
    }

    /// Its standard output without the last newline, if it succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "failed: {self:?}");
        self.stdout.trim_end_matches('\n')
    }

    /// Asserts that it failed with `status` and said `words` on standard error.
    #[track_caller]
    pub fn fails(&self, status: i32, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stderr.contains(words), "wanted {words:?} in {self:?}");
    }
}

/// Runs `command` with `input` and waits for its end.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let mut session = Session::new(child);
    session.send(input);
    session.close();
    session.finish()
}

/// A program that is running.
pub struct Session {
    child: Child,
    stdout: Option<std::thread::JoinHandle<Vec<u8>>>,
    stderr: Option<std::thread::JoinHandle<Vec<u8>>>,
    seen: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Session {
    pub(crate) fn new(mut child: Child) -> Self {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let stdout = child.stdout.take().map(|pipe| drain(pipe, Some(seen.clone())));
        let stderr = child.stderr.take().map(|pipe| drain(pipe, None));
        Self { child, stdout, stderr, seen }
    }

    /// Any command, with pipes.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::new(command.spawn().expect("it starts"))
    }

    /// Writes to its standard input; a program that is gone does not mind.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(pipe) = self.child.stdin.as_mut() {
            let _ = pipe.write_all(bytes).and_then(|()| pipe.flush());
        }
    }

    /// Closes its standard input.
    pub fn close(&mut self) {
        self.child.stdin = None;
    }

    /// What it has written to standard output so far.
    pub fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> rustix::process::Pid {
        let raw = i32::try_from(self.child.id()).expect("pids are positive i32");
        rustix::process::Pid::from_raw(raw).expect("a child has a pid")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("did not end within {PATIENCE:?}; so far: {}", self.so_far());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        use std::os::unix::process::ExitStatusExt;
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let text = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
            let bytes = thread.map(|t| t.join().unwrap()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Output { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) }
    }
}

type Shared = std::sync::Arc<std::sync::Mutex<Vec<u8>>>;

fn drain(
    mut pipe: impl Read + Send + 'static,
    copy: Option<Shared>,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if let Some(copy) = &copy {
                copy.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        }
        all
    })
}
