//! From a request to the engine's builder and back: the definition is decoded, the session found,
//! the progress told, the outcome put into the client's words.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use bollard_buildkit_proto::pb as ops;
use build::platform::Platform;
use build::progress::Progress;
use build::request::{Definition, Outcome, Output, SolveRequest, Target};
use build::{Error, Result};
use model::Denied;
use tonic::Status;

use super::control::Control;
use super::history::Draft;
use super::jobs::Job;
use super::offer::Offer;
use super::request::Attrs;
use super::session::is_id;
use super::{fault, llb, request, results};

/// The most exporters of one build.
const MAX_EXPORTERS: usize = 64;

/// What is built, before anything of it is decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The front end; empty for LLB.
    pub frontend: String,
    /// Its attributes.
    pub attrs: Attrs,
    /// LLB, if there is no front end.
    pub definition: Option<ops::Definition>,
    /// The image's configuration for LLB, as a client gives it.
    pub config: Option<Vec<u8>>,
}

/// `Control.Solve`: what the exporters answer.
pub(super) async fn control(
    control: &Control,
    asked: pb::SolveRequest,
) -> Result<HashMap<String, String>, Status> {
    let status = |error: Error| fault::status(&error);
    if !is_id(&asked.r#ref) {
        return Err(Status::invalid_argument(format!("invalid build id {:?}", asked.r#ref)));
    }
    let job = Job::begin(&control.kit, &asked.r#ref)
        .map_err(|busy| Status::already_exists(busy.to_string()))?;
    let session = control.kit.sessions.find(&asked.session).await;
    let session = session
        .ok_or_else(|| Status::not_found(format!("no active session for {}", asked.session)))?;
    let exporters = exporters(&asked);
    let outputs = outputs(&exporters).map_err(status)?;
    let entitlements = request::entitlements(&asked.entitlements).map_err(status)?;
    let refused = |failure: crate::failure::Failure| Status::permission_denied(failure.message);
    control.guard.build(entitlements).map_err(refused)?;
    let cache = asked.cache.clone();
    let wanted = match (asked.frontend.is_empty(), asked.definition) {
        // The client drives the build itself: it says later, over the gateway, what is built.
        (true, None) => control.kit.gateway.wait(&asked.r#ref, &session).await?,
        (_, definition) => Wanted {
            frontend: asked.frontend,
            attrs: asked.frontend_attrs,
            definition,
            config: None,
        },
    };
    let story = job.story();
    let solve = SolveRequest {
        id: asked.r#ref,
        definition: definition(&wanted).map_err(status)?,
        outputs: outputs.clone(),
        cache_from: results::cache_from(cache.as_ref(), &wanted.attrs),
        cache_to: results::cache_to(cache.as_ref(), &wanted.attrs).map_err(status)?,
        attest: results::attestations(&wanted.attrs).map_err(status)?,
        entitlements,
        no_cache: request::no_cache(&wanted.attrs),
        network_name: String::new(),
        source_date_epoch: request::epoch(&wanted.attrs).map_err(status)?,
        review: control.guard.images(),
        client: Arc::new(Offer::new(Arc::clone(&session), control.engine.clone(), None)),
        progress: Progress::new(move |event| story.tell(event)),
    };
    // What a client asks for its own purposes is no build of its user's.
    let begin = || Draft::begin(&control.engine, &job, &wanted.frontend, &wanted.attrs);
    let draft = (!asked.internal).then(begin);
    let outcome = tokio::select! {
        outcome = control.engine.builds.solve(solve) => outcome,
        () = session.gone() => Err(Error::Cancelled),
    };
    drop(job);
    let outcome = outcome.map(|outcome| answers(outcome, &outputs));
    if let Some(draft) = draft {
        draft.end(outcome.as_ref().cloned().map_err(ToString::to_string));
    }
    outcome.map_err(status)
}

/// The exporters of a request, with the form that older clients use.
fn exporters(asked: &pb::SolveRequest) -> Vec<pb::Exporter> {
    if asked.exporters.is_empty() && !asked.exporter_deprecated.is_empty() {
        let attrs = asked.exporter_attrs_deprecated.clone();
        return vec![pb::Exporter { r#type: asked.exporter_deprecated.clone(), attrs }];
    }
    asked.exporters.clone()
}

fn outputs(exporters: &[pb::Exporter]) -> Result<Vec<Output>> {
    if exporters.len() > MAX_EXPORTERS {
        return Err(Error::invalid(format!("more than {MAX_EXPORTERS} outputs")));
    }
    let outputs = exporters.iter().map(|e| results::output(&e.r#type, &e.attrs));
    Ok(outputs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Decodes what is built.
pub(super) fn definition(wanted: &Wanted) -> Result<Definition> {
    let host = Platform::of_this_build();
    if !wanted.frontend.is_empty() {
        request::check_frontend(&wanted.frontend, &wanted.attrs)?;
        let build = Box::new(request::dockerfile(&wanted.attrs, host)?);
        return Ok(match request::question(&wanted.attrs)? {
            Some(call) => Definition::Question(call, build),
            None => Definition::Dockerfile(build),
        });
    }
    let definition = wanted.definition.clone().unwrap_or_default();
    let decoded = llb::decode(&definition)
        .map_err(|error| Error::Denied(Denied::invalid(error.to_string())))?;
    let config = match &wanted.config {
        None => None,
        Some(json) => Some(serde_json::from_slice(json).map_err(|error| {
            Error::invalid(format!("read the configuration of the image: {error}"))
        })?),
    };
    let target = Target { platform: host, edge: decoded.target, config, scans: Vec::new() };
    Ok(Definition::Graph { graph: Arc::new(decoded.graph), targets: vec![target] })
}

/// What a build came to, in the words of BuildKit's exporters.
fn answers(outcome: Outcome, outputs: &[Output]) -> HashMap<String, String> {
    let mut answers: HashMap<String, String> = outcome.answers.into_iter().collect();
    if let Some(image) = outcome.images.first() {
        let id = image.id.to_string();
        let digest = image.manifest.map_or_else(|| id.clone(), |digest| digest.to_string());
        answers.entry("containerimage.config.digest".to_owned()).or_insert(id);
        answers.entry("containerimage.digest".to_owned()).or_insert(digest);
    }
    let names = outputs.iter().find_map(|output| match output {
        Output::Image { names, .. } if !names.is_empty() => Some(names),
        _ => None,
    });
    if let Some(names) = names {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        answers.entry("image.name".to_owned()).or_insert_with(|| names.join(","));
    }
    answers
}
