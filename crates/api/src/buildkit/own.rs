//! `POST /estiba/build`: this product's own command line on the same host. Its directories come as
//! descriptors, its progress goes back as lines.

use std::collections::HashMap;
use std::sync::Arc;

use build::client::{Credentials, Secret};
use build::dockerfile_build::DockerfileSource;
use build::progress::Progress;
use build::request::{Definition, Entitlements, Outcome, SolveRequest};
use engine::{Handed, Handing, Valuables};
use hyper::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wire::build::{
    BuildDone, BuildFailed, BuildLine, BuildOrder, HandingOrder, SolveStatus, Typed,
};

use super::history::Draft;
use super::jobs::Job;
use super::plan::Plan;
use super::request::{self, Attrs};
use super::session::is_id;
use super::solve::Wanted;
use super::status::Story;
use crate::base64;
use crate::call::Call;
use crate::failure::Failure;
use crate::hijack::Hijack;
use crate::reply::{RAW_STREAM, Reply};
use bollard_buildkit_proto::moby::buildkit::v1 as pb;

/// The most descriptors of one build.
const MAX_HANDINGS: usize = 200;

/// Serves the request.
pub(crate) async fn build(mut call: Call) -> Reply {
    let credentials = call.peer.credentials;
    let Some((uid, gid, _)) = credentials.filter(|(uid, ..)| Handed::may(*uid)) else {
        let message = "descriptors are taken only from root, and from the daemon's own user, over \
                       a unix socket; send the context as an archive";
        return Err(Failure::new(StatusCode::FORBIDDEN, message));
    };
    let order: BuildOrder = call.json().await?;
    if !is_id(&order.id) || order.handings.len() > MAX_HANDINGS {
        return Err(Failure::invalid("invalid build id, or too many descriptors"));
    }
    let valuables = valuables(&order)?;
    let parsed = Order::of(&order).map_err(|error| Failure::invalid(error.to_string()))?;
    call.guard.build(parsed.entitlements)?;
    call.guard.build_network(&call.engine, &parsed.network_name)?;
    let job = Job::begin(&call.buildkit, &order.id)
        .map_err(|busy| Failure::new(StatusCode::CONFLICT, busy.to_string()))?;
    let list = order.handings.iter().map(handing).collect();
    let (engine, review) = (call.engine.clone(), call.guard.images());
    let attrs: Attrs = order.attrs.clone().into_iter().collect();
    let quiet = order.quiet;
    Hijack::of(call).answer(RAW_STREAM, async move |client| {
        let taken = Handed::take(client, list, (valuables, (uid, gid))).await;
        let (handed, socket) = match taken {
            Ok(taken) => taken,
            Err(error) => return tracing::debug!(%error, "a build did not begin"),
        };
        let story = job.story();
        let progress = {
            let story = Arc::clone(&story);
            Progress::new(move |event| story.tell(event))
        };
        let draft = Draft::begin(&engine, &job, request::DOCKERFILE, &attrs);
        let mut solve = parsed.request(order.id, Arc::new(handed), progress);
        solve.review = review;
        let work = async {
            let outcome = engine.builds.solve(solve).await;
            drop(job);
            let shown = outcome.as_ref().map(|it| it.answers.clone().into_iter().collect());
            draft.end(shown.map_err(ToString::to_string));
            outcome
        };
        converse(socket, work, (&story, quiet)).await;
    })
}

/// Tells progress and outcome; a client that leaves ends the build. Whoever wants to hear nothing
/// hears what was told when it failed.
async fn converse(
    socket: UnixStream,
    work: impl Future<Output = build::Result<Outcome>>,
    (story, quiet): (&Story, bool),
) {
    let (read, mut write) = socket.into_split();
    let tell = async {
        let mut next = 0;
        while !quiet && let Some(news) = story.rest(&mut next).await {
            send(&mut write, &lines(&news)).await;
        }
    };
    let gone = async {
        // The client says nothing more: what can be read is its end.
        let mut byte = [0; 1];
        loop {
            if read.readable().await.is_err() {
                return;
            }
            match read.try_read(&mut byte) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    };
    let outcome = tokio::select! {
        (outcome, ()) = async { tokio::join!(work, tell) } => outcome,
        () = gone => return,
    };
    let mut text = match quiet && outcome.is_err() {
        true => lines(&story.told()),
        false => Vec::new(),
    };
    add_line(&mut text, &last_line(outcome));
    send(&mut write, &text).await;
}

/// Progress as lines.
fn lines(news: &[Arc<pb::StatusResponse>]) -> Vec<u8> {
    let mut text = Vec::new();
    for status in news.iter().map(|response| ::buildkit::status(response)) {
        if status != SolveStatus::default() {
            add_line(&mut text, &BuildLine::Status(status));
        }
    }
    text
}

fn add_line(text: &mut Vec<u8>, line: &BuildLine) {
    if serde_json::to_writer(&mut *text, line).is_ok() {
        text.push(b'\n');
    }
}

/// Sends lines; a client that left does not need them.
async fn send(write: &mut (impl tokio::io::AsyncWrite + Unpin), text: &[u8]) {
    let _ = write.write_all(text).await;
}

fn last_line(outcome: build::Result<Outcome>) -> BuildLine {
    match outcome {
        Ok(outcome) => BuildLine::Done(BuildDone {
            images: outcome.images.iter().map(|image| image.id.to_string()).collect(),
            answers: outcome.answers,
        }),
        Err(error) => {
            let (step, code) = match (&error, error.root()) {
                (build::Error::Vertex { name, .. }, build::Error::Step { code, .. }) => {
                    (name.clone(), Some(*code))
                }
                (build::Error::Vertex { name, .. }, _) => (name.clone(), None),
                _ => (String::new(), None),
            };
            let excerpt = error.location().map(build::span::Location::excerpt).unwrap_or_default();
            BuildLine::Failed(BuildFailed { message: error.to_string(), excerpt, step, code })
        }
    }
}

/// A build, parsed, with what only this product's own command line says.
struct Order {
    plan: Plan,
    entitlements: Entitlements,
    network_name: String,
}

impl Order {
    fn of(order: &BuildOrder) -> build::Result<Self> {
        let mut attrs: Attrs = order.attrs.clone().into_iter().collect();
        // What is no mode is the name of a network.
        let network = attrs.get("force-network-mode").map(String::as_str).unwrap_or_default();
        let mode = matches!(network, "" | "default" | "sandbox" | "host" | "none");
        let network_name = match mode {
            true => String::new(),
            false => attrs.remove("force-network-mode").unwrap_or_default(),
        };
        let entry = |typed: &Typed| pb::CacheOptionsEntry {
            r#type: typed.kind.clone(),
            attrs: typed.attrs.clone().into_iter().collect(),
        };
        let cache = pb::CacheOptions {
            imports: order.cache_from.iter().map(entry).collect(),
            exports: order.cache_to.iter().map(entry).collect(),
            ..pb::CacheOptions::default()
        };
        let exporter = |typed: &Typed| pb::Exporter {
            r#type: typed.kind.clone(),
            attrs: typed.attrs.clone().into_iter().collect(),
        };
        let exporters: Vec<_> = order.outputs.iter().map(exporter).collect();
        let wanted =
            Wanted { frontend: request::DOCKERFILE.to_owned(), attrs, ..Wanted::default() };
        let mut plan = Plan::new(&wanted, &exporters, Some(&cache))?;
        if let (Some(text), Definition::Dockerfile(build) | Definition::Question(_, build)) =
            (&order.dockerfile, &mut plan.definition)
        {
            build.dockerfile = DockerfileSource::Text(text.clone());
        }
        Ok(Self { plan, entitlements: request::entitlements(&order.allow)?, network_name })
    }

    fn request(self, id: String, client: Arc<Handed>, progress: Progress) -> SolveRequest {
        let mut request = self.plan.request(id, client, progress);
        request.entitlements = self.entitlements;
        request.network_name = self.network_name;
        request
    }
}

fn handing(order: &HandingOrder) -> Handing {
    match order {
        HandingOrder::Directory { name } => Handing::Directory(name.clone()),
        HandingOrder::Agent { id } => Handing::Agent(id.clone()),
        HandingOrder::OutputDirectory { number } => Handing::OutputDirectory(*number),
        HandingOrder::OutputFile { number } => Handing::OutputFile(*number),
    }
}

fn valuables(order: &BuildOrder) -> Result<Valuables, Failure> {
    let mut secrets = HashMap::new();
    for (id, text) in &order.secrets {
        let value = base64::decode(text)
            .ok_or_else(|| Failure::invalid(format!("secret {id:?} is no base64")))?;
        secrets.insert(id.clone(), Secret(value.into()));
    }
    let credentials = order.credentials.iter().map(|(host, login)| {
        let credentials = Credentials {
            username: login.username.clone(),
            password: login.password.clone(),
            identity_token: login.identity_token.clone(),
        };
        (host.clone(), credentials)
    });
    Ok(Valuables { secrets, credentials: credentials.collect() })
}
