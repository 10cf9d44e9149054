//! Manifests and indexes as they come from outside: checked before they are believed. Pure.
//!
//! A document is one thing. Its media type, the one its sender gives, and the members it has must
//! agree, so that nobody who reads the same bytes sees another image.

use crate::error::{Error, Result};
use model::Digest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wire::oci::image::{Descriptor, Index, Manifest, media};

/// The largest manifest or index, in bytes (distribution-spec 1.1 asks for this much).
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// The largest image configuration, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// The most layers of an image.
pub const MAX_LAYERS: usize = 500;
/// The most entries of an index.
pub const MAX_ENTRIES: usize = 1000;
/// Indexes within indexes.
pub const MAX_INDEX_DEPTH: usize = 4;
/// The largest layer, in bytes.
pub const MAX_LAYER_BYTES: u64 = 1 << 40;

/// What is asked for when a manifest is fetched.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Layers that we unpack. The last of each pair of lines are those that may not be passed on;
/// their bytes are the same.
const LAYERS: [&str; 9] = [
    media::OCI_LAYER,
    media::OCI_LAYER_GZIP,
    media::OCI_LAYER_ZSTD,
    media::DOCKER_LAYER,
    media::DOCKER_LAYER_GZIP,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// A verified document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The bytes as they came.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What they are.
    pub media_type: String,
    /// What they say.
    pub kind: Kind,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Manifests for several platforms.
    Index(Index),
    /// One image, or something else that is kept like one.
    Manifest(Box<Manifest>),
}

/// Reads a document. `said` is the media type that its sender gave, `want` its digest if one was
/// asked for.
///
/// # Errors
/// It is too large, not what was asked for, or not one thing.
pub fn read(bytes: Vec<u8>, said: Option<&str>, want: Option<Digest>) -> Result<Document> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(Error::bad(format!("manifest is larger than {MAX_MANIFEST_BYTES} bytes")));
    }
    let digest = digest(&bytes);
    if let Some(want) = want.filter(|want| *want != digest) {
        return Err(Error::bad(format!("manifest: want digest {want}, have {digest}")));
    }
    let value: Value = json("manifest", &bytes)?;
    let said = said.map(|said| said.split(';').next().unwrap_or(said).trim().to_ascii_lowercase());
    let own = match value.get("mediaType") {
        None => None,
        Some(Value::String(own)) => Some(own.clone()),
        Some(_) => return Err(Error::bad("manifest: mediaType is not a text")),
    };
    let media_type = match (own, said) {
        (Some(own), Some(said)) if own != said => {
            return Err(Error::bad(format!(
                "manifest says it is {own:?}, its sender says {said:?}"
            )));
        }
        (Some(own), _) => own,
        (None, Some(said)) => said,
        (None, None) => return Err(Error::bad("manifest: no media type")),
    };
    if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err(Error::bad("manifest: only schema version 2 is supported"));
    }
    let has = |member: &str| value.get(member).is_some();
    let kind = match media_type.as_str() {
        media::OCI_INDEX | media::DOCKER_LIST => {
            if has("layers") || has("config") || has("fsLayers") || !has("manifests") {
                return Err(Error::bad("manifest: an index with the members of a manifest"));
            }
            Kind::Index(index(json("index", &bytes)?)?)
        }
        media::OCI_MANIFEST | media::DOCKER_MANIFEST => {
            if has("manifests") || has("fsLayers") || !has("config") || !has("layers") {
                return Err(Error::bad("manifest: a manifest with the members of an index"));
            }
            Kind::Manifest(Box::new(manifest(json("manifest", &bytes)?)?))
        }
        other => return Err(Error::bad(format!("manifest: unsupported media type {other:?}"))),
    };
    Ok(Document { bytes, digest, media_type, kind })
}

fn index(index: Index) -> Result<Index> {
    if index.manifests.len() > MAX_ENTRIES {
        return Err(Error::bad(format!("index has more than {MAX_ENTRIES} entries")));
    }
    for entry in &index.manifests {
        described(entry, MAX_MANIFEST_BYTES as u64)?;
    }
    Ok(index)
}

fn manifest(manifest: Manifest) -> Result<Manifest> {
    if manifest.layers.len() > MAX_LAYERS {
        return Err(Error::bad(format!("manifest has more than {MAX_LAYERS} layers")));
    }
    described(&manifest.config, MAX_CONFIG_BYTES)?;
    for layer in &manifest.layers {
        described(layer, MAX_LAYER_BYTES)?;
    }
    Ok(manifest)
}

/// Checks a descriptor: a digest that can be verified, and a length within bounds.
fn described(descriptor: &Descriptor, max_bytes: u64) -> Result<Digest> {
    let digest = Digest::parse(&descriptor.digest)?;
    if descriptor.size > max_bytes {
        return Err(Error::bad(format!("{digest}: {} bytes are too many", descriptor.size)));
    }
    Ok(digest)
}

/// What has to be fetched to have the image of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImageParts {
    pub(crate) config: (Digest, u64),
    /// Digest, length and media type, base first.
    pub(crate) layers: Vec<(Digest, u64, String)>,
}

/// The parts of a manifest that is an image.
pub(crate) fn image_parts(manifest: &Manifest) -> Result<ImageParts> {
    let kind = manifest.config.media_type.as_str();
    if ![media::OCI_CONFIG, media::DOCKER_CONFIG].contains(&kind) {
        return Err(Error::bad(format!("not an image: unsupported configuration type {kind:?}")));
    }
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        if !LAYERS.contains(&layer.media_type.as_str()) {
            return Err(Error::bad(format!("unsupported layer type {:?}", layer.media_type)));
        }
        layers.push((Digest::parse(&layer.digest)?, layer.size, layer.media_type.clone()));
    }
    let config = (Digest::parse(&manifest.config.digest)?, manifest.config.size);
    Ok(ImageParts { config, layers })
}

/// The digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// Reads JSON; serde_json bounds its depth.
pub(crate) fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::bad(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(media_type: &str, extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"{}",
            "digest":"{D}","size":2}},"layers":[]{extra}}}"#,
            media::OCI_CONFIG
        )
    }

    fn refused(text: &str, said: Option<&str>) -> String {
        read(text.as_bytes().to_vec(), said, None).unwrap_err().to_string()
    }

    #[test]
    fn a_document_is_one_thing() {
        let oci = image(media::OCI_MANIFEST, "");
        let read_as = |said| read(oci.clone().into_bytes(), said, None);
        assert!(read_as(Some(media::OCI_MANIFEST)).is_ok());
        assert!(read_as(Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).is_ok());
        assert!(read_as(None).is_ok());
        assert!(refused(&oci, Some(media::DOCKER_MANIFEST)).contains("its sender says"));
        assert!(refused(&oci, Some("text/html")).contains("its sender says"));
        let both = image(media::OCI_MANIFEST, r#","manifests":[]"#);
        assert!(refused(&both, None).contains("members of an index"));
        let other = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned();
        assert!(refused(&other, Some(media::OCI_INDEX)).contains("members of a manifest"));
        assert!(refused(&image("text/plain", ""), None).contains("unsupported media type"));
        assert!(refused(r#"{"schemaVersion":2}"#, None).contains("no media type"));
        assert!(refused(r#"{"schemaVersion":1,"mediaType":"x"}"#, None).contains("version 2"));
        assert!(refused("[", None).contains("manifest"));
        let twice = oci.replace("\"layers\":[]", "\"layers\":[],\"layers\":[]");
        assert!(refused(&twice, None).contains("duplicate"));
    }

    #[test]
    fn bounds_hold() {
        assert!(refused(&" ".repeat(MAX_MANIFEST_BYTES + 1), None).contains("larger"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(refused(&deep, None).contains("recursion"));
        let layer = format!(r#"{{"mediaType":"x","digest":"{D}","size":1}},"#);
        let many = layer.repeat(MAX_LAYERS + 1);
        let many =
            image(media::OCI_MANIFEST, "").replace("[]", &format!("[{}]", &many[..many.len() - 1]));
        assert!(refused(&many, None).contains("500 layers"));
        for (bad, why) in [
            (r#"{"digest":"md5:aa","size":1}"#, "unsupported digest"),
            (r#"{"digest":"sha256:../../etc","size":1}"#, "invalid digest"),
            (&format!(r#"{{"digest":"{D}","size":-1}}"#), "invalid value"),
            (&format!(r#"{{"digest":"{D}","size":99999999999999}}"#), "too many"),
        ] {
            let text = image(media::OCI_MANIFEST, "").replace("[]", &format!("[{bad}]"));
            let error = refused(&text, None);
            assert!(error.contains(why), "{error}");
        }
        let want = Some(Digest::parse(D).unwrap());
        let error = read(image(media::OCI_MANIFEST, "").into_bytes(), None, want).unwrap_err();
        assert!(error.to_string().contains("want digest"));
    }

    #[test]
    fn an_artifact_is_no_image() {
        let text = image(media::OCI_MANIFEST, "").replace(media::OCI_CONFIG, "application/x.helm");
        let Kind::Manifest(manifest) = read(text.into_bytes(), None, None).unwrap().kind else {
            panic!("a manifest")
        };
        assert!(image_parts(&manifest).unwrap_err().to_string().contains("not an image"));
    }
}
