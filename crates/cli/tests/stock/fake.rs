//! An engine that replays answers over a socket of its own and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked: method, path with query, body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// How a request is answered.
pub(crate) enum Answer {
    /// A status and a document.
    Document(u16, &'static str),
    /// The connection is handed over; the function talks on it.
    Stream(fn(UnixStream)),
}

/// Answers by `METHOD /path` without version and query.
pub(crate) type Answers = HashMap<&'static str, Answer>;

/// A running fake engine.
pub(crate) struct Fake {
    dir: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// The version that the fake says it speaks.
pub(crate) const VERSION: &str = "1.50";

impl Fake {
    pub(crate) fn start(answers: Answers) -> Self {
        Self::speaking(VERSION, answers)
    }

    /// A fake that refuses requests in versions newer than its own.
    pub(crate) fn speaking(version: &'static str, answers: Answers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answers, log) = (Arc::new(answers), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
                thread::spawn(move || serve(stream.unwrap(), version, &answers, &log));
            }
        });
        Self { dir, seen }
    }

    /// Runs our command line against this engine.
    pub(crate) fn ours(&self, name: &str, words: &[String], input: &[u8]) -> Output {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg0(name);
        self.run(command, words, input)
    }

    /// Runs Docker's command line against this engine.
    pub(crate) fn stock(&self, program: &Path, words: &[String]) -> Output {
        self.run(Command::new(program), words, b"")
    }

    fn run(&self, mut command: Command, words: &[String], input: &[u8]) -> Output {
        let mut child = command
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("FOO", "bar")
            .env("DOCKER_HOST", format!("unix://{}", self.dir.path().join("sock").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// What was asked so far, and forgets it.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Words of a shell line, with single and double quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, open) = (Some(c), true),
            (None, ' ') => {
                if open || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (None, c) => word.push(c),
        }
    }
    if open || !word.is_empty() {
        all.push(word);
    }
    all
}

fn serve(
    stream: UnixStream,
    version: &str,
    answers: &Answers,
    log: &Mutex<Vec<Request>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream.try_clone().ok()?;
    loop {
        let request = read(&mut reader)?;
        let (asked, bare) = split_version(&request.path);
        let key = format!("{} {}", request.method, bare.split('?').next().unwrap_or_default());
        let head_only = request.method == "HEAD";
        let newer = asked.is_some_and(|asked| minor(asked) > minor(version));
        log.lock().unwrap().push(request.clone());
        let missing = format!("{{\"message\":\"No such thing: {key}\"}}");
        let too_new = format!(
            "{{\"message\":\"client version {} is too new. Maximum supported API version is \
             {version}\"}}",
            asked.unwrap_or_default()
        );
        let (status, body) = match answers.get(key.as_str()) {
            _ if newer => (400, too_new.as_str()),
            _ if bare == "/_ping" => (200, "OK"),
            Some(Answer::Stream(talk)) => {
                let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: \
                            application/vnd.docker.multiplexed-stream\r\nConnection: \
                            Upgrade\r\nUpgrade: tcp\r\n\r\n";
                writer.write_all(head.as_bytes()).ok()?;
                talk(stream);
                return None;
            }
            Some(Answer::Document(status, body)) => (*status, *body),
            None => (404, missing.as_str()),
        };
        let length = body.len();
        let body = if head_only { "" } else { body };
        let text = format!(
            "HTTP/1.1 {status} X\r\nApi-Version: {version}\r\nOstype: linux\r\nSwarm: \
             inactive\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        writer.write_all(text.as_bytes()).ok()?;
    }
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

fn split_version(path: &str) -> (Option<&str>, &str) {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        version.starts_with("1.").then(|| (version, &path[version.len() + 2..]))
    });
    versioned.map_or((None, path), |(version, rest)| (Some(version), rest))
}

fn read(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split(' ');
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    Some(Request { method, path, body })
}
