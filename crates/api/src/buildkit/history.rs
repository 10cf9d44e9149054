//! Builds that were, as BuildKit's clients ask for them. Kept by the engine; written and read
//! here. Values of arguments that look like secrets, and passwords in addresses, are not kept.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use engine::{Engine, PastBuild};
use prost::Message;
use tokio::task::JoinError;

use super::jobs::{Job, Observed};
use super::request::Attrs;
use super::trace;
use crate::clock;

/// How much of what a build told is kept; then the oldest goes.
const MAX_LOG_BYTES: usize = 1 << 20;
/// The most characters of an attribute that are kept.
const MAX_VALUE_CHARS: usize = 4096;
/// What is kept of a value that looks like a secret.
const MASK: &str = "****";

/// A build that is under way. One that is dropped before its end was cancelled.
pub(super) struct Draft {
    record: pb::BuildHistoryRecord,
    at: model::Timestamp,
    engine: Engine,
    job: Observed,
    over: bool,
}

impl Draft {
    /// Begins the record of a build.
    pub(super) fn begin(engine: &Engine, job: &Job, frontend: &str, attrs: &Attrs) -> Self {
        let (at, job) = (clock::now(), job.observed());
        let record = begun((&job.id, at), frontend, attrs);
        job.kit.listeners.begun(&record);
        Self { record, at, engine: engine.clone(), job, over: false }
    }

    /// Ends it: what came of it, and what it told. Nobody waits for it to be written.
    pub(super) fn end(mut self, outcome: Result<HashMap<String, String>, String>) {
        self.conclude(outcome);
    }

    fn conclude(&mut self, outcome: Result<HashMap<String, String>, String>) {
        self.over = true;
        let mut record = std::mem::take(&mut self.record);
        record.completed_at = Some(time(clock::now()));
        match outcome {
            Ok(answers) => record.exporter_response = answers,
            Err(message) => {
                record.error = Some(rpc::Status { code: 2, message, details: Vec::new() });
            }
        }
        let (told, at) = (self.job.story.told(), self.at);
        let (builds, kit) = (self.engine.builds.clone(), Arc::clone(&self.job.kit));
        let remember = async move {
            let (record, log) =
                tokio::task::spawn_blocking(move || described(record, &told)).await?;
            let past = PastBuild { id: record.r#ref.clone(), record: record.encode_to_vec() };
            if let Err(error) = builds.remember(past, at, log).await {
                tracing::debug!(%error, "remember a build");
            }
            kit.listeners.ended(record);
            Ok::<(), JoinError>(())
        };
        // Without a runtime the daemon ends, and nobody listens any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(remember);
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.over {
            self.conclude(Err(build::Error::Cancelled.to_string()));
        }
    }
}

/// The record of a build that begins.
fn begun(
    (id, at): (&str, model::Timestamp),
    frontend: &str,
    attrs: &Attrs,
) -> pb::BuildHistoryRecord {
    let kept = attrs.iter().map(|(name, value)| {
        let argument = name.strip_prefix("build-arg:");
        let value = match argument.is_some_and(build::check::is_secret_name) {
            true => MASK.to_owned(),
            false => build::address::shown(value).chars().take(MAX_VALUE_CHARS).collect(),
        };
        (name.clone(), value)
    });
    pb::BuildHistoryRecord {
        r#ref: id.to_owned(),
        frontend: frontend.to_owned(),
        frontend_attrs: kept.collect(),
        created_at: Some(time(at)),
        ..pb::BuildHistoryRecord::default()
    }
}

/// The record with what follows from what was told, and what is kept of that.
fn described(
    mut record: pb::BuildHistoryRecord,
    told: &[Arc<pb::StatusResponse>],
) -> (pb::BuildHistoryRecord, Vec<u8>) {
    let mut vertices: HashMap<&str, &pb::Vertex> = HashMap::new();
    for vertex in told.iter().flat_map(|response| &response.vertexes) {
        vertices.insert(&vertex.digest, vertex);
    }
    let count = |fits: &dyn Fn(&pb::Vertex) -> bool| {
        let fitting = vertices.values().filter(|vertex| fits(vertex)).count();
        i32::try_from(fitting).unwrap_or(i32::MAX)
    };
    record.num_total_steps = count(&|_| true);
    record.num_cached_steps = count(&|vertex| vertex.cached);
    record.num_completed_steps = count(&|vertex| vertex.completed.is_some());
    let warnings = told.iter().map(|response| response.warnings.len()).sum::<usize>();
    record.num_warnings = i32::try_from(warnings).unwrap_or(i32::MAX);
    let log = log(told);
    record.trace = Some(trace::descriptor(&record, &log));
    (record, log)
}

/// The last of what was told, each piece with its length before it.
fn log(told: &[Arc<pb::StatusResponse>]) -> Vec<u8> {
    let mut bytes = 0;
    let fits = |response: &&Arc<pb::StatusResponse>| {
        bytes += response.encoded_len() + 8;
        bytes <= MAX_LOG_BYTES
    };
    let kept = told.iter().rev().take_while(fits).count();
    let pieces = told.iter().skip(told.len() - kept);
    pieces.flat_map(|response| response.encode_length_delimited_to_vec()).collect()
}

/// What a build told.
pub(super) fn replay(log: &[u8]) -> Vec<pb::StatusResponse> {
    let mut rest = log;
    let mut told = Vec::new();
    while !rest.is_empty() {
        match pb::StatusResponse::decode_length_delimited(&mut rest) {
            Ok(response) => told.push(response),
            Err(_) => break,
        }
    }
    told
}

/// Every build that is remembered, newest first, as a listener is told of it.
pub(super) async fn events(
    engine: &Engine,
    request: &pb::BuildHistoryRequest,
) -> engine::Result<Vec<pb::BuildHistoryEvent>> {
    if request.active_only {
        return Ok(Vec::new());
    }
    let past = engine.builds.past().await?;
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
    let wanted = |build: &PastBuild| request.r#ref.is_empty() || build.id == request.r#ref;
    let records = past.into_iter().rev().filter(wanted);
    let records = records.filter_map(|build| {
        let record = pb::BuildHistoryRecord::decode(build.record.as_slice()).ok()?;
        let r#type = pb::BuildHistoryEventType::Complete.into();
        Some(pb::BuildHistoryEvent { r#type, record: Some(record) })
    });
    Ok(records.take(limit.unwrap_or(usize::MAX)).collect())
}

/// Changes or removes a record; `false` if there is none.
pub(super) async fn update(
    engine: &Engine,
    request: &pb::UpdateBuildHistoryRequest,
) -> engine::Result<bool> {
    let id = &request.r#ref;
    if request.delete {
        return engine.builds.revise(id, None).await;
    }
    let past = engine.builds.past().await?;
    let Some(build) = past.into_iter().find(|build| build.id == *id) else { return Ok(false) };
    let Ok(mut record) = pb::BuildHistoryRecord::decode(build.record.as_slice()) else {
        return Ok(false);
    };
    record.pinned = request.pinned;
    engine.builds.revise(id, Some(record.encode_to_vec())).await
}

fn time(at: model::Timestamp) -> Timestamp {
    let nanos = i32::try_from(at.subsec_nanos()).unwrap_or(0);
    Timestamp { seconds: at.seconds(), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        let attrs = [("build-arg:API_TOKEN", "x"), ("build-arg:V", "1"), ("target", "t")];
        let attrs = attrs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let at = model::Timestamp(0);
        let kept = begun(("i", at), "dockerfile.v0", &attrs.into_iter().collect()).frontend_attrs;
        assert_eq!(kept["build-arg:API_TOKEN"], MASK);
        assert_eq!((kept["build-arg:V"].as_str(), kept["target"].as_str()), ("1", "t"));
    }

    #[test]
    fn logs_come_back_and_are_bounded() {
        let response = |size: usize| {
            let log = pb::VertexLog { msg: vec![b'x'; size], ..pb::VertexLog::default() };
            Arc::new(pb::StatusResponse { logs: vec![log], ..pb::StatusResponse::default() })
        };
        let told = [response(MAX_LOG_BYTES), response(3), response(4)];
        let back = replay(&log(&told));
        let sizes: Vec<usize> = back.iter().map(|it| it.logs[0].msg.len()).collect();
        assert_eq!(sizes, [3, 4], "the oldest goes");
        assert_eq!(replay(b"\xff\xff").len(), 0);
    }
}
