//! Contexts: named addresses of engines in the configuration directory, in the layout that
//! Docker's tools share (`contexts/meta/<sha256 of the name>/meta.json`). It never connects.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use client::TlsFiles;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::write_whole;
use crate::failure::Failure;

/// The files that a connection may be made of, by the names they are kept under.
pub(crate) const MATERIAL: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

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
    /// Whether the engine is not asked who it is.
    pub(crate) skip_verify: bool,
    /// PEM files of its connection by name: `ca.pem`, `cert.pem`, `key.pem`.
    pub(crate) tls: BTreeMap<String, Vec<u8>>,
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
    let mut found = read(&meta_path(dir, name)).map_err(|why| {
        Failure::new(format!("context {}: context not found: {why}", crate::number::quote(name)))
    })?;
    let stored = tls_dir(dir, name);
    for file in MATERIAL {
        match fs::read(stored.join(file)) {
            Ok(bytes) => drop(found.tls.insert(file.to_owned(), bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::new(format!("read {file} of {name}: {error}"))),
        }
    }
    Ok(found)
}

/// The files of a stored context's connection, if it goes by TLS.
pub(crate) fn tls_of(dir: &Path, name: &str) -> Result<Option<TlsFiles>, Failure> {
    let found = load(dir, name)?;
    if found.tls.is_empty() && !found.skip_verify {
        return Ok(None);
    }
    let stored = tls_dir(dir, name);
    let file = |name: &str| found.tls.contains_key(name).then(|| stored.join(name));
    Ok(Some(TlsFiles {
        verify: !found.skip_verify,
        authority: file("ca.pem"),
        certificate: file("cert.pem"),
        key: file("key.pem"),
    }))
}

/// The address in a stored context.
pub(crate) fn host_of(dir: &Path, name: &str) -> Result<String, Failure> {
    let context = load(dir, name)?;
    if context.host.is_empty() {
        return Err(Failure::new(format!("context {name:?} has no docker endpoint")));
    }
    Ok(context.host)
}

/// Stores a context under its name, in the place of what was there.
pub(crate) fn store(dir: &Path, context: &Context) -> Result<(), Failure> {
    let (name, host, skip) = (&context.name, &context.host, context.skip_verify);
    let mut metadata = Map::new();
    if !context.description.is_empty() {
        metadata.insert("Description".to_owned(), context.description.as_str().into());
    }
    let (_, tls) = storage(dir, name);
    match fs::remove_dir_all(&tls) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::new(format!("replace {}: {error}", tls.display())));
        }
        _ => {}
    }
    for (file, bytes) in &context.tls {
        write_whole(&tls_dir(dir, name).join(file), bytes)?;
    }
    let document = json!({
        "Name": name,
        "Metadata": metadata,
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}},
    });
    write_whole(&meta_path(dir, name), document.to_string().as_bytes())
}

/// Removes a stored context.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<(), Failure> {
    if !meta_path(dir, name).exists() {
        let name = crate::number::quote(name);
        return Err(Failure::new(format!("context {name} does not exist")));
    }
    let failed = |error: std::io::Error| Failure::new(format!("remove context {name}: {error}"));
    let (meta, tls) = storage(dir, name);
    match fs::remove_dir_all(tls) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::remove_dir_all(meta).map_err(failed)
}

/// Where a context's material is kept.
pub(crate) fn storage(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let hash = Sha256::digest(name.as_bytes());
    let id: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    (dir.join("contexts/meta").join(&id), dir.join("contexts/tls").join(&id))
}

/// Where the files of its connection to the engine are.
fn tls_dir(dir: &Path, name: &str) -> PathBuf {
    storage(dir, name).1.join("docker")
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
        skip_verify: document
            .pointer("/Endpoints/docker/SkipTLSVerify")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        tls: BTreeMap::new(),
        document,
    })
}
