//! Progress as this product's own command line reads it: BuildKit's, in JSON. Pure.

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use build::span::{Location, Position, Source, Span};
use wire::build::{SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};

use crate::base64;
use crate::moment::rfc3339;

/// A piece of progress in its JSON form.
pub(super) fn status(response: &pb::StatusResponse) -> SolveStatus {
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
        data: base64::encode(&log.msg),
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
    VertexWarning {
        vertex: warning.vertex.clone(),
        level: warning.level,
        short: base64::encode(&warning.short),
        detail: warning.detail.iter().map(|line| base64::encode(line)).collect(),
        url: warning.url.clone(),
        excerpt: excerpt(warning),
    }
}

fn excerpt(warning: &pb::VertexWarning) -> String {
    let Some(info) = &warning.info else { return String::new() };
    let text = String::from_utf8_lossy(&info.data).into_owned();
    let source = std::sync::Arc::new(Source { name: info.filename.clone(), text });
    let line = |position: &Option<bollard_buildkit_proto::pb::Position>| Position {
        line: position.as_ref().and_then(|p| u32::try_from(p.line).ok()).unwrap_or(0),
        column: 0,
    };
    let spans = warning.ranges.iter();
    let spans = spans.map(|range| Span { start: line(&range.start), end: line(&range.end) });
    Location { source, spans: spans.collect() }.excerpt()
}

fn time(at: Option<&Timestamp>) -> Option<String> {
    at.map(|at| {
        let nanoseconds = at.seconds.saturating_mul(1_000_000_000) + i64::from(at.nanos);
        rfc3339(model::Timestamp(nanoseconds))
    })
}
