//! A build over BuildKit's protocol, for daemons that take no descriptors: on another host, of
//! another maker, or reached without the right to hand files over. What the order would have
//! handed over is served on a connection of its own instead.
//!
//! ```text
//! POST /session ══ h2c ══▶ the daemon calls: files, secrets, agents, credentials, results
//! POST /grpc    ══ h2c ══▶ we call: Solve, Status
//! ```

mod filter;
mod patterns;
mod receive;
mod send;
mod serve;
mod stores;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::buildkit::excerpt;
use ::buildkit::line::{Line, MAX_MESSAGE_BYTES};
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use client::{Client, RawStream};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tonic::{Code, Request};
use wire::build::{BuildDone, BuildFailed, BuildOrder, HandingOrder, Typed};
use wire::oci::image::Descriptor;

use super::ask::Ask;
use super::screen::Screen;
use crate::base64;
use crate::failure::Failure;
pub(crate) use buildkit::status;
pub(crate) use patterns::glob;

use serve::Offer;

/// The daemon, asked over BuildKit's protocol.
pub(crate) type Control = ControlClient<Line>;

/// Connects to the daemon over BuildKit's protocol.
pub(crate) async fn control(client: &Client) -> Result<Control, Failure> {
    let stream = client.post("/grpc").protocol("h2c").hijack().await?.into_stream();
    let control = ControlClient::with_origin(open(stream).await?, Line::origin());
    Ok(control.max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// Speaks HTTP/2 as the client on an upgraded connection.
async fn open(stream: RawStream) -> Result<Line, Failure> {
    let (line, work) = Line::open(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::new(format!("speak gRPC with the daemon: {error}")))?;
    // Its end is seen by the calls on it.
    tokio::spawn(work);
    Ok(line)
}

/// What a daemon that speaks the protocol came to; `None` if it does not.
pub(super) type Built = Option<Result<BuildDone, BuildFailed>>;

/// Builds; gives the order back when the daemon does not speak the protocol.
pub(super) async fn build(client: &Client, ask: &Ask, screen: &Screen) -> Result<Built, Failure> {
    let id = &ask.order.id;
    let offer = Arc::new(Offer::of(ask)?);
    let mut request = client
        .post("/session")
        .protocol("h2c")
        .header("X-Docker-Expose-Session-Uuid", id.clone())
        .header("X-Docker-Expose-Session-Name", "")
        .header("X-Docker-Expose-Session-Sharedkey", shared_key(ask));
    for method in serve::METHODS.into_iter().chain(::buildkit::content::METHODS) {
        request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
    }
    let session = match request.hijack().await {
        Ok(session) => session.into_stream(),
        Err(client::Error::Api { status: 400 | 404 | 405 | 501, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let serving = tokio::spawn(serve::serve(session, Arc::clone(&offer)));
    let control = match client.post("/grpc").protocol("h2c").hijack().await {
        Ok(control) => control.into_stream(),
        Err(client::Error::Api { status: 400 | 404 | 405 | 501, .. }) => {
            serving.abort();
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let line = open(control).await?;
    let built = solve(line, ask, screen).await;
    serving.abort();
    if let Ok(Ok(done)) = &built {
        name_results(ask, &offer, &done.answers)?;
    }
    built.map(Some)
}

async fn solve(
    line: Line,
    ask: &Ask,
    screen: &Screen,
) -> Result<Result<BuildDone, BuildFailed>, Failure> {
    let mut control = ControlClient::with_origin(line, Line::origin())
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut watching = control.clone();
    let id = ask.order.id.clone();
    let watch = async {
        let asked = watching.status(Request::new(pb::StatusRequest { r#ref: id })).await;
        // A build that was refused before it began has nothing to tell.
        let Ok(news) = asked else { return Ok(()) };
        let mut news = news.into_inner();
        while let Ok(Some(response)) = news.message().await {
            screen.take(&status(&response))?;
        }
        Ok::<_, Failure>(())
    };
    let work = async {
        let answer = control.solve(Request::new(request(&ask.order, ask.archive))).await;
        answer.map(tonic::Response::into_inner)
    };
    // What is told ends when the build does, shortly before or after its outcome comes.
    let solved = tokio::select! {
        (solved, shown) = async { tokio::join!(work, watch) } => {
            shown?;
            solved
        }
        () = screen.redrawing() => return Err(Failure::silent(1)),
    };
    Ok(match solved {
        Ok(answer) => {
            let answers = answer.exporter_response;
            let id = answers
                .get("containerimage.config.digest")
                .or_else(|| answers.get("containerimage.digest"));
            Ok(BuildDone {
                images: id.cloned().into_iter().collect(),
                answers: answers.into_iter().collect(),
            })
        }
        Err(status) if status.code() == Code::Cancelled => {
            Err(BuildFailed { message: "context canceled".to_owned(), ..BuildFailed::default() })
        }
        Err(status) => Err(BuildFailed {
            excerpt: excerpt(&status),
            step: screen.failed_step(),
            message: status.message().to_owned(),
            code: None,
        }),
    })
}

/// Names in their layouts what the build has put there.
fn name_results(
    ask: &Ask,
    offer: &Offer,
    answers: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::new(format!("read what the daemon says of a result: {error}"))
    };
    if let Some(json) = answers.get("cache.manifest") {
        let entry: Descriptor = serde_json::from_str(json).map_err(unreadable)?;
        for cache in ask.order.cache_to.iter().filter(|cache| cache.kind == "local") {
            let attr = |name: &str| cache.attrs.get(name).map(String::as_str).unwrap_or_default();
            let tag = if attr("tag").is_empty() { "latest" } else { attr("tag") };
            if let Some(dir) = offer.store(&format!("local:{}", attr("dest")), 0) {
                stores::name(dir, &entry, &[tag])?;
            }
        }
    }
    let described = answers.get("containerimage.descriptor");
    if let Some(json) = described.and_then(|text| base64::decode(text)) {
        let entry: Descriptor = serde_json::from_slice(&json).map_err(unreadable)?;
        let names = answers.get("image.name").map_or("latest", String::as_str);
        let names: Vec<&str> = names.split(',').collect();
        for (number, output) in ask.order.outputs.iter().enumerate() {
            if let Some(dir) = offer.store("export", number).filter(|_| output.kind == "oci") {
                stores::name(dir, &entry, &names)?;
            }
        }
    }
    Ok(())
}

/// The order in BuildKit's words.
fn request(order: &BuildOrder, archive: bool) -> pb::SolveRequest {
    let entry = |typed: &Typed| pb::CacheOptionsEntry {
        r#type: typed.kind.clone(),
        attrs: typed.attrs.clone().into_iter().collect(),
    };
    let exporter = |output: &Typed| pb::Exporter {
        r#type: match output.kind.as_str() {
            // What a daemon keeps for itself is called after the first of them.
            "image" => "moby".to_owned(),
            kind => kind.to_owned(),
        },
        attrs: output.attrs.clone().into_iter().collect(),
    };
    let exporters: Vec<_> = order.outputs.iter().map(exporter).collect();
    let first = exporters.first().cloned().unwrap_or_default();
    let mut attrs: HashMap<_, _> = order.attrs.clone().into_iter().collect();
    if archive {
        attrs.insert("context".to_owned(), serve::ARCHIVE.to_owned());
    }
    if order.dockerfile.is_some() {
        attrs.insert("dockerfilekey".to_owned(), "dockerfile".to_owned());
        attrs.insert("filename".to_owned(), "Dockerfile".to_owned());
    }
    pb::SolveRequest {
        r#ref: order.id.clone(),
        session: order.id.clone(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs,
        cache: Some(pb::CacheOptions {
            imports: order.cache_from.iter().map(entry).collect(),
            exports: order.cache_to.iter().map(entry).collect(),
            ..pb::CacheOptions::default()
        }),
        entitlements: order.allow.clone(),
        // Daemons of old know only one.
        exporter_deprecated: first.r#type,
        exporter_attrs_deprecated: first.attrs,
        exporters,
        enable_session_exporter: order.handings.iter().any(is_place),
        ..pb::SolveRequest::default()
    }
}

fn is_place(handing: &HandingOrder) -> bool {
    matches!(handing, HandingOrder::OutputDirectory { .. } | HandingOrder::OutputFile { .. })
}

/// Names this host's directory, so that the daemon knows what it was sent before.
fn shared_key(ask: &Ask) -> String {
    let Some(context) = &ask.context else { return String::new() };
    let host = ["/etc/machine-id", "/proc/sys/kernel/hostname"];
    let host = host.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let path = context.canonicalize().unwrap_or_else(|_| context.clone());
    let mut hash = Sha256::new();
    hash.update(host.trim().as_bytes());
    hash.update([0]);
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory of our own that goes when the build is over.
struct Scratch(PathBuf);

impl Scratch {
    /// With one file in it.
    fn with_file(id: &str, name: &str, text: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("estiba-build-{id}-{name}"));
        let failed = |error| Failure::new(format!("make {}: {error}", path.display()));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(failed)?;
        let scratch = Self(path.clone());
        std::fs::write(path.join(name), text).map_err(failed)?;
        Ok(scratch)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing else can be done about what cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_in_the_protocols_words() {
        let image = Typed { kind: "image".to_owned(), attrs: BTreeMap::new() };
        let order = BuildOrder {
            id: "i".to_owned(),
            attrs: BTreeMap::from([("target".to_owned(), "t".to_owned())]),
            outputs: vec![image],
            dockerfile: Some("FROM scratch".to_owned()),
            allow: vec!["network.host".to_owned()],
            ..BuildOrder::default()
        };
        let request = request(&order, false);
        assert_eq!(request.exporters[0].r#type, "moby");
        assert_eq!(request.exporter_deprecated, "moby");
        assert_eq!(request.frontend_attrs["filename"], "Dockerfile");
        assert_eq!((request.r#ref.as_str(), request.session.as_str()), ("i", "i"));
        assert!(!request.enable_session_exporter);
        let sent = super::request(&order, true);
        assert!(sent.frontend_attrs["context"].starts_with("http://buildkit-session/"));
    }
}
