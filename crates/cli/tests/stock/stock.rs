//! Our command line and Docker's own, side by side.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::cases;
use super::fake::{Answers, Fake, words};

/// The release that ours follows; another one may differ in words.
const RELEASE: &str = "Docker version 28.2";

/// Docker's own command line, if it is here in the right release.
fn program() -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs).map(|dir| dir.join("docker")).find(|p| p.is_file())?;
    let said = std::process::Command::new(&found).arg("--version").output().ok()?;
    let right = String::from_utf8_lossy(&said.stdout).starts_with(RELEASE);
    if !right {
        println!("skipped: {} is not {RELEASE}", found.display());
    }
    right.then_some(found)
}

fn with_stock(check: impl FnOnce(&Path, &Fake)) {
    match program() {
        Some(program) => check(&program, &Fake::start(cases::answers())),
        None => println!("skipped: no {RELEASE} here"),
    }
}

pub(crate) fn create_bodies() {
    with_stock(|program, fake| {
        for line in cases::CREATE {
            let words = words(&format!("create {line} img cmd"));
            let theirs = sent(fake, &fake.stock(program, &words));
            let ours = sent(fake, &fake.ours("docker", &words, b""));
            assert_eq!(ours, theirs, "create {line}");
        }
    });
}

/// Path and body of the create request, or what was said when there is none. Lists that Docker's
/// command line sends in random order are sorted.
fn sent(fake: &Fake, output: &Output) -> (String, Value) {
    let requests = fake.take();
    let Some(request) = requests.iter().find(|r| r.path.contains("/containers/create")) else {
        return (said(output), Value::Null);
    };
    let mut body: Value = serde_json::from_slice(&request.body).unwrap();
    for pointer in ["/Env", "/HostConfig/Binds"] {
        if let Some(Value::Array(list)) = body.pointer_mut(pointer) {
            list.sort_by_key(Value::to_string);
        }
    }
    (request.path.clone(), body)
}

pub(crate) fn help_pages() {
    with_stock(|program, fake| {
        for path in cases::COMMANDS {
            let words = words(&format!("{path} --help"));
            let theirs = said(&fake.stock(program, &words));
            let ours = said(&fake.ours("docker", &words, b""));
            // A slip of the pen in one of theirs.
            assert_eq!(ours, theirs.replace("|missing", "missing"), "{path} --help");
        }
    });
}

pub(crate) fn refusals() {
    with_stock(|program, _| {
        let fake = Fake::start(Answers::new());
        compare(program, &fake, cases::REFUSED);
    });
}

pub(crate) fn tables() {
    with_stock(|program, fake| compare(program, fake, cases::SHOWN));
}

fn compare(program: &Path, fake: &Fake, lines: &[&str]) {
    for line in lines {
        let words = words(line);
        let theirs = said(&fake.stock(program, &words));
        let ours = said(&fake.ours("docker", &words, b""));
        assert_eq!(ours, theirs, "docker {line}");
    }
}

/// Status, output and errors in one text; blank lines do not count.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().filter(|line| !line.trim().is_empty()).map(|l| format!("{l}\n")).collect()
    };
    let (out, err): (String, String) = (text(&output.stdout), text(&output.stderr));
    format!("status {:?}\n{out}--\n{err}", output.status.code())
}
