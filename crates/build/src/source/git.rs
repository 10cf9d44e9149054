//! Git trees, fetched by the host's `git` without a shell. What an address or a reference says is
//! an argument after `--` or refused; no hook runs, no configuration of the host's is read, and
//! only remote protocols are spoken, by submodules too (law A7).

use crate::address::shown;
use crate::error::{Act, Error, Result};
use crate::graph::Git;
use crate::solve::{Build, blocking};
use crate::tree::{DirTree, Tree};
use crate::walk::{Filter, open_in};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::net::UnixListener;

/// What git may speak.
const PROTOCOLS: &str = "https:http:ssh:git";
/// The most of git's words that are shown.
const MAX_WORDS_BYTES: u64 = 4096;

/// A git tree as a directory.
pub(crate) async fn git(build: &Arc<Build>, git: &Git) -> Result<Tree> {
    check(git)?;
    let agent = Agent::of(build, git).await?;
    let mut header = None;
    for (secret, token) in [(&git.header_secret, false), (&git.token_secret, true)] {
        if header.is_none()
            && !secret.is_empty()
            && let Some(value) = build.client.secret(secret).await?
        {
            let value = String::from_utf8_lossy(&value.0).trim().to_owned();
            header = Some(if token { basic(&value) } else { value });
        }
    }
    let running = Arc::new(Running(AtomicI32::new(0)));
    let (store, git) = (build.inner.store.clone(), git.clone());
    let (child, noting) = (Arc::clone(&running), Arc::clone(build));
    // Dropped with this future: git is not waited for by nobody.
    let _ended = EndWith(running);
    blocking(move || {
        let dir = Arc::new(store.temp_dir()?);
        let agent = agent.as_ref().map(Agent::path);
        let known_hosts = known_hosts(&git, dir.dir(), &dir.path())?;
        let run = Run { home: dir.path(), header, agent, known_hosts, child: &child };
        let commit = run.fetch(&git)?;
        noting.took(shown(&git.remote), ("sha1", commit.clone()));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let tree = dir.path().join("tree");
        let root = open_in(dir.dir(), "tree", flags).act(|| "open a git tree".into())?;
        if !git.keep_git_dir {
            store.remove_tree(&tree.join(".git"))?;
        }
        let sub = open_in(&root, git.subdir.as_str(), flags)
            .act(|| format!("open {:?} of {}", git.subdir, shown(&git.remote)))?;
        let mut hash = Sha256::new();
        hash.update(format!("{commit}\0{}\0{}", git.subdir, git.keep_git_dir));
        let known = Digest::sha256(hash.finalize().into());
        let tree = DirTree::new(Arc::new(sub), Filter::default(), false, Some(dir));
        Ok(Tree::Dir(Arc::new(tree.known_as(known))))
    })
    .await
}

/// Refuses what git could take for an option, or for something else than an address.
fn check(git: &Git) -> Result<()> {
    let bad = |what: &str, text: &str| Err(Error::invalid(format!("invalid git {what} {text:?}")));
    let odd = |text: &str| text.starts_with('-') || text.contains(['\0', '\n', '\r']);
    if git.remote.is_empty() || odd(&git.remote) || git.remote.contains("::") {
        return bad("remote", &shown(&git.remote));
    }
    if odd(&git.reference) || git.reference.contains([' ', ':', '^', '~', '*', '?', '[', '\\']) {
        return bad("reference", &git.reference);
    }
    if git.subdir.split('/').any(|part| part == "..") {
        return bad("subdirectory", &git.subdir);
    }
    Ok(())
}

fn basic(token: &str) -> String {
    format!("Authorization: basic {}", STANDARD.encode(format!("x-access-token:{token}")))
}

/// The keys of hosts as a file of this fetch's, if the build says some.
fn known_hosts(git: &Git, dir: &OwnedFd, path: &Path) -> Result<Option<PathBuf>> {
    const NAME: &str = "known_hosts";
    if git.known_hosts.is_empty() {
        return Ok(None);
    }
    let act = || "write the keys of hosts".to_owned();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, NAME, flags, Mode::RUSR | Mode::WUSR).act(act)?;
    std::fs::File::from(file).write_all(git.known_hosts.as_bytes()).act(act)?;
    Ok(Some(path.join(NAME)))
}

/// A socket that leads to an SSH agent of the client's; gone when dropped.
struct Agent {
    dir: store::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// The agent that a source may use, if the client offers it.
    async fn of(build: &Arc<Build>, git: &Git) -> Result<Option<Self>> {
        if git.ssh.is_empty() || !build.client.has_ssh(&git.ssh).await? {
            return Ok(None);
        }
        let dir = build.inner.store.temp_dir()?;
        // By its directory's descriptor: the path itself may be too long for a socket.
        let short = format!("/proc/self/fd/{}/agent", dir.dir().as_raw_fd());
        let listener = UnixListener::bind(short).act(|| "make an agent's socket".into())?;
        let (client, id) = (Arc::clone(&build.client), git.ssh.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (client, id) = (Arc::clone(&client), id.clone());
                tokio::spawn(async move {
                    if let Ok(mut far) = client.ssh(&id).await {
                        // Either side may leave at any time.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Ok(Some(Self { dir, serving }))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The process of a running git; 0 for none.
struct Running(AtomicI32);

/// Kills a git that still runs when the build is over.
struct EndWith(Arc<Running>);

impl Drop for EndWith {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.0.swap(0, Ordering::SeqCst)) {
            // It may have ended by itself just now, and is not reaped before it is taken out.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

struct Run<'a> {
    home: PathBuf,
    header: Option<String>,
    /// The socket of the client's SSH agent.
    agent: Option<PathBuf>,
    /// The file with the keys of hosts.
    known_hosts: Option<PathBuf>,
    child: &'a Running,
}

impl Run<'_> {
    /// Fetches and checks out into `tree`; gives the commit.
    fn fetch(&self, git: &Git) -> Result<String> {
        let tree = self.home.join("tree");
        std::fs::create_dir(&tree).act(|| "make a directory for git".into())?;
        self.git(&tree, &["init", "--quiet", "."])?;
        self.git(&tree, &["remote", "add", "--", "origin", &git.remote])?;
        let wanted = match git.reference.as_str() {
            "" => "HEAD",
            reference => reference,
        };
        let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", "origin", wanted];
        let is_commit = wanted.len() >= 7 && wanted.bytes().all(|c| c.is_ascii_hexdigit());
        let start = match self.git(&tree, &shallow) {
            Ok(_) => "FETCH_HEAD",
            // Servers need not give a commit by its name.
            Err(_) if is_commit => {
                self.git(&tree, &["fetch", "--quiet", "--tags", "--", "origin"])?;
                wanted
            }
            // Files of a plain web server are fetched whole.
            Err(error) if error.to_string().contains("shallow") => {
                self.git(&tree, &["fetch", "--quiet", "--tags", "--", "origin", wanted])?;
                "FETCH_HEAD"
            }
            Err(error) => return Err(error),
        };
        self.git(&tree, &["checkout", "--quiet", "--detach", start, "--"])?;
        let commit = self.git(&tree, &["rev-parse", "--verify", "HEAD"])?.trim().to_owned();
        if !git.checksum.is_empty() && !commit.starts_with(&git.checksum) {
            return Err(Error::invalid(format!(
                "expected checksum to match {}, got {commit}",
                git.checksum
            )));
        }
        if !git.skip_submodules && tree.join(".gitmodules").exists() {
            let update = ["submodule", "update", "--init", "--recursive", "--depth=1", "--quiet"];
            self.git(&tree, &update)?;
        }
        Ok(commit)
    }

    /// How ssh is run: as nobody but the client's agent, never with keys or hosts of this machine's
    /// own. Hosts whose keys nobody gave are taken at their word, as BuildKit does: what they give
    /// is known by its commit, if the build says which.
    fn ssh(&self) -> String {
        let (hosts, strict) = match &self.known_hosts {
            Some(file) => (file.display().to_string(), "yes"),
            None => ("/dev/null".to_owned(), "no"),
        };
        format!(
            "ssh -F /dev/null -o BatchMode=yes -o LogLevel=ERROR -o IdentityFile=none \
             -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile={hosts} \
             -o StrictHostKeyChecking={strict}"
        )
    }

    fn git(&self, dir: &Path, args: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.symlinks=true",
            "protocol.allow=never",
            "protocol.https.allow=always",
            "protocol.http.allow=always",
            "protocol.ssh.allow=always",
            "protocol.git.allow=always",
            "http.lowSpeedLimit=1",
            "http.lowSpeedTime=60",
            "gc.auto=0",
        ] {
            command.args(["-c", setting]);
        }
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_SSH_COMMAND", self.ssh())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        // In the environment, where no other user can read it.
        if let Some(header) = &self.header {
            command.env("GIT_CONFIG_COUNT", "1");
            command.env("GIT_CONFIG_KEY_0", "http.extraHeader");
            command.env("GIT_CONFIG_VALUE_0", header);
        }
        let mut child = command.spawn().act(|| "run git".into())?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        self.child.0.store(pid, Ordering::SeqCst);
        let words = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let mut words = String::new();
                let _ = stderr.take(MAX_WORDS_BYTES).read_to_string(&mut words);
                words
            })
        });
        let mut out = String::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(1 << 20).read_to_string(&mut out).act(|| "read from git".into())?;
        }
        self.child.0.store(0, Ordering::SeqCst);
        let status = child.wait().act(|| "wait for git".into())?;
        let words = words.and_then(|words| words.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(out);
        }
        let verb = args.first().copied().unwrap_or_default();
        Err(Error::invalid(format!("git {verb}: {status}: {}", told(&words))))
    }
}

/// What git says, without its advice, on one line and without passwords.
fn told(words: &str) -> String {
    const ADVICE: [&str; 2] =
        ["Please make sure you have the correct access rights", "and the repository exists."];
    let lines = words.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !ADVICE.contains(line));
    lines.map(shown).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_could_misread_is_refused() {
        let source = |remote: &str, reference: &str, subdir: &str| Git {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            subdir: subdir.to_owned(),
            ..Git::default()
        };
        check(&source("https://h/r.git", "v1.0", "a/b")).unwrap();
        for (remote, reference, subdir) in [
            ("--upload-pack=touch /x", "", ""),
            ("ext::sh -c x", "", ""),
            ("https://h/r", "--output=/x", ""),
            ("https://h/r", "a:b", ""),
            ("https://h/r", "", "../x"),
            ("", "", ""),
        ] {
            check(&source(remote, reference, subdir)).unwrap_err();
        }
        assert_eq!(shown("https://user:secret@h/r"), "https://h/r");
        let words = "git@h: Permission denied (publickey).\nfatal: no\n\n\
            Please make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(told(words), "git@h: Permission denied (publickey).; fatal: no");
        assert_eq!(basic("abc"), "Authorization: basic eC1hY2Nlc3MtdG9rZW46YWJj");
    }
}
