//! The record of decisions: one line of JSON for each, added to a file and never changed. Each line
//! carries the hash of the line before it, so that a line that was taken out or changed shows;
//! across files that were put aside, the first line of the next carries the last hash on.
//!
//! `chain` of a line is SHA-256, hex, of the chain of the line before (nothing for the first) and
//! the bytes of the line as it would be without `chain`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::policy::{Class, Client, Refusal};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::AuthorityError;
use crate::{clock, moment};

/// How much of an old file is read for its last line.
const TAIL_BYTES: u64 = 64 << 10;
/// The longest path and name that is written.
const MAX_TEXT: usize = 1024;

/// What a request is, for every line about it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its number since the daemon started.
    pub(super) request: u64,
    /// Who asks.
    pub(super) client: Client,
    /// HTTP method.
    pub(super) method: String,
    /// Path, as it came, without version and query.
    pub(super) path: String,
    /// What kind of operation it is.
    pub(super) class: Class,
}

/// One decision.
#[derive(Debug)]
pub(super) struct Decision<'d> {
    /// The request.
    pub(super) line: &'d Line,
    /// What was looked at: `request`, `object`, `content`, `plugin`.
    pub(super) step: &'static str,
    /// What it is about.
    pub(super) object: &'d str,
    /// The rule.
    pub(super) rule: &'d str,
    /// Why not, if not.
    pub(super) refusal: Option<&'d Refusal>,
}

#[derive(Serialize)]
struct Written<'w> {
    time: String,
    boot: &'w str,
    request: u64,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'w str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<&'w str>,
    method: &'w str,
    path: &'w str,
    class: &'static str,
    step: &'static str,
    object: &'w str,
    verdict: &'static str,
    rule: &'w str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'w str>,
}

/// An open record.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    file: File,
    chain: String,
    /// Tells requests of one daemon from those of the next.
    boot: String,
}

impl Audit {
    /// Opens a file to add to. `last` is the chain of the file before, which goes on unless the
    /// file has lines of its own.
    pub(super) fn open(path: &Path, last: Option<String>) -> Result<Self, AuthorityError> {
        let failed = |source| AuthorityError::Audit { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.append(true).read(true).create(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        let own = last_chain(&mut file).map_err(failed)?;
        let chain = own.or(last).unwrap_or_default();
        let boot = format!("{:x}", clock::now().0);
        Ok(Self { path: path.to_owned(), file, chain, boot })
    }

    /// The chain so far.
    pub(super) fn last(&self) -> Option<String> {
        Some(self.chain.clone()).filter(|chain| !chain.is_empty())
    }

    /// Writes a line, by one write, so that no other writer's bytes come between.
    pub(super) fn write(&mut self, decided: &Decision<'_>) -> std::io::Result<()> {
        self.check()?;
        let text = serde_json::to_string(&self.form(decided)).map_err(std::io::Error::other)?;
        let chain = chained(&self.chain, &text);
        let open = text.strip_suffix('}').unwrap_or(&text);
        let line = format!("{open},\"chain\":\"{chain}\"}}\n");
        let written = self.file.write(line.as_bytes())?;
        if written != line.len() {
            return Err(std::io::Error::other("the line was written in part"));
        }
        self.chain = chain;
        Ok(())
    }

    /// A file that was removed takes lines that nobody ever reads: that is not writing them down.
    fn check(&self) -> std::io::Result<()> {
        if self.file.metadata()?.nlink() > 0 {
            return Ok(());
        }
        let path = self.path.display();
        Err(std::io::Error::other(format!("{path} was removed: reload the daemon to open it anew")))
    }

    fn form<'w>(&'w self, decided: &'w Decision<'_>) -> Written<'w> {
        let line = decided.line;
        let peer = line.client.peer.as_ref();
        let certificate = line.client.certificate.as_ref();
        Written {
            time: moment::rfc3339(clock::now()),
            boot: &self.boot,
            request: line.request,
            client: line.client.owner(),
            user: peer.and_then(|peer| peer.user.as_deref()),
            pid: peer.and_then(|peer| peer.pid),
            common_name: certificate.map(|it| it.common_name.as_str()),
            method: &line.method,
            path: bounded(&line.path),
            class: line.class.name(),
            step: decided.step,
            object: bounded(decided.object),
            verdict: if decided.refusal.is_some() { "deny" } else { "allow" },
            rule: decided.rule,
            why: decided.refusal.map(|refusal| refusal.why.as_str()),
        }
    }
}

fn bounded(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn chained(before: &str, line: &str) -> String {
    let hash = Sha256::new().chain_update(before.as_bytes()).chain_update(line.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The chain of a file's last whole line.
fn last_chain(file: &mut File) -> std::io::Result<Option<String>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let whole = text.rsplit_once('\n').map(|(lines, _)| lines).unwrap_or_default();
    let last = whole.rsplit('\n').next().unwrap_or_default();
    let value: Option<serde_json::Value> = serde_json::from_str(last).ok();
    Ok(value.and_then(|value| Some(value.get("chain")?.as_str()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            request: 1,
            client: Client::default(),
            method: "POST".to_owned(),
            path: "/containers/create\n".to_owned(),
            class: Class::ContainersRun,
        }
    }

    fn write(audit: &mut Audit, object: &str) -> std::io::Result<()> {
        let line = line();
        let refusal = Refusal { rule: "r".into(), why: "no".into(), remedy: String::new() };
        audit.write(&Decision {
            line: &line,
            step: "content",
            object,
            rule: "r",
            refusal: (object == "bad").then_some(&refusal),
        })
    }

    /// Follows the chain as a reader of the file would.
    fn follow(text: &str, mut before: String) -> Result<String, usize> {
        for (number, line) in text.lines().enumerate() {
            let (rest, chain) = line.rsplit_once(",\"chain\":\"").ok_or(number)?;
            let expected = chained(&before, &format!("{rest}}}"));
            if chain.trim_end_matches("\"}") != expected {
                return Err(number);
            }
            before = expected;
        }
        Ok(before)
    }

    #[test]
    fn lines_are_chained_across_restarts_and_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let mut audit = Audit::open(&path, None).unwrap();
        write(&mut audit, "good").unwrap();
        write(&mut audit, "bad").unwrap();
        let mut again = Audit::open(&path, None).unwrap();
        write(&mut again, "good").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains(r#""verdict":"deny","rule":"r","why":"no""#), "{text}");
        let end = follow(&text, String::new()).unwrap();
        std::fs::rename(&path, dir.path().join("audit.1")).unwrap();
        let mut next = Audit::open(&path, again.last()).unwrap();
        write(&mut next, "good").unwrap();
        follow(&std::fs::read_to_string(&path).unwrap(), end).unwrap();
        let changed = text.replacen("\"deny\"", "\"allow\"", 1);
        assert_eq!(follow(&changed, String::new()), Err(1));
        let removed: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
        assert_eq!(follow(&removed, String::new()), Err(0));
    }

    #[test]
    fn a_record_that_is_gone_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let mut audit = Audit::open(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(write(&mut audit, "good").unwrap_err().to_string().contains("was removed"));
        assert!(Audit::open(Path::new("/nowhere/at/all"), None).is_err());
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let long = "é".repeat(MAX_TEXT);
        assert!(bounded(&long).len() <= MAX_TEXT);
        assert_eq!(bounded("abc"), "abc");
    }
}
