//! What becomes of results: images of this node, archives, directories, and caches. Everything that
//! an image's documents say follows from the graph and the request, so that the same build gives
//! the same image.
//!
//! ```text
//! file systems ─▶ layers ─▶ image (configuration) ─▶ artifact: manifests, index, attestations
//!                   │                                   ├─▶ registry
//!                   └─▶ directory, tar                  ├─▶ OCI layout, as tar or directory
//!                                                       └─▶ this node's store
//! ```

mod artifact;
mod attest;
mod image;
mod sbom;
mod sinks;
mod stream;

use crate::attest::Attestations;
use crate::cache::remote;
use crate::error::{Error, Result};
use crate::files;
use crate::graph::Graph;
use crate::request::{BuiltImage, CacheTarget, Form, Outcome, Output, Push, Target};
use crate::solve::{Act, Build, blocking};
use crate::tree::Tree;
use artifact::Artifact;
use model::{Digest, ImageId, ImageRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::oci::image::{Descriptor, media};

/// Answers under which clients look for the image's digest.
const CONFIG_DIGEST: &str = "containerimage.config.digest";
const IMAGE_DIGEST: &str = "containerimage.digest";
const IMAGE_DESCRIPTOR: &str = "containerimage.descriptor";
const IMAGE_NAME: &str = "image.name";
/// Parts of an exporter's work, as clients know them.
const LAYERS: &str = "exporting layers";
const SENDING: &str = "sending tarball";

/// What is left to be done with the results.
pub(crate) struct Export {
    pub(crate) graph: Arc<Graph>,
    pub(crate) targets: Vec<Target>,
    /// The file systems of all targets, as [`Target::edges`] has them.
    pub(crate) trees: Vec<Tree>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) cache_to: Vec<CacheTarget>,
    pub(crate) attest: Attestations,
    /// An index is wanted, even around one image.
    pub(crate) index: bool,
    /// What the build was asked for, for its provenance.
    pub(crate) asked: attest::Asked,
}

pub(crate) use attest::Asked;

/// A result that is layers now.
struct Settled {
    target: Target,
    layers: Vec<Digest>,
    image: Option<ImageId>,
    /// What is scanned beside it, by name.
    scans: Vec<(String, Vec<Digest>)>,
    /// What is said about it: type of the predicate, and the predicate.
    predicates: Vec<(&'static str, serde_json::Value)>,
}

/// Everything that exporters share.
struct Work {
    settled: Vec<Settled>,
    outcome: Outcome,
    /// An index is wanted, even around one image.
    index: bool,
    /// Steps for an inline cache, if one is wanted.
    inline: Option<Vec<remote::Step>>,
    /// Images that this build has added to the store.
    added: Vec<ImageId>,
}

impl Export {
    /// Gives each output its results.
    pub(crate) async fn run(self, build: &Arc<Build>) -> Result<Outcome> {
        let mut work = Work {
            settled: Vec::new(),
            outcome: Outcome::default(),
            index: self.index,
            inline: None,
            added: Vec::new(),
        };
        if self.outputs.is_empty() && self.cache_to.is_empty() {
            return Ok(work.outcome);
        }
        let mut trees = self.trees.into_iter();
        for target in self.targets {
            let layers = layered(build, trees.next()).await?;
            let mut scans = Vec::new();
            for scan in &target.scans {
                scans.push((scan.name.clone(), layered(build, trees.next()).await?));
            }
            let predicates = Vec::new();
            work.settled.push(Settled { target, layers, image: None, scans, predicates });
        }
        let results: Vec<_> = work.settled.iter().map(|it| it.layers.clone()).collect();
        if self.cache_to.contains(&CacheTarget::Inline) {
            work.inline = Some(remote::steps(build, &results, false));
        }
        if self.attest.any() && self.outputs.iter().any(is_image) {
            attest::predicates(build, &self.attest, &self.asked, &self.graph, &mut work.settled)
                .await?;
            work.index = true;
        }
        work.index |= work.settled.len() > 1;
        for (number, output) in self.outputs.iter().enumerate() {
            let act = Act::begin(build, title(output));
            let done = work.one(build, (number, output), &act).await;
            act.end(done)?;
        }
        let answers = remote::exports(build, &self.cache_to, &results).await?;
        work.outcome.answers.extend(answers);
        if !self.outputs.iter().any(stays) {
            let (store, added) = (build.inner.store.clone(), std::mem::take(&mut work.added));
            let withdraw = move |id| Ok(store.images().withdraw(id)?);
            blocking(move || added.into_iter().try_for_each(withdraw)).await?;
        }
        Ok(work.outcome)
    }
}

/// The layers of a file system, all of them here; a directory becomes one.
async fn layered(build: &Arc<Build>, tree: Option<Tree>) -> Result<Vec<Digest>> {
    let tree = tree.ok_or_else(|| Error::internal("a result has no file system"))?;
    if let Some(layers) = tree.layers() {
        build.fetch(layers).await?;
        return Ok(layers.to_vec());
    }
    let (store, lease) = (build.inner.store.clone(), Arc::clone(&build.lease));
    let options = build.layer_options();
    let tree = blocking(move || files::as_layers(&store, &lease, tree, options)).await?;
    Ok(tree.layers().unwrap_or_default().to_vec())
}

fn is_image(output: &Output) -> bool {
    matches!(output, Output::Image { .. } | Output::Oci { .. } | Output::Docker { .. })
}

/// Whether it leaves an image on this node; others make one to have something to send.
fn stays(output: &Output) -> bool {
    matches!(output, Output::Image { store: true, .. })
}

fn title(output: &Output) -> &'static str {
    match output {
        Output::Image { push: Push::Named | Push::ByDigest, .. } => "exporting and pushing image",
        Output::Image { .. } => "exporting to image",
        Output::Local { .. } => "exporting to client directory",
        Output::Tar { .. } => "exporting to client tarball",
        Output::Oci { .. } => "exporting to oci image format",
        Output::Docker { .. } => "exporting to docker image format",
    }
}

impl Work {
    async fn one(
        &mut self,
        build: &Arc<Build>,
        (number, output): (usize, &Output),
        act: &Act<'_>,
    ) -> Result<()> {
        match output {
            Output::Image { names, push, store, form } => {
                self.image(build, names, (*push, *store), (form, act)).await
            }
            Output::Local { platform_split } => {
                let layers = self.files(build, *platform_split).await?;
                let store = build.inner.store.clone();
                let dir = blocking(move || Ok(store.view(&layers)?)).await?;
                act.part("copying files", build.client.directory(number, dir)).await
            }
            Output::Tar { platform_split } => {
                let layers = self.files(build, *platform_split).await?;
                act.part(SENDING, stream::tar(build, number, layers)).await
            }
            Output::Oci { names, tar, form } => {
                self.make_images(build, false).await?;
                let making = Artifact::make(build, &self.settled, form, self.index, None);
                let artifact = act.part(LAYERS, making).await?;
                self.tell_artifact(&artifact)?;
                self.tell_names(names);
                match tar {
                    true => {
                        let sending = sinks::archive(build, number, artifact, names);
                        act.part(SENDING, sending).await
                    }
                    false => sinks::directory(build, number, artifact, names).await,
                }
            }
            Output::Docker { names, .. } => {
                self.make_images(build, false).await?;
                let [only] = self.settled.as_slice() else {
                    return Err(Error::unsupported(
                        "docker exporter does not currently support exporting manifest lists",
                    ));
                };
                let image = only.image.ok_or_else(|| Error::internal("no image was made"))?;
                self.tell_names(names);
                act.part(SENDING, stream::archive(build, number, image, names.clone())).await
            }
        }
    }

    /// An image of this node's, of registries, or both.
    async fn image(
        &mut self,
        build: &Arc<Build>,
        names: &[ImageRef],
        (push, store): (Push, bool),
        (form, act): (&Form, &Act<'_>),
    ) -> Result<()> {
        let named = store && push == Push::No && !names.is_empty();
        act.part(LAYERS, self.make_images(build, named)).await?;
        if push != Push::No && names.is_empty() {
            return Err(Error::invalid("an image that is pushed needs a name"));
        }
        // A plain image that stays here gets its manifest when it is pushed: packing takes time.
        let plain = form.annotations.is_empty() && !form.packing_asked && !form.docker_types;
        let artifact = match push == Push::No && plain && !self.index {
            true => None,
            false => {
                let held = names.first().filter(|_| push != Push::No);
                Some(Artifact::make(build, &self.settled, form, self.index, held).await?)
            }
        };
        let own = self.own(build);
        if let Some(artifact) = &artifact {
            self.tell_artifact(artifact)?;
            for name in names.iter().filter(|_| push != Push::No) {
                let title = format!("pushing {name}@{}", artifact.top.digest);
                act.part(&title, sinks::push(build, artifact, (name, push == Push::ByDigest)))
                    .await?;
            }
            if store {
                sinks::keep(build, artifact, own, names, push != Push::No).await?;
            }
        }
        if let (true, Some(image)) = (store, own) {
            act.part(&format!("writing image {image}"), std::future::ready(Ok(()))).await?;
            for name in names {
                let (store, name) = (build.inner.store.clone(), name.clone());
                let title = format!("naming to {}", name.clone().or_latest());
                let naming = move || Ok(store.images().tag(&image.to_string(), &name)?);
                act.part(&title, blocking(naming)).await?;
            }
        }
        self.tell_names(names);
        Ok(())
    }

    fn tell_names(&mut self, names: &[ImageRef]) {
        if !names.is_empty() {
            let all: Vec<String> = names.iter().map(ToString::to_string).collect();
            self.outcome.answers.insert(IMAGE_NAME.to_owned(), all.join(","));
        }
    }

    /// The image that has the names here: the one that runs here, else the first.
    fn own(&self, build: &Build) -> Option<ImageId> {
        let host = build.inner.worker.platforms().into_iter().next();
        let fits =
            |it: &&Settled| host.as_ref().is_some_and(|host| it.target.platform.serves(host));
        self.settled.iter().find(fits).or(self.settled.first())?.image
    }

    /// Makes the images of all results that have none yet; they last when they are `named`.
    async fn make_images(&mut self, build: &Arc<Build>, named: bool) -> Result<()> {
        for result in self.settled.iter_mut().filter(|result| result.image.is_none()) {
            let (target, layers) = (result.target.clone(), result.layers.clone());
            let (making, inline) = (Arc::clone(build), self.inline.clone());
            let made = move || image::make(&making, &target, &layers, inline.as_deref(), named);
            let (id, is_new) = blocking(made).await?;
            result.image = Some(id);
            self.added.extend(is_new.then_some(id));
            let answers = &mut self.outcome.answers;
            answers.insert(CONFIG_DIGEST.to_owned(), id.to_string());
            answers.entry(IMAGE_DIGEST.to_owned()).or_insert_with(|| id.to_string());
            let platform = result.target.platform.clone();
            self.outcome.images.push(BuiltImage { platform, id, manifest: None });
        }
        Ok(())
    }

    fn tell_artifact(&mut self, artifact: &Artifact) -> Result<()> {
        use base64::Engine as _;
        let text = serde_json::to_vec(&artifact.top).map_err(Error::internal)?;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        let answers = &mut self.outcome.answers;
        answers.insert(IMAGE_DESCRIPTOR.to_owned(), text);
        answers.insert(IMAGE_DIGEST.to_owned(), artifact.top.digest.clone());
        for (built, manifest) in self.outcome.images.iter_mut().zip(&artifact.images) {
            built.manifest = Some(manifest.digest);
        }
        Ok(())
    }

    /// The files of the result, or of several results in directories of their own, as layers.
    async fn files(&self, build: &Arc<Build>, split: Option<bool>) -> Result<Vec<Digest>> {
        match self.settled.as_slice() {
            [one] if split != Some(true) => return Ok(one.layers.clone()),
            several if split == Some(false) && several.len() > 1 => {
                return Err(Error::invalid("several platforms need platform-split=true"));
            }
            _ => {}
        }
        let parts: Vec<(String, Vec<Digest>)> = self
            .settled
            .iter()
            .map(|it| (it.target.platform.to_string().replace('/', "_"), it.layers.clone()))
            .collect();
        let (store, lease, options) =
            (build.inner.store.clone(), Arc::clone(&build.lease), build.layer_options());
        blocking(move || {
            let work = store.work(&[])?;
            let root = work.root()?;
            for (name, layers) in parts {
                files::fill_dir(&store, &Tree::Layers(layers.into()), &root, &name)?;
            }
            drop(root);
            Ok(work.commit(&lease, options)?.map(|layer| layer.diff_id).into_iter().collect())
        })
        .await
    }
}

/// The digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::sha256(sha2::Sha256::digest(bytes).into())
}

/// A descriptor of bytes.
pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(bytes).to_string(),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
        ..Descriptor::default()
    }
}

/// Docker's media type for one of OCI's; the bytes are the same.
pub(crate) fn as_docker(media_type: &str) -> &str {
    match media_type {
        media::OCI_LAYER => media::DOCKER_LAYER,
        media::OCI_LAYER_GZIP => media::DOCKER_LAYER_GZIP,
        media::OCI_MANIFEST => media::DOCKER_MANIFEST,
        media::OCI_INDEX => media::DOCKER_LIST,
        media::OCI_CONFIG => media::DOCKER_CONFIG,
        other => other,
    }
}

/// OCI's media type for one of Docker's.
pub(crate) fn as_oci(media_type: &str) -> &str {
    match media_type {
        media::DOCKER_LAYER => media::OCI_LAYER,
        media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
        other => other,
    }
}
