//! A build that was as a trace: a span for the whole, and one for each of its steps. Written as
//! OpenTelemetry's Go SDK writes spans for tests (`tracetest.SpanStub`, one JSON object after the
//! other), which is what BuildKit keeps beside its records and buildx reads. Made of what the build
//! told, whenever somebody asks; nothing of it is kept.

use std::collections::BTreeMap;

use ::buildkit::content::{
    Content, Info, InfoRequest, InfoResponse, ReadContentRequest, ReadContentResponse,
    WriteContentRequest, WriteContentResponse,
};
use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use engine::Engine;
use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::codegen::{BoxStream, async_trait, tokio_stream};
use tonic::{Request, Response, Status, Streaming};

use super::fault::refused;
use super::history;
use crate::moment;

/// What BuildKit calls such a document.
const MEDIA_TYPE: &str = "application/vnd.buildkit.otlp.json.v0";
/// How much of a trace goes into one message.
const PIECE_BYTES: usize = 256 << 10;
/// `trace.SpanKindInternal`.
const INTERNAL: u8 = 1;
/// Ids in hexadecimal digits.
const TRACE_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;

/// The trace of a build that has ended, by name.
pub(super) fn descriptor(record: &pb::BuildHistoryRecord, log: &[u8]) -> pb::Descriptor {
    let bytes = write(record, log);
    pb::Descriptor {
        media_type: MEDIA_TYPE.to_owned(),
        digest: digest(&bytes).to_string(),
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        ..pb::Descriptor::default()
    }
}

/// The trace itself, of a record and what is kept of what the build told.
fn write(record: &pb::BuildHistoryRecord, log: &[u8]) -> Vec<u8> {
    let told = history::replay(log);
    // As last told; in order of their names, so that the bytes are always the same.
    let mut vertices: BTreeMap<&str, &pb::Vertex> = BTreeMap::new();
    for vertex in told.iter().flat_map(|response| &response.vertexes) {
        vertices.insert(&vertex.digest, vertex);
    }
    let done = vertices.values().filter(|vertex| vertex.completed.is_some());
    let steps: Vec<Value> = done.map(|vertex| step(&record.r#ref, vertex)).collect();
    let mut bytes = Vec::new();
    for span in std::iter::once(whole(record, steps.len())).chain(steps) {
        bytes.extend_from_slice(span.to_string().as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

fn whole(record: &pb::BuildHistoryRecord, steps: usize) -> Value {
    let error = record.error.as_ref().map_or("", |error| error.message.as_str());
    let mut span = span("build", (&record.created_at, &record.completed_at), error);
    span["SpanContext"] = context(&record.r#ref, "");
    span["Parent"] = json!({
        "TraceID": "0".repeat(TRACE_DIGITS), "SpanID": "0".repeat(SPAN_DIGITS),
        "TraceFlags": "00", "TraceState": "", "Remote": false,
    });
    span["Attributes"] =
        json!([attribute("ref", &record.r#ref), attribute("frontend", &record.frontend),]);
    span["ChildSpanCount"] = steps.into();
    span
}

fn step(build: &str, vertex: &pb::Vertex) -> Value {
    let mut span = span(&vertex.name, (&vertex.started, &vertex.completed), &vertex.error);
    span["SpanContext"] = context(build, &vertex.digest);
    span["Parent"] = context(build, "");
    let cached = if vertex.cached { "true" } else { "false" };
    span["Attributes"] = json!([attribute("vertex", &vertex.digest), attribute("cached", cached)]);
    span
}

fn digest(bytes: &[u8]) -> model::Digest {
    model::Digest::sha256(Sha256::digest(bytes).into())
}

type Moments<'a> = (&'a Option<Timestamp>, &'a Option<Timestamp>);

fn span(name: &str, (started, ended): Moments<'_>, error: &str) -> Value {
    let status = if error.is_empty() { "Unset" } else { "Error" };
    json!({
        "Name": name,
        "SpanContext": null,
        "Parent": null,
        "SpanKind": INTERNAL,
        "StartTime": moment(started),
        "EndTime": moment(ended),
        "Attributes": null,
        "Events": null,
        "Links": null,
        "Status": {"Code": status, "Description": error},
        "DroppedAttributes": 0,
        "DroppedEvents": 0,
        "DroppedLinks": 0,
        "ChildSpanCount": 0,
        "Resource": [attribute("service.name", "estiba")],
        "InstrumentationLibrary": {"Name": "", "Version": "", "SchemaURL": "", "Attributes": null},
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"Key": key, "Value": {"Type": "STRING", "Value": value}})
}

/// Where a span is: the trace is the build's, and `vertex` is empty for the whole.
fn context(build: &str, vertex: &str) -> Value {
    let id = |text: String, digits: usize| {
        let mut hex = digest(text.as_bytes()).hex();
        hex.truncate(digits);
        hex
    };
    json!({
        "TraceID": id(format!("trace {build}"), TRACE_DIGITS),
        "SpanID": id(format!("span {build} {vertex}"), SPAN_DIGITS),
        "TraceFlags": "01", "TraceState": "", "Remote": false,
    })
}

fn moment(at: &Option<Timestamp>) -> String {
    let at = at.unwrap_or_default();
    moment::rfc3339_fixed(at.seconds.saturating_mul(1_000_000_000) + i64::from(at.nanos))
}

/// The traces of the builds that are remembered, as a store of blobs.
pub(super) struct Traces(pub(super) Engine);

impl Traces {
    async fn find(&self, digest: &str) -> Result<Vec<u8>, Status> {
        let past = self.0.builds.past().await.map_err(|error| refused(&error))?;
        let named = |record: &pb::BuildHistoryRecord| {
            record.trace.as_ref().is_some_and(|trace| trace.digest == digest)
        };
        let records = past.iter().rev();
        let mut records = records.filter_map(|it| pb::BuildHistoryRecord::decode(&*it.record).ok());
        let missing = || Status::not_found(format!("content {digest}: not found"));
        let record = records.find(named).ok_or_else(missing)?;
        let log = self.0.builds.past_log(&record.r#ref).await.map_err(|error| refused(&error))?;
        Ok(write(&record, &log.ok_or_else(missing)?))
    }
}

#[async_trait]
impl Content for Traces {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let digest = request.into_inner().digest;
        let size = i64::try_from(self.find(&digest).await?.len()).unwrap_or(i64::MAX);
        Ok(Response::new(InfoResponse { info: Some(Info { digest, size }) }))
    }

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<BoxStream<ReadContentResponse>>, Status> {
        let ReadContentRequest { digest, offset, size } = request.into_inner();
        let bytes = self.find(&digest).await?;
        let outside = || Status::out_of_range(format!("content {digest} has no byte {offset}"));
        let from = usize::try_from(offset).map_err(|_| outside())?;
        let rest = bytes.get(from..).ok_or_else(outside)?;
        let wanted = usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(rest.len());
        let mut at = offset;
        let piece = |data: &[u8]| {
            let piece = ReadContentResponse { offset: at, data: data.to_vec() };
            at = at.saturating_add_unsigned(data.len() as u64);
            Ok(piece)
        };
        let pieces: Vec<_> =
            rest[..wanted.min(rest.len())].chunks(PIECE_BYTES).map(piece).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn write(
        &self,
        _request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<BoxStream<WriteContentResponse>>, Status> {
        Err(Status::unimplemented("this store is only read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_a_span_and_its_steps_are_below_it() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 5 });
        let record = pb::BuildHistoryRecord {
            r#ref: "b".into(),
            created_at: at(1),
            completed_at: at(9),
            ..pb::BuildHistoryRecord::default()
        };
        let vertex = |digest: &str, error: &str, completed| pb::Vertex {
            digest: digest.into(),
            name: format!("RUN {digest}"),
            error: error.into(),
            started: at(2),
            completed,
            ..pb::Vertex::default()
        };
        let told = pb::StatusResponse {
            vertexes: vec![
                vertex("one", "", None),
                vertex("one", "failed", at(3)),
                vertex("two", "", None),
            ],
            ..pb::StatusResponse::default()
        };
        let log = told.encode_length_delimited_to_vec();
        let text = String::from_utf8(write(&record, &log)).unwrap();
        let spans: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [whole, step] = &*spans else { panic!("{text}") };
        assert_eq!((&whole["ChildSpanCount"], &step["Name"]), (&json!(1), &json!("RUN one")));
        assert_eq!(whole["EndTime"], "1970-01-01T00:00:09.000000005Z");
        assert_eq!(step["Parent"], whole["SpanContext"]);
        assert_ne!(step["SpanContext"], whole["SpanContext"]);
        assert_eq!(step["Status"], json!({"Code": "Error", "Description": "failed"}));
        let named = descriptor(&record, &log);
        assert_eq!(named.digest, digest(text.as_bytes()).to_string());
        assert_eq!(named.size, i64::try_from(text.len()).unwrap());
    }
}
