//! `artifact` and `image referrers`: files in registries, by themselves or beside an image. The
//! documents are made here (OCI image-spec v1.1, "Guidelines for Artifact Usage"); registries are
//! spoken to by the engine.

use std::path::{Component, Path, PathBuf};

use client::{Body, Client};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use wire::docker::registry::{BlobTaken, ManifestToPublish};
use wire::oci::image::{Descriptor, Index, Manifest, media};

use super::auth;
use super::images::{normal, repository};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::{self, Row, Table};
use crate::invocation::Invocation;
use crate::terminal::{complain, print};
use crate::transfer;
use crate::units::human_size;

/// The configuration of what has none: an empty object, its media type and digest as the
/// specification gives them.
const EMPTY: &str = "{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// What files are, unless somebody says.
const FILE_TYPE: &str = "application/octet-stream";
/// What an artifact is, unless somebody says; the word of other tools.
const UNKNOWN_TYPE: &str = "application/vnd.unknown.artifact.v1";
/// The annotation that holds a file's name.
const TITLE: &str = "org.opencontainers.image.title";
/// By these annotations builders say that an entry of an index is about another one.
const ABOUT: &str = "vnd.docker.reference.digest";
const ABOUT_TYPE: &str = "vnd.docker.reference.type";

const TABLE: Table = Table {
    default: "{{.Type}}\t{{.Digest}}\t{{.Size}}",
    titles: &[
        ("Type", "ARTIFACT TYPE"),
        ("Digest", "DIGEST"),
        ("Size", "SIZE"),
        ("Subject", "SUBJECT"),
        ("MediaType", "MEDIA TYPE"),
    ],
    type_name: "*artifact.context",
};

/// A repository, and who asks.
struct Remote<'a> {
    client: Client,
    repository: &'a str,
    auth: String,
}

impl<'a> Remote<'a> {
    fn of(invocation: &Invocation, name: &'a str) -> Result<Self, Failure> {
        let repository = repository(name);
        let (client, auth) = (invocation.client()?, auth::header(invocation, repository)?);
        Ok(Self { client, repository, auth })
    }

    async fn send(&self, content: Body) -> Result<BlobTaken, Failure> {
        Ok(self.client.distribution_blob_send(self.repository, content, &self.auth).await?)
    }

    /// Sends files; their descriptors.
    async fn files(&self, files: &[&String]) -> Result<Vec<Value>, Failure> {
        let mut layers = Vec::new();
        for file in files {
            let (path, media_type) = typed(file);
            let name = Path::new(path).file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| Failure::new(format!("{path:?} is no file's name")))?;
            if Path::new(path).is_dir() {
                return Err(Failure::new(format!("{path} is a directory: make an archive of it")));
            }
            let taken = self.send(transfer::file_body(Box::new(transfer::open(path)?))?).await?;
            layers.push(json!({
                "mediaType": media_type,
                "digest": taken.digest,
                "size": taken.size,
                "annotations": { TITLE: name },
            }));
        }
        Ok(layers)
    }

    /// Publishes a manifest of these layers under a name, or under its digest.
    async fn publish(
        &self,
        name: Option<&str>,
        artifact: &Artifact<'_>,
        mut layers: Vec<Value>,
    ) -> Result<String, Failure> {
        let empty = self.send(Body::full(EMPTY)).await?;
        let empty = json!({
            "mediaType": EMPTY_TYPE, "digest": empty.digest, "size": empty.size, "data": "e30=",
        });
        if layers.is_empty() {
            layers.push(empty.clone());
        }
        let document = artifact.manifest(empty, layers).to_string();
        let digest = format!("sha256:{}", hex(&Sha256::digest(document.as_bytes())));
        let name = name.map_or_else(|| format!("{}@{digest}", self.repository), str::to_owned);
        let media_type = media::OCI_MANIFEST.to_owned();
        let wanted = ManifestToPublish { media_type, document, from: Vec::new() };
        Ok(self.client.distribution_publish(&name, &wanted, false, &self.auth).await?)
    }
}

/// What an artifact says of itself.
struct Artifact<'a> {
    kind: &'a str,
    annotations: Map<String, Value>,
    subject: Option<Value>,
}

impl<'a> Artifact<'a> {
    fn of(invocation: &'a Invocation) -> Result<Self, Failure> {
        let mut annotations = Map::new();
        for entry in invocation.matches.list("annotation") {
            let (name, value) = entry.split_once('=').ok_or_else(|| {
                Failure::new(format!("invalid annotation {entry:?}: name=value is needed"))
            })?;
            annotations.insert(name.to_owned(), value.into());
        }
        let kind = match invocation.matches.text("artifact-type") {
            "" => UNKNOWN_TYPE,
            kind => kind,
        };
        Ok(Self { kind, annotations, subject: None })
    }

    fn manifest(&self, config: Value, layers: Vec<Value>) -> Value {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "artifactType": self.kind,
            "config": config,
            "layers": layers,
        });
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.clone();
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = self.annotations.clone().into();
        }
        manifest
    }
}

/// `artifact push`.
pub(crate) async fn push(invocation: &Invocation) -> Outcome {
    let name = normal(invocation.arg(0))?;
    if name.contains('@') {
        return Err(Failure::new("cannot push a digest reference"));
    }
    let remote = Remote::of(invocation, &name)?;
    let artifact = Artifact::of(invocation)?;
    let files: Vec<&String> = invocation.matches.args().iter().skip(1).collect();
    let layers = remote.files(&files).await?;
    let digest = remote.publish(Some(&name), &artifact, layers).await?;
    print(format!("{name}: digest: {digest}\n"))?;
    Ok(0)
}

/// `artifact attach`.
pub(crate) async fn attach(invocation: &Invocation) -> Outcome {
    let name = normal(invocation.arg(0))?;
    let remote = Remote::of(invocation, &name)?;
    let mut artifact = Artifact::of(invocation)?;
    let files: Vec<&String> = invocation.matches.args().iter().skip(1).collect();
    if files.is_empty() && artifact.annotations.is_empty() {
        return Err(Failure::new("nothing to attach: name files, or annotations"));
    }
    let subject = remote.client.distribution_manifest(&name, false, &remote.auth).await?.descriptor;
    artifact.subject = Some(json!({
        "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size,
    }));
    let layers = remote.files(&files).await?;
    let digest = remote.publish(None, &artifact, layers).await?;
    print(format!("{}@{digest}\n", remote.repository))?;
    Ok(0)
}

/// `artifact ls` and `image referrers`: what the registry lists, and what an index holds about its
/// own images.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = normal(invocation.arg(0))?;
    let remote = Remote::of(invocation, &name)?;
    let wanted = matches.text("artifact-type");
    let found = remote.client.distribution_manifest(&name, false, &remote.auth).await?;
    let subject = found.descriptor.digest;
    let pinned = format!("{}@{subject}", remote.repository);
    let listed = remote.client.distribution_referrers(&pinned, wanted, &remote.auth).await?;
    let mut rows: Vec<(Descriptor, String)> =
        listed.manifests.into_iter().map(|entry| (entry, subject.clone())).collect();
    if let Ok(index) = serde_json::from_str::<Index>(&found.document) {
        let inside = index.manifests.into_iter().filter_map(about);
        rows.extend(inside.filter(|(entry, _)| wanted.is_empty() || kind(entry) == wanted));
    }
    if matches.bool("quiet") {
        let digests = rows.iter().map(|(entry, _)| format!("{}\n", entry.digest));
        print(digests.collect::<String>())?;
        return Ok(0);
    }
    let row = |(entry, subject): (Descriptor, String)| {
        Row::default()
            .with("Type", kind(&entry))
            // Sizes are shown to three digits: what is lost does not matter.
            .with("Size", human_size(entry.size as f64, 3))
            .with("MediaType", entry.media_type)
            .with("Digest", entry.digest)
            .with("Subject", subject)
            .method("Annotation", entry.annotations)
    };
    format::list(&TABLE, matches.text("format"), rows.into_iter().map(row).collect())
}

/// An entry of an index that is about another one, and which.
fn about(mut entry: Descriptor) -> Option<(Descriptor, String)> {
    let subject = entry.annotations.get(ABOUT)?.clone();
    if entry.artifact_type.is_none() {
        entry.artifact_type = entry.annotations.get(ABOUT_TYPE).cloned();
    }
    Some((entry, subject))
}

fn kind(entry: &Descriptor) -> &str {
    entry.artifact_type.as_deref().unwrap_or(&entry.media_type)
}

/// `artifact pull`.
pub(crate) async fn pull(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = normal(invocation.arg(0))?;
    let remote = Remote::of(invocation, &name)?;
    let target = match matches.text("output") {
        "" => Path::new("."),
        path => Path::new(path),
    };
    let found = remote.client.distribution_manifest(&name, false, &remote.auth).await?;
    let manifest: Manifest = serde_json::from_str(&found.document)
        .map_err(|_| Failure::new(format!("{name} is no artifact: it is an index of images")))?;
    std::fs::create_dir_all(target)
        .map_err(|error| Failure::new(format!("make {}: {error}", target.display())))?;
    for layer in &manifest.layers {
        if layer.media_type == EMPTY_TYPE {
            continue;
        }
        let path = target.join(file_name(layer)?);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| Failure::new(format!("make {}: {error}", parent.display())))?;
        }
        let blob = (layer.digest.as_str(), layer.size);
        let answer = remote.client.distribution_blob(remote.repository, blob, &remote.auth);
        transfer::save(answer.await?, &path.to_string_lossy()).await?;
        if !matches.bool("quiet") {
            complain(format!("{}\n", path.display()));
        }
    }
    if !matches.bool("quiet") {
        print(format!("{}@{}\n", remote.repository, found.descriptor.digest))?;
    }
    Ok(0)
}

/// Where a file goes below the directory asked for: its title, which whoever made the artifact
/// chose, or its digest. A title that leads elsewhere is refused.
fn file_name(layer: &Descriptor) -> Result<PathBuf, Failure> {
    let Some(title) = layer.annotations.get(TITLE) else {
        return Ok(PathBuf::from(layer.digest.replace(':', "-")));
    };
    let path = Path::new(title);
    let inside = |part| matches!(part, Component::Normal(_));
    match !title.is_empty() && !title.contains('\0') && path.components().all(inside) {
        true => Ok(path.to_owned()),
        false => Err(Failure::new(format!("the artifact has a file named {title:?}: refused"))),
    }
}

/// A file and what it is: `sbom.json:application/spdx+json`.
fn typed(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((path, kind)) if kind.contains('/') && !path.is_empty() && !kind.starts_with('/') => {
            (path, kind)
        }
        _ => (text, FILE_TYPE),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_follows_a_file_s_name() {
        for (text, want) in [
            ("a.json", ("a.json", FILE_TYPE)),
            ("a.json:text/plain", ("a.json", "text/plain")),
            ("dir/a:b", ("dir/a:b", FILE_TYPE)),
            ("a:/b", ("a:/b", FILE_TYPE)),
            (":text/plain", (":text/plain", FILE_TYPE)),
        ] {
            assert_eq!(typed(text), want, "{text}");
        }
    }

    #[test]
    fn titles_stay_in_the_directory() {
        let named = |title: &str| {
            let annotations = [(TITLE.to_owned(), title.to_owned())].into();
            file_name(&Descriptor { annotations, ..Descriptor::default() })
        };
        assert_eq!(named("a/b.txt").ok(), Some(PathBuf::from("a/b.txt")));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", ".", "a\0b"] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
        let plain = Descriptor { digest: "sha256:ab".into(), ..Descriptor::default() };
        assert_eq!(file_name(&plain).ok(), Some(PathBuf::from("sha256-ab")));
    }

    #[test]
    fn a_manifest_says_what_it_is_and_what_it_is_about() {
        let mut artifact =
            Artifact { kind: "application/x", annotations: Map::new(), subject: None };
        let plain = artifact.manifest(json!({}), vec![json!({"size": 1})]);
        assert_eq!(plain.get("subject"), None);
        assert_eq!(plain.get("annotations"), None);
        artifact.subject = Some(json!({"digest": "sha256:1"}));
        artifact.annotations.insert("a".into(), "b".into());
        let full = artifact.manifest(json!({}), Vec::new());
        assert_eq!(full["artifactType"], "application/x");
        assert_eq!(
            (&full["subject"]["digest"], &full["annotations"]["a"]),
            (&"sha256:1".into(), &"b".into())
        );
    }
}
