//! `run`, `exec` and connections, without Docker's own command line.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::fake::{Answer, Answers, Fake, words};

const CREATED: Answer = Answer::Document(201, r#"{"Id":"c1","Warnings":["a warning"]}"#);

fn frame(stream: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
}

fn speak(mut stream: UnixStream) {
    let words = [frame(1, "to stdout\n"), frame(2, "to stderr\n")].concat();
    // In two parts that cut a header, as a network may.
    stream.write_all(&words[..3]).unwrap();
    stream.write_all(&words[3..]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Answers with what it got, once the other side has ended its direction.
fn echo(mut stream: UnixStream) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    stream.write_all(&frame(1, &text.to_uppercase())).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn run_streams_and_exit_status() {
    let fake = Fake::start(Answers::from([
        ("POST /containers/create", CREATED),
        ("POST /containers/c1/attach", Answer::Stream(speak)),
        ("POST /containers/c1/wait", Answer::Document(200, r#"{"StatusCode":7}"#)),
        ("POST /containers/c1/start", Answer::Document(204, "")),
    ]));
    let ran = fake.ours("docker", &words("run --rm img cmd"), b"");
    assert_eq!(ran.status.code(), Some(7), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout), "to stdout\n");
    assert_eq!(text(&ran.stderr), "WARNING: a warning\nto stderr\n");
    let asked: Vec<String> =
        fake.take().into_iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(asked.len(), 4, "no round trip is spent on anything else: {asked:?}");
    assert_eq!(asked[0], "POST /v1.50/containers/create");
    assert_eq!(asked[3], "POST /v1.50/containers/c1/start");
    let attach = "POST /v1.50/containers/c1/attach?stream=1&stdout=1&stderr=1".to_owned();
    let wait = "POST /v1.50/containers/c1/wait?condition=removed".to_owned();
    assert!(asked.contains(&attach) && asked.contains(&wait), "{asked:?}");
}

pub(crate) fn run_sends_input_and_half_closes() {
    let fake = Fake::start(Answers::from([
        ("POST /containers/create", CREATED),
        ("POST /containers/c1/attach", Answer::Stream(echo)),
        ("POST /containers/c1/wait", Answer::Document(200, r#"{"StatusCode":0}"#)),
        ("POST /containers/c1/start", Answer::Document(204, "")),
    ]));
    let ran = fake.ours("docker", &words("run -i img cat"), b"some words\n");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout), "SOME WORDS\n");
}

pub(crate) fn exec_exit_status() {
    let fake = Fake::start(Answers::from([
        ("POST /containers/web/exec", Answer::Document(201, r#"{"Id":"e1"}"#)),
        ("POST /exec/e1/start", Answer::Stream(speak)),
        ("GET /exec/e1/json", Answer::Document(200, r#"{"ID":"e1","ExitCode":3}"#)),
    ]));
    let ran = fake.ours("docker", &words("exec -e A=1 web cmd arg"), b"");
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout), "to stdout\n");
    let body: serde_json::Value = serde_json::from_slice(&fake.take()[0].body).unwrap();
    assert_eq!(body["Cmd"], serde_json::json!(["cmd", "arg"]));
    assert_eq!(body["Env"], serde_json::json!(["A=1"]));
}

pub(crate) fn start_failures_have_a_status() {
    for (message, status) in [
        (r#"{"message":"exec: \"x\": executable file not found in $PATH"}"#, 127),
        (r#"{"message":"exec: \"/etc\": permission denied"}"#, 126),
        (r#"{"message":"something else"}"#, 125),
    ] {
        let fake = Fake::start(Answers::from([
            ("POST /containers/create", CREATED),
            ("POST /containers/c1/attach", Answer::Stream(speak)),
            ("POST /containers/c1/wait", Answer::Document(200, r#"{"StatusCode":0}"#)),
            ("POST /containers/c1/start", Answer::Document(400, message)),
        ]));
        let ran = fake.ours("docker", &words("run --rm img x"), b"");
        assert_eq!(ran.status.code(), Some(status), "{message}");
        assert!(text(&ran.stderr).contains("docker: Error response from daemon: "), "{message}");
    }
}

pub(crate) fn older_engines_are_asked_in_their_version() {
    let fake = Fake::speaking(
        "1.41",
        Answers::from([("GET /containers/json", Answer::Document(200, "[]"))]),
    );
    let ran = fake.ours("docker", &words("ps -q"), b"");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let asked: Vec<String> = fake.take().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/v1.50/containers/json", "/v1.41/containers/json"]);
}

pub(crate) fn no_engine() {
    let fake = Fake::start(Answers::new());
    let ran = fake.ours("docker", &words("-H unix:///nowhere/sock ps"), b"");
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(
        text(&ran.stderr),
        "Cannot connect to the Docker daemon at unix:///nowhere/sock. Is the docker daemon \
         running?\n"
    );
}

pub(crate) fn started_by_name() {
    let fake = Fake::start(Answers::new());
    let said = |name: &str, line: &str| text(&fake.ours(name, &words(line), b"").stdout);
    assert!(said("docker", "--version").starts_with("Docker version "));
    assert!(said("estiba", "--version").starts_with("estiba version "));
    assert!(said("estiba", "ps --help").starts_with("Usage:  estiba ps [OPTIONS]\n"));
    assert!(fake.take().is_empty(), "help and version ask nobody");
}
