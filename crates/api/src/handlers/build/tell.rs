//! The stream of messages of a build, as clients without BuildKit read it: step after step, in the
//! order of the Dockerfile, whatever order they are carried out in.
//!
//! ```text
//! Step 2/5 : RUN make
//!  ---> Running in 1a2b3c4d5e6f          or  ---> Using cache
//! <what the process writes>
//!  ---> Removed intermediate container 1a2b3c4d5e6f
//!  ---> 6f5e4d3c2b1a
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use build::Error;
use build::graph::OpDigest;
use build::progress::{Event, StepInfo, Stream};
use build::request::Outcome;
use model::ImageRef;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::ask::Show;
use crate::body::Chunks;
use crate::reply;

/// Bytes of output that wait for the steps before theirs; more is thrown away, oldest first.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Tells one build to one client.
pub(super) struct Teller {
    chunks: Arc<Chunks>,
    show: Show,
    /// Told when the first message goes out, or why there will be none.
    first: Option<oneshot::Sender<Option<Error>>>,
    steps: Arc<[StepInfo]>,
    /// The step that is told now.
    at: usize,
    /// Its head was told.
    headed: bool,
    /// That its process runs was told.
    announced: bool,
    vertices: HashMap<OpDigest, Vertex>,
    waiting_bytes: usize,
    /// The id that the last step came to.
    last_id: String,
}

#[derive(Default)]
struct Vertex {
    started: bool,
    cached: bool,
    done: bool,
    id: String,
    /// Output that was not told yet.
    output: Vec<String>,
}

impl Teller {
    pub(super) fn new(chunks: Chunks, show: Show, first: oneshot::Sender<Option<Error>>) -> Self {
        Self {
            chunks: Arc::new(chunks),
            show,
            first: Some(first),
            steps: Arc::from([]),
            at: 0,
            headed: false,
            announced: false,
            vertices: HashMap::new(),
            waiting_bytes: 0,
            last_id: String::new(),
        }
    }

    /// Returns when the client is gone.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let chunks = Arc::clone(&self.chunks);
        async move { chunks.gone().await }
    }

    /// Tells the build from its first step to its end.
    pub(super) async fn run(
        &mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        work: impl Future<Output = build::Result<Outcome>>,
        names: &[ImageRef],
    ) {
        tokio::pin!(work);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.hear(event).await,
                outcome = &mut work => break outcome,
            }
        };
        while let Ok(event) = events.try_recv() {
            self.hear(event).await;
        }
        match outcome {
            Ok(outcome) => self.succeed(&outcome, names).await,
            Err(error) => self.fail(error).await,
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Steps(steps) => self.steps = steps,
            Event::Started { vertex, .. } => self.vertex(vertex).started = true,
            Event::Cached { vertex, .. } => {
                let vertex = self.vertex(vertex);
                (vertex.cached, vertex.done) = (true, true);
            }
            Event::Completed { vertex, error: None, .. } => self.vertex(vertex).done = true,
            Event::Result { vertex, id } => self.vertex(vertex).id = id,
            Event::Log { vertex, stream, data, .. } => {
                let text = String::from_utf8_lossy(&data);
                let text = match stream {
                    // Errors are red, as clients of the classic builder expect.
                    Stream::Stderr => format!("\x1b[91m{text}\x1b[0m"),
                    Stream::Stdout => text.into_owned(),
                };
                if self.waiting_bytes + text.len() <= MAX_WAITING_BYTES {
                    self.waiting_bytes += text.len();
                    self.vertex(vertex).output.push(text);
                }
            }
            Event::Warning(warning) => {
                let text = format!("[Warning] {}\n", warning.short);
                self.line(&text).await;
            }
            Event::Vertices(_) | Event::Status { .. } | Event::Completed { .. } => {}
        }
        self.advance().await;
    }

    fn vertex(&mut self, of: OpDigest) -> &mut Vertex {
        self.vertices.entry(of).or_default()
    }

    /// Tells whatever can be told by now.
    async fn advance(&mut self) {
        while let Some(step) = self.steps.get(self.at).cloned() {
            if !self.headed {
                self.headed = true;
                let head = format!("Step {}/{} : {}\n", self.at + 1, self.steps.len(), step.text);
                self.line(&head).await;
            }
            self.announce(&step).await;
            self.output(&step).await;
            let done =
                step.vertices.iter().all(|it| self.vertices.get(it).is_some_and(|it| it.done));
            if !done {
                return;
            }
            self.tail(&step).await;
            self.at += 1;
            (self.headed, self.announced) = (false, false);
        }
    }

    /// Tells that a step's process runs.
    async fn announce(&mut self, step: &StepInfo) {
        let started = |it: &&OpDigest| self.vertices.get(it).is_some_and(|it| it.started);
        if self.announced || !is_run(step) {
            return;
        }
        if let Some(vertex) = step.vertices.iter().find(started) {
            let text = format!(" ---> Running in {}\n", vertex.0.short());
            self.announced = true;
            self.line(&text).await;
        }
    }

    async fn output(&mut self, step: &StepInfo) {
        for digest in &step.vertices {
            let Some(vertex) = self.vertices.get_mut(digest) else { continue };
            for text in std::mem::take(&mut vertex.output) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(text.len());
                self.line(&text).await;
            }
        }
    }

    async fn tail(&mut self, step: &StepInfo) {
        let of = |it: &OpDigest| self.vertices.get(it);
        let is_from = step.text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("FROM "));
        let cached = match step.vertices.is_empty() {
            true => step.known,
            false => step.vertices.iter().filter_map(of).all(|vertex| vertex.cached),
        };
        let id = step.vertices.iter().filter_map(of).rev().find(|it| !it.id.is_empty());
        let id = id.map(|vertex| vertex.id.clone());
        let own = step.vertices.last().map(|digest| digest.0.hex());
        if let Some(id) = id.or(own) {
            self.last_id = id;
        }
        let short: String = self.last_id.chars().take(12).collect();
        if cached && !is_from {
            self.line(" ---> Using cache\n").await;
        } else if self.announced && self.show.removed {
            let own = step.vertices.first().map(|it| it.0.short()).unwrap_or_default();
            self.line(&format!(" ---> Removed intermediate container {own}\n")).await;
        }
        if !short.is_empty() {
            self.line(&format!(" ---> {short}\n")).await;
        }
    }

    async fn succeed(&mut self, outcome: &Outcome, names: &[ImageRef]) {
        let Some(image) = outcome.images.first() else { return };
        let id = image.id.to_string();
        if self.show.quiet {
            self.send(&json!({ "stream": format!("{id}\n") })).await;
            return;
        }
        self.send(&json!({ "aux": { "ID": id } })).await;
        self.line(&format!("Successfully built {}\n", image.id.short())).await;
        for name in names {
            self.line(&format!("Successfully tagged {}\n", name.familiar())).await;
        }
    }

    async fn fail(&mut self, error: Error) {
        if let Some(first) = self.first.take() {
            // Nobody else waits for it.
            let _ = first.send(Some(error));
            return;
        }
        let message = words(&error);
        let mut detail = json!({ "message": message });
        if let Error::Step { code, .. } = error.root() {
            detail["code"] = json!(code);
        }
        self.send(&json!({ "errorDetail": detail, "error": message })).await;
    }

    async fn line(&mut self, text: &str) {
        if !self.show.quiet {
            self.send(&json!({ "stream": text })).await;
        }
    }

    async fn send(&mut self, message: &Value) {
        if let Some(first) = self.first.take() {
            let _ = first.send(None);
        }
        if let Ok(line) = reply::json_line(message) {
            // A client that left is noticed elsewhere.
            let _ = self.chunks.send(line).await;
        }
    }
}

fn is_run(step: &StepInfo) -> bool {
    step.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("RUN "))
}

/// An error in the words that these clients' users search for.
pub(super) fn words(error: &Error) -> String {
    let text = match error.root() {
        Error::Step { command, code } => {
            format!("The command '{command}' returned a non-zero code: {code}")
        }
        other => other.to_string(),
    };
    match error.location() {
        Some(place) if !text.contains(" line ") && !matches!(error.root(), Error::Step { .. }) => {
            format!("{text} ({place})")
        }
        _ => text,
    }
}
