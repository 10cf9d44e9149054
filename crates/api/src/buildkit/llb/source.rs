//! Sources of LLB: `docker-image://`, `local://`, `git://`, `http(s)://`, `oci-layout://`, with
//! their attributes (`solver/pb/attr.go`). Knows no other operation.

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use build::graph::{Git, Http, Image, Local, OciLayout, OpKind, Pull};

use super::{LlbError, MAX_PARTS, text, texts};

/// A source by its identifier and attributes. Attributes that are not known are ignored, as
/// BuildKit does.
pub(super) fn source(source: &pb::SourceOp) -> Result<OpKind, LlbError> {
    let identifier = text("source", &source.identifier)?;
    let attrs = Attrs(&source.attrs);
    let Some((scheme, rest)) = identifier.split_once("://") else {
        return Err(LlbError::field(format!("invalid source {identifier:?}: want scheme://…")));
    };
    match scheme {
        "docker-image" => image(rest, attrs),
        "local" => local(rest, attrs),
        "git" => git(rest, attrs),
        "http" | "https" => http(identifier.clone(), attrs),
        "oci-layout" => Ok(OpKind::OciLayout(OciLayout {
            reference: rest.to_owned(),
            store: attrs.text("oci.store")?,
            layer_limit: attrs.number("oci.layerlimit")?,
        })),
        _ => Err(LlbError::field(format!("unknown source scheme {scheme:?}"))),
    }
}

fn image(reference: &str, attrs: Attrs<'_>) -> Result<OpKind, LlbError> {
    let pull = match attrs.text("image.resolvemode")?.as_str() {
        "" | "default" => Pull::Missing,
        "pull" => Pull::Always,
        "local" => Pull::Missing,
        other => return Err(LlbError::field(format!("invalid image.resolvemode {other:?}"))),
    };
    let checksum = attrs.text("image.checksum")?;
    let reference = match reference.contains('@') || checksum.is_empty() {
        true => reference.to_owned(),
        false => format!("{reference}@{checksum}"),
    };
    let layer_limit = attrs.number("image.layerlimit")?;
    Ok(OpKind::Image(Image { reference, pull, layer_limit }))
}

fn local(name: &str, attrs: Attrs<'_>) -> Result<OpKind, LlbError> {
    Ok(OpKind::Local(Local {
        name: name.to_owned(),
        include: attrs.list("local.includepattern")?,
        exclude: attrs.list("local.excludepatterns")?,
        follow: attrs.list("local.followpaths")?,
        shared_key: attrs.text("local.sharedkeyhint")?,
    }))
}

fn git(rest: &str, attrs: Attrs<'_>) -> Result<OpKind, LlbError> {
    let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let full = attrs.text("git.fullurl")?;
    let remote = if full.is_empty() { format!("https://{address}") } else { full };
    Ok(OpKind::Git(Git {
        remote,
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        checksum: attrs.text("git.checksum")?,
        keep_git_dir: attrs.flag("git.keepgitdir"),
        skip_submodules: attrs.flag("git.skipsubmodules"),
        token_secret: attrs.text("git.authtokensecret")?,
        header_secret: attrs.text("git.authheadersecret")?,
        ssh: attrs.text("git.mountsshsock")?,
        known_hosts: attrs.text("git.knownsshhosts")?,
    }))
}

fn http(url: String, attrs: Attrs<'_>) -> Result<OpKind, LlbError> {
    let filename = attrs.text("http.filename")?;
    if filename.contains('/') || filename == ".." {
        return Err(LlbError::field(format!("invalid http.filename {filename:?}")));
    }
    let mode = match attrs.text("http.perm")?.as_str() {
        "" => None,
        digits => Some(octal(digits)?),
    };
    let mut headers = BTreeMap::new();
    for (key, value) in attrs.0.iter().take(MAX_PARTS) {
        if let Some(name) = key.strip_prefix("http.header.") {
            headers.insert(text("header", name)?, text("header", value)?);
        }
    }
    Ok(OpKind::Http(Http {
        url,
        checksum: attrs.text("http.checksum")?,
        filename,
        mode,
        uid: attrs.number("http.uid")?.unwrap_or(0),
        gid: attrs.number("http.gid")?.unwrap_or(0),
        header_secret: attrs.text("http.authheadersecret")?,
        unpack: false,
        headers,
    }))
}

/// Permission bits as Go's `strconv.ParseInt(…, 0, …)` reads them: `0644`, `0o644`.
fn octal(digits: &str) -> Result<u32, LlbError> {
    let bare = digits.trim_start_matches("0o");
    u32::from_str_radix(bare, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| LlbError::field(format!("invalid http.perm {digits:?}")))
}

/// A source's attributes.
#[derive(Clone, Copy)]
struct Attrs<'a>(&'a BTreeMap<String, String>);

impl Attrs<'_> {
    fn text(&self, name: &str) -> Result<String, LlbError> {
        text(name, self.0.get(name).map(String::as_str).unwrap_or_default())
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true" || value == "1")
    }

    fn number(&self, name: &str) -> Result<Option<u32>, LlbError> {
        match self.0.get(name).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(digits) => digits
                .parse()
                .map(Some)
                .map_err(|_| LlbError::field(format!("invalid {name} {digits:?}"))),
        }
    }

    /// A list in JSON.
    fn list(&self, name: &'static str) -> Result<Vec<String>, LlbError> {
        let Some(json) = self.0.get(name).filter(|json| !json.is_empty()) else {
            return Ok(Vec::new());
        };
        let list: Option<Vec<String>> = serde_json::from_str(json)
            .map_err(|_| LlbError::field(format!("{name}: not a JSON list of texts")))?;
        texts(name, &list.unwrap_or_default())
    }
}
