//! The administrator's word: the chain `DOCKER-USER` in iptables' table `filter`, which is asked
//! before our own rules. Its DROP is final, and its ACCEPT overrides what we would refuse.
//!
//! ```text
//!  FORWARD ─▶ ESTIBA-FORWARD ─┬ mark as accepted by the administrator
//!                             ├ DOCKER-USER ─▶ DROP, ACCEPT: decided; otherwise back here
//!                             ├ take the mark away
//!                             └ marked as passed by our own table? ACCEPT
//! ```
//!
//! The last rule is for hosts whose own FORWARD drops (ufw): what our table passes is let pass.
//! A host may have either variant of iptables; whichever `iptables-restore` is, lays the chains,
//! once, in one transaction. Whether they stand is read from the kernel, never by a program.

mod legacy;
mod native;

use crate::error::{Error, Result};
use crate::nft::{ALLOWED, Family, PASSED};
use crate::options::Iptables;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The administrator's chain.
const USER: &str = "DOCKER-USER";
/// Ours.
const OWN: &str = "ESTIBA-FORWARD";
/// How many rules it has.
const OWN_RULES: usize = 4;
/// Where programs of administration are.
const PLACES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/usr/local/bin"];

/// Our chains in the tables of iptables.
#[derive(Debug)]
pub(crate) struct Interop {
    tables: Vec<Table>,
}

/// The table `filter` of one family.
#[derive(Debug)]
struct Table {
    family: Family,
    program: PathBuf,
    legacy: bool,
    /// The last attempt failed: said once, tried again when somebody changes something.
    failed: Mutex<bool>,
}

/// What of our chains stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// `DOCKER-USER` exists.
    user: bool,
    /// `ESTIBA-FORWARD` is complete.
    own: bool,
    /// `FORWARD` leads there.
    hooked: bool,
}

impl Standing {
    const WHOLE: Self = Self { user: true, own: true, hooked: true };
}

impl Interop {
    /// The variants that this host has, for the families in use.
    pub(crate) fn new(options: &Iptables, v6: bool) -> Self {
        let programs = match options {
            Iptables::Off => [None, None],
            Iptables::System => ["iptables-restore", "ip6tables-restore"].map(find),
            Iptables::Programs(four, six) => [Some(four.clone()), Some(six.clone())],
        };
        let tables = Family::IP.into_iter().zip(programs);
        let tables = tables.filter(|(family, _)| *family == Family::V4 || v6);
        let tables = tables.filter_map(|(family, program)| Some(Table::new(family, program?)));
        Self { tables: tables.collect() }
    }

    /// Whether changes come without notification.
    pub(crate) fn is_mute(&self) -> bool {
        self.tables.iter().any(|table| table.legacy)
    }

    /// Lays what does not stand. Returns whether it had to.
    pub(crate) fn reconcile(&self) -> Result<bool> {
        let mut changed = false;
        for table in &self.tables {
            changed |= table.reconcile()?;
        }
        Ok(changed)
    }
}

/// A program of the system.
fn find(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

impl Table {
    fn new(family: Family, program: PathBuf) -> Self {
        // `iptables-restore` is a link to the multi-call program of its variant; those from
        // before there were two know only the older one.
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        let is_nft = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().contains("nft"))
        };
        let legacy = !is_nft(&real) && !is_nft(&program);
        Self { family, program, legacy, failed: Mutex::new(false) }
    }

    fn standing(&self) -> Result<Standing> {
        match self.legacy {
            true => legacy::standing(self.family),
            false => native::standing(self.family),
        }
    }

    fn reconcile(&self) -> Result<bool> {
        let standing = self.standing()?;
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if standing == Standing::WHOLE {
            *failed = false;
            return Ok(false);
        }
        let outcome = self.restore(&script(standing));
        let again = std::mem::replace(&mut *failed, outcome.is_err());
        match outcome {
            Err(_) if again => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn restore(&self, script: &str) -> Result<()> {
        let act = format!("lay chain {USER} with {}", self.program.display());
        let failed = |why: String| Error::io(act.clone())(std::io::Error::other(why));
        let mut child = Command::new(&self.program)
            .args(["--noflush", "--wait", "5"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(act.clone()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes()).map_err(Error::io(act.clone()))?;
        }
        let output = child.wait_with_output().map_err(Error::io(act.clone()))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(failed(words.trim().chars().take(500).collect()))
    }
}

/// What makes it whole, as one transaction. Nothing of the administrator's is touched.
fn script(standing: Standing) -> String {
    let mut text = String::from("*filter\n");
    if !standing.user {
        text.push_str(&format!(":{USER} - [0:0]\n"));
    }
    // Naming a chain that is there empties it.
    text.push_str(&format!(":{OWN} - [0:0]\n"));
    text.push_str(&format!("-A {OWN} -j MARK --set-xmark {ALLOWED:#x}/{ALLOWED:#x}\n"));
    text.push_str(&format!("-A {OWN} -j {USER}\n"));
    text.push_str(&format!("-A {OWN} -j MARK --set-xmark 0x0/{ALLOWED:#x}\n"));
    text.push_str(&format!("-A {OWN} -m mark --mark {PASSED:#x}/{PASSED:#x} -j ACCEPT\n"));
    if !standing.hooked {
        text.push_str(&format!("-I FORWARD 1 -j {OWN}\n"));
    }
    text.push_str("COMMIT\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_laid() {
        let nothing = script(Standing::default());
        assert!(nothing.contains(":DOCKER-USER") && nothing.contains("-I FORWARD 1 -j ESTIBA"));
        let chain_only = script(Standing { user: true, own: false, hooked: true });
        assert!(!chain_only.contains(":DOCKER-USER") && !chain_only.contains("-I FORWARD"));
        assert_eq!(chain_only.lines().filter(|line| line.starts_with("-A ESTIBA")).count(), 4);
    }
}
