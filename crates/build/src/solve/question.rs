//! A question about a Dockerfile: the file is read as for a build, and answered for instead of
//! being built. No step runs and no layer is fetched.

use super::run::Build;
use super::{Act, front};
use crate::call::{Answer, Call, describe, lint, outline, targets};
use crate::dockerfile::Dockerfile;
use crate::dockerfile_build::DockerfileBuild;
use crate::error::{Error, Result};
use crate::frontend::{
    self, ImageNeed, KnownImage, KnownImages, PlanError, PlanOptions, Planning, Warning,
};
use crate::platform::Platform;
use crate::span::Location;
use crate::worker::ImageAsk;
use std::sync::Arc;
use wire::oci::image::ImageConfig;

/// How often the front end may ask for further images.
const MAX_ROUNDS: usize = 64;

/// Answers.
pub(super) async fn answer(
    build: &Arc<Build>,
    call: Call,
    request: DockerfileBuild,
) -> Result<Answer> {
    if call == Call::Describe {
        return Ok(describe());
    }
    let DockerfileBuild { dockerfile, remote, mut options } = request;
    if let Some(address) = remote {
        options.context = front::remote_context(&address)?;
    }
    let file = match front::load(build, &dockerfile, &mut options).await {
        Ok(file) => file,
        Err(error) => return unreadable(call, error),
    };
    match call {
        Call::Lint => Ok(check(build, &file, options).await),
        Call::Outline => {
            let found = frontend::outline(&file, &options);
            Ok(outline(&file, &found.map_err(front::located_error)?))
        }
        Call::Targets => Ok(targets(&file)),
        Call::Describe => Ok(describe()),
    }
}

/// What cannot be parsed is something a check finds, if it is there.
fn unreadable(call: Call, error: Error) -> Result<Answer> {
    match (call, error.location()) {
        (Call::Lint, Some(location)) => {
            let message = error.root().to_string();
            Ok(lint(&location.source, &[], Some((&message, Some(location)))))
        }
        _ => Err(error),
    }
}

async fn check(build: &Arc<Build>, file: &Dockerfile, mut options: PlanOptions) -> Answer {
    options.all_stages = options.target.is_none();
    let (warnings, error) = match checked(build, file, &options).await {
        Ok(warnings) => (warnings, None),
        Err(PlanError { message, location, warnings, .. }) => (warnings, Some((message, location))),
    };
    let error = error.as_ref().map(|(message, location)| (message.as_str(), location.as_ref()));
    lint(&file.source, &warnings, error)
}

async fn checked(
    build: &Arc<Build>,
    file: &Dockerfile,
    options: &PlanOptions,
) -> std::result::Result<Vec<Warning>, PlanError> {
    let mut known = KnownImages::new();
    for _ in 0..MAX_ROUNDS {
        match frontend::plan(file, options, &known)? {
            Planning::Done(plan) => return Ok(plan.warnings),
            Planning::Needs(needs) => {
                for need in needs.into_keys() {
                    let image = image(build, options, &need).await;
                    known.insert(need, image);
                }
            }
        }
    }
    Err(PlanError {
        kind: model::ErrorKind::Invalid,
        message: "the Dockerfile's triggers name images without end".to_owned(),
        location: None::<Location>,
        warnings: Vec::new(),
    })
}

/// What is known of an image. One that cannot be had is taken for an image that says nothing:
/// a check needs no network.
async fn image(build: &Arc<Build>, options: &PlanOptions, need: &ImageNeed) -> KnownImage {
    let unknown = || KnownImage {
        reference: need.reference.clone(),
        platform: need.platform.clone(),
        config: ImageConfig {
            os: need.platform.os.clone(),
            architecture: need.platform.architecture.clone(),
            ..ImageConfig::default()
        },
    };
    if need.layout.is_some() {
        return unknown();
    }
    let allowed = |name| build.allow(&name).is_ok();
    if !model::ImageRef::parse(&need.reference).is_ok_and(allowed) {
        return unknown();
    }
    let act = Act::begin(build, &format!("[internal] load metadata for {}", need.reference));
    let ask = ImageAsk {
        reference: &need.reference,
        platform: &need.platform,
        pull: options.pull,
        client: &*build.client,
        progress: &|_, _, _| {},
    };
    let found = act.end(build.inner.worker.config(ask).await);
    let Ok(found) = found else { return unknown() };
    let Ok(config) = serde_json::from_slice::<ImageConfig>(&found.config) else {
        return unknown();
    };
    let variant = config.variant.as_deref().unwrap_or_default();
    let platform = Platform::new(&config.os, &config.architecture, variant);
    KnownImage { reference: need.reference.clone(), platform, config }
}
