//! Rules about the pages: the ones a newcomer needs exist, their links lead somewhere, every
//! outside dependency is argued in deny.toml, and every room stands on the map.

use crate::Finding;
use std::path::Path;

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "STYLE.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "deny.toml",
    "docs/benchmarks.md",
];

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for page in PAGES {
        let path = root.join(page);
        let Ok(text) = std::fs::read_to_string(&path) else {
            findings.push(Finding::new(*page, "is missing"));
            continue;
        };
        if page.ends_with(".md") {
            findings.extend(dead_links(root, page, &text));
        }
    }
    let read = |page: &str| std::fs::read_to_string(root.join(page)).unwrap_or_default();
    let manifest = read("Cargo.toml");
    findings.extend(unargued(&manifest, &read("deny.toml")));
    findings.extend(off_the_map(root, &read("ARCHITECTURE.md"))?);
    Ok(findings)
}

fn dead_links(root: &Path, page: &str, text: &str) -> Vec<Finding> {
    let base = root.join(page);
    let base = base.parent().unwrap_or(root);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.starts_with("http") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !base.join(target).exists())
        .map(|target| Finding::new(page, format!("links to {target}, which does not exist")))
        .collect()
}

/// Outside crates of `[workspace.dependencies]` without a `# name: why` line in deny.toml.
fn unargued(manifest: &str, deny: &str) -> Vec<Finding> {
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("path ="))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| !deny.lines().any(|l| l.starts_with(&format!("# {name}: "))))
        .map(|name| Finding::new("deny.toml", format!("does not argue for `{name}`")))
        .collect()
}

fn off_the_map(root: &Path, map: &str) -> Result<Vec<Finding>, String> {
    let crates = root.join("crates");
    let entries = std::fs::read_dir(&crates).map_err(|e| format!("list crates: {e}"))?;
    let mut findings = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| format!("list crates: {e}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !map.contains(&format!("`{name}`")) {
            findings.push(Finding::new("ARCHITECTURE.md", format!("does not show `{name}`")));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_an_argument_is_found() {
        let manifest = "[workspace.dependencies]\n# why\nown = { path = \"x\" }\nserde = \"1\"\n\
                        tokio = \"1\"\n[profile.dev]\nx = 1\n";
        let found = unargued(manifest, "# serde: types to JSON\n");
        assert_eq!(found, [Finding::new("deny.toml", "does not argue for `tokio`")]);
    }

    #[test]
    fn a_dead_link_is_found() {
        let found = dead_links(Path::new("/nonexistent"), "README.md", "[a](b.md) [c](https://d)");
        assert_eq!(found.len(), 1);
    }
}
