//! Where file systems come from: images, the context, named contexts.

use super::options::{ContextSource, ImageNeed, PlanOptions};
use crate::gitref;
use crate::graph::{Git, Http, Image, Local, OciLayout, OpKind};
use crate::platform::Platform;
use crate::text::{join_paths, quote};
use model::reference::ImageRef;
use std::collections::{BTreeMap, BTreeSet};

/// The paths that are taken from each of the client's directories, as LLB's follow paths: found in
/// a first pass, so that only they are sent.
pub(super) type Paths = BTreeMap<String, BTreeSet<String>>;

/// What a named context is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Named {
    Scratch,
    /// An image of the store or a registry, or of a layout.
    Image(ImageNeed),
    /// A directory, a git tree, a file.
    Source(OpKind),
    /// Another stage.
    Stage(String),
}

/// The address of the context that stands for `name`, if one is given: under the name itself or,
/// for images, under their familiar name, for this platform or for all.
pub(super) fn named_context<'a>(
    options: &'a PlanOptions,
    name: &str,
    platform: &Platform,
) -> Option<&'a str> {
    if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
        return None;
    }
    let familiar = ImageRef::parse(name).ok().map(|reference| {
        let familiar = reference.or_latest().familiar();
        familiar.strip_suffix(":latest").map(str::to_owned).unwrap_or(familiar)
    });
    let names = [Some(name.to_owned()), familiar];
    names.into_iter().flatten().find_map(|name| {
        let of_platform = options.contexts.get(&format!("{name}::{platform}"));
        of_platform.or_else(|| options.contexts.get(&name)).map(String::as_str)
    })
}

/// Parses a named context's address.
pub(super) fn parse_context(
    name: &str,
    address: &str,
    platform: &Platform,
) -> Result<Named, String> {
    let invalid = || format!("invalid context specifier {address} for {name}");
    if let Some(git) = gitref::parse(address, true) {
        return git.map(|git| Named::Source(OpKind::Git(git.git)));
    }
    let (scheme, rest) = address.split_once(':').ok_or_else(invalid)?;
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    match scheme {
        "docker-image" if bare == "scratch" => Ok(Named::Scratch),
        "docker-image" => Ok(Named::Image(image_need(bare, platform)?)),
        "oci-layout" => {
            let (store, digest) = bare
                .split_once('@')
                .ok_or_else(|| format!("oci-layout reference {} has no digest", quote(bare)))?;
            let store = store.split(':').next().unwrap_or(store);
            let reference = format!("{name}@{digest}");
            let layout = Some(store.to_owned());
            Ok(Named::Image(ImageNeed { reference, platform: platform.clone(), layout }))
        }
        "http" | "https" => {
            let http = Http { url: address.to_owned(), filename: "context".to_owned(), ..web() };
            Ok(Named::Source(OpKind::Http(http)))
        }
        "local" => {
            Ok(Named::Source(OpKind::Local(Local { name: bare.to_owned(), ..Local::default() })))
        }
        "target" => Ok(Named::Stage(bare.to_owned())),
        _ => Err(format!("unsupported context source {scheme} for {name}")),
    }
}

fn web() -> Http {
    Http { header_secret: String::new(), ..Http::default() }
}

/// An image by the name a FROM has.
pub(super) fn image_need(name: &str, platform: &Platform) -> Result<ImageNeed, String> {
    let reference = ImageRef::parse(name)
        .map_err(|err| format!("failed to parse stage name {}: {err}", quote(name)))?;
    let reference = reference.or_latest().to_string();
    Ok(ImageNeed { reference, platform: platform.clone(), layout: None })
}

/// The operation that brings an image.
pub(super) fn image_source(need: &ImageNeed, reference: &str, options: &PlanOptions) -> OpKind {
    let reference = reference.to_owned();
    match &need.layout {
        Some(store) => {
            OpKind::OciLayout(OciLayout { reference, store: store.clone(), layer_limit: None })
        }
        None => OpKind::Image(Image { reference, pull: options.pull, layer_limit: None }),
    }
}

/// The operation that brings the context; `paths` are those that are used of it.
pub(super) fn context_source(options: &PlanOptions, paths: &Paths) -> OpKind {
    match &options.context {
        ContextSource::Local(name) => OpKind::Local(Local {
            name: name.clone(),
            exclude: options.ignore.clone(),
            follow: follow(paths.get(name)),
            ..Local::default()
        }),
        ContextSource::Git(git) => {
            let keep = options.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
            let keep = keep.and_then(|value| crate::text::parse_bool(value));
            let keep_git_dir = keep.unwrap_or(git.keep_git_dir);
            OpKind::Git(Git { keep_git_dir, ..git.clone() })
        }
        ContextSource::Http(http) => OpKind::Http(http.clone()),
    }
}

/// Paths relative to the root; none when all is used.
pub(super) fn follow(paths: Option<&BTreeSet<String>>) -> Vec<String> {
    let Some(paths) = paths.filter(|paths| !paths.contains("/")) else { return Vec::new() };
    paths.iter().map(|path| path.trim_start_matches('/').to_owned()).collect()
}

/// Notes that `path` is used of the directory `name`.
pub(super) fn note(paths: &mut Paths, name: &str, path: &str) {
    paths.entry(name.to_owned()).or_default().insert(join_paths("/", path));
}
