//! `buildx imagetools`: what registries have, and new names for it. Registries are spoken to by
//! the engine.

use client::Client;
use serde_json::{Map, Value, json};
use wire::docker::registry::{ManifestDocument, ManifestToPublish};
use wire::oci::image::media;

use super::auth;
use super::images::{normal, repository};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::json as text;
use crate::terminal::print;

/// `buildx imagetools inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = normal(invocation.arg(0))?;
    let client = invocation.client()?;
    let found = fetch(invocation, &client, &name).await?;
    if matches.bool("raw") {
        print(format!("{}\n", found.document))?;
        return Ok(0);
    }
    let manifest = manifest_of(&found)?;
    match matches.text("format") {
        "" => print(described(&name, &found, &manifest))?,
        "{{json .Manifest}}" => {
            let document = serde_json::to_string_pretty(&manifest).unwrap_or_default();
            print(format!("{}\n", text::escape_html(&document)))?;
        }
        format => {
            let data = json!({"Name": name, "Manifest": manifest, "manifest": manifest});
            return crate::format::document(format, data);
        }
    }
    Ok(0)
}

/// `buildx imagetools create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let client = invocation.client()?;
    let mut sources: Vec<String> = Vec::new();
    for name in matches.args() {
        sources.push(normal(name)?);
    }
    for path in matches.list("file") {
        sources.extend(from_file(path)?);
    }
    let mut tags = Vec::new();
    for tag in matches.list("tag") {
        tags.push(normal(tag)?);
    }
    if tags.is_empty() && !matches.bool("dry-run") {
        return Err(Failure::new("ERROR: at least one tag (-t) is needed, or --dry-run"));
    }
    if matches.bool("append") {
        // What the first tag has already comes first.
        if let Some(tag) = tags.first() {
            sources.insert(0, tag.clone());
        }
    }
    if sources.is_empty() {
        return Err(Failure::new("ERROR: no sources specified"));
    }
    let mut found = Vec::new();
    for name in &sources {
        found.push((name.clone(), fetch(invocation, &client, name).await?));
    }
    let (media_type, document) = combined(&found, &annotations(&matches.list("annotation"))?)?;
    if matches.bool("dry-run") {
        print(format!("{document}\n"))?;
        return Ok(0);
    }
    let mut digest = String::new();
    for tag in &tags {
        let mut from: Vec<String> =
            sources.iter().map(|name| repository(name).to_owned()).collect();
        from.retain(|name| name != repository(tag));
        from.dedup();
        let wanted =
            ManifestToPublish { media_type: media_type.clone(), document: document.clone(), from };
        let auth = auth::header(invocation, repository(tag))?;
        digest = client.distribution_publish(tag, &wanted, false, &auth).await?;
        print(format!("pushing {digest} to {tag}\n"))?;
    }
    if let Some(path) = matches.string("metadata-file").filter(|path| !path.is_empty()) {
        let metadata = json!({
            "containerimage.descriptor": {
                "mediaType": media_type,
                "digest": digest,
                "size": document.len(),
            },
            "image.name": tags.join(","),
        });
        let text = serde_json::to_string_pretty(&metadata).unwrap_or_default();
        super::build::write(path, &format!("{text}\n"))?;
    }
    Ok(0)
}

async fn fetch(
    invocation: &Invocation,
    client: &Client,
    name: &str,
) -> Result<ManifestDocument, Failure> {
    let auth = auth::header(invocation, repository(name))?;
    let found = client.distribution_manifest(name, false, &auth).await;
    found.map_err(|error| Failure::new(format!("ERROR: {name}: {error}")))
}

/// Sources as a file has them: a descriptor with a name, or a name.
fn from_file(path: &str) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("ERROR: read {path}: {error}")))?;
    let Ok(document) = serde_json::from_str::<Value>(&text) else {
        return Ok(vec![normal(text.trim())?]);
    };
    let named = document["annotations"]["org.opencontainers.image.ref.name"].as_str();
    match (named, document["digest"].as_str()) {
        (Some(name), Some(digest)) => Ok(vec![format!("{}@{digest}", repository(&normal(name)?))]),
        _ => Err(Failure::new(format!("ERROR: {path} names no image"))),
    }
}

/// `[index|manifest-descriptor[platform]:]NAME=VALUE`; only those of the whole are written here.
fn annotations(entries: &[&str]) -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    for entry in entries {
        let invalid = || Failure::new(format!("ERROR: invalid annotation {entry:?}"));
        let (key, value) = entry.split_once('=').ok_or_else(invalid)?;
        let key = match key.split_once(':') {
            Some(("index" | "index-descriptor", key)) => key,
            Some((level, _)) if level.starts_with("manifest") => {
                return Err(Failure::new(format!(
                    "ERROR: annotation {entry:?}: manifests are taken as they are; only \"index:\" \
                     can be annotated"
                )));
            }
            _ => key,
        };
        map.insert(key.to_owned(), value.into());
    }
    Ok(map)
}

/// Media type and bytes of what all sources together are: the only one as it is, else an index.
fn combined(
    found: &[(String, ManifestDocument)],
    annotations: &Map<String, Value>,
) -> Result<(String, String), Failure> {
    if let ([(_, only)], true) = (found, annotations.is_empty()) {
        return Ok((only.descriptor.media_type.clone(), only.document.clone()));
    }
    let mut manifests: Vec<Value> = Vec::new();
    for (name, found) in found {
        let document: Value = serde_json::from_str(&found.document)
            .map_err(|error| Failure::new(format!("ERROR: {name}: {error}")))?;
        let members = match document["manifests"].as_array() {
            Some(members) => members.clone(),
            None => {
                let descriptor = &found.descriptor;
                let mut member = json!({
                    "mediaType": descriptor.media_type,
                    "digest": descriptor.digest,
                    "size": descriptor.size,
                });
                if let Some(platform) = found.platforms.first() {
                    member["platform"] = json!({
                        "architecture": platform.architecture,
                        "os": platform.os,
                    });
                    if !platform.variant.is_empty() {
                        member["platform"]["variant"] = platform.variant.clone().into();
                    }
                }
                vec![member]
            }
        };
        for member in members {
            if !manifests.iter().any(|known| known["digest"] == member["digest"]) {
                manifests.push(member);
            }
        }
    }
    let docker = |member: &Value| member["mediaType"] == media::DOCKER_MANIFEST;
    let all_docker = manifests.iter().all(docker) && annotations.is_empty();
    let media_type = if all_docker { media::DOCKER_LIST } else { media::OCI_INDEX };
    let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    if !annotations.is_empty() {
        index["annotations"] = annotations.clone().into();
    }
    let document = serde_json::to_string_pretty(&index)
        .map_err(|error| Failure::new(format!("ERROR: {error}")))?;
    Ok((media_type.to_owned(), document))
}

/// The descriptor of a document, with its members.
fn manifest_of(found: &ManifestDocument) -> Result<Value, Failure> {
    let document: Value = serde_json::from_str(&found.document)
        .map_err(|error| Failure::new(format!("ERROR: bad manifest: {error}")))?;
    let mut manifest = json!({
        "schemaVersion": document["schemaVersion"],
        "mediaType": found.descriptor.media_type,
        "digest": found.descriptor.digest,
        "size": found.descriptor.size,
    });
    for key in ["manifests", "annotations"] {
        if let Some(value) = document.get(key) {
            manifest[key] = value.clone();
        }
    }
    Ok(manifest)
}

fn described(name: &str, found: &ManifestDocument, manifest: &Value) -> String {
    let descriptor = &found.descriptor;
    let mut out = format!(
        "Name:      {name}\nMediaType: {}\nDigest:    {}\n",
        descriptor.media_type, descriptor.digest
    );
    let Some(members) = manifest["manifests"].as_array() else { return out };
    out.push_str("           \nManifests: \n");
    for (number, member) in members.iter().enumerate() {
        let field = |name: &str| member[name].as_str().unwrap_or_default();
        let platform = &member["platform"];
        let part = |name: &str| platform[name].as_str().unwrap_or_default();
        if number > 0 {
            out.push_str("               \n");
        }
        out.push_str(&format!("  Name:        {}@{}\n", repository(name), field("digest")));
        out.push_str(&format!("  MediaType:   {}\n", field("mediaType")));
        if platform.is_object() {
            let variant = match part("variant") {
                "" => String::new(),
                variant => format!("/{variant}"),
            };
            let shown = format!("{}/{}{variant}", part("os"), part("architecture"));
            out.push_str(&format!("  Platform:    {shown}\n"));
        }
        if let Some(annotations) = member["annotations"].as_object() {
            out.push_str("  Annotations: \n");
            for (key, value) in annotations {
                let value = value.as_str().unwrap_or_default();
                out.push_str(&format!("    {key}: {value}\n"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::image::{Descriptor, Platform};

    fn found(digest: &str, document: &str) -> (String, ManifestDocument) {
        let descriptor = Descriptor {
            media_type: media::OCI_MANIFEST.to_owned(),
            digest: digest.to_owned(),
            size: 3,
            ..Descriptor::default()
        };
        let platform = Platform {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..Platform::default()
        };
        let document = document.to_owned();
        ("r/x:1".to_owned(), ManifestDocument { descriptor, platforms: vec![platform], document })
    }

    #[test]
    fn sources_become_one_index() {
        let index = "{\"manifests\":[{\"digest\":\"a\"},{\"digest\":\"b\"}]}";
        let all = [found("a", "{}"), found("i", index)];
        let (media_type, document) = combined(&all, &Map::new()).unwrap();
        assert_eq!(media_type, media::OCI_INDEX);
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["manifests"].as_array().unwrap().len(), 2);
        assert_eq!(document["manifests"][0]["platform"]["architecture"], "amd64");
        let (_, same) = combined(&all[..1], &Map::new()).unwrap();
        assert_eq!(same, "{}", "one source is copied as it is");
        let noted = annotations(&["index:k=v"]).unwrap();
        let (_, noted) = combined(&all[..1], &noted).unwrap();
        assert!(noted.contains("\"k\": \"v\""));
        assert!(annotations(&["manifest:k=v"]).is_err() && annotations(&["k"]).is_err());
    }

    #[test]
    fn an_index_is_described() {
        let (name, found) = found(
            "i",
            "{\"manifests\":[{\"digest\":\"a\",\"mediaType\":\"m\",\
            \"platform\":{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}}]}",
        );
        let shown = described(&name, &found, &manifest_of(&found).unwrap());
        assert!(shown.contains("  Name:        r/x@a\n"), "{shown}");
        assert!(shown.contains("  Platform:    linux/arm/v7\n"), "{shown}");
    }
}
