//! Credentials at rest without a helper: sealed one by one in a file beside `config.json`, with a
//! key that is somewhere else. It never talks to a registry and never knows what a command wants.
//!
//! ```text
//! <config>/credentials.json        0600  {"version":1,"cipher":"chacha20-poly1305",
//!                                         "entries":{"<server>":{"nonce":"…","sealed":"…"}}}
//! <data>/estiba/credentials.key    0600  32 random bytes; <data> is $XDG_DATA_HOME, else
//!                                         ~/.local/share
//! sealed = ChaCha20-Poly1305(key, nonce, {"username","password","identitytoken"},
//!                            associated data: "estiba credentials 1\0<server>")
//! ```
//!
//! What this protects from is the way such files really leak: `~/.docker` copied into an image, a
//! backup or a repository of dot files, `config.json` mounted into a container or shown on a
//! screen. Programs of the same user can read the key, as they could ask any helper. The kernel's
//! keyring would not change that, for every program of the user possesses the user's keyring, and
//! it is empty after a reboot. A server's name is part of what is authenticated: who can write the
//! file but not read the key cannot send one registry's password to another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use wire::docker::registry::AuthConfig;

use crate::base64;
use crate::config::{Config, write_whole};
use crate::failure::Failure;

const VERSION: u32 = 1;
const CIPHER: &str = "chacha20-poly1305";
const KEY_BYTES: usize = 32;
/// The longest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The sealed credentials of a user.
pub(crate) struct Sealed {
    file: PathBuf,
    /// Where the key is, if there is a place for it.
    key: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    cipher: String,
    entries: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    nonce: String,
    sealed: String,
}

/// What is inside.
#[derive(Serialize, Deserialize)]
struct Secret {
    username: String,
    password: String,
    identitytoken: String,
}

impl Sealed {
    /// Those beside a configuration.
    pub(crate) fn beside(config: &Config) -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let data = var("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .or_else(|| Some(PathBuf::from(var("HOME")?).join(".local/share")));
        Self {
            file: config.path().with_file_name("credentials.json"),
            key: data.map(|data| data.join("estiba/credentials.key")),
        }
    }

    /// The servers there are credentials for.
    pub(crate) fn servers(&self) -> Result<Vec<String>, Failure> {
        Ok(self.read()?.entries.into_keys().collect())
    }

    /// The credentials for a server, if there are any.
    pub(crate) fn find(&self, server: &str) -> Result<Option<AuthConfig>, Failure> {
        let stored = self.read()?;
        let Some(entry) = stored.entries.get(server) else { return Ok(None) };
        let failed = |why: &str| {
            Failure::new(format!(
                "open the credentials for {server} in {}: {why}; log in again",
                self.file.display()
            ))
        };
        let key = self.existing_key()?.ok_or_else(|| failed("their key is missing"))?;
        let secret =
            open(&key, server, entry).ok_or_else(|| failed("they do not fit their key"))?;
        Ok(Some(AuthConfig {
            username: secret.username,
            password: secret.password,
            identitytoken: secret.identitytoken,
            serveraddress: server.to_owned(),
            ..AuthConfig::default()
        }))
    }

    /// Keeps credentials, in the place of older ones.
    pub(crate) fn keep(&self, server: &str, auth: &AuthConfig) -> Result<(), Failure> {
        let secret = Secret {
            username: auth.username.clone(),
            password: auth.password.clone(),
            identitytoken: auth.identitytoken.clone(),
        };
        let key = match self.existing_key()? {
            Some(key) => key,
            None => self.new_key()?,
        };
        let entry = seal(&key, server, &secret)?;
        self.change(|entries| drop(entries.insert(server.to_owned(), entry)))
    }

    /// Forgets credentials.
    pub(crate) fn forget(&self, server: &str) -> Result<(), Failure> {
        if !self.read()?.entries.contains_key(server) {
            return Ok(());
        }
        self.change(|entries| drop(entries.remove(server)))
    }

    /// Changes the file; two commands at the same time do it one after the other.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Entry>)) -> Result<(), Failure> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let failed = |error: io::Error| Failure::new(format!("lock {}: {error}", dir.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let lock = File::open(dir).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| failed(errno.into()))?;
        let mut stored = self.read()?;
        change(&mut stored.entries);
        let text = serde_json::to_vec(&stored)
            .map_err(|error| Failure::new(format!("write credentials: {error}")))?;
        write_whole(&self.file, &text)
    }

    fn read(&self) -> Result<Stored, Failure> {
        let failed =
            |why: String| Failure::new(format!("read credentials {}: {why}", self.file.display()));
        let Some(bytes) = content(&self.file).map_err(|error| failed(error.to_string()))? else {
            let (cipher, entries) = (CIPHER.to_owned(), BTreeMap::new());
            return Ok(Stored { version: VERSION, cipher, entries });
        };
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        match (stored.version, stored.cipher.as_str()) {
            (VERSION, CIPHER) => Ok(stored),
            (version, cipher) => {
                Err(failed(format!("version {version} ({cipher}) is not known here")))
            }
        }
    }

    fn existing_key(&self) -> Result<Option<[u8; KEY_BYTES]>, Failure> {
        let Some(path) = &self.key else { return Ok(None) };
        let failed = |why: &str| Failure::new(format!("read {}: {why}", path.display()));
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error.to_string())),
            Ok(found) if found.mode() & 0o077 != 0 => {
                return Err(failed("others may read or change the key; make it mode 0600"));
            }
            Ok(_) => {}
        }
        let bytes = content(path).map_err(|error| failed(&error.to_string()))?;
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Some).ok_or_else(|| failed("not a key of 32 bytes"))
    }

    /// Makes a key, or takes the one that another command has just made.
    fn new_key(&self) -> Result<[u8; KEY_BYTES], Failure> {
        let advice = "choose a credential helper, or log in with --plaintext";
        let path = self.key.as_ref().ok_or_else(|| {
            Failure::new(format!("no HOME to keep the key of credentials in: {advice}"))
        })?;
        let failed =
            |why: String| Failure::new(format!("make {}: {why}: {advice}", path.display()));
        let mut key = [0; KEY_BYTES];
        let mut tag = [0; 8];
        for bytes in [&mut key[..], &mut tag] {
            SystemRandom::new().fill(bytes).map_err(|_| failed("no random bytes".into()))?;
        }
        let dir = path.parent().unwrap_or(Path::new("/"));
        let made = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let temporary = path.with_extension(format!("key{}", u64::from_ne_bytes(tag)));
            let written = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)
                .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
                .and_then(|()| fs::hard_link(&temporary, path));
            let _ = fs::remove_file(&temporary);
            written
        };
        match made() {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.existing_key()?.ok_or_else(|| failed("it came and went".into()))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// A small file's bytes; nothing when there is no such file.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn cipher(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

fn context(server: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("estiba credentials {VERSION}\0{server}").into_bytes())
}

fn seal(key: &[u8; KEY_BYTES], server: &str, secret: &Secret) -> Result<Entry, Failure> {
    let failed = || Failure::new(format!("seal the credentials for {server}"));
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| failed())?;
    let mut sealed = serde_json::to_vec(secret).map_err(|_| failed())?;
    cipher(key)
        .and_then(|cipher| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            cipher.seal_in_place_append_tag(nonce, context(server), &mut sealed).ok()
        })
        .ok_or_else(failed)?;
    Ok(Entry { nonce: base64::encode(&nonce), sealed: base64::encode(&sealed) })
}

fn open(key: &[u8; KEY_BYTES], server: &str, entry: &Entry) -> Option<Secret> {
    let nonce = Nonce::try_assume_unique_for_key(&base64::decode(&entry.nonce)?).ok()?;
    let mut sealed = base64::decode(&entry.sealed)?;
    let plain = cipher(key)?.open_in_place(nonce, context(server), &mut sealed).ok()?;
    serde_json::from_slice(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn auth(password: &str) -> AuthConfig {
        AuthConfig { username: "me".into(), password: password.into(), ..AuthConfig::default() }
    }

    fn sealed(dir: &Path) -> Sealed {
        let file = dir.join("docker/credentials.json");
        Sealed { file, key: Some(dir.join("data/estiba/credentials.key")) }
    }

    #[test]
    fn secrets_come_back_and_are_nowhere_in_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let store = sealed(dir.path());
        assert!(store.find("r.io").unwrap().is_none());
        store.keep("r.io", &auth("sesame")).unwrap();
        store.keep("s.io", &auth("other")).unwrap();
        store.keep("r.io", &auth("sesame2")).unwrap();
        assert_eq!(store.find("r.io").unwrap().unwrap().password, "sesame2");
        assert_eq!(store.servers().unwrap(), ["r.io", "s.io"]);
        let key = store.key.clone().unwrap();
        for path in [&store.file, &key] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            let bytes = fs::read(path).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("sesame"));
        }
        store.forget("r.io").unwrap();
        store.forget("r.io").unwrap();
        assert_eq!(store.servers().unwrap(), ["s.io"]);
    }

    #[test]
    fn what_was_moved_changed_or_lost_its_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = sealed(dir.path());
        store.keep("r.io", &auth("sesame")).unwrap();
        let text = fs::read_to_string(&store.file).unwrap();
        fs::write(&store.file, text.replace("r.io", "evil.io")).unwrap();
        let said = store.find("evil.io").unwrap_err().message;
        assert!(said.contains("log in again") && !said.contains("sesame"), "{said}");
        fs::write(&store.file, text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(store.find("r.io").unwrap_err().message.contains("version 2"));
        fs::write(&store.file, &text).unwrap();
        let key = store.key.clone().unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(store.find("r.io").unwrap_err().message.contains("mode 0600"));
        fs::remove_file(&key).unwrap();
        assert!(store.find("r.io").unwrap_err().message.contains("key is missing"));
        store.keep("r.io", &auth("again")).unwrap();
        assert_eq!(store.find("r.io").unwrap().unwrap().password, "again");
    }

    #[test]
    fn commands_at_the_same_time_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for at in 0..8 {
                let store = sealed(dir.path());
                scope.spawn(move || store.keep(&format!("r{at}.io"), &auth("x")).unwrap());
            }
        });
        let store = sealed(dir.path());
        assert_eq!(store.servers().unwrap().len(), 8);
        assert!(store.servers().unwrap().iter().all(|server| store.find(server).is_ok()));
    }
}
