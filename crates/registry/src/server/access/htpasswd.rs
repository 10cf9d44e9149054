//! Accounts in Apache's `htpasswd` form, bcrypt only: the other forms are broken. A good password
//! is remembered for a while, because checking one is meant to be slow.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};

/// How long a good password is remembered.
const MEMORY: Duration = Duration::from_secs(300);
/// How many are remembered.
const REMEMBERED: usize = 4096;

/// The accounts of a file, read again when it changes.
pub(crate) struct Accounts {
    path: PathBuf,
    read: Mutex<Read>,
    good: Mutex<HashMap<[u8; 32], Instant>>,
    /// Makes what is remembered worthless elsewhere.
    salt: [u8; 32],
}

struct Read {
    modified: Option<SystemTime>,
    hashes: HashMap<String, String>,
}

impl Accounts {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let mut salt = [0u8; 32];
        getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
        let read = Mutex::new(read(path)?);
        Ok(Self { path: path.to_owned(), read, good: Mutex::default(), salt })
    }

    /// Whether the password is the account's. Slow: call it where blocking is fine.
    pub(crate) fn check(&self, user: &str, password: &str) -> bool {
        self.refresh();
        let hashes = &self.read.lock().unwrap_or_else(PoisonError::into_inner).hashes;
        let hash = hashes.get(user).cloned();
        let Some(hash) = hash else {
            // As slow as a wrong password, so that names cannot be found out by the clock.
            let _ = bcrypt::verify(password, NOBODY);
            return false;
        };
        let key = self.key(user, password, &hash);
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.get(&key).is_some_and(|at| at.elapsed() < MEMORY) {
            return true;
        }
        drop(good);
        if !bcrypt::verify(password, &hash).unwrap_or(false) {
            return false;
        }
        good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= REMEMBERED {
            good.clear();
        }
        good.insert(key, Instant::now());
        true
    }

    fn key(&self, user: &str, password: &str, hash: &str) -> [u8; 32] {
        let mut sum = Sha256::new();
        sum.update(self.salt);
        for part in [user, password, hash] {
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        }
        sum.finalize().into()
    }

    fn refresh(&self) {
        let modified = std::fs::metadata(&self.path).and_then(|it| it.modified()).ok();
        let mut current = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if modified.is_none() || modified == current.modified {
            return;
        }
        match read(&self.path) {
            Ok(newer) => *current = newer,
            Err(error) => tracing::warn!(error, "accounts stay as they were"),
        }
    }
}

/// A hash that no password has; of the cost that `htpasswd -B` uses.
const NOBODY: &str = "$2y$05$abcdefghijklmnopqrstuuK9mYh8mYg1zGm7vYB0eG8f5gq0Nq1iW";

fn read(path: &Path) -> Result<Read, String> {
    let reading = |error: std::io::Error| format!("read accounts {}: {error}", path.display());
    let modified = std::fs::metadata(path).and_then(|it| it.modified()).map_err(reading)?;
    let text = std::fs::read_to_string(path).map_err(reading)?;
    Ok(Read { modified: Some(modified), hashes: parse(&text)? })
}

fn parse(text: &str) -> Result<HashMap<String, String>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    let mut hashes = HashMap::new();
    for (number, line) in lines.filter(|(_, it)| !it.is_empty() && !it.starts_with('#')) {
        let number = number + 1;
        let (user, hash) =
            line.split_once(':').ok_or_else(|| format!("line {number} is not user:hash"))?;
        if !["$2y$", "$2a$", "$2b$"].iter().any(|form| hash.starts_with(form)) {
            return Err(format!(
                "line {number}: the hash of {user:?} is not bcrypt; make it with: htpasswd -B"
            ));
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("# people\nalice:{hash}\n\n")).unwrap();
        let accounts = Accounts::open(file.path()).unwrap();
        assert!(accounts.check("alice", "secret"));
        assert!(accounts.check("alice", "secret"), "and again, remembered");
        assert!(!accounts.check("alice", "Secret"));
        assert!(!accounts.check("bob", "secret"));
        assert!(parse("alice:{SHA}abc").unwrap_err().contains("htpasswd -B"));
        assert!(parse("alice").is_err());
    }
}
