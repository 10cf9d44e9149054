//! Manifests and indexes as they are pushed: checked before they are believed. A document is one
//! kind of thing and says so everywhere (law D2). Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use wire::oci::image::{Descriptor, Index, Manifest, media};

use super::name::Digest;
use super::refusal::{Code, Refusal};

/// The largest manifest, as the distribution specification recommends.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// More layers than any image has; the kernel stacks fewer.
const MAX_LAYERS: usize = 1024;
/// More platforms than any index has.
const MAX_CHILDREN: usize = 1024;
/// Annotations of a subject's referrers are kept in memory.
const MAX_ANNOTATION_BYTES: usize = 64 << 10;

/// A document that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) media_type: String,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// What it says something about: it is listed among that one's referrers.
    pub(crate) subject: Option<Digest>,
    /// Blobs it is made of: configuration and layers.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests it is made of.
    pub(crate) manifests: Vec<Digest>,
}

/// Reads a document that came with this `Content-Type`.
pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::new(
            Code::SizeInvalid,
            format!("the manifest has {} bytes; at most {MAX_BYTES} are taken", bytes.len()),
        ));
    }
    let probe: Probe = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("the manifest is not JSON as specified: {error}")))?;
    if probe.schema_version != 2 {
        return Err(invalid("only manifests of schema version 2 are taken"));
    }
    let content_type = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    let media_type = match (content_type.filter(|text| !text.is_empty()), probe.media_type) {
        (Some(sent), Some(said)) if sent != said => {
            return Err(invalid(format!("sent as {sent}, but the document says {said}")));
        }
        (Some(sent), _) => sent.to_owned(),
        (None, Some(said)) => said,
        (None, None) => return Err(invalid("no media type was given")),
    };
    match media_type.as_str() {
        media::OCI_MANIFEST | media::DOCKER_MANIFEST => {
            if probe.manifests.is_some() {
                return Err(invalid("a manifest has no `manifests`"));
            }
            let manifest = serde_json::from_slice::<Manifest>(bytes)
                .map_err(|error| invalid(format!("the manifest is malformed: {error}")))?;
            image(media_type, &manifest)
        }
        media::OCI_INDEX | media::DOCKER_LIST => {
            if probe.layers.is_some() || probe.config.is_some() {
                return Err(invalid("an index has no `layers` and no `config`"));
            }
            let index = serde_json::from_slice::<Index>(bytes)
                .map_err(|error| invalid(format!("the index is malformed: {error}")))?;
            list(media_type, &index)
        }
        other => Err(invalid(format!("manifests of type {other} are not taken"))),
    }
}

/// What tells the kinds apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Value>,
    layers: Option<Value>,
    config: Option<Value>,
}

fn image(media_type: String, manifest: &Manifest) -> Result<Document, Refusal> {
    if manifest.layers.len() > MAX_LAYERS {
        return Err(invalid(format!("more than {MAX_LAYERS} layers")));
    }
    let mut blobs = vec![digest(&manifest.config)?];
    // What may be had elsewhere need not be here.
    for layer in manifest.layers.iter().filter(|layer| layer.urls.is_empty()) {
        blobs.push(digest(layer)?);
    }
    let named = text(manifest.extra.get("artifactType"));
    let artifact_type = named.or_else(|| Some(manifest.config.media_type.clone()));
    let subject = subject(manifest.extra.get("subject"))?;
    Ok(Document {
        media_type,
        artifact_type: artifact_type.filter(|text| !text.is_empty()),
        annotations: annotations(&manifest.annotations, subject.is_some())?,
        subject,
        blobs,
        manifests: Vec::new(),
    })
}

fn list(media_type: String, index: &Index) -> Result<Document, Refusal> {
    if index.manifests.len() > MAX_CHILDREN {
        return Err(invalid(format!("more than {MAX_CHILDREN} manifests")));
    }
    let subject = subject(index.extra.get("subject"))?;
    // Builders' caches are indexes of blobs.
    let is_blob = |entry: &&Descriptor| {
        let kind = entry.media_type.as_str();
        entry.platform.is_none()
            && (kind.starts_with("application/vnd.buildkit.cacheconfig.")
                || kind.starts_with("application/vnd.oci.image.layer.")
                || kind.starts_with("application/vnd.docker.image.rootfs."))
    };
    let (blobs, manifests): (Vec<&Descriptor>, Vec<&Descriptor>) =
        index.manifests.iter().partition(is_blob);
    Ok(Document {
        media_type,
        artifact_type: text(index.extra.get("artifactType")),
        annotations: annotations(&index.annotations, subject.is_some())?,
        subject,
        blobs: blobs.into_iter().map(digest).collect::<Result<_, _>>()?,
        manifests: manifests.into_iter().map(digest).collect::<Result<_, _>>()?,
    })
}

fn digest(descriptor: &Descriptor) -> Result<Digest, Refusal> {
    Digest::parse(&descriptor.digest).ok_or_else(|| {
        invalid("a descriptor's digest is no sha256 and no sha512")
            .with_detail(json!({ "digest": descriptor.digest }))
    })
}

fn subject(value: Option<&Value>) -> Result<Option<Digest>, Refusal> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let text = value.get("digest").and_then(Value::as_str).unwrap_or_default();
    let bad = || invalid("the subject's digest is no sha256 and no sha512");
    Digest::parse(text).map(Some).ok_or_else(bad)
}

/// The annotations that a list of referrers shows; nobody asks for those of other documents.
fn annotations(
    given: &BTreeMap<String, String>,
    refers: bool,
) -> Result<BTreeMap<String, String>, Refusal> {
    if !refers {
        return Ok(BTreeMap::new());
    }
    let bytes: usize = given.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ANNOTATION_BYTES {
        return Err(invalid(format!("more than {MAX_ANNOTATION_BYTES} bytes of annotations")));
    }
    Ok(given.clone())
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::ManifestInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": { "mediaType": media::OCI_CONFIG, "digest": hex("a"), "size": 2 },
            "layers": [
                { "mediaType": media::OCI_LAYER_GZIP, "digest": hex("b"), "size": 3 },
                { "mediaType": "x", "digest": hex("c"), "size": 3, "urls": ["https://a/b"] },
            ],
        })
    }

    fn read(value: &Value, content_type: Option<&str>) -> Result<Document, String> {
        parse(value.to_string().as_bytes(), content_type).map_err(|refusal| refusal.message)
    }

    #[test]
    fn an_image_names_its_blobs_and_what_it_is_about() {
        let mut value = manifest();
        value["subject"] = json!({ "mediaType": "x", "digest": hex("d"), "size": 1 });
        let document = read(&value, Some(media::OCI_MANIFEST)).unwrap();
        assert_eq!(document.blobs, [&hex("a"), &hex("b")].map(|it| Digest::parse(it).unwrap()));
        assert_eq!(document.subject, Digest::parse(&hex("d")));
        assert_eq!(document.artifact_type.as_deref(), Some(media::OCI_CONFIG));
    }

    #[test]
    fn an_index_names_its_manifests() {
        let value = json!({
            "schemaVersion": 2,
            "manifests": [{ "mediaType": media::OCI_MANIFEST, "digest": hex("a"), "size": 1 }],
        });
        let document = read(&value, Some("application/vnd.oci.image.index.v1+json; x=y")).unwrap();
        assert_eq!(document.manifests, [Digest::parse(&hex("a")).unwrap()]);
        assert_eq!(document.media_type, media::OCI_INDEX);
    }

    #[test]
    fn a_document_is_one_kind_of_thing() {
        let with = |key: &str, value: Value| {
            let mut document = manifest();
            document[key] = value;
            document
        };
        for (what, value, content_type) in [
            ("both", with("manifests", json!([])), media::OCI_MANIFEST),
            ("another type", manifest(), media::DOCKER_MANIFEST),
            ("an index with layers", with("mediaType", Value::Null), media::OCI_INDEX),
            ("schema 1", with("schemaVersion", json!(1)), media::OCI_MANIFEST),
            ("no layers", with("layers", json!("x")), media::OCI_MANIFEST),
            (
                "a bad digest",
                with("config", json!({"digest": "x", "size": 1})),
                media::OCI_MANIFEST,
            ),
            ("a bad subject", with("subject", json!({"digest": "../x"})), media::OCI_MANIFEST),
            ("unknown", with("mediaType", json!("text/html")), "text/html"),
        ] {
            assert!(read(&value, Some(content_type)).is_err(), "{what}");
        }
        assert!(read(&with("mediaType", Value::Null), None).is_err(), "no type at all");
        assert!(parse(b"{\"schemaVersion\":2,\"schemaVersion\":1}", None).is_err(), "twice");
        assert!(parse(&vec![b' '; MAX_BYTES + 1], None).is_err(), "too big");
        assert!(parse(b"\xff", None).is_err(), "no text");
    }

    #[test]
    fn only_annotations_of_referrers_are_held_and_bounded() {
        let mut large = manifest();
        large["annotations"] = json!({"a": "x".repeat(MAX_ANNOTATION_BYTES)});
        large["subject"] = Value::Null;
        let document = read(&large, Some(media::OCI_MANIFEST)).unwrap();
        assert!(document.annotations.is_empty());
        large["subject"] = json!({"digest": hex("d")});
        assert!(read(&large, Some(media::OCI_MANIFEST)).is_err());
        large["annotations"] = json!({"a": "b"});
        let document = read(&large, Some(media::OCI_MANIFEST)).unwrap();
        assert_eq!(document.annotations["a"], "b");
    }
}
