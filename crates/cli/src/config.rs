//! The user's configuration (`config.json`) and contexts, read when a command asks for them. It
//! never opens a connection.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// `config.json` and the directory it is in.
pub(crate) struct Config {
    dir: PathBuf,
    values: Map<String, Value>,
}

impl Config {
    /// The directory of the configuration: `--config`, `DOCKER_CONFIG` or `~/.docker`.
    pub(crate) fn locate(flag: Option<&str>) -> PathBuf {
        if let Some(dir) = flag {
            return PathBuf::from(dir);
        }
        match std::env::var_os("DOCKER_CONFIG") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker"),
        }
    }

    /// Reads the configuration in `dir`. A missing file is an empty one; a broken one is reported.
    pub(crate) fn load(dir: PathBuf) -> (Self, Option<String>) {
        let path = dir.join("config.json");
        let (values, warning) = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(Value::Object(values)) => (values, None),
                Ok(_) => (Map::new(), Some("not an object".to_owned())),
                Err(error) if error.is_eof() => (Map::new(), Some("unexpected EOF".to_owned())),
                Err(error) => (Map::new(), Some(error.to_string())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Map::new(), None),
            Err(error) => (Map::new(), Some(error.to_string())),
        };
        let warning = warning
            .map(|why| format!("WARNING: Error parsing config file ({}): {why}\n", path.display()));
        (Self { dir, values }, warning)
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// A text, or nothing when it is missing or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Any value.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Sets a value, or removes it, and writes the file: whole, or not at all, for its owner only.
    pub(crate) fn store(&mut self, name: &str, value: Option<Value>) -> Result<(), Failure> {
        match value {
            Some(value) => self.values.insert(name.to_owned(), value),
            None => self.values.shift_remove(name),
        };
        // Docker's tools expect it, and write it themselves.
        if !self.values.contains_key("auths") {
            self.values.shift_insert(0, "auths".to_owned(), Value::Object(Map::new()));
        }
        let path = self.dir.join("config.json");
        let text = indent(&Value::Object(self.values.clone()));
        write_whole(&path, text.as_bytes())
    }
}

/// JSON with tabs, as the file is written.
fn indent(value: &Value) -> String {
    crate::json::indent(&value.to_string(), "\t")
}

/// Replaces a file in one step; mode 0600, its directory 0700.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let failed = |error: io::Error| Failure::new(format!("write {}: {error}", path.display()));
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let temporary = path.with_extension(format!("json{}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}
