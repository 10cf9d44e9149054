//! Who may know whom: the crates' real dependencies (`cargo metadata`) against the table that
//! ARCHITECTURE.md explains. A new edge is a reviewed line here.

use crate::Finding;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Each room and the rooms it may know. A crate that is not listed may not exist.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &[]),
    ("sys", &[]),
    ("bus", &[]),
    ("pki", &[]),
    ("net", &["model", "sys", "bus"]),
    ("runtime", &["model", "wire", "sys", "bus"]),
    ("store", &["model", "wire", "sys"]),
    ("registry", &["model", "wire", "store", "pki"]),
    ("build", &["model", "wire", "store", "registry"]),
    ("engine", &["model", "wire", "runtime", "store", "net", "registry", "build", "pki"]),
    ("buildkit", &["wire"]),
    ("api", &["model", "wire", "buildkit", "engine", "build", "pki"]),
    ("client", &["wire", "pki"]),
    ("cli", &["wire", "buildkit", "client"]),
    ("rootless", &["sys"]),
    ("estiba", &["cli", "api", "engine", "runtime", "registry", "rootless"]),
    ("xtask", &[]),
    ("blackbox", &[]),
];

/// Outside crates that the pure rooms may not reach, not even through others of ours.
const IMPURE: &[&str] = &["tokio", "hyper", "rustix", "libc", "redb", "getrandom", "tempfile"];
const PURE: &[&str] = &["model", "wire"];

/// The container's own process must stay small: no async runtime in it.
const TOKIO_FREE: &[&str] = &["runtime", "sys", "store", "bus"];

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let graph = dependencies(root)?;
    let mut findings = Vec::new();
    for (name, needs) in &graph {
        let place = format!("crate {name}");
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| known == name) else {
            findings
                .push(Finding::new(place, "is not in the table of rooms (xtask/src/layers.rs)"));
            continue;
        };
        let rooms = needs.iter().filter(|need| graph.contains_key(*need));
        for room in rooms.filter(|room| !allowed.contains(&room.as_str())) {
            findings.push(Finding::new(&place, format!("may not know `{room}`")));
        }
        let banned: &[&str] = match name.as_str() {
            pure if PURE.contains(&pure) => IMPURE,
            small if TOKIO_FREE.contains(&small) => &["tokio", "hyper"],
            _ => &[],
        };
        for outside in needs.iter().filter(|need| banned.contains(&need.as_str())) {
            findings.push(Finding::new(&place, format!("may not depend on `{outside}`")));
        }
    }
    Ok(findings)
}

/// Workspace members and the names of their normal (not dev, not build) dependencies.
fn dependencies(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("read cargo metadata: {error}"))?;
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().unwrap_or(&empty);
            let normal = needs.iter().filter(|need| need["kind"].is_null());
            (text(&package["name"]), normal.map(|need| text(&need["name"])).collect())
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_cycles() {
        fn depth(name: &str, seen: &mut Vec<String>) {
            assert!(!seen.iter().any(|s| s == name), "cycle through {name}: {seen:?}");
            seen.push(name.to_owned());
            let (_, needs) = EDGES.iter().find(|(known, _)| *known == name).unwrap();
            needs.iter().for_each(|need| depth(need, seen));
            seen.pop();
        }
        EDGES.iter().for_each(|(name, _)| depth(name, &mut Vec::new()));
    }
}
