//! Questions about a Dockerfile that are answered instead of building it: what the checks find,
//! what a target takes, which targets there are (BuildKit's `requestid` and buildx's `--call`).
//! Pure documents, in BuildKit's forms; where the file comes from is the solver's business.

mod lint;
mod outline;
mod targets;
#[cfg(test)]
mod tests;

pub(crate) use lint::lint;
pub(crate) use outline::outline;
pub(crate) use targets::targets;

use crate::span::{Location, Source};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// What the build checks find (`--check`).
    Lint,
    /// What the target takes: arguments, secrets, agents, caches.
    Outline,
    /// Which targets there are.
    Targets,
    /// Which questions there are.
    Describe,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For programs.
    pub json: Value,
    /// For people.
    pub text: String,
    /// The exit code that a command line ends with.
    pub status: i32,
}

/// Questions, their BuildKit names, and what they are for.
const CALLS: [(Call, &str, &str); 4] = [
    (Call::Lint, "frontend.lint", "Lint a Dockerfile"),
    (Call::Outline, "frontend.outline", "List all parameters current build target supports"),
    (Call::Targets, "frontend.targets", "List all targets current build supports"),
    (Call::Describe, "frontend.subrequests.describe", "List available subrequest types"),
];
/// The version of all of them.
const VERSION: &str = "1.0.0";

impl Call {
    /// The question of that name (`frontend.lint`).
    pub fn parse(name: &str) -> Option<Self> {
        CALLS.iter().find(|(_, known, _)| *known == name).map(|(call, ..)| *call)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        CALLS.iter().find(|(call, ..)| *call == self).map_or("", |(_, name, _)| name)
    }
}

impl Answer {
    /// As metadata of a front end's result.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let json = serde_json::to_string_pretty(&self.json).unwrap_or_default();
        let pairs = [
            ("result.json", json),
            ("result.txt", self.text.clone()),
            ("result.statuscode", self.status.to_string()),
            ("version", VERSION.to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Which questions there are.
pub(crate) fn describe() -> Answer {
    let mut text = table(&["NAME", "VERSION", "DESCRIPTION"]);
    let mut list = Vec::new();
    for (_, name, description) in CALLS {
        text.push(vec![name.to_owned(), VERSION.to_owned(), description.to_owned()]);
        list.push(json!({
            "Name": name,
            "Version": VERSION,
            "Type": "rpc",
            "Description": description,
            "Opts": [],
            "Metadata": [{"Name": "result.json"}, {"Name": "result.txt"}],
            "Refs": [],
        }));
    }
    Answer { json: Value::Array(list), text: align(&text), status: 0 }
}

fn table(head: &[&str]) -> Vec<Vec<String>> {
    vec![head.iter().map(|cell| (*cell).to_owned()).collect()]
}

/// Columns three spaces apart.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let line: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}   "))
            .collect::<Vec<_>>()
            .concat();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A place, as BuildKit's documents say it: the lines, counted from 1.
fn place(location: &Location) -> Value {
    let position = |at: crate::span::Position| match at.column {
        0 => json!({"line": at.line}),
        column => json!({"line": at.line, "character": column}),
    };
    let ranges = location.spans.iter();
    let ranges: Vec<Value> = ranges
        .map(|span| json!({"start": position(span.start), "end": position(span.end)}))
        .collect();
    json!({ "ranges": ranges })
}

/// A source text in such a document.
fn source(source: &Source) -> Value {
    json!({
        "filename": source.name,
        "language": "Dockerfile",
        "data": base64(source.text.as_bytes()),
    })
}

/// Puts a text into a document unless it is empty.
fn put(map: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        map.insert(name.to_owned(), text.into());
    }
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let sextet = usize::try_from((bits >> (18 - 6 * at)) & 63).unwrap_or(0);
            out.push(if at <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    out
}
