//! The corpus in `tests/dockerfiles`: every row of the Dockerfile language has a file there, and
//! every file is built, or asked about, by the real programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, archive, binaries};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One file of the corpus.
struct Case {
    name: String,
    arguments: Vec<String>,
    covers: Vec<String>,
}

fn corpus() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dockerfiles")).to_owned()
}

fn lines(name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(corpus().join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn cases() -> Vec<Case> {
    let case = |row: Vec<String>| Case {
        name: row[0].clone(),
        arguments: row[2].split_whitespace().map(str::to_owned).collect(),
        covers: row[3].split(';').map(str::to_owned).collect(),
    };
    lines("INDEX.tsv").into_iter().map(case).collect()
}

#[test]
fn every_row_of_the_language_has_its_dockerfile() {
    let covered: BTreeSet<String> = cases().into_iter().flat_map(|case| case.covers).collect();
    let rows = lines("ROWS.tsv");
    assert_eq!(rows.len(), 96);
    let missing: Vec<String> = rows
        .iter()
        .map(|row| format!("{}/{}", row[0], row[1]))
        .filter(|row| !covered.contains(row))
        .collect();
    assert!(missing.is_empty(), "no Dockerfile for {missing:?}");
    for case in cases() {
        let file = corpus().join(format!("{}.Dockerfile", case.name));
        assert!(file.exists(), "{} is listed and missing", file.display());
    }
}

/// What a built file must show: a file of the image, and its text.
const SHOWN: &[(&str, &str, &str)] = &[
    ("arg", "/args", "default-given"),
    ("arg-global", "/after", "[global]"),
    ("builtin-args", "/host", "named"),
    ("continuation", "/c", "c"),
    ("env", "/env", "A=1\nB=two words\nC=\nD=three words"),
    ("epoch", "/dated", "x"),
    ("escape", "/f", "a b"),
    ("heredoc", "/expanded", "hello world"),
    ("heredoc", "/literal", "hello $W"),
    ("heredoc", "/tabs", "tabs"),
    ("heredoc-program", "/script", "/dev"),
    ("multi-stage", "/f", "a\nb"),
    ("named-context", "/x", "of another context"),
    ("onbuild", "/both", "triggered\na"),
    ("proxy", "/p", "hsfna"),
    ("run-bind", "/b", "a"),
    ("run-cache", "/st", "700 1 2"),
    ("run-network-none", "/links", "0"),
    ("run-secret", "/len", "2"),
    ("run-tmpfs", "/fs", "tmpfs"),
    ("target-stage", "/stage", "wanted"),
    ("user", "/w/gid", "79"),
    ("workdir", "/a/b/dir/here", "/a/b/dir"),
];

/// What only an administrator grants is refused by a daemon that was told nothing, by name.
const REFUSED: &[(&str, &str)] = &[
    ("run-security", "granting entitlement security.insecure is not allowed"),
    ("run-device", "granting entitlement device is not allowed"),
];
/// Checks that need a registry which serves another platform than was asked for; the builder's own
/// tests have them.
const UNSEEN: &[&str] = &["InvalidBaseImagePlatform"];

fn build(lab: &Lab, context: &Path, case: &Case) -> Output {
    let program = binaries().join("estiba");
    let socket = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    let file = corpus().join(format!("{}.Dockerfile", case.name));
    let (program, file) = (program.to_string_lossy(), file.to_string_lossy());
    let context = context.to_string_lossy();
    let home = format!("HOME={}", lab.dir().display());
    // Relative paths among the arguments are the context's.
    let begin = ["env", "-C", &context, &home, &socket, &program, "build", "-f", &file];
    let tag = format!("case/{}", case.name);
    let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    lab.in_network(&[&begin[..], &["-t", &tag], &arguments, &["."]].concat())
}

#[test]
fn every_dockerfile_is_built_or_answered_for() {
    let lab = Lab::new();
    let debian = archive("debian");
    lab.estiba(&["import", &debian.to_string_lossy(), "debian:latest"]).ok();
    let context = lab.dir().join("context");
    let from = corpus().join("context");
    lab.in_network(&["cp", "-a", &from.to_string_lossy(), &context.to_string_lossy()]).ok();
    std::os::unix::fs::symlink("a.txt", context.join("l")).unwrap();
    let tar = context.join("packed.tar");
    let (tar, dir) = (tar.to_string_lossy(), context.to_string_lossy());
    lab.in_network(&["tar", "-C", &dir, "-cf", &tar, "dir"]).ok();
    let wrong: Vec<String> = cases().iter().flat_map(|case| wrong(&lab, &context, case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds one file; what is wrong about it.
fn wrong(lab: &Lab, context: &Path, case: &Case) -> Vec<String> {
    let built = build(lab, context, case);
    let told = format!("{}{}", built.stdout, built.stderr);
    if case.arguments.iter().any(|word| word == "--check") {
        let rules = case.covers.iter().filter_map(|row| row.strip_prefix("check-rule/"));
        let missing = rules.filter(|rule| !UNSEEN.contains(rule) && !told.contains(*rule));
        return missing.map(|rule| format!("{}: no {rule} in {built:?}", case.name)).collect();
    }
    if let Some((_, words)) = REFUSED.iter().find(|(name, _)| *name == case.name) {
        let refused = built.status == 1 && told.contains(words);
        return if refused { Vec::new() } else { vec![format!("{}: {built:?}", case.name)] };
    }
    if built.status != 0 {
        return vec![format!("{}: {built:?}", case.name)];
    }
    let shown = SHOWN.iter().filter(|(name, ..)| *name == case.name);
    let different = shown.filter_map(|(name, path, text)| {
        let image = format!("case/{name}");
        let found = lab.estiba(&["run", "--rm", "--user=0", &image, "cat", path]);
        (found.stdout.trim_end() != *text)
            .then(|| format!("{name} {path}: {found:?}, want {text:?}"))
    });
    different.collect()
}
