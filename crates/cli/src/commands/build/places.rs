//! Caches, layouts and attestations of a build: where steps are taken from and put, images in OCI
//! layouts of this host, and what is to be said beside the result. Opens what is handed over.

use std::collections::BTreeMap;
use std::path::Path;

use wire::build::Typed;
use wire::oci::image::{Index, annotation};

use super::ask::{Ask, typed};
use crate::csv;
use crate::failure::Failure;
use crate::flags::Matches;

/// `--cache-from`, `--cache-to`.
pub(super) fn caches(ask: &mut Ask, matches: &Matches) -> Result<(), Failure> {
    let image = |name: &str| Typed {
        kind: "registry".to_owned(),
        attrs: BTreeMap::from([("ref".to_owned(), name.to_owned())]),
    };
    for value in matches.list("cache-from") {
        // The old form is a list of images.
        if !value.contains('=') {
            let images = value.split(',').filter(|image| !image.is_empty());
            ask.order.cache_from.extend(images.map(image));
            continue;
        }
        let mut cache = typed(value, "registry")?;
        if cache.kind == "local" {
            let dir = required(&cache, "src")?;
            let attr = |name: &str| cache.attrs.get(name).map(String::as_str).unwrap_or_default();
            let (digest, tag) = (attr("digest"), attr("tag"));
            // Only we can see the index. A cache that is not there yet only costs time.
            let found = match digest.is_empty() {
                false => Ok(digest.to_owned()),
                true => tagged(Path::new(&dir), if tag.is_empty() { "latest" } else { tag }),
            };
            let Ok(digest) = found else {
                eprintln!("WARNING: local cache import at {dir} not found");
                continue;
            };
            ask.directory(&format!("cache:{dir}"), Path::new(&dir))?;
            cache.attrs.insert("digest".to_owned(), digest);
        }
        ask.order.cache_from.push(cache);
    }
    for value in matches.list("cache-to") {
        let cache = match value.contains('=') {
            true => typed(value, "registry")?,
            false if value == "inline" => Typed { kind: value.to_owned(), ..Typed::default() },
            false => image(value),
        };
        if cache.kind == "local" {
            let dir = required(&cache, "dest")?;
            std::fs::create_dir_all(&dir)
                .map_err(|error| Failure::new(format!("make directory {dir}: {error}")))?;
            let name = format!("cache:{dir}");
            if !ask.has_directory(&name) {
                ask.directory(&name, Path::new(&dir))?;
            }
        }
        ask.order.cache_to.push(cache);
    }
    Ok(())
}

fn required(cache: &Typed, name: &str) -> Result<String, Failure> {
    let value = cache.attrs.get(name).filter(|value| !value.is_empty()).cloned();
    value.ok_or_else(|| Failure::new(format!("local cache requires {name}=<directory>")))
}

/// `--provenance`, `--sbom`, `--attest`.
pub(super) fn attestations(ask: &mut Ask, matches: &Matches) -> Result<(), Failure> {
    for value in matches.list("attest") {
        let fields = csv::split(value).map_err(Failure::new)?;
        let kind = fields.iter().find_map(|field| field.strip_prefix("type="));
        let kind = kind.ok_or_else(|| Failure::new("attestation type not specified"))?.to_owned();
        if !matches!(kind.as_str(), "provenance" | "sbom") {
            return Err(Failure::new(format!("unknown attestation type {kind:?}")));
        }
        let rest: Vec<&str> =
            fields.iter().map(String::as_str).filter(|it| !it.starts_with("type=")).collect();
        ask.order.attrs.insert(format!("attest:{kind}"), rest.join(","));
    }
    for kind in ["provenance", "sbom"] {
        let value = match matches.text(kind) {
            "" => continue,
            "true" | "1" => String::new(),
            "false" | "0" => "disabled=true".to_owned(),
            // Only modes come without a name.
            mode @ ("min" | "max") if kind == "provenance" => format!("mode={mode}"),
            other => other.to_owned(),
        };
        ask.order.attrs.insert(format!("attest:{kind}"), value);
    }
    Ok(())
}

/// `oci-layout://directory[:tag|@digest]` as the daemon knows it; the directory is handed over.
pub(super) fn layout(ask: &mut Ask, name: &str, address: &str) -> Result<String, Failure> {
    let (dir, digest) = match address.split_once('@') {
        Some((dir, digest)) => (dir.to_owned(), digest.to_owned()),
        None => {
            let last = address.rsplit('/').next().unwrap_or_default();
            let (dir, tag) = match last.rsplit_once(':') {
                Some((_, tag)) => (&address[..address.len() - tag.len() - 1], tag),
                None => (address, "latest"),
            };
            (dir.to_owned(), tagged(Path::new(dir), tag)?)
        }
    };
    ask.directory(&format!("oci:{name}"), Path::new(&dir))?;
    Ok(format!("oci-layout://{name}@{digest}"))
}

/// The digest that a layout's index has under a tag.
fn tagged(dir: &Path, tag: &str) -> Result<String, Failure> {
    let path = dir.join("index.json");
    let failed = |why: String| Failure::new(format!("read {}: {why}", path.display()));
    let bytes = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let named = index
        .manifests
        .iter()
        .find(|entry| entry.annotations.get(annotation::REF_NAME).is_some_and(|name| name == tag));
    let only = match index.manifests.as_slice() {
        [only] if tag == "latest" => Some(only),
        _ => None,
    };
    let found = named.or(only).map(|entry| entry.digest.clone());
    found.ok_or_else(|| failed(format!("it has no image with tag {tag:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_names_its_images() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"schemaVersion":2,"manifests":[
            {"mediaType":"m","digest":"sha256:a","size":1,
             "annotations":{"org.opencontainers.image.ref.name":"v1"}},
            {"mediaType":"m","digest":"sha256:b","size":1}]}"#;
        std::fs::write(dir.path().join("index.json"), index).unwrap();
        assert_eq!(tagged(dir.path(), "v1").unwrap(), "sha256:a");
        assert!(tagged(dir.path(), "latest").is_err());
        assert!(tagged(&dir.path().join("none"), "v1").is_err());
    }
}
