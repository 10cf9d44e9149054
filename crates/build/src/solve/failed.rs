//! What a step that failed has left, kept as an image to look around in when a build asks for it by
//! the argument `ESTIBA_KEEP_FAILED=NAME`. Any client can ask so; whoever does not leaves nothing.

use super::run::Build;
use super::{blocking, now};
use crate::error::{Error, Result};
use crate::graph::{Exec, Op};
use crate::progress::{Event, Stream};
use bytes::Bytes;
use model::{Digest, ImageRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::record::Durability;
use wire::oci::image::{ImageConfig, RootFs, RunConfig};

/// The argument.
pub(crate) const ARGUMENT: &str = "ESTIBA_KEEP_FAILED";

/// The name that a build asks for.
///
/// # Errors
/// It is no name of an image.
pub(super) fn name(build_args: &BTreeMap<String, String>) -> Result<Option<ImageRef>> {
    match build_args.get(ARGUMENT).filter(|name| !name.is_empty()) {
        Some(name) => Ok(Some(ImageRef::parse(name)?.or_latest())),
        None => Ok(None),
    }
}

/// Keeps the file system of a step that failed, if that is wanted, and says so in its output.
pub(super) async fn keep(
    build: &Arc<Build>,
    op: &Op,
    exec: &Exec,
    layers: Vec<Digest>,
) -> Result<()> {
    let Some(name) = build.keep_failed.clone() else { return Ok(()) };
    let config = serde_json::to_vec(&config(build, op, exec, &layers)).map_err(Error::internal)?;
    let (keeping, naming) = (Arc::clone(build), name.clone());
    blocking(move || {
        let images = keeping.inner.store.images();
        let (id, _) = images.put_built(&keeping.lease, &config, Durability::Relaxed)?;
        Ok(images.tag(&id.to_string(), &naming)?)
    })
    .await?;
    let name = name.familiar();
    let text = format!("what this step left is the image {name}: run -it --rm {name} sh\n");
    let (vertex, stream) = (op.digest(), Stream::Stderr);
    build.tell(Event::Log { vertex, stream, data: Bytes::from(text), at: now() });
    Ok(())
}

/// What the step had around it, without its secrets.
fn config(build: &Build, op: &Op, exec: &Exec, layers: &[Digest]) -> ImageConfig {
    let here = build.inner.worker.platforms().into_iter().next();
    let platform = op.platform.clone().or(here);
    let platform = platform.unwrap_or_else(crate::platform::Platform::of_this_build);
    ImageConfig {
        os: platform.os,
        architecture: platform.architecture,
        variant: Some(platform.variant).filter(|variant| !variant.is_empty()),
        config: RunConfig {
            env: Some(exec.env.clone()),
            working_dir: exec.cwd.clone(),
            user: exec.user.clone(),
            cmd: Some(exec.args.clone()),
            ..RunConfig::default()
        },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: layers.iter().map(Digest::to_string).collect(),
        },
        ..ImageConfig::default()
    }
}
