//! From a request to the engine's builder and back: the definition is decoded, the session found,
//! the progress told, the outcome put into the client's words.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use bollard_buildkit_proto::pb as ops;
use build::platform::Platform;
use build::progress::Progress;
use build::request::{Definition, Outcome, Output, Target};
use build::{Error, Result};
use model::Denied;
use tonic::Status;

use super::control::Control;
use super::history::Draft;
use super::jobs::Job;
use super::offer::Offer;
use super::plan::Plan;
use super::request::Attrs;
use super::session::is_id;
use super::{fault, llb, request};

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

impl Wanted {
    /// What a request says; `None` when it leaves that for the gateway.
    fn of(asked: pb::SolveRequest) -> Option<Self> {
        if asked.frontend.is_empty() && asked.definition.is_none() {
            return None;
        }
        Some(Self {
            frontend: asked.frontend,
            attrs: asked.frontend_attrs,
            definition: asked.definition,
            config: None,
        })
    }
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
    let entitlements = request::entitlements(&asked.entitlements).map_err(status)?;
    let refused = |failure: crate::failure::Failure| Status::permission_denied(failure.message);
    control.guard.build(entitlements).map_err(refused)?;
    let cache = asked.cache.clone();
    let (id, internal) = (asked.r#ref.clone(), asked.internal);
    let wanted = match Wanted::of(asked) {
        Some(wanted) => wanted,
        // The client drives the build itself: it says later, over the gateway, what is built.
        None => control.kit.gateway.wait(&id, &session).await?,
    };
    let plan = Plan::new(&wanted, &exporters, cache.as_ref()).map_err(status)?;
    let outputs = plan.outputs.clone();
    let story = job.story();
    let client = Arc::new(Offer::new(Arc::clone(&session), control.engine.clone(), None));
    let mut solve = plan.request(id, client, Progress::new(move |event| story.tell(event)));
    solve.entitlements = entitlements;
    solve.review = control.guard.images();
    // What a client asks for its own purposes is no build of its user's.
    let begin = || Draft::begin(&control.engine, &job, &wanted.frontend, &wanted.attrs);
    let draft = (!internal).then(begin);
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

/// Parses a request as [`control`] does, and leaves it at that: for fuzzers.
///
/// # Errors
/// It makes no sense.
pub(crate) fn parse(asked: pb::SolveRequest) -> Result<()> {
    let (exporters, cache) = (exporters(&asked), asked.cache.clone());
    request::entitlements(&asked.entitlements)?;
    let wanted = Wanted::of(asked).unwrap_or_default();
    Plan::new(&wanted, &exporters, cache.as_ref()).map(drop)
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
