//! What becomes of a build as BuildKit's clients ask for it: outputs, caches, and what is said
//! beside the result. Free texts are parsed here, once. Knows no connection.

use std::collections::BTreeSet;

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use build::attest::{Attestations, Provenance, Sbom};
use build::platform::Platform;
use build::request::{
    Annotation, AnnotationPlace, CacheForm, CacheSource, CacheTarget, Form, LayoutPick, Output,
    Push,
};
use build::{Compression, Error, Packing, Result};
use model::{Digest, ImageRef};
use serde::Deserialize;

use super::request::{Attrs, flag};

/// What a result becomes; `None` is what leaves it in the cache.
///
/// # Errors
/// An exporter that is not known, or attributes that make no sense.
pub(super) fn output(kind: &str, attrs: &Attrs) -> Result<Option<Output>> {
    let set = |name: &str| attrs.get(name).is_some_and(|value| flag(value));
    let names = || names(attrs.get("name").map(String::as_str).unwrap_or_default());
    let split = attrs.get("platform-split").map(|value| flag(value));
    Ok(Some(match kind {
        "" | "cacheonly" => return Ok(None),
        "moby" | "image" | "registry" => {
            let push = set("push") || kind == "registry";
            let by_digest = set("push-by-digest");
            Output::Image {
                names: names()?,
                push: match (push, by_digest) {
                    (false, _) => Push::No,
                    (true, false) => Push::Named,
                    (true, true) => Push::ByDigest,
                },
                store: attrs.get("store").map_or(!by_digest, |value| flag(value)),
                form: form(attrs)?,
            }
        }
        "local" => Output::Local { platform_split: split },
        "tar" => Output::Tar { platform_split: split },
        "oci" => Output::Oci {
            names: names()?,
            tar: attrs.get("tar").is_none_or(|value| flag(value)),
            form: form(attrs)?,
        },
        "docker" => Output::Docker { names: names()?, form: form(attrs)? },
        other => return Err(Error::unsupported(format!("exporter {other:?} could not be found"))),
    }))
}

fn form(attrs: &Attrs) -> Result<Form> {
    let (packing, packing_asked) = packing(attrs)?;
    Ok(Form {
        packing,
        packing_asked,
        docker_types: attrs.get("oci-mediatypes").is_some_and(|value| !flag(value)),
        annotations: annotations(attrs)?,
    })
}

fn packing(attrs: &Attrs) -> Result<(Packing, bool)> {
    let text = |name: &str| attrs.get(name).map(String::as_str);
    let compression = match text("compression") {
        None => None,
        Some("gzip") => Some(Compression::Gzip),
        Some("zstd") => Some(Compression::Zstd),
        Some("uncompressed") => Some(Compression::Plain),
        Some(other) => {
            return Err(Error::unsupported(format!("unsupported layer compression type: {other}")));
        }
    };
    let level = text("compression-level").map(str::parse).transpose();
    let level =
        level.map_err(|_| Error::invalid("compression-level: a whole number is expected"))?;
    let force = text("force-compression").is_some_and(flag);
    let asked = compression.is_some() || level.is_some() || force;
    Ok((Packing { compression: compression.unwrap_or_default(), level, force }, asked))
}

/// `annotation[-<place>][[<platform>]].<key>`.
fn annotations(attrs: &Attrs) -> Result<Vec<Annotation>> {
    let mut all = Vec::new();
    for (name, value) in attrs {
        let Some(rest) = name.strip_prefix("annotation") else { continue };
        let Some((head, key)) = split_key(rest) else { continue };
        let (place, platform) = match head.split_once('[') {
            Some((place, platform)) => (place, platform.strip_suffix(']')),
            None => (head, None),
        };
        let place = match place {
            "" | "-manifest" => AnnotationPlace::Manifest,
            "-manifest-descriptor" => AnnotationPlace::ManifestDescriptor,
            "-index" => AnnotationPlace::Index,
            "-index-descriptor" => AnnotationPlace::IndexDescriptor,
            other => {
                return Err(Error::invalid(format!("unrecognized annotation type {other:?}")));
            }
        };
        let host = Platform::of_this_build();
        let platform = platform.map(|text| Platform::parse(text, &host)).transpose()?;
        let (key, value) = (key.to_owned(), value.clone());
        all.push(Annotation { place, platform, key, value });
    }
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// The first dot outside of brackets ends the head.
fn split_key(rest: &str) -> Option<(&str, &str)> {
    let mut inside = false;
    for (at, character) in rest.char_indices() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            '.' if !inside => return Some((&rest[..at], &rest[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Names of an image, separated by commas.
fn names(list: &str) -> Result<Vec<ImageRef>> {
    let mut seen = BTreeSet::new();
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let fresh = names.filter(|name| seen.insert(*name));
    fresh.map(|name| ImageRef::parse(name).map_err(Error::from)).collect()
}

/// Where finished steps may be taken from: the request's own list, and the front end's attributes.
pub(super) fn cache_from(cache: Option<&pb::CacheOptions>, attrs: &Attrs) -> Vec<CacheSource> {
    let mut sources = Vec::new();
    let refs = attrs.get("cache-from").map(String::as_str).unwrap_or_default();
    let refs = refs.split(',').map(str::trim).filter(|name| !name.is_empty());
    sources.extend(refs.map(|name| CacheSource::Registry(name.to_owned())));
    let listed: Vec<CacheEntry> = attrs
        .get("cache-imports")
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    sources.extend(listed.iter().filter_map(|e| cache_source(&e.kind, &e.attrs)));
    if let Some(cache) = cache {
        let imports = &cache.imports;
        sources.extend(imports.iter().filter_map(|e| cache_source(&e.r#type, &e.attrs)));
        let old = cache.import_refs_deprecated.iter();
        sources.extend(old.map(|name| CacheSource::Registry(name.clone())));
    }
    let mut fresh: Vec<CacheSource> = Vec::new();
    for source in sources {
        if !fresh.contains(&source) {
            fresh.push(source);
        }
    }
    fresh
}

/// An import as front ends write it in JSON.
#[derive(Deserialize)]
struct CacheEntry {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attrs: Attrs,
}

/// An import of a kind that is not known is skipped: a cache only saves time.
fn cache_source(kind: &str, attrs: &Attrs) -> Option<CacheSource> {
    let text = |name: &str| attrs.get(name).cloned().unwrap_or_default();
    match kind {
        "registry" | "inline" if !text("ref").is_empty() => {
            Some(CacheSource::Registry(text("ref")))
        }
        "local" => {
            let pick = match (Digest::parse(&text("digest")), text("tag").as_str()) {
                (Ok(digest), _) => LayoutPick::Digest(digest),
                (Err(_), "") => LayoutPick::Tag("latest".to_owned()),
                (Err(_), tag) => LayoutPick::Tag(tag.to_owned()),
            };
            Some(CacheSource::Local { store: text("src"), pick })
        }
        _ => None,
    }
}

/// Where finished steps are put.
///
/// # Errors
/// An export that was asked for and cannot be done.
pub(super) fn cache_to(
    cache: Option<&pb::CacheOptions>,
    attrs: &Attrs,
) -> Result<Vec<CacheTarget>> {
    let mut targets = Vec::new();
    if attrs.get("build-arg:BUILDKIT_INLINE_CACHE").is_some_and(|value| flag(value)) {
        targets.push(CacheTarget::Inline);
    }
    let exports = cache.map(|cache| cache.exports.as_slice()).unwrap_or_default();
    for entry in exports {
        let target = cache_target(&entry.r#type, &entry.attrs)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    // The form that older clients use.
    if let Some(cache) = cache.filter(|cache| !cache.export_ref_deprecated.is_empty()) {
        let mut attrs = cache.export_attrs_deprecated.clone();
        attrs.insert("ref".to_owned(), cache.export_ref_deprecated.clone());
        targets.push(cache_target("registry", &attrs)?);
    }
    Ok(targets)
}

fn cache_target(kind: &str, attrs: &Attrs) -> Result<CacheTarget> {
    let text = |name: &str| attrs.get(name).map(String::as_str).unwrap_or_default();
    let form = || -> Result<CacheForm> {
        let all = match text("mode") {
            "" | "min" => false,
            "max" => true,
            other => return Err(Error::invalid(format!("invalid cache mode {other:?}"))),
        };
        Ok(CacheForm {
            all,
            image_manifest: attrs.get("image-manifest").is_none_or(|value| flag(value)),
            docker_types: attrs.get("oci-mediatypes").is_some_and(|value| !flag(value)),
            ignore_error: attrs.get("ignore-error").is_some_and(|value| flag(value)),
            packing: packing(attrs)?.0,
        })
    };
    match kind {
        "inline" => Ok(CacheTarget::Inline),
        "local" => {
            if text("dest").is_empty() {
                return Err(Error::invalid("dest is required for local cache exporter"));
            }
            let tag = if text("tag").is_empty() { "latest" } else { text("tag") };
            let (store, tag) = (text("dest").to_owned(), tag.to_owned());
            Ok(CacheTarget::Local { store, tag, form: form()? })
        }
        "registry" => {
            let name = ImageRef::parse(text("ref"))?.or_latest();
            Ok(CacheTarget::Registry { name, form: form()? })
        }
        other => Err(Error::unsupported(format!("unknown cache exporter: {other:?}"))),
    }
}

/// What is said beside the result: `attest:provenance`, `attest:sbom`.
///
/// # Errors
/// Parameters that make no sense.
pub(super) fn attestations(attrs: &Attrs) -> Result<Attestations> {
    let mut asked = Attestations::default();
    for (name, value) in attrs {
        let Some(kind) = name.strip_prefix("attest:") else { continue };
        let fields: Vec<(&str, &str)> = value
            .split(',')
            .filter(|field| !field.is_empty())
            .map(|field| field.split_once('=').unwrap_or((field, "true")))
            .collect();
        let field = |name: &str| fields.iter().find(|(own, _)| *own == name).map(|(_, v)| *v);
        // `inline-only` is what buildx adds by itself where nobody asked: a plain build stays one.
        let own = field("inline-only").is_some_and(flag);
        if own || field("disabled").is_some_and(flag) || field("false").is_some() {
            continue;
        }
        match kind {
            "provenance" => asked.provenance = Some(provenance(&field)?),
            "sbom" => {
                let generator = field("generator").filter(|image| !image.is_empty());
                asked.sbom = Some(Sbom { generator: generator.map(str::to_owned) });
            }
            other => return Err(Error::unsupported(format!("unknown attestation type {other:?}"))),
        }
    }
    Ok(asked)
}

fn provenance<'a>(field: &dyn Fn(&str) -> Option<&'a str>) -> Result<Provenance> {
    let all = match field("mode") {
        None | Some("" | "min") => false,
        Some("max") => true,
        Some(other) => return Err(Error::invalid(format!("invalid mode {other:?}"))),
    };
    let v1 = match field("version") {
        None | Some("v0.2") => false,
        Some("v1") => true,
        Some(other) => return Err(Error::invalid(format!("unknown SLSA version {other:?}"))),
    };
    Ok(Provenance {
        all,
        v1,
        builder_id: field("builder-id").unwrap_or_default().to_owned(),
        reproducible: field("reproducible").is_some_and(flag),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(pairs: &[(&str, &str)]) -> Attrs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn outputs() {
        let named = attrs(&[
            ("name", "a:1,b,a:1"),
            ("push", "true"),
            ("annotation.k", "v"),
            ("annotation-index[linux/arm64].x.y", "z"),
            ("compression", "zstd"),
        ]);
        let Some(Output::Image { names, push, store, form }) = output("moby", &named).unwrap()
        else {
            panic!("no image")
        };
        assert_eq!((names.len(), push, store), (2, Push::Named, true));
        assert_eq!(form.packing.compression, Compression::Zstd);
        assert_eq!((form.annotations[0].key.as_str(), form.annotations.len()), ("k", 2));
        let second = &form.annotations[1];
        assert_eq!((second.key.as_str(), second.place), ("x.y", AnnotationPlace::Index));
        assert_eq!(second.platform.as_ref().unwrap().architecture, "arm64");
        assert_eq!(output("", &named).unwrap(), None);
        let whole = output("local", &Attrs::new()).unwrap();
        assert_eq!(whole, Some(Output::Local { platform_split: None }));
        let split = attrs(&[("platform-split", "true")]);
        let want = Some(Output::Local { platform_split: Some(true) });
        assert_eq!(output("local", &split).unwrap(), want);
        for bad in [("compression", "lz4"), ("compression-level", "x"), ("annotation-x.k", "v")] {
            assert!(output("image", &attrs(&[bad])).is_err(), "{bad:?}");
        }
        assert!(output("nonsense", &Attrs::new()).is_err());
        assert!(output("image", &attrs(&[("name", "UPPER")])).is_err());
    }

    #[test]
    fn caches() {
        let entry = |kind: &str, pairs: &[(&str, &str)]| pb::CacheOptionsEntry {
            r#type: kind.to_owned(),
            attrs: attrs(pairs),
        };
        let options = pb::CacheOptions {
            imports: vec![
                entry("registry", &[("ref", "h/x")]),
                entry("local", &[("src", "/d"), ("tag", "t")]),
                entry("gha", &[]),
            ],
            exports: vec![
                entry("inline", &[]),
                entry("registry", &[("ref", "h/x:c"), ("mode", "max"), ("ignore-error", "true")]),
                entry("local", &[("dest", "/d"), ("image-manifest", "false")]),
            ],
            ..pb::CacheOptions::default()
        };
        let from = cache_from(Some(&options), &attrs(&[("cache-from", "h/x,y")]));
        assert_eq!(from.len(), 3, "{from:?}");
        let to = cache_to(Some(&options), &Attrs::new()).unwrap();
        let [CacheTarget::Inline, CacheTarget::Registry { form, .. }, CacheTarget::Local { .. }] =
            &to[..]
        else {
            panic!("{to:?}")
        };
        assert!(form.all && form.ignore_error && form.image_manifest);
        for bad in [entry("s3", &[]), entry("local", &[]), entry("registry", &[("mode", "x")])] {
            let options = pb::CacheOptions { exports: vec![bad], ..Default::default() };
            assert!(cache_to(Some(&options), &Attrs::new()).is_err());
        }
    }

    #[test]
    fn attestations_are_off_unless_asked_for() {
        assert!(!attestations(&Attrs::new()).unwrap().any());
        let off = attrs(&[("attest:provenance", "disabled=true"), ("attest:sbom", "false")]);
        assert!(!attestations(&off).unwrap().any());
        let own = attrs(&[("attest:provenance", "mode=min,inline-only=true")]);
        assert!(!attestations(&own).unwrap().any());
        let on = attrs(&[
            ("attest:provenance", "mode=max,version=v1,builder-id=me"),
            ("attest:sbom", "generator=h/scan"),
        ]);
        let asked = attestations(&on).unwrap();
        let provenance = asked.provenance.unwrap();
        assert!(provenance.all && provenance.v1 && provenance.builder_id == "me");
        assert_eq!(asked.sbom.unwrap().generator.as_deref(), Some("h/scan"));
        assert!(attestations(&attrs(&[("attest:provenance", "mode=some")])).is_err());
        assert!(attestations(&attrs(&[("attest:x", "")])).is_err());
    }
}
