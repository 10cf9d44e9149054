//! Progress of BuildKit's protocol in the form in which displays take it. Pure.

use crate::excerpt::draw;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use jiff::Timestamp as Moment;
use wire::build::{SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};

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
    let excerpt = warning
        .info
        .as_ref()
        .map(|info| draw(&info.filename, &String::from_utf8_lossy(&info.data), &warning.ranges));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = Timestamp { seconds: 1, nanos: 500_000_000 };
        assert_eq!(time(Some(&at)).unwrap(), "1970-01-01T00:00:01.5Z");
        assert_eq!(time(None), None);
    }
}
