//! A build's progress as BuildKit's clients are told of it, from its first event, to whoever asks
//! while it runs and shortly after. Knows events, not what they are about.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use bollard_buildkit_proto::pb as ops;
use build::graph::OpDigest;
use build::progress::{Event, Progress, Stream, Warning};
use build::span::Location;
use prost::Message;
use tokio::sync::watch;

/// How much of a build's progress is kept for clients that ask late; then the oldest goes.
const MAX_HISTORY_BYTES: usize = 16 << 20;

/// The progress of one build.
#[derive(Debug)]
pub(crate) struct Story {
    told: Mutex<Told>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Told {
    /// Vertices as last told.
    vertices: HashMap<OpDigest, pb::Vertex>,
    history: VecDeque<(usize, Arc<pb::StatusResponse>)>,
    bytes: usize,
    /// Number of the oldest one in `history`.
    first: usize,
    ended: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self { told: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Story {
    /// Takes an event.
    pub(crate) fn tell(&self, event: Event) {
        let mut told = self.lock();
        let response = told.response(event);
        let size = response.encoded_len();
        told.bytes += size;
        told.history.push_back((size, Arc::new(response)));
        while told.bytes > MAX_HISTORY_BYTES
            && let Some((size, _)) = told.history.pop_front()
        {
            told.bytes -= size;
            told.first += 1;
        }
        drop(told);
        self.changed.send_replace(());
    }

    /// What a build tells it through.
    pub(crate) fn progress(story: &Arc<Self>) -> Progress {
        let story = Arc::clone(story);
        Progress::new(move |event| story.tell(event))
    }

    /// All that was told and is still kept.
    pub(crate) fn told(&self) -> Vec<Arc<pb::StatusResponse>> {
        self.lock().history.iter().map(|(_, response)| Arc::clone(response)).collect()
    }

    /// Nothing follows.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.send_replace(());
    }

    /// Whether the build is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// What follows number `next`, waiting for it; `None` after the end. Moves `next` on.
    pub(crate) async fn next(&self, next: &mut usize) -> Option<Arc<pb::StatusResponse>> {
        self.follow(next, 1).await?.pop()
    }

    /// All that follows number `next`, waiting for some; `None` after the end. Moves `next` on.
    pub(crate) async fn rest(&self, next: &mut usize) -> Option<Vec<Arc<pb::StatusResponse>>> {
        self.follow(next, usize::MAX).await
    }

    async fn follow(&self, next: &mut usize, most: usize) -> Option<Vec<Arc<pb::StatusResponse>>> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let told = self.lock();
                *next = (*next).max(told.first);
                let news = told.history.iter().skip(*next - told.first).take(most);
                let news: Vec<_> = news.map(|(_, response)| Arc::clone(response)).collect();
                if !news.is_empty() {
                    *next += news.len();
                    return Some(news);
                }
                if told.ended {
                    return None;
                }
            }
            changed.changed().await.ok()?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn response(&mut self, event: Event) -> pb::StatusResponse {
        let mut response = pb::StatusResponse::default();
        match event {
            Event::Vertices(vertices) => {
                for info in vertices.iter() {
                    let vertex = self.vertices.entry(info.digest).or_insert_with(|| pb::Vertex {
                        digest: info.digest.to_string(),
                        inputs: info.inputs.iter().map(ToString::to_string).collect(),
                        name: info.name.clone(),
                        ..pb::Vertex::default()
                    });
                    response.vertexes.push(vertex.clone());
                }
            }
            Event::Started { vertex, at } => {
                let vertex = self.vertex(vertex);
                vertex.started = Some(time(at));
                response.vertexes.push(vertex.clone());
            }
            Event::Cached { vertex, at } => {
                let vertex = self.vertex(vertex);
                vertex.started = vertex.started.or(Some(time(at)));
                vertex.completed = Some(time(at));
                vertex.cached = true;
                response.vertexes.push(vertex.clone());
            }
            Event::Completed { vertex, at, error } => {
                let vertex = self.vertex(vertex);
                vertex.started = vertex.started.or(Some(time(at)));
                vertex.completed = Some(time(at));
                vertex.error = error.unwrap_or_default();
                response.vertexes.push(vertex.clone());
            }
            Event::Status { vertex, status } => response.statuses.push(pb::VertexStatus {
                id: status.id,
                vertex: vertex.to_string(),
                name: status.name,
                current: status.current,
                total: status.total,
                timestamp: Some(time(status.at)),
                started: status.started.map(time),
                completed: status.completed.map(time),
            }),
            Event::Log { vertex, stream, data, at } => response.logs.push(pb::VertexLog {
                vertex: vertex.to_string(),
                timestamp: Some(time(at)),
                stream: if stream == Stream::Stderr { 2 } else { 1 },
                msg: data.to_vec(),
            }),
            Event::Warning(warning) => response.warnings.push(self::warning(warning)),
            // Only clients of the other kind know of ids.
            Event::Result { .. } | Event::Steps(_) => {}
        }
        response
    }

    fn vertex(&mut self, digest: OpDigest) -> &mut pb::Vertex {
        self.vertices
            .entry(digest)
            .or_insert_with(|| pb::Vertex { digest: digest.to_string(), ..pb::Vertex::default() })
    }
}

fn time(at: model::Timestamp) -> Timestamp {
    let nanos = i32::try_from(at.subsec_nanos()).unwrap_or(0);
    Timestamp { seconds: at.seconds(), nanos }
}

fn warning(warning: Warning) -> pb::VertexWarning {
    pb::VertexWarning {
        vertex: warning.vertex.map(|digest| digest.to_string()).unwrap_or_default(),
        level: 1,
        short: warning.short.into_bytes(),
        detail: warning.detail.into_iter().map(String::into_bytes).collect(),
        url: warning.url,
        info: warning.location.as_ref().map(source),
        ranges: warning.location.as_ref().map(ranges).unwrap_or_default(),
    }
}

/// The source file of a place.
pub(super) fn source(location: &Location) -> ops::SourceInfo {
    ops::SourceInfo {
        filename: location.source.name.clone(),
        data: location.source.text.clone().into_bytes(),
        definition: None,
        language: "Dockerfile".to_owned(),
    }
}

/// The stretches of a place.
pub(super) fn ranges(location: &Location) -> Vec<ops::Range> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let position = |at: build::span::Position| {
        Some(ops::Position { line: number(at.line), character: number(at.column) })
    };
    let range = |span: &build::span::Span| ops::Range {
        start: position(span.start),
        end: position(span.end),
    };
    location.spans.iter().map(range).collect()
}
