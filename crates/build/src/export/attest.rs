//! What is said about a result beside it, in BuildKit's forms: SLSA provenance and SPDX documents
//! as in-toto statements, in a manifest of their own that points to the image. Secrets are named,
//! never shown; addresses are shown without passwords.

use super::sbom::{self, Scanned};
use super::{Settled, describe};
use crate::address::shown;
use crate::attest::{Attestations, Provenance};
use crate::dockerfile_build::{DockerfileBuild, DockerfileSource};
use crate::error::{Error, Result};
use crate::graph::{Graph, MountKind, Op, OpKind};
use crate::solve::{Act, Build, blocking, now};
use model::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use wire::oci::image::{Descriptor, ImageConfig, Manifest, media};

/// Predicates by type.
pub(super) const SLSA_02: &str = "https://slsa.dev/provenance/v0.2";
pub(super) const SLSA_1: &str = "https://slsa.dev/provenance/v1";
pub(super) const SPDX: &str = "https://spdx.dev/Document";
/// Media type of a statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What a build is, in either form.
const BUILD_TYPE_02: &str = "https://mobyproject.org/buildkit@v1";
const BUILD_TYPE_1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

/// What a build was asked for, as far as provenance tells it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Names the build.
    pub(crate) id: String,
    /// When it began.
    pub(crate) started: Timestamp,
    /// The Dockerfile's path; empty without one.
    pub(crate) path: String,
    /// The address of a remote context, without a password.
    pub(crate) remote: Option<String>,
    /// Attributes of the front end.
    pub(crate) args: Vec<(String, String)>,
    /// Names of the client's directories.
    pub(crate) locals: Vec<String>,
}

impl Asked {
    /// What a Dockerfile's build was asked for.
    pub(crate) fn of(build: &DockerfileBuild) -> Self {
        let options = &build.options;
        let mut args = Vec::new();
        args.extend(options.target.iter().map(|target| ("target".to_owned(), target.clone())));
        let all = |prefix: &str, (name, value): (&String, &String)| {
            (format!("{prefix}:{name}"), value.clone())
        };
        args.extend(options.build_args.iter().map(|pair| all("build-arg", pair)));
        args.extend(options.labels.iter().map(|pair| all("label", pair)));
        let contexts = options.contexts.iter();
        args.extend(contexts.map(|(name, at)| (format!("context:{name}"), shown(at))));
        let (path, mut locals) = match &build.dockerfile {
            DockerfileSource::Local { name, path } => (path.clone(), vec![name.clone()]),
            DockerfileSource::Context { path } => (path.clone(), Vec::new()),
            DockerfileSource::Text(_) => ("Dockerfile".to_owned(), Vec::new()),
        };
        if let crate::frontend::ContextSource::Local(name) = &options.context {
            locals.insert(0, name.clone());
        }
        let remote = build.remote.as_deref().map(shown);
        Self { path, remote, args, locals, ..Self::default() }
    }
}

/// Adds to each result what was asked to be said about it.
pub(super) async fn predicates(
    build: &Arc<Build>,
    asked: &Attestations,
    request: &Asked,
    graph: &Graph,
    settled: &mut [Settled],
) -> Result<()> {
    for result in settled {
        if let Some(sbom) = &asked.sbom {
            let name = match &sbom.generator {
                Some(generator) => {
                    format!("[{}] generating sbom using {generator}", result.target.platform)
                }
                None => format!("[{}] generating sbom", result.target.platform),
            };
            let act = Act::begin(build, &name);
            let scanned = Scanned { layers: result.layers.clone(), extras: result.scans.clone() };
            let documents = match &sbom.generator {
                Some(generator) => {
                    let platform = &result.target.platform;
                    sbom::scanned(build, generator, platform, scanned, act.vertex()).await
                }
                None => {
                    let scanning = Arc::clone(build);
                    blocking(move || sbom::built_in(&scanning, &scanned)).await
                }
            };
            let documents = act.end(documents)?;
            result.predicates.extend(documents.into_iter().map(|document| (SPDX, document)));
        }
        if let Some(wanted) = &asked.provenance {
            let platform = result.target.platform.to_string();
            let (kind, predicate) = match wanted.v1 {
                false => (SLSA_02, slsa_02(build, wanted, request, graph, &platform)?),
                true => (SLSA_1, slsa_1(build, wanted, request, graph, &platform)?),
            };
            result.predicates.push((kind, predicate));
        }
    }
    Ok(())
}

/// The manifest of what is said about an image.
pub(super) struct Made {
    pub(super) manifest: Vec<u8>,
    /// Its configuration and statements.
    pub(super) blobs: Vec<Vec<u8>>,
}

/// Writes statements about the image of that manifest.
pub(super) fn manifest(subject: &Descriptor, result: &Settled) -> Result<Made> {
    let hex = subject.digest.strip_prefix("sha256:").unwrap_or_default();
    let platform = escaped(&result.target.platform.to_string());
    let mut blobs = Vec::new();
    let mut layers = Vec::new();
    for (kind, predicate) in &result.predicates {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": kind,
            "subject": [{
                "name": format!("pkg:docker/image?platform={platform}"),
                "digest": {"sha256": hex},
            }],
            "predicate": predicate,
        });
        let bytes = serde_json::to_vec(&statement).map_err(Error::internal)?;
        let mut entry = describe(IN_TOTO, &bytes);
        entry.annotations.insert("in-toto.io/predicate-type".to_owned(), (*kind).to_owned());
        layers.push(entry);
        blobs.push(bytes);
    }
    let mut config = ImageConfig {
        architecture: "unknown".to_owned(),
        os: "unknown".to_owned(),
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
    let config = serde_json::to_vec(&config).map_err(Error::internal)?;
    let plain = Descriptor {
        platform: None,
        annotations: std::collections::BTreeMap::new(),
        ..subject.clone()
    };
    let mut extra = Map::new();
    // Registries list it among the image's referrers.
    extra.insert("subject".to_owned(), serde_json::to_value(plain).map_err(Error::internal)?);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        config: describe(media::OCI_CONFIG, &config),
        layers,
        extra,
        ..Manifest::default()
    };
    blobs.push(config);
    Ok(Made { manifest: serde_json::to_vec(&manifest).map_err(Error::internal)?, blobs })
}

/// For a package URL's qualifier.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace('&', "%26")
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default().to_string()
}

fn materials(build: &Build) -> Value {
    let all = build.materials();
    all.into_iter()
        .map(|(uri, (algorithm, value))| json!({"uri": uri, "digest": {algorithm: value}}))
        .collect()
}

/// The front end's attributes; what somebody gave the build by name only when all is told.
fn args(wanted: &Provenance, request: &Asked) -> Value {
    let told =
        |name: &str| wanted.all || !(name.starts_with("build-arg:") || name.starts_with("label:"));
    let pairs = request.args.iter().filter(|(name, _)| told(name));
    Value::Object(pairs.map(|(name, value)| (name.clone(), value.clone().into())).collect())
}

fn locals(request: &Asked) -> Value {
    request.locals.iter().map(|name| json!({"name": name})).collect()
}

/// Where the Dockerfile was; `path` is what the form calls its path.
fn source(path: &str, request: &Asked) -> Map<String, Value> {
    let mut source = Map::new();
    source.insert(path.to_owned(), request.path.clone().into());
    if let Some(remote) = &request.remote {
        source.insert("uri".to_owned(), remote.clone().into());
    }
    source
}

fn slsa_02(
    build: &Build,
    wanted: &Provenance,
    request: &Asked,
    graph: &Graph,
    platform: &str,
) -> Result<Value> {
    let mut predicate = json!({
        "builder": {"id": wanted.builder_id},
        "buildType": BUILD_TYPE_02,
        "materials": materials(build),
        "invocation": {
            "configSource": source("entryPoint", request),
            "parameters": {
                "frontend": "dockerfile.v0",
                "args": args(wanted, request),
                "locals": locals(request),
            },
            "environment": {"platform": platform},
        },
        "metadata": {
            "buildInvocationID": request.id,
            "buildStartedOn": time(request.started),
            "buildFinishedOn": time(now()),
            "completeness": {
                "parameters": wanted.all,
                "environment": true,
                "materials": request.locals.is_empty(),
            },
            "reproducible": wanted.reproducible,
            "https://mobyproject.org/buildkit@v1#hermetic": hermetic(graph),
        },
    });
    if wanted.all {
        predicate["buildConfig"] = steps(graph)?;
        let sources = json!({"source": build.dockerfile()});
        predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"] = sources;
    }
    Ok(predicate)
}

fn slsa_1(
    build: &Build,
    wanted: &Provenance,
    request: &Asked,
    graph: &Graph,
    platform: &str,
) -> Result<Value> {
    let mut inner = json!({"builderPlatform": platform});
    let mut metadata = json!({
        "invocationID": request.id,
        "startedOn": time(request.started),
        "finishedOn": time(now()),
        "buildkit_hermetic": hermetic(graph),
        "buildkit_reproducible": wanted.reproducible,
        "buildkit_completeness": {
            "request": wanted.all,
            "resolvedDependencies": request.locals.is_empty(),
        },
    });
    if wanted.all {
        inner["buildConfig"] = steps(graph)?;
        metadata["buildkit_metadata"] = json!({"source": build.dockerfile()});
    }
    Ok(json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE_1,
            "externalParameters": {
                "configSource": source("path", request),
                "request": {
                    "frontend": "dockerfile.v0",
                    "args": args(wanted, request),
                    "locals": locals(request),
                    "secrets": secrets(graph),
                },
            },
            "internalParameters": inner,
            "resolvedDependencies": materials(build),
        },
        "runDetails": {"builder": {"id": wanted.builder_id}, "metadata": metadata},
    }))
}

/// Whether no step could reach a network.
fn hermetic(graph: &Graph) -> bool {
    graph.ops().iter().all(|op| match &op.kind {
        OpKind::Exec(exec) => exec.network == crate::graph::NetworkMode::None,
        _ => true,
    })
}

/// The names of secrets that steps use.
fn secrets(graph: &Graph) -> Value {
    let mut ids = std::collections::BTreeSet::new();
    for op in graph.ops() {
        let OpKind::Exec(exec) = &op.kind else { continue };
        ids.extend(exec.secret_env.iter().map(|secret| secret.id.clone()));
        ids.extend(exec.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Secret(secret) => Some(secret.id.clone()),
            _ => None,
        }));
    }
    ids.into_iter().map(|id| json!({"id": id})).collect()
}

fn steps(graph: &Graph) -> Result<Value> {
    let steps = graph.iter().map(|(id, op)| {
        let inputs: Vec<String> =
            op.inputs.iter().map(|edge| format!("step{}:{}", edge.op.0, edge.output)).collect();
        let mut step = json!({"id": format!("step{}", id.0), "name": op.meta.name, "op": act(op)});
        if !inputs.is_empty() {
            step["inputs"] = inputs.into();
        }
        step
    });
    let mapping: Map<String, Value> = graph
        .iter()
        .map(|(id, op)| (op.digest().to_string(), format!("step{}", id.0).into()))
        .collect();
    Ok(json!({"llbDefinition": steps.collect::<Vec<_>>(), "digestMapping": mapping}))
}

/// What an operation does, in BuildKit's words.
fn act(op: &Op) -> Value {
    let source = |identifier: String| json!({"Op": {"source": {"identifier": identifier}}});
    let mut value = match &op.kind {
        OpKind::Image(image) => source(format!("docker-image://{}", image.reference)),
        OpKind::OciLayout(layout) => source(format!("oci-layout://{}", layout.reference)),
        OpKind::Local(local) => source(format!("local://{}", local.name)),
        OpKind::Git(git) => source(format!("git://{}#{}", shown(&git.remote), git.reference)),
        OpKind::Http(http) => source(shown(&http.url)),
        OpKind::Exec(exec) => json!({"Op": {"exec": {
            "meta": {"args": exec.args, "env": exec.env, "cwd": exec.cwd, "user": exec.user},
            "mounts": exec.mounts.iter().map(|mount| {
                let kind = match &mount.kind {
                    MountKind::Bind(_) => "BIND",
                    MountKind::Cache(_) => "CACHE",
                    MountKind::Tmpfs { .. } => "TMPFS",
                    MountKind::Secret(_) => "SECRET",
                    MountKind::Ssh(_) => "SSH",
                };
                json!({"dest": mount.dest, "mountType": kind})
            }).collect::<Vec<_>>(),
        }}}),
        OpKind::File(file) => json!({"Op": {"file": {"actions": file.actions.len()}}}),
        OpKind::Merge => json!({"Op": {"merge": {}}}),
        OpKind::Diff { .. } => json!({"Op": {"diff": {}}}),
    };
    if let Some(platform) = &op.platform {
        value["platform"] = json!({"OS": platform.os, "Architecture": platform.architecture});
    }
    value
}
