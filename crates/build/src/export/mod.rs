//! What becomes of results: images of this node, archives, directories. Everything that an image's
//! documents say follows from the graph and the request, so that the same build gives the same
//! image.

mod image;
mod stream;

use crate::error::{Error, Result};
use crate::files;
use crate::platform::Platform;
use crate::request::{BuiltImage, Outcome, Output, Target};
use crate::solve::{Act, Build, blocking};
use crate::tree::Tree;
use crate::worker::Push;
use model::{Digest, ImageId, ImageRef};
use std::sync::Arc;

/// Answers under which clients look for the image's digest.
const CONFIG_DIGEST: &str = "containerimage.config.digest";
const IMAGE_DIGEST: &str = "containerimage.digest";
const IMAGE_NAME: &str = "image.name";

/// A result that is layers now.
struct Settled<'a> {
    target: &'a Target,
    layers: Vec<Digest>,
    image: Option<ImageId>,
}

/// Gives each output its results.
pub(crate) async fn export(
    build: &Arc<Build>,
    targets: &[Target],
    trees: Vec<Tree>,
    outputs: Vec<Output>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if outputs.is_empty() {
        return Ok(outcome);
    }
    let mut settled = Vec::with_capacity(targets.len());
    for (target, tree) in targets.iter().zip(trees) {
        let (store, lease) = (build.inner.store.clone(), Arc::clone(&build.lease));
        let options = build.layer_options();
        let tree = blocking(move || files::as_layers(&store, &lease, tree, options)).await?;
        let layers = tree.layers().unwrap_or_default().to_vec();
        settled.push(Settled { target, layers, image: None });
    }
    for (number, output) in outputs.iter().enumerate() {
        let act = Act::begin(build, title(output));
        let done = one(build, number, output, &mut settled, &mut outcome).await;
        act.end(done)?;
    }
    Ok(outcome)
}

fn title(output: &Output) -> &'static str {
    match output {
        Output::Image { push: true, .. } => "exporting and pushing image",
        Output::Image { .. } => "exporting to image",
        Output::Local { .. } => "exporting to client directory",
        Output::Tar => "exporting to client tarball",
        Output::Oci { .. } => "exporting to oci image format",
        Output::Docker { .. } => "exporting to docker image format",
    }
}

async fn one(
    build: &Arc<Build>,
    number: usize,
    output: &Output,
    settled: &mut [Settled<'_>],
    outcome: &mut Outcome,
) -> Result<()> {
    match output {
        Output::Image { names, push, insecure, .. } => {
            make_images(build, settled, outcome).await?;
            let image = only_image(settled)?;
            name(build, image, names).await?;
            if let Some(first) = names.first() {
                let all: Vec<String> = names.iter().map(ToString::to_string).collect();
                outcome.answers.insert(IMAGE_NAME.to_owned(), all.join(","));
                tracing::debug!(name = %first, "image built");
            }
            if *push {
                push_all(build, image, names, *insecure, outcome).await?;
            }
            Ok(())
        }
        Output::Local { platform_split } => local(build, number, settled, *platform_split).await,
        Output::Tar => stream::tar(build, number, only(settled)?.layers.clone()).await,
        Output::Oci { names, tar: true, .. } | Output::Docker { names } => {
            make_images(build, settled, outcome).await?;
            stream::archive(build, number, only_image(settled)?, names.clone()).await
        }
        Output::Oci { tar: false, .. } => {
            Err(Error::unsupported("OCI layouts as directories are not supported: use tar=true"))
        }
    }
}

fn only<'s, 't>(settled: &'s [Settled<'t>]) -> Result<&'s Settled<'t>> {
    match settled {
        [one] => Ok(one),
        _ => Err(Error::unsupported(
            "this output takes one platform; several are only written to directories",
        )),
    }
}

fn only_image(settled: &[Settled<'_>]) -> Result<ImageId> {
    only(settled)?.image.ok_or_else(|| Error::internal("no image was made"))
}

/// Makes the images of all results that have none yet.
async fn make_images(
    build: &Arc<Build>,
    settled: &mut [Settled<'_>],
    outcome: &mut Outcome,
) -> Result<()> {
    for result in settled.iter_mut().filter(|result| result.image.is_none()) {
        let (target, layers) = (result.target.clone(), result.layers.clone());
        let making = Arc::clone(build);
        let id = blocking(move || image::make(&making, &target, &layers)).await?;
        result.image = Some(id);
        outcome.answers.insert(CONFIG_DIGEST.to_owned(), id.to_string());
        outcome.answers.entry(IMAGE_DIGEST.to_owned()).or_insert_with(|| id.to_string());
        let platform = result.target.platform.clone();
        outcome.images.push(BuiltImage { platform, id, manifest: None });
    }
    Ok(())
}

async fn name(build: &Arc<Build>, image: ImageId, names: &[ImageRef]) -> Result<()> {
    let (store, names) = (build.inner.store.clone(), names.to_vec());
    blocking(move || {
        for name in &names {
            store.images().tag(&image.to_string(), name)?;
        }
        Ok(())
    })
    .await
}

async fn push_all(
    build: &Arc<Build>,
    image: ImageId,
    names: &[ImageRef],
    insecure: bool,
    outcome: &mut Outcome,
) -> Result<()> {
    let progress = |_: &str, _: u64, _: u64| ();
    for name in names {
        let push = Push { image, name, insecure, client: &*build.client, progress: &progress };
        let digest = build.inner.worker.push(push).await?;
        outcome.answers.insert(IMAGE_DIGEST.to_owned(), digest.to_string());
        if let Some(built) = outcome.images.iter_mut().find(|built| built.id == image) {
            built.manifest = Some(digest);
        }
    }
    Ok(())
}

/// The files as a directory: one platform's, or several in directories of their own.
async fn local(
    build: &Arc<Build>,
    number: usize,
    settled: &[Settled<'_>],
    split: bool,
) -> Result<()> {
    if let ([one], false) = (settled, split) {
        let (store, layers) = (build.inner.store.clone(), one.layers.clone());
        let dir = blocking(move || Ok(store.view(&layers)?)).await?;
        return build.client.directory(number, dir).await;
    }
    let store = build.inner.store.clone();
    let parts: Vec<(Platform, Vec<Digest>)> =
        settled.iter().map(|it| (it.target.platform.clone(), it.layers.clone())).collect();
    let dir = blocking(move || {
        let dir = store.temp_dir()?;
        for (platform, layers) in parts {
            let name = platform.to_string().replace('/', "_");
            let into = dir.path().join(name);
            std::fs::create_dir(&into)
                .map_err(|source| Error::io("make a platform's directory", source))?;
            files::fill(&store, &Tree::Layers(layers.into()), "/", &into)?;
        }
        Ok(dir)
    })
    .await?;
    let open = dir.dir().try_clone().map_err(|source| Error::io("open a result", source))?;
    build.client.directory(number, open).await
}
