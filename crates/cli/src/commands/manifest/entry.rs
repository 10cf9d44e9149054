//! One manifest of a list, in the form of Docker's files, and the list that several make. The bytes
//! of a list depend on its entries alone and are those that Docker's command line writes, so that
//! both push the same digest. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::docker::image::{Descriptor, Platform};
use wire::docker::registry::ManifestDocument;
use wire::oci::image::media;

use crate::base64;
use crate::failure::Failure;
use crate::json;

/// A manifest, with where it came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// Its whole name.
    #[serde(rename = "Ref")]
    pub(super) reference: String,
    /// What it is, and what it runs on.
    #[serde(rename = "Descriptor")]
    pub(super) descriptor: Descriptor,
    /// Base64 of the document.
    #[serde(rename = "Raw", skip_serializing_if = "String::is_empty")]
    raw: String,
    /// The document, when it is Docker's.
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    docker: Option<Value>,
    /// The document, when it is OCI's.
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Value>,
}

impl Entry {
    /// A manifest of which only the name is known.
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self { reference: name.to_owned(), ..Self::default() }
    }

    /// A manifest as the engine found it.
    pub(super) fn of(name: &str, found: &ManifestDocument) -> Result<Self, Failure> {
        let mut descriptor = found.descriptor.clone();
        descriptor.platform = found.platforms.first().cloned();
        let mut entry = Self { reference: name.to_owned(), descriptor, ..Self::default() };
        entry.fill(found)?;
        Ok(entry)
    }

    /// The members of a list, without their documents.
    pub(super) fn members(name: &str, found: &ManifestDocument) -> Result<Vec<Self>, Failure> {
        #[derive(Deserialize)]
        struct List {
            manifests: Vec<Descriptor>,
        }
        let list: List = serde_json::from_str(&found.document)
            .map_err(|error| Failure::new(format!("{name}: not a manifest list: {error}")))?;
        let entry = |member: Descriptor| Self {
            reference: format!("{name}@{}", member.digest),
            descriptor: Descriptor {
                media_type: member.media_type,
                digest: member.digest,
                size: member.size,
                platform: member.platform,
                ..Descriptor::default()
            },
            ..Self::default()
        };
        Ok(list.manifests.into_iter().map(entry).collect())
    }

    /// Adds the document.
    pub(super) fn fill(&mut self, found: &ManifestDocument) -> Result<(), Failure> {
        let document = serde_json::from_str(&found.document).map_err(|error| {
            Failure::new(format!("{}: not a manifest: {error}", self.reference))
        })?;
        self.raw = base64::encode(found.document.as_bytes());
        match found.descriptor.media_type.as_str() {
            media::DOCKER_MANIFEST => self.docker = Some(document),
            _ => self.oci = Some(document),
        }
        Ok(())
    }

    /// The document byte for byte.
    pub(super) fn document(&self) -> Result<String, Failure> {
        base64::decode(&self.raw)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| Failure::new(format!("{}: the kept document is bad", self.reference)))
    }

    /// Everything, as text without blanks.
    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(self)
            .map_err(|error| Failure::new(format!("{}: {error}", self.reference)))
    }
}

/// Media type and bytes of the list of these entries.
pub(super) fn list_text(entries: &[Entry]) -> (String, String) {
    let is_oci = |entry: &Entry| entry.descriptor.media_type == media::OCI_MANIFEST;
    let media_type = match entries.first().is_some_and(is_oci) {
        true => media::OCI_INDEX,
        false => media::DOCKER_LIST,
    };
    let manifests: Vec<Value> = entries.iter().map(|entry| member(&entry.descriptor)).collect();
    let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let text = json::escape_html(&json::indent(&list.to_string(), "   "));
    (media_type.to_owned(), text)
}

/// An entry of a list: what it is and runs on, in the order of Go's structure.
fn member(descriptor: &Descriptor) -> Value {
    let Descriptor { media_type, digest, size, .. } = descriptor;
    let platform = descriptor.platform.clone().unwrap_or_default();
    let Platform { architecture, os, os_version, os_features, variant } = platform;
    let mut shown = json!({"architecture": architecture, "os": os});
    let mut put = |name: &str, value: Value, known: bool| {
        if let Some(fields) = shown.as_object_mut().filter(|_| known) {
            fields.insert(name.to_owned(), value);
        }
    };
    let known = (!os_version.is_empty(), !os_features.is_empty(), !variant.is_empty());
    put("os.version", os_version.into(), known.0);
    put("os.features", os_features.into(), known.1);
    put("variant", variant.into(), known.2);
    json!({"mediaType": media_type, "size": size, "digest": digest, "platform": shown})
}

/// Whether a document is a list of manifests.
pub(super) fn is_list(media_type: &str) -> bool {
    [media::OCI_INDEX, media::DOCKER_LIST].contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, platform: Platform) -> Entry {
        let descriptor = Descriptor {
            media_type: media::OCI_MANIFEST.to_owned(),
            digest: format!("sha256:{digest}"),
            size: 405,
            platform: Some(platform),
            ..Descriptor::default()
        };
        Entry { reference: "localhost:5000/x:amd".to_owned(), descriptor, ..Entry::default() }
    }

    #[test]
    fn a_list_is_laid_out_as_go_does() {
        let amd64 =
            Platform { architecture: "amd64".into(), os: "linux".into(), ..Platform::default() };
        let features = vec!["a".to_owned(), "b".to_owned()];
        let (os_version, variant) = ("1".to_owned(), "v9".to_owned());
        let other = Platform { os_version, os_features: features, variant, ..amd64.clone() };
        let (media_type, text) = list_text(&[entry("aa", amd64), entry("bb", other)]);
        assert_eq!(media_type, media::OCI_INDEX);
        let want = r#"{
   "schemaVersion": 2,
   "mediaType": "application/vnd.oci.image.index.v1+json",
   "manifests": [
      {
         "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "size": 405,
         "digest": "sha256:aa",
         "platform": {
            "architecture": "amd64",
            "os": "linux"
         }
      },
      {
         "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "size": 405,
         "digest": "sha256:bb",
         "platform": {
            "architecture": "amd64",
            "os": "linux",
            "os.version": "1",
            "os.features": [
               "a",
               "b"
            ],
            "variant": "v9"
         }
      }
   ]
}"#;
        assert_eq!(text, want);
    }

    #[test]
    fn entries_survive_their_file() {
        let found = ManifestDocument {
            descriptor: Descriptor {
                media_type: media::OCI_MANIFEST.to_owned(),
                digest: "sha256:aa".to_owned(),
                size: 2,
                ..Descriptor::default()
            },
            platforms: vec![Platform { os: "linux".into(), ..Platform::default() }],
            document: r#"{ "b": 1, "a": "<" }"#.to_owned(),
        };
        let entry = Entry::of("x.io/a:b", &found).unwrap();
        let text = entry.json().unwrap();
        assert!(text.starts_with(r#"{"Ref":"x.io/a:b","Descriptor":{"mediaType":"#), "{text}");
        assert!(text.contains(r#""OCIManifest":{"b":1,"a":"<"}"#), "{text}");
        let again: Entry = serde_json::from_str(&text).unwrap();
        assert_eq!(again, entry);
        assert_eq!(again.document().unwrap(), found.document);
    }
}
