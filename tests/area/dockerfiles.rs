//! The corpus in `tests/dockerfiles`: every row of the Dockerfile language has a file there, every
//! file is built, or asked about, by the real programs, and every row is seen: in what an image
//! holds, how it is described, what a build says, or by a test of its own that is named.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, archive, binaries};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One file of the corpus.
struct Case {
    name: String,
    arguments: Vec<String>,
    covers: Vec<String>,
}

/// How a row of the language is seen.
struct Seen {
    row: String,
    case: String,
    how: String,
    what: String,
    wanted: String,
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

fn seen() -> Vec<Seen> {
    let seen = |row: Vec<String>| Seen {
        row: row[0].clone(),
        case: row[1].clone(),
        how: row[2].clone(),
        what: row[3].clone(),
        wanted: row.get(4).cloned().unwrap_or_default(),
    };
    lines("SEEN.tsv").into_iter().map(seen).collect()
}

fn rows() -> BTreeSet<String> {
    lines("ROWS.tsv").iter().map(|row| format!("{}/{}", row[0], row[1])).collect()
}

#[test]
fn every_row_of_the_language_has_its_dockerfile() {
    let covered: BTreeSet<String> = cases().into_iter().flat_map(|case| case.covers).collect();
    let rows = rows();
    assert_eq!(rows.len(), 96);
    let missing: Vec<_> = rows.difference(&covered).collect();
    assert!(missing.is_empty(), "no Dockerfile for {missing:?}");
    for case in cases() {
        let file = corpus().join(format!("{}.Dockerfile", case.name));
        assert!(file.exists(), "{} is listed and missing", file.display());
    }
}

#[test]
fn every_row_of_the_language_is_seen() {
    let (rows, seen) = (rows(), seen());
    let looked: BTreeSet<String> = seen.iter().map(|seen| seen.row.clone()).collect();
    assert_eq!(rows, looked, "rows of the language, and rows that are looked at");
    let cases: BTreeSet<String> = cases().into_iter().map(|case| case.name).collect();
    for seen in &seen {
        if seen.how != "test" {
            assert!(cases.contains(&seen.case), "{}: no Dockerfile {:?}", seen.row, seen.case);
            continue;
        }
        let (area, name) = seen.what.split_once("::").unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("area/{area}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let head = format!("#[test]\nfn {name}()");
        assert!(text.contains(&head), "{}: there is no test {}", seen.row, seen.what);
    }
}

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
    let mut looks: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for seen in seen() {
        looks.entry(seen.case.clone()).or_default().push(seen);
    }
    let wrong = cases().into_iter().flat_map(|case| {
        let looks = looks.remove(&case.name).unwrap_or_default();
        wrong(&lab, &context, &case, &looks)
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds one file, and looks; what is wrong about it.
fn wrong(lab: &Lab, context: &Path, case: &Case, looks: &[Seen]) -> Vec<String> {
    let built = build(lab, context, case);
    let told = format!("{}{}", built.stdout, built.stderr);
    let refused = looks.iter().any(|look| look.how == "refused");
    let checked = case.arguments.iter().any(|word| word == "--check");
    if refused == (built.status == 0) && !checked {
        return vec![format!("{}: {built:?}", case.name)];
    }
    let image = format!("case/{}", case.name);
    let different = |look: &Seen| {
        let found = match look.how.as_str() {
            "shows" => shown(lab, &image, &look.what),
            "config" => described(lab, &image, &look.what, &look.wanted),
            "tells" | "refused" if told.contains(&look.what) => return None,
            "lacks" if !told.contains(&look.what) => return None,
            "hides" => {
                let history = lab.estiba(&["history", "--no-trunc", &image]).ok().to_owned();
                let all = format!("{history}{}", lab.estiba(&["inspect", &image]).ok());
                if !all.contains(&look.what) {
                    return None;
                }
                all
            }
            _ => told.clone(),
        };
        let Seen { row, how, what, wanted, .. } = look;
        let name = &case.name;
        (found != *wanted).then(|| format!("{row}: {name} {how} {what}: {found:?}, not {wanted:?}"))
    };
    looks.iter().filter_map(different).collect()
}

/// What a command in the image prints, on one line.
fn shown(lab: &Lab, image: &str, command: &str) -> String {
    let words = ["run", "--rm", "--user=0", "--entrypoint=", image, "sh", "-c", command];
    let found = lab.estiba(&words);
    found.stdout.trim_end().split('\n').collect::<Vec<_>>().join(" ")
}

/// A part of the image's description: what is wanted if it is that, else what it is.
fn described(lab: &Lab, image: &str, pointer: &str, wanted: &str) -> String {
    let all: Value = serde_json::from_str(lab.estiba(&["inspect", image]).ok()).unwrap();
    let found = all[0].pointer(pointer).cloned().unwrap_or_default();
    let same = serde_json::from_str::<Value>(wanted).unwrap() == found;
    if same { wanted.to_owned() } else { found.to_string() }
}
