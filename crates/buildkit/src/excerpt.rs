//! The lines of a file that a failure or a warning is about, as a terminal shows them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::pb::{Position, Range};
use prost::Message;
use serde_json::Value;
use tonic::Status;

/// The type of the detail that says where in a file an error is.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";
/// How many lines are shown around those that are meant.
const AROUND: i32 = 2;

/// The lines that a failure is about, if it names any.
pub fn excerpt(status: &Status) -> String {
    let Ok(details) = rpc::Status::decode(status.details()) else { return String::new() };
    let source = details.details.iter().find(|detail| detail.type_url == SOURCE);
    let document = source.and_then(|detail| serde_json::from_slice::<Value>(&detail.value).ok());
    let Some(document) = document else { return String::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = STANDARD.decode(text(&document["info"]["data"])).unwrap_or_default();
    let name = text(&document["info"]["filename"]);
    let ranges = document["ranges"].as_array();
    let ranges: Vec<Range> = ranges.into_iter().flatten().map(range).collect();
    draw(&name, &String::from_utf8_lossy(&data), &ranges)
}

fn range(value: &Value) -> Range {
    let number = |value: &Value| i32::try_from(value.as_i64().unwrap_or(0)).unwrap_or(0);
    let position = |value: &Value| {
        Some(Position { line: number(&value["line"]), character: number(&value["character"]) })
    };
    Range { start: position(&value["start"]), end: position(&value["end"]) }
}

/// Lines of a file with numbers, those that are meant led by `>>>`. If the first range says
/// characters, it is what the heading names, and is marked.
pub(crate) fn draw(name: &str, text: &str, ranges: &[Range]) -> String {
    let begin = |range: &Range| range.start.unwrap_or_default();
    let end = |range: &Range| range.end.unwrap_or_default();
    let first = ranges.iter().map(|range| begin(range).line).min().unwrap_or(0);
    if first <= 0 {
        return String::new();
    }
    let last = ranges.iter().map(|range| end(range).line).max().unwrap_or(0).max(first);
    let exact = ranges.first().map(|range| (begin(range), end(range)));
    let exact = exact.filter(|(start, end)| start.line == end.line);
    let exact = exact.filter(|(start, end)| start.character < end.character);
    let place = match exact {
        Some((start, _)) => format!("{}:{}", start.line, start.character + 1),
        None => first.to_string(),
    };
    let mut out = format!("{name}:{place}\n--------------------\n");
    for (number, line) in (1..).zip(text.lines()) {
        if number < first.saturating_sub(AROUND) || number > last.saturating_add(AROUND) {
            continue;
        }
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        out.push_str(&format!(" {number:3} | {mark} {line}\n"));
        if let Some((start, end)) = exact.filter(|(start, _)| start.line == number) {
            let below = marks(line, start.character, end.character);
            out.push_str(&format!("     |     {below}\n"));
        }
    }
    out.push_str("--------------------\n");
    out
}

/// Marks below the characters of `line` from `start` to before `end`, as far as there are any.
fn marks(line: &str, start: i32, end: i32) -> String {
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    let below = |(at, c): (usize, char)| match (at >= start, c) {
        (true, _) => '^',
        // What is wide stays as wide.
        (false, '\t') => '\t',
        (false, _) => ' ',
    };
    line.chars().enumerate().take(end).map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(ranges: &str) -> String {
        let json = format!(
            "{{\"info\":{{\"filename\":\"D\",\"data\":\"{}\"}},\"ranges\":[{ranges}]}}",
            STANDARD.encode(b"1\n2\n3\n\t4 four\n5\n6\n7\n8\n")
        );
        let detail = bollard_buildkit_proto::google::protobuf::Any {
            type_url: SOURCE.to_owned(),
            value: json.into_bytes(),
        };
        let details = rpc::Status { details: vec![detail], ..rpc::Status::default() };
        let bytes = details.encode_to_vec();
        excerpt(&Status::with_details(tonic::Code::Unknown, "m", bytes.into()))
    }

    #[test]
    fn a_failure_shows_its_lines() {
        let shown = failure("{\"start\":{\"line\":4},\"end\":{\"line\":4}}");
        assert!(shown.starts_with("D:4\n"), "{shown}");
        assert!(
            shown.contains("   2 |     2\n") && shown.contains("   4 | >>> \t4 four\n"),
            "{shown}"
        );
        assert!(!shown.contains("| 1") && !shown.contains("    7\n"), "{shown}");
        assert!(!shown.contains('^'), "{shown}");
        assert_eq!(excerpt(&Status::unknown("m")), "");
        assert_eq!(failure(""), "");
        assert_eq!(failure("{\"start\":{\"line\":-4},\"end\":{}}"), "");
    }

    #[test]
    fn a_failure_of_a_word_points_at_it() {
        let word = "{\"start\":{\"line\":4,\"character\":3},\"end\":{\"line\":4,\"character\":7}}";
        let whole = "{\"start\":{\"line\":4},\"end\":{\"line\":5}}";
        let shown = failure(&format!("{word},{whole}"));
        assert!(shown.starts_with("D:4:4\n"), "{shown}");
        let wanted = "   4 | >>> \t4 four\n     |     \t  ^^^^\n   5 | >>> 5\n   6 |     6\n";
        assert!(shown.contains(wanted), "{shown}");
        // Whatever a daemon says.
        let mad = "{\"start\":{\"line\":4,\"character\":-9},\"end\":{\"line\":4,\"character\":99}}";
        assert!(failure(mad).contains("     |     ^^^^^^^\n"), "{}", failure(mad));
    }
}
