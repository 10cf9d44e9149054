//! `POST /build?version=2`: a build asked for and told of as Docker's command line did before it
//! spoke gRPC itself, mostly with a session; without one, all that the client has is in the
//! request. The progress is BuildKit's, one base64 text a line.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use build::client::Client;
use build::request::{Entitlements, Outcome, Output, SolveRequest};
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::jobs::Job;
use super::offer::Offer;
use super::request::{self, Attrs};
use super::results;
use super::session::{Session, is_id};
use super::solve::{self, Wanted};
use super::status::Story;
use crate::base64;
use crate::body::{Chunks, into_engine};
use crate::call::Call;
use crate::failure::Failure;
use crate::handlers;
use crate::handlers::build::TarClient;
use crate::query::Query;
use crate::reply::{self, JSON, Reply};

/// An output as the query names it.
#[derive(Deserialize)]
struct AskedOutput {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attrs: Option<Attrs>,
}

/// How a build and the archive of its context name one another.
const UPLOAD: &str = "upload-request";

/// Serves the request: a build, or the archive of a build's context.
pub(crate) async fn build(call: Call) -> Reply {
    let query = &call.query;
    let id = query.text("buildid").unwrap_or_default().to_owned();
    if let Some(id) = id.strip_prefix(UPLOAD).and_then(|rest| rest.strip_prefix(':')) {
        let id = id.to_owned();
        return upload(call, &id).await;
    }
    let session = query.text_or_empty("session").to_owned();
    // Who sends the context along has no need to name the build, and may build several in one
    // session.
    let id = if id.is_empty() { unnamed(&session) } else { id };
    if !is_id(&id) || !(session.is_empty() || is_id(&session)) {
        return Err(Failure::invalid("buildid and session are plain names"));
    }
    let credentials = handlers::build::credentials(&call.headers)?;
    let remote = query.text("remote").filter(|remote| *remote != "client-session");
    let context = match remote {
        Some(UPLOAD) => {
            let context = call.buildkit.uploads.take(&id).await;
            Some(context.ok_or_else(|| Failure::invalid("the context was not sent"))?)
        }
        None if !call.body.is_empty() => {
            Some(call.engine.builds.receive(into_engine(call.body)).await?)
        }
        _ => None,
    };
    let attrs = attributes(query, remote.filter(|_| context.is_none()))?;
    let outputs = outputs(query)?;
    let job = Job::begin(&call.buildkit, &id)
        .map_err(|busy| Failure::new(hyper::StatusCode::CONFLICT, busy.to_string()))?;
    let session = match session.as_str() {
        "" => None,
        id => match call.buildkit.sessions.find(id).await {
            None => return Err(Failure::invalid(format!("no active session for {id}"))),
            found => found,
        },
    };
    let refused = |error: build::Error| Failure::invalid(error.to_string());
    let wanted = Wanted { frontend: request::DOCKERFILE.to_owned(), attrs, ..Wanted::default() };
    let story = job.story();
    let progress = Story::progress(&story);
    let client: Arc<dyn Client> = match session.clone() {
        Some(session) => Arc::new(Offer::new(session, call.engine.clone(), context)),
        None => Arc::new(TarClient::new(context, credentials)),
    };
    let solve = SolveRequest {
        id,
        definition: solve::definition(&wanted).map_err(refused)?,
        outputs,
        cache_from: results::cache_from(None, &wanted.attrs),
        cache_to: results::cache_to(None, &wanted.attrs).map_err(refused)?,
        attest: results::attestations(&wanted.attrs).map_err(refused)?,
        // The daemon of old granted what the command line could ask for.
        entitlements: Entitlements {
            network_host: call.guard.lends_host_network(),
            security_insecure: false,
            device: false,
        },
        no_cache: request::no_cache(&wanted.attrs),
        network_name: String::new(),
        source_date_epoch: request::epoch(&wanted.attrs).map_err(refused)?,
        review: call.guard.images(),
        client,
        progress,
    };
    run(call.engine.clone(), solve, session, job, story)
}

/// An id for a build that has none.
fn unnamed(session: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let session = if session.is_empty() { "alone" } else { session };
    // As long as ids may be, and still its own.
    let session: String = session.chars().take(96).collect();
    format!("{session}.{number}")
}

/// Builds, and tells of it; until the client leaves.
fn run(
    engine: engine::Engine,
    solve: SolveRequest,
    session: Option<Arc<Session>>,
    job: Job,
    story: Arc<Story>,
) -> Reply {
    let (chunks, response) = reply::stream(JSON);
    tokio::spawn(async move {
        let work = async {
            let gone = async {
                match &session {
                    Some(session) => session.gone().await,
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                outcome = engine.builds.solve(solve) => outcome,
                () = gone => Err(build::Error::Cancelled),
            };
            // Ends the progress, so that all of it is told before the outcome.
            drop(job);
            outcome
        };
        tokio::select! {
            (outcome, ()) = async { tokio::join!(work, tell(&story, &chunks)) } => {
                for line in last_words(outcome) {
                    send(&chunks, &line).await;
                }
            }
            () = chunks.gone() => {}
        }
    });
    Ok(response)
}

/// Takes a context and keeps it until its build has it.
async fn upload(call: Call, id: &str) -> Reply {
    if !is_id(id) {
        return Err(Failure::invalid("invalid build id"));
    }
    let context = call.engine.builds.receive(into_engine(call.body)).await?;
    match call.buildkit.uploads.keep(id, context).await {
        true => reply::json(&json!({})),
        false => Err(Failure::new(
            hyper::StatusCode::SERVICE_UNAVAILABLE,
            "too many contexts wait for their builds",
        )),
    }
}

/// Tells the progress to its end.
async fn tell(story: &Story, chunks: &Chunks) {
    let mut next = 0;
    while let Some(response) = story.next(&mut next).await {
        send(chunks, &trace(&response)).await;
    }
}

/// Sends a line; a client that left does not need it.
async fn send(chunks: &Chunks, line: &Value) {
    if let Ok(line) = reply::json_line(line) {
        let _ = chunks.send(line).await;
    }
}

/// What a build came to.
fn last_words(outcome: build::Result<Outcome>) -> Vec<Value> {
    match outcome {
        Ok(outcome) => {
            let ids = outcome.images.iter().map(|image| image.id.to_string());
            ids.map(|id| json!({"id": "moby.image.id", "aux": {"ID": id}})).collect()
        }
        Err(error) => {
            let message = error.to_string();
            vec![json!({"errorDetail": {"message": message}, "error": message})]
        }
    }
}

fn trace(response: &pb::StatusResponse) -> Value {
    json!({"id": "moby.buildkit.trace", "aux": base64::encode(&response.encode_to_vec())})
}

/// The query's parameters as the front end's attributes.
fn attributes(query: &Query, remote: Option<&str>) -> Result<Attrs, Failure> {
    let mut attrs = Attrs::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            attrs.insert(name.to_owned(), value.to_owned());
        }
    };
    put("target", query.text_or_empty("target"));
    put("filename", query.text_or_empty("dockerfile"));
    put("platform", query.text_or_empty("platform"));
    put("context", remote.unwrap_or_default());
    put(
        "force-network-mode",
        match query.text_or_empty("networkmode") {
            "default" | "bridge" => "",
            mode => mode,
        },
    );
    if query.flag("pull") {
        put("image-resolve-mode", "pull");
    }
    put(
        "shm-size",
        match query.text_or_empty("shmsize") {
            "0" => "",
            size => size,
        },
    );
    let hosts: Vec<_> = query.all("extrahosts").map(|host| host.replacen(':', "=", 1)).collect();
    put("add-hosts", &hosts.join(","));
    let cache: Option<Vec<String>> = json_parameter(query, "cachefrom")?;
    put("cache-from", &cache.unwrap_or_default().join(","));
    if query.flag("nocache") {
        attrs.insert("no-cache".to_owned(), String::new());
    }
    // A build argument without a value takes the daemon's, which gives none away.
    let args: Option<HashMap<String, Option<String>>> = json_parameter(query, "buildargs")?;
    for (name, value) in args.unwrap_or_default() {
        if let Some(value) = value {
            attrs.insert(format!("build-arg:{name}"), value);
        }
    }
    let labels: Option<HashMap<String, String>> = json_parameter(query, "labels")?;
    for (name, value) in labels.unwrap_or_default() {
        attrs.insert(format!("label:{name}"), value);
    }
    Ok(attrs)
}

/// What becomes of the result: an image with the given names, unless the query says otherwise.
fn outputs(query: &Query) -> Result<Vec<Output>, Failure> {
    let refused = |error: build::Error| Failure::invalid(error.to_string());
    let names = query.all("t").collect::<Vec<_>>().join(",");
    let named = |mut attrs: Attrs| {
        if !names.is_empty() {
            attrs.insert("name".to_owned(), names.clone());
        }
        attrs
    };
    let asked: Option<Vec<AskedOutput>> = json_parameter(query, "outputs")?;
    let mut outputs = Vec::new();
    match asked.filter(|asked| !asked.is_empty()) {
        None => outputs.extend(results::output("moby", &named(Attrs::new())).map_err(refused)?),
        Some(asked) => {
            for output in asked {
                let attrs = output.attrs.unwrap_or_default();
                let attrs = match output.kind.as_str() {
                    "moby" | "image" if !attrs.contains_key("name") => named(attrs),
                    _ => attrs,
                };
                outputs.extend(results::output(&output.kind, &attrs).map_err(refused)?);
            }
        }
    }
    Ok(outputs)
}

fn json_parameter<T: for<'de> Deserialize<'de>>(
    query: &Query,
    name: &str,
) -> Result<Option<T>, Failure> {
    let Some(text) = query.text(name) else { return Ok(None) };
    wire::docker::json::from_slice(text.as_bytes())
        .map(Some)
        .map_err(|error| Failure::invalid(format!("invalid {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_attributes() {
        let query = Query::parse(
            "dockerfile=D&target=t&nocache=1&pull=1&extrahosts=h:1.2.3.4&extrahosts=i:::1\
             &buildargs=%7B%22A%22%3A%22b%22%2C%22C%22%3Anull%7D&networkmode=default&shmsize=0\
             &labels=%7B%22l%22%3A%22m%22%7D&cachefrom=%5B%22x%22%5D&t=a&t=b",
        )
        .unwrap();
        let attrs = attributes(&query, None).unwrap();
        let mut pairs: Vec<_> = attrs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        pairs.sort_unstable();
        assert_eq!(
            pairs,
            [
                ("add-hosts", "h=1.2.3.4,i=::1"),
                ("build-arg:A", "b"),
                ("cache-from", "x"),
                ("filename", "D"),
                ("image-resolve-mode", "pull"),
                ("label:l", "m"),
                ("no-cache", ""),
                ("target", "t"),
            ]
        );
        let [Output::Image { names, .. }] = &outputs(&query).unwrap()[..] else { panic!() };
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn outputs_can_be_elsewhere() {
        let local = "outputs=%5B%7B%22Type%22%3A%22local%22%2C%22Attrs%22%3A%7B%7D%7D%5D";
        let outputs = outputs(&Query::parse(local).unwrap()).unwrap();
        assert!(matches!(outputs[..], [Output::Local { .. }]));
        let query = Query::parse("outputs=nonsense&buildargs=%5B%5D").unwrap();
        assert!(super::outputs(&query).is_err());
        assert!(attributes(&query, None).is_err());
    }
}
