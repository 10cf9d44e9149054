//! What is drawn for the same news in each form.

use super::*;
use wire::build::VertexLog;

fn vertex(digest: &str, name: &str, times: (Option<&str>, Option<&str>)) -> Vertex {
    Vertex {
        digest: digest.to_owned(),
        name: name.to_owned(),
        started: times.0.map(str::to_owned),
        completed: times.1.map(str::to_owned),
        ..Vertex::default()
    }
}

const T0: &str = "2026-01-01T00:00:00Z";
const T1: &str = "2026-01-01T00:00:01.25Z";

fn log(digest: &str, text: &str) -> VertexLog {
    VertexLog {
        vertex: digest.to_owned(),
        stream: 1,
        data: base64::encode(text.as_bytes()),
        timestamp: Some(T1.to_owned()),
    }
}

fn news() -> Vec<SolveStatus> {
    let a = vertex("a", "[1/2] FROM x", (Some(T0), None));
    let b = vertex("b", "[2/2] RUN y", (Some(T0), None));
    let cached = Vertex { cached: true, completed: Some(T0.to_owned()), ..a.clone() };
    let done = Vertex { completed: Some(T1.to_owned()), ..b.clone() };
    vec![
        SolveStatus { vertexes: vec![a], ..SolveStatus::default() },
        SolveStatus { vertexes: vec![b], logs: vec![log("b", "on")], ..SolveStatus::default() },
        SolveStatus { vertexes: vec![cached], ..SolveStatus::default() },
        SolveStatus { logs: vec![log("b", "e\ntwo\x1b[31m\nrest")], ..SolveStatus::default() },
        SolveStatus { vertexes: vec![done], ..SolveStatus::default() },
    ]
}

#[test]
fn lines_as_they_come() {
    let (mut steps, mut plain) = (Steps::default(), plain::Plain::default());
    let mut text = String::new();
    for status in news() {
        let lines = steps.take(&status);
        text.push_str(&plain.draw(&steps, &status, &lines));
    }
    let want = "#1 [1/2] FROM x\n#1 ...\n\n#2 [2/2] RUN y\n#2 ...\n\n#1 [1/2] FROM x\n#1 CACHED\n\n\
                #2 [2/2] RUN y\n#2 1.250 one\n#2 1.250 two[31m\n#2 1.250 rest\n#2 DONE 1.2s\n\n";
    assert_eq!(text, want);
    assert_eq!(steps.all["b"].last, ["1.250 one", "1.250 two[31m", "1.250 rest"]);
}

#[test]
fn a_terminal_is_redrawn() {
    let (mut steps, mut live) = (Steps::default(), live::Live::new());
    let mut drawings = Vec::new();
    for status in news() {
        let lines = steps.take(&status);
        live.note(&lines);
        drawings.push(live.draw(&steps, false));
    }
    assert!(drawings[3].contains("=> => # one"), "{}", drawings[3]);
    let last = drawings.last().unwrap();
    assert!(last.contains("(2/2) FINISHED"), "{last}");
    assert!(last.contains("=> CACHED [1/2] FROM x"), "{last}");
    assert!(!last.contains("=> => #"), "{last}");
    assert!(last.starts_with("\x1b["), "{last}");
}

#[test]
fn modes() {
    assert_eq!(Mode::parse("rawjson"), Ok(Mode::RawJson));
    assert!(Mode::parse("fancy").is_err());
}
