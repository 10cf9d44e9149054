//! Project chores that are code: `cargo xtask tidy` checks the house rules that neither the
//! compiler nor clippy can see. It knows the source tree as text and syntax, never its meaning.

mod layers;
mod pages;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Looks at the workspace under a root; an error means it could not look.
type Check = fn(&Path) -> Result<Vec<Finding>, String>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => tidy(),
        _ => {
            eprintln!("usage: cargo xtask tidy");
            ExitCode::from(2)
        }
    }
}

fn tidy() -> ExitCode {
    let root = workspace_root();
    let mut findings = Vec::new();
    let checks: [Check; 3] = [layers::check, source::check, pages::check];
    for check in checks {
        match check(&root) {
            Ok(more) => findings.extend(more),
            Err(error) => {
                eprintln!("tidy: {error}");
                return ExitCode::from(2);
            }
        }
    }
    findings.sort();
    for finding in &findings {
        println!("{}: {}", finding.place, finding.message);
    }
    if findings.is_empty() {
        println!("tidy: the house is in order");
        return ExitCode::SUCCESS;
    }
    println!("tidy: {} finding(s)", findings.len());
    ExitCode::FAILURE
}

fn workspace_root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}
