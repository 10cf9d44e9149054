//! From a request for a Dockerfile's build to a graph: the Dockerfile and what it ignores are read,
//! and the pure front end is asked again and again until it knows every image that it names.

use super::run::Build;
use super::{Act, blocking, demand};
use crate::client::LocalAsk;
use crate::dockerfile::Dockerfile;
use crate::dockerfile_build::{DockerfileBuild, DockerfileSource};
use crate::error::{Act as _, Error, Result};
use crate::frontend::{
    self, ContextSource, ImageNeed, KnownImage, KnownImages, PlanError, PlanOptions, Planning,
};
use crate::graph::{Edge, Graph, Http, OpKind, Vertex};
use crate::progress::{Event, Warning};
use crate::request::Target;
use crate::source::layout_image;
use crate::span::Location;
use crate::tree::Tree;
use crate::walk::open_in;
use crate::{gitref, ignore};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use wire::oci::image::ImageConfig;

/// How often the front end may ask for further images.
const MAX_ROUNDS: usize = 64;

/// The graph and its results.
pub(super) async fn plan(
    build: &Arc<Build>,
    request: DockerfileBuild,
) -> Result<(Arc<Graph>, Vec<Target>)> {
    let DockerfileBuild { dockerfile, remote, mut options } = request;
    if let Some(address) = remote {
        options.context = remote_context(&address)?;
    }
    let file = load(build, &dockerfile, &mut options).await?;
    let mut known = KnownImages::new();
    for _ in 0..MAX_ROUNDS {
        match frontend::plan(&file, &options, &known).map_err(|error| refused(build, error))? {
            Planning::Needs(needs) => {
                for (need, place) in needs {
                    let image = metadata(build, &options, &need).await;
                    let image = image.map_err(|error| at(Some(place), error))?;
                    known.insert(need, image);
                }
            }
            Planning::Done(plan) => {
                plan.warnings.into_iter().for_each(|warning| warn(build, warning));
                super::steps::tell(build, &file, &options, &plan.graph).await?;
                let targets = plan.targets.into_iter().map(|target| Target {
                    platform: target.platform,
                    edge: target.result,
                    config: Some(target.config),
                    scans: target.scans,
                });
                return Ok((Arc::new(plan.graph), targets.collect()));
            }
        }
    }
    Err(Error::invalid("the Dockerfile's triggers name images without end"))
}

fn refused(build: &Build, error: PlanError) -> Error {
    let PlanError { kind, message, location, warnings } = error;
    warnings.into_iter().for_each(|warning| warn(build, warning));
    located(kind, message, location)
}

/// Why there is no plan, without what the checks found.
pub(super) fn located_error(error: PlanError) -> Error {
    located(error.kind, error.message, error.location)
}

fn located(kind: model::ErrorKind, message: String, location: Option<Location>) -> Error {
    at(location, Error::Denied(model::Denied { kind, message }))
}

/// An error of no operation, at a place in the Dockerfile.
fn at(location: Option<Location>, error: Error) -> Error {
    match location {
        None => error,
        location => Error::Vertex { name: String::new(), location, source: Box::new(error) },
    }
}

fn warn(build: &Build, warning: frontend::Warning) {
    build.tell(Event::Warning(Warning {
        vertex: None,
        short: format!("{}: {}", warning.rule, warning.message),
        detail: vec![warning.description.to_owned()],
        url: warning.url.to_owned(),
        location: warning.location,
    }));
}

/// What an address of a context means.
pub(super) fn remote_context(address: &str) -> Result<ContextSource> {
    match gitref::parse(address, true) {
        Some(Ok(git)) => Ok(ContextSource::Git(git.git)),
        Some(Err(message)) => Err(Error::invalid(message)),
        None if address.starts_with("http://") || address.starts_with("https://") => {
            let url = address.to_owned();
            Ok(ContextSource::Http(Http { url, unpack: true, ..Http::default() }))
        }
        None => Err(Error::invalid(format!("{address:?} is no address of a build context"))),
    }
}

/// Reads the Dockerfile, and the patterns of what its context ignores.
pub(super) async fn load(
    build: &Arc<Build>,
    from: &DockerfileSource,
    options: &mut PlanOptions,
) -> Result<Dockerfile> {
    let act = Act::begin(build, "[internal] load build definition from Dockerfile");
    let loaded = load_files(build, from, options).await;
    act.end(loaded)
}

async fn load_files(
    build: &Arc<Build>,
    from: &DockerfileSource,
    options: &mut PlanOptions,
) -> Result<Dockerfile> {
    let path = match from {
        DockerfileSource::Text(_) => "Dockerfile",
        DockerfileSource::Local { path, .. } | DockerfileSource::Context { path } => path,
    };
    let [own, general] = ignore::candidates(path);
    let context = context_tree(build, options, &[path, &own, &general]).await?;
    let (text, tree) = match from {
        DockerfileSource::Text(text) => (Some(text.clone().into_bytes()), None),
        DockerfileSource::Context { .. } => (None, context.clone()),
        DockerfileSource::Local { name, .. } => {
            (None, Some(local(build, name, &[path, &own]).await?))
        }
    };
    let (store, wanted) = (build.inner.store.clone(), path.to_owned());
    let (bytes, ignored) = blocking(move || {
        let read = |tree: &Option<Tree>, path: &str, max_bytes| match tree {
            Some(tree) => read_from(&tree.open(&store)?, path, max_bytes),
            None => Ok(None),
        };
        let bytes = match text {
            Some(text) => Some(text),
            None => read(&tree, &wanted, crate::dockerfile::MAX_BYTES)?,
        };
        let ignored = match read(&tree, &own, ignore::MAX_FILE_BYTES)? {
            Some(beside) => Some(beside),
            None => read(&context, &general, ignore::MAX_FILE_BYTES)?,
        };
        Ok((bytes, ignored))
    })
    .await?;
    let bytes = bytes.ok_or_else(|| {
        Error::not_found(format!(
            "failed to read dockerfile: open {path}: no such file or directory"
        ))
    })?;
    build.read_dockerfile(path, &bytes);
    if let Some(ignored) = ignored {
        options.ignore =
            ignore::read(&ignored).map_err(|error| Error::invalid(error.to_string()))?;
    }
    Dockerfile::parse(path, &bytes)
        .map_err(|error| located(model::ErrorKind::Invalid, error.message, error.location))
}

/// The main context as far as it is needed to begin: of a client's directory only these files.
async fn context_tree(
    build: &Arc<Build>,
    options: &PlanOptions,
    files: &[&str],
) -> Result<Option<Tree>> {
    let kind = match &options.context {
        ContextSource::Local(name) => return local(build, name, files).await.map(Some),
        ContextSource::Git(git) => OpKind::Git(git.clone()),
        ContextSource::Http(http) => OpKind::Http(http.clone()),
    };
    let mut graph = Graph::new();
    let meta = Vertex::named("[internal] load remote build context");
    let op = graph.add(kind, Vec::new(), None, meta).map_err(Error::internal)?;
    let edge = Edge { op, output: 0 };
    let trees = demand::run(build, &Arc::new(graph), &[Some(edge)]).await?;
    Ok(trees.into_iter().next())
}

async fn local(build: &Arc<Build>, name: &str, files: &[&str]) -> Result<Tree> {
    let ask = LocalAsk {
        name: name.to_owned(),
        include: files.iter().map(|file| (*file).to_owned()).collect(),
        ..LocalAsk::default()
    };
    let found = build.client.local(&ask).await?;
    let filter = crate::walk::Filter::default();
    let tree = crate::tree::DirTree::new(found.dir, filter, found.lasting, found.keep);
    Ok(Tree::Dir(Arc::new(tree)))
}

/// A regular file of a tree; `None` if there is none of that name.
fn read_from(root: &OwnedFd, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>> {
    let reading = || format!("read {path}");
    let file = match open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        file => file.act(reading)?,
    };
    let stat = rustix::fs::fstat(&file).act(reading)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("{path}: not a regular file")));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    File::from(file).take(limit + 1).read_to_end(&mut bytes).act(reading)?;
    if bytes.len() > max_bytes {
        return Err(Error::invalid(format!("{path}: larger than {max_bytes} bytes")));
    }
    Ok(Some(bytes))
}

/// The configuration of an image that the Dockerfile names.
async fn metadata(
    build: &Arc<Build>,
    options: &PlanOptions,
    need: &ImageNeed,
) -> Result<KnownImage> {
    let act = Act::begin(build, &format!("[internal] load metadata for {}", need.reference));
    let config = match &need.layout {
        Some(store) => {
            let found = layout_image(build, store, &need.reference, &need.platform).await;
            let bytes = act.end(found)?.config;
            Arc::new(serde_json::from_slice(&bytes).map_err(|error| {
                Error::invalid(format!("{}: bad configuration: {error}", need.reference))
            })?)
        }
        None => {
            let found =
                build.image(&need.reference, &need.platform, options.pull, act.vertex()).await;
            act.end(found)?.config
        }
    };
    let platform = crate::platform::Platform::new(
        &config.os,
        &config.architecture,
        config.variant.as_deref().unwrap_or_default(),
    );
    let config = ImageConfig::clone(&config);
    Ok(KnownImage { reference: need.reference.clone(), platform, config })
}
