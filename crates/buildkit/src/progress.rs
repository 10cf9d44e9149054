//! Progress and failures of BuildKit's protocol in the form in which displays take them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use jiff::Timestamp as Moment;
use prost::Message;
use serde_json::Value;
use tonic::Status;
use wire::build::{SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};

/// The type of the detail that says where in a file an error is.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";
/// How many lines are shown around one that is meant.
const AROUND: u64 = 2;

/// A piece of progress in its JSON form.
pub fn status(response: &pb::StatusResponse) -> SolveStatus {
    let vertex = |vertex: &pb::Vertex| Vertex {
        digest: vertex.digest.clone(),
        inputs: vertex.inputs.clone(),
        name: vertex.name.clone(),
        started: time(vertex.started.as_ref()),
        completed: time(vertex.completed.as_ref()),
        cached: vertex.cached,
        error: vertex.error.clone(),
    };
    let part = |status: &pb::VertexStatus| VertexStatus {
        id: status.id.clone(),
        vertex: status.vertex.clone(),
        name: status.name.clone(),
        total: status.total,
        current: status.current,
        timestamp: time(status.timestamp.as_ref()),
        started: time(status.started.as_ref()),
        completed: time(status.completed.as_ref()),
    };
    let log = |log: &pb::VertexLog| VertexLog {
        vertex: log.vertex.clone(),
        stream: log.stream,
        data: STANDARD.encode(&log.msg),
        timestamp: time(log.timestamp.as_ref()),
    };
    SolveStatus {
        vertexes: response.vertexes.iter().map(vertex).collect(),
        statuses: response.statuses.iter().map(part).collect(),
        logs: response.logs.iter().map(log).collect(),
        warnings: response.warnings.iter().map(warning).collect(),
    }
}

fn warning(warning: &pb::VertexWarning) -> VertexWarning {
    let excerpt = warning.info.as_ref().map(|info| {
        let line = |at: &Option<bollard_buildkit_proto::pb::Position>| {
            at.as_ref().and_then(|at| u64::try_from(at.line).ok()).unwrap_or(0)
        };
        let first = warning.ranges.first();
        let lines = first.map_or((0, 0), |range| (line(&range.start), line(&range.end)));
        draw(&info.filename, &String::from_utf8_lossy(&info.data), lines)
    });
    VertexWarning {
        vertex: warning.vertex.clone(),
        level: warning.level,
        short: STANDARD.encode(&warning.short),
        detail: warning.detail.iter().map(|line| STANDARD.encode(line)).collect(),
        url: warning.url.clone(),
        excerpt: excerpt.unwrap_or_default(),
    }
}

fn time(at: Option<&Timestamp>) -> Option<String> {
    at.and_then(|at| Moment::new(at.seconds, at.nanos).ok()).map(|at| at.to_string())
}

/// The lines that a failure is about, if it names any.
pub fn excerpt(status: &Status) -> String {
    let Ok(details) = rpc::Status::decode(status.details()) else { return String::new() };
    let source = details.details.iter().find(|detail| detail.type_url == SOURCE);
    let document = source.and_then(|detail| serde_json::from_slice::<Value>(&detail.value).ok());
    let Some(document) = document else { return String::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = STANDARD.decode(text(&document["info"]["data"])).unwrap_or_default();
    let line = |end: &str| document["ranges"][0][end]["line"].as_u64().unwrap_or(0);
    let name = text(&document["info"]["filename"]);
    draw(&name, &String::from_utf8_lossy(&data), (line("start"), line("end")))
}

/// Lines of a file with numbers, those that are meant led by `>>>`.
fn draw(name: &str, text: &str, (first, last): (u64, u64)) -> String {
    if first == 0 {
        return String::new();
    }
    let last = last.max(first);
    let mut out = format!("{name}:{first}\n--------------------\n");
    for (number, line) in (1..).zip(text.lines()) {
        if number + AROUND < first || number > last + AROUND {
            continue;
        }
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        out.push_str(&format!(" {number:3} | {mark} {line}\n"));
    }
    out.push_str("--------------------\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_its_lines() {
        let json = format!(
            "{{\"info\":{{\"filename\":\"D\",\"data\":\"{}\"}},\
             \"ranges\":[{{\"start\":{{\"line\":4}},\"end\":{{\"line\":4}}}}]}}",
            STANDARD.encode(b"1\n2\n3\n4\n5\n6\n7\n")
        );
        let detail = bollard_buildkit_proto::google::protobuf::Any {
            type_url: SOURCE.to_owned(),
            value: json.into_bytes(),
        };
        let details = rpc::Status { details: vec![detail], ..rpc::Status::default() };
        let bytes = details.encode_to_vec();
        let status = Status::with_details(tonic::Code::Unknown, "m", bytes.into());
        let shown = excerpt(&status);
        assert!(shown.starts_with("D:4\n"), "{shown}");
        assert!(shown.contains("   2 |     2\n") && shown.contains("   4 | >>> 4\n"), "{shown}");
        assert!(!shown.contains("| 1") && !shown.contains("    7\n"), "{shown}");
        assert_eq!(excerpt(&Status::unknown("m")), "");
    }

    #[test]
    fn times() {
        let at = Timestamp { seconds: 1, nanos: 500_000_000 };
        assert_eq!(time(Some(&at)).unwrap(), "1970-01-01T00:00:01.5Z");
        assert_eq!(time(None), None);
    }
}
