//! Contexts: named addresses of engines in the configuration directory, in the layout that
//! Docker's tools share (`contexts/meta/<sha256 of the name>/meta.json`). It never connects.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::write_whole;
use crate::failure::Failure;

/// The context that stands for `DOCKER_HOST` and the built-in address.
pub(crate) const DEFAULT: &str = "default";

/// A stored context.
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// Free text.
    pub(crate) description: String,
    /// The engine's address; empty when it has none.
    pub(crate) host: String,
    /// The document as stored.
    pub(crate) document: Value,
}

/// Refuses names that cannot be used as one.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    if first && name.len() > 1 && chars.all(rest) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "context name {} is invalid, names are validated against regexp \
         \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"",
        crate::number::quote(name)
    )))
}

/// All stored contexts, by name.
pub(crate) fn list(dir: &Path) -> Vec<Context> {
    let mut found: Vec<Context> = fs::read_dir(dir.join("contexts/meta"))
        .into_iter()
        .flatten()
        .filter_map(|entry| read(&entry.ok()?.path().join("meta.json")).ok())
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// One stored context.
pub(crate) fn load(dir: &Path, name: &str) -> Result<Context, Failure> {
    let path = meta_path(dir, name);
    read(&path).map_err(|why| {
        Failure::new(format!("context {}: context not found: {why}", crate::number::quote(name)))
    })
}

/// The address in a stored context.
pub(crate) fn host_of(dir: &Path, name: &str) -> Result<String, Failure> {
    let context = load(dir, name)?;
    if context.host.is_empty() {
        return Err(Failure::new(format!("context {name:?} has no docker endpoint")));
    }
    Ok(context.host)
}

/// Stores a context.
pub(crate) fn store(dir: &Path, name: &str, description: &str, host: &str) -> Result<(), Failure> {
    let mut metadata = Map::new();
    if !description.is_empty() {
        metadata.insert("Description".to_owned(), description.into());
    }
    let document = json!({
        "Name": name,
        "Metadata": metadata,
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
    });
    write_whole(&meta_path(dir, name), document.to_string().as_bytes())
}

/// Removes a stored context.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<(), Failure> {
    load(dir, name)?;
    let path = meta_path(dir, name);
    let failed = |error: std::io::Error| Failure::new(format!("remove context {name}: {error}"));
    match path.parent() {
        Some(parent) => fs::remove_dir_all(parent).map_err(failed),
        None => Ok(()),
    }
}

/// Where a context's material is kept.
pub(crate) fn storage(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let hash = Sha256::digest(name.as_bytes());
    let id: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    (dir.join("contexts/meta").join(&id), dir.join("contexts/tls").join(&id))
}

fn meta_path(dir: &Path, name: &str) -> PathBuf {
    storage(dir, name).0.join("meta.json")
}

fn read(path: &Path) -> Result<Context, String> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("open {}: no such file or directory", path.display())
        }
        _ => format!("open {}: {error}", path.display()),
    })?;
    let document: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = |pointer: &str| {
        document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(Context {
        name: text("/Name"),
        description: text("/Metadata/Description"),
        host: text("/Endpoints/docker/Host"),
        document,
    })
}
