//! `--security-opt`: profiles named by a file are sent with their content.

use std::fs;

use serde_json::Value;
use wire::docker::Strings;

use crate::flags::Matches;

/// Options, masked paths and read-only paths; the paths are the engine's own unless lifted.
pub(super) fn options(matches: &Matches) -> Result<(Vec<String>, Strings, Strings), String> {
    let (mut all, mut masked, mut readonly) = (Vec::new(), None, None);
    for option in matches.list("security-opt") {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => option.split_once(':').map_or((option, None), |(k, v)| (k, Some(v))),
        };
        match (key, value) {
            ("systempaths", Some("unconfined")) => {
                (masked, readonly) = (Some(Vec::new()), Some(Vec::new()));
            }
            ("no-new-privileges" | "systempaths", _) => all.push(option.to_owned()),
            (_, None) => return Err(format!("Invalid --security-opt: {option:?}")),
            ("seccomp", Some(path)) if !matches!(path, "unconfined" | "builtin") => {
                all.push(format!("seccomp={}", document("seccomp", path)?));
            }
            ("profile", Some(path)) if !matches!(path, "estiba" | "docker") => {
                all.push(format!("profile={}", document("security", path)?));
            }
            _ => all.push(option.to_owned()),
        }
    }
    Ok((all, masked, readonly))
}

/// A profile as one line of JSON.
fn document(kind: &str, path: &str) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        format!("opening {kind} profile ({path}) failed: open {path}: {why}")
    })?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("compacting json for {kind} profile ({path}) failed: {error}"))?;
    Ok(value.to_string())
}
