//! The first protocol, word by word as its programs wrote it (`first.jsonl`): a daemon of then is
//! answered by the monitors of now, and what monitors of then say is understood by the daemon of
//! now. Lines are never changed; a protocol that adds words adds lines.

use super::super::protocol::*;
use super::harness::*;
use super::wire_level::{dial, end, frame, read_frame};
use serde_json::Value;
use std::io::Write;

fn spoken(to: &str) -> impl Iterator<Item = Value> {
    let lines = include_str!("first.jsonl").lines();
    let all = lines.map(|line| serde_json::from_str::<Value>(line).expect("a frame"));
    all.filter(move |line| line["to"] == to)
}

#[test]
fn the_first_daemons_are_answered() {
    let rig = Rig::started(Setup { script: "sleep 60", terminal: true, ..Setup::default() });
    let mut peer = dial(&rig);
    for line in spoken("monitor") {
        peer.write_all(&frame(&line["frame"].to_string())).expect("ask");
        let reply = loop {
            // What happens meanwhile is told on every connection.
            let message = read_frame(&peer);
            if message["id"] == line["frame"]["id"] {
                break message;
            }
        };
        assert_eq!(reply["reply"]["type"], line["answer"], "{line}: {reply}");
        assert_ne!(reply["reply"]["kind"], "unsupported", "{line}");
    }
    end(rig);
}

#[test]
fn the_first_monitors_are_understood() {
    for line in spoken("daemon") {
        let said = line["frame"].clone();
        let heard: MessageFrame = serde_json::from_value(said.clone()).expect("understood");
        match Message::from(heard) {
            Message::Reply(_, Reply::Unknown) | Message::Event(Event::Unknown) => {
                panic!("{line} is no longer known");
            }
            Message::Reply(_, Reply::Error { kind: ErrorKind::Unknown, .. }) => {
                panic!("{line} is no longer known");
            }
            message => {
                // Nothing that was said got lost on the way.
                let again = serde_json::to_value(MessageFrame::from(message)).expect("JSON");
                assert!(has(&again, &said), "{said} became {again}");
            }
        }
    }
}

/// Whether all of `part` is in `whole`.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|it| has(it, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| has(a, b))
        }
        (whole, part) => whole == part,
    }
}
