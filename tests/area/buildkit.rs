//! Building through BuildKit's protocol with Docker's command line 20.10, and with this product's
//! own. The first kind says so and passes where that command line cannot be had.

use lab::{Lab, text};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

macro_rules! docker {
    ($lab:expr, $input:expr, $($word:expr),+) => {
        match $lab.buildkit_docker(&[$($word),+], $input) {
            Some(output) => output,
            None => {
                eprintln!("skipped: no docker command line 20.10 here");
                return;
            }
        }
    };
}

const DOCKERFILE: &str = "FROM busybox\nCOPY big small /app/\nRUN cat /app/small > /app/out\n";

#[test]
fn docker_20_builds_from_the_cache() {
    let lab = Lab::new();
    let files = [("Dockerfile", DOCKERFILE), ("big", "large\n"), ("small", "one\n")];
    let dir = lab.context(&files);
    let dir = text(&dir);
    let first = docker!(lab, b"", "build", "-t", "built:1", dir);
    assert_eq!(first.status, 0, "{first:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "built:1", "cat", "/app/out"]).ok(), "one");
    let again = docker!(lab, b"", "build", "-t", "built:2", dir);
    assert_eq!(again.stderr.matches("CACHED").count(), 2, "{again:?}");
    fs::write(Path::new(dir).join("small"), "two\n").unwrap();
    let changed = docker!(lab, b"", "build", "-t", "built:3", dir);
    assert_eq!(changed.stderr.matches("CACHED").count(), 0, "{changed:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "built:3", "cat", "/app/out"]).ok(), "two");
    // A Dockerfile and an archive on standard input.
    let stdin = docker!(lab, b"FROM busybox\nRUN echo from-stdin\n", "build", "--no-cache", "-");
    assert!(stdin.status == 0 && stdin.stderr.contains("from-stdin"), "{stdin:?}");
    let tar = std::process::Command::new("tar").args(["-c", "-C", dir, "."]).output().unwrap();
    let sent = docker!(lab, &tar.stdout, "build", "-t", "built:4", "-");
    assert_eq!(sent.status, 0, "{sent:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "built:4", "cat", "/app/out"]).ok(), "two");
}

/// A file whose size and time did not change is not asked for: it could be anything by now.
#[test]
fn docker_20_sends_only_what_changed() {
    let lab = Lab::new();
    let files = [("Dockerfile", DOCKERFILE), ("big", "before\n"), ("small", "one\n")];
    let dir = lab.context(&files);
    let built = docker!(lab, b"", "build", "-t", "first", text(&dir));
    assert_eq!(built.status, 0, "{built:?}");
    let big = dir.join("big");
    let time = fs::metadata(&big).unwrap().modified().unwrap();
    fs::write(&big, "beyond\n").unwrap();
    File::options().write(true).open(&big).unwrap().set_modified(time).unwrap();
    fs::write(dir.join("small"), "two\n").unwrap();
    let built = docker!(lab, b"", "build", "-t", "second", text(&dir));
    assert_eq!(built.status, 0, "{built:?}");
    let shown = lab.estiba(&["run", "--rm", "second", "cat", "/app/big", "/app/out"]);
    assert_eq!(shown.ok(), "before\ntwo");
    let later = SystemTime::now() + Duration::from_secs(5);
    File::options().write(true).open(&big).unwrap().set_modified(later).unwrap();
    let built = docker!(lab, b"", "build", "-t", "third", text(&dir));
    assert_eq!(built.status, 0, "{built:?}");
    let shown = lab.estiba(&["run", "--rm", "third", "cat", "/app/big", "/app/out"]);
    assert_eq!(shown.ok(), "beyond\ntwo");
}

#[test]
fn docker_20_gives_secrets_and_agents() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=word wc -c < /run/secrets/word\n\
                      RUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo agent-there\n";
    let dir = lab.dockerfile(dockerfile);
    let word = lab.dir().join("word");
    fs::write(&word, "canary-of-a-secret").unwrap();
    let agent = lab.dir().join("agent");
    let _listener = UnixListener::bind(&agent).unwrap();
    let secret = format!("id=word,src={}", word.display());
    let ssh = format!("default={}", agent.display());
    let args = ["build", "--secret", &secret, "--ssh", &ssh, "-t", "with", text(&dir)];
    let built =
        docker!(lab, b"", args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7]);
    assert!(built.status == 0 && built.stderr.contains(" 18\n"), "{built:?}");
    assert!(built.stderr.contains("agent-there"), "{built:?}");
    let missing = docker!(lab, b"", "build", "--no-cache", text(&dir));
    assert_ne!(missing.status, 0, "{missing:?}");
    let saved = lab.estiba(&["image", "inspect", "with"]).ok().to_owned();
    let history = lab.estiba(&["history", "--no-trunc", "with"]).ok().to_owned();
    for shown in [saved, history, lab.daemon_log()] {
        assert!(!shown.contains("canary-of-a-secret"), "{shown}");
    }
}

#[test]
fn docker_20_takes_results_home() {
    let lab = Lab::new();
    let dockerfile = "FROM scratch\nCOPY --chmod=640 a /out/\nCOPY d /out/d\n";
    let files = [("Dockerfile", dockerfile), ("a", "first\n"), ("d/b", "second\n")];
    let dir = lab.context(&files);
    let out = lab.dir().join("out");
    let built = docker!(lab, b"", "build", "-o", text(&out), text(&dir));
    assert_eq!(built.status, 0, "{built:?}");
    assert_eq!(fs::read_to_string(out.join("out/a")).unwrap(), "first\n");
    assert_eq!(fs::metadata(out.join("out/a")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_to_string(out.join("out/d/b")).unwrap(), "second\n");
    let tar = lab.dir().join("result.tar");
    let output = format!("type=tar,dest={}", tar.display());
    let built = docker!(lab, b"", "build", "--output", &output, text(&dir));
    assert_eq!(built.status, 0, "{built:?}");
    let listed = std::process::Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("out/d/b"), "{listed:?}");
}

#[test]
fn a_step_that_fails_says_why() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN echo last-words | tee /left && exit 7\n";
    let dir = lab.dockerfile(dockerfile);
    let ours = lab.estiba(&["build", text(&dir)]);
    ours.fails(1, "exit code: 7");
    let line = ">>> RUN echo last-words | tee /left && exit 7";
    for words in ["last-words", "Dockerfile:2", line, " > [2/2]", "ESTIBA_KEEP_FAILED=NAME"] {
        assert!(ours.stderr.contains(words), "{words:?} in {ours:?}");
    }
    let theirs = docker!(lab, b"", "build", text(&dir));
    theirs.fails(1, "exit code: 7");
    assert!(theirs.stderr.contains("last-words"), "{theirs:?}");
    // What it left is there to be looked at when that was asked for, and only then.
    assert_eq!(lab.estiba(&["images", "-aq"]).ok().lines().count(), 1);
    let kept = lab.build(&dir, &["--build-arg", "ESTIBA_KEEP_FAILED=broken"]);
    kept.fails(1, "exit code: 7");
    assert!(kept.stderr.contains("what this step left is the image broken:latest"), "{kept:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "broken", "cat", "/left"]).ok(), "last-words");
    let refused = lab.build(&dir, &["--build-arg", "ESTIBA_KEEP_FAILED=No Name"]);
    refused.fails(1, "invalid reference format");
}

#[test]
fn own_progress_in_all_its_forms() {
    let lab = Lab::new();
    let files = [("Dockerfile", DOCKERFILE), ("big", "large\n"), ("small", "one\n")];
    let dir = lab.context(&files);
    let dir = text(&dir);
    let plain = lab.estiba(&["build", "--progress", "plain", "-t", "own", dir]);
    assert_eq!(plain.ok(), "");
    assert!(plain.stderr.contains("[2/3] COPY big small /app/"), "{plain:?}");
    assert!(!plain.stderr.contains("CACHED"), "{plain:?}");
    // Without a terminal `auto` is plain.
    let auto = lab.estiba(&["build", dir]);
    assert_eq!(auto.stderr.matches("CACHED").count(), 2, "{auto:?}");
    let tty = lab.estiba(&["build", "--progress=tty", dir]);
    assert!(tty.stderr.contains("FINISHED") && tty.stderr.contains("=> CACHED"), "{tty:?}");
    let raw = lab.estiba(&["build", "--progress=rawjson", dir]);
    let documents = raw.ok().lines().map(|line| {
        let document: serde_json::Value = serde_json::from_str(line).expect("a document a line");
        document
    });
    let cached = |document: &serde_json::Value| {
        let vertexes = document["vertexes"].as_array().cloned().unwrap_or_default();
        vertexes.iter().any(|vertex| vertex["cached"] == true)
    };
    assert!(documents.filter(cached).count() >= 2, "{raw:?}");
    let id_file = lab.dir().join("id");
    let quiet = lab.estiba(&["build", "-q", "--iidfile", text(&id_file), "-t", "own", dir]);
    assert!(quiet.ok().starts_with("sha256:") && quiet.stderr.is_empty(), "{quiet:?}");
    assert_eq!(fs::read_to_string(&id_file).unwrap(), quiet.ok());
    let shown = lab.estiba(&["image", "inspect", "--format", "{{.Id}}", "own"]);
    assert_eq!(shown.ok(), quiet.ok());
    lab.estiba(&["build", "--progress=fancy", dir]).fails(1, "invalid progress");
}

#[test]
fn own_builds_take_and_give_directories() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox AS b\nCOPY --from=more x /x\nARG WHO\n\
                      RUN --mount=type=secret,id=word cat /run/secrets/word > /len && \
                      echo \"$WHO\" > /who && rm /len\nFROM scratch\nCOPY --from=b /x /who /\n";
    let dir = lab.context(&[("elsewhere/Dockerfile", dockerfile), ("a", "a\n")]);
    let more = lab.context(&[("x", "of the other context\n")]);
    let (file, word) = (dir.join("elsewhere/Dockerfile"), lab.dir().join("word"));
    fs::write(&word, "canary-of-a-secret").unwrap();
    let (out, metadata) = (lab.dir().join("out"), lab.dir().join("metadata.json"));
    let (secret, named) = (format!("id=word,src={}", text(&word)), format!("more={}", text(&more)));
    let built = lab.estiba(&[
        "build",
        "-f",
        text(&file),
        "--secret",
        &secret,
        "--build-context",
        &named,
        "--build-arg",
        "WHO=me",
        "--metadata-file",
        text(&metadata),
        "-o",
        text(&out),
        text(&dir),
    ]);
    assert_eq!(built.status, 0, "{built:?}");
    assert_eq!(fs::read_to_string(out.join("x")).unwrap(), "of the other context\n");
    assert_eq!(fs::read_to_string(out.join("who")).unwrap(), "me\n");
    assert!(!lab.daemon_log().contains("canary-of-a-secret"));
    assert!(fs::read_to_string(&metadata).unwrap().contains("buildx.build.ref"));
    // A Dockerfile alone, on standard input; nothing to copy from.
    let alone = lab.estiba_with(&["build", "-"], b"FROM busybox\nRUN echo alone\n");
    assert!(alone.status == 0 && alone.stderr.contains("alone"), "{alone:?}");
    let missing = lab.estiba(&["build", "/nowhere/at/all"]);
    missing.fails(1, "not found");
}

#[test]
fn hostile_sessions_are_refused() {
    let lab = Lab::new();
    let socket = lab.socket();
    let asked = |path: &str, id: &str, upgrade: &[&str]| {
        let mut arguments = vec!["curl", "-sS", "--max-time", "30", "-X", "POST", "--unix-socket"];
        let header = format!("X-Docker-Expose-Session-Uuid: {id}");
        let url = format!("http://localhost{path}");
        arguments.extend([text(&socket), "-H", &header, "-w", "%{http_code}", &url]);
        arguments.extend(upgrade);
        lab.in_network(&arguments).stdout
    };
    let ask = |path: &str, id: &str| asked(path, id, &[]);
    for id in ["../../etc", "a/b", "", "a b"] {
        let answer = asked("/session", id, &["-H", "Connection: Upgrade", "-H", "Upgrade: h2c"]);
        assert!(answer.contains("invalid session id") && answer.ends_with("400"), "{answer}");
    }
    // A good id, but no protocol to go on with.
    assert!(ask("/session", "good").contains("no upgrade proto"));
    let answer = ask("/build?version=2&buildid=a%2Fb&session=x", "x");
    assert!(answer.contains("plain names"), "{answer}");
    let answer = ask("/estiba/build", "x");
    assert!(answer.ends_with("400"), "{answer}");
}

/// A client without a session sends all that it has with its request.
#[test]
fn builds_without_a_session_take_what_is_sent() {
    let lab = Lab::new();
    let socket = lab.socket();
    let ask = |dir: &Path, query: &str| {
        let tar = lab.dir().join("sent.tar");
        lab.in_network(&["tar", "-C", text(dir), "-cf", text(&tar), "."]).ok();
        let (sent, url) = (format!("@{}", text(&tar)), format!("http://d/v1.43/build?{query}"));
        let words = ["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/x-tar"];
        let rest = ["--unix-socket", text(&socket), "--data-binary", &sent, &url];
        lab.in_network(&[&words[..], &rest].concat()).ok().to_owned()
    };
    let dockerfile = "FROM busybox\nARG WHO\nCOPY f /f\nRUN echo $WHO >> /f\n";
    let dir = lab.context(&[("sub/D", dockerfile), ("f", "f\n"), (".dockerignore", "x\n")]);
    let query = "version=2&t=alone&dockerfile=sub%2FD&buildargs=%7B%22WHO%22%3A%22me%22%7D";
    let told = ask(&dir, query);
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect();
    assert!(lines.iter().any(|line| line["id"] == "moby.buildkit.trace"), "{told}");
    let last = lines.last().unwrap();
    let id = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "alone"]).ok().to_owned();
    assert_eq!((&last["id"], &last["aux"]["ID"]), (&"moby.image.id".into(), &id.into()), "{told}");
    assert_eq!(lab.estiba(&["run", "--rm", "alone", "cat", "/f"]).ok(), "f\nme");
    // Whoever has no session has no secrets, and nowhere to put a result.
    let secret = "FROM busybox\nRUN --mount=type=secret,id=s,required=true true\n";
    let told = ask(&lab.dockerfile(secret), "version=2");
    assert!(told.contains("errorDetail") && told.contains("secret"), "{told}");
    let local = "version=2&outputs=%5B%7B%22Type%22%3A%22local%22%2C%22Attrs%22%3A%7B%7D%7D%5D";
    let told = ask(&lab.dockerfile("FROM busybox\n"), local);
    assert!(told.contains("takes no directories"), "{told}");
}
