//! Requests by method and path: which operation they ask for. Pure; nothing is looked up. Paths:
//! OCI distribution-spec v1.1, "Endpoints", and Docker's `_catalog` and token endpoints.

use super::name::{Digest, Name, Reference};
use super::refusal::{Code, Refusal};

/// One operation, with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v2/`
    Base,
    /// `GET /v2/_catalog`
    Catalog,
    /// `GET /v2/<name>/tags/list`
    Tags(Name),
    /// `GET /v2/<name>/referrers/<digest>`
    Referrers(Name, Digest),
    /// `GET|HEAD /v2/<name>/manifests/<reference>`
    ManifestGet(Name, Reference),
    /// `PUT` of the same
    ManifestPut(Name, Reference),
    /// `DELETE` of the same
    ManifestDelete(Name, Reference),
    /// `GET|HEAD /v2/<name>/blobs/<digest>`
    BlobGet(Name, Digest),
    /// `DELETE` of the same
    BlobDelete(Name, Digest),
    /// `POST /v2/<name>/blobs/uploads/`
    UploadStart(Name),
    /// `GET /v2/<name>/blobs/uploads/<id>`
    UploadStatus(Name, UploadId),
    /// `PATCH` of the same
    UploadAppend(Name, UploadId),
    /// `PUT` of the same
    UploadFinish(Name, UploadId),
    /// `DELETE` of the same
    UploadCancel(Name, UploadId),
    /// `GET /token`
    Token,
    /// `GET /metrics`
    Metrics,
    /// `GET /healthz`
    Health,
}

/// An upload's name: 32 hexadecimal digits that we drew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

impl UploadId {
    /// Reads an id, or nothing when it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an operation does to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// Its name in a token's scope.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

impl Route {
    /// The operation of a request. The path is as it came, percent-encoding and all: no name of
    /// the grammar needs any.
    pub(crate) fn parse(method: &str, path: &str) -> Result<Self, Refusal> {
        let read = matches!(method, "GET" | "HEAD");
        let top = match path {
            "/v2" | "/v2/" => Some(Self::Base),
            "/v2/_catalog" => Some(Self::Catalog),
            "/token" => Some(Self::Token),
            "/metrics" => Some(Self::Metrics),
            "/healthz" | "/" => Some(Self::Health),
            _ => None,
        };
        if let Some(route) = top {
            return if read { Ok(route) } else { Err(Refusal::method(method)) };
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(|| Refusal::not_found(path))?;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            let name = named(name)?;
            return if read { Ok(Self::Tags(name)) } else { Err(Refusal::method(method)) };
        }
        let (head, last) = rest.rsplit_once('/').ok_or_else(|| Refusal::not_found(path))?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return upload(method, named(name)?, last);
        }
        if head.is_empty() || last.is_empty() {
            return Err(Refusal::not_found(path));
        }
        // `uploads` without the slash that clients may leave out.
        if let (Some(name), "uploads") = (head.strip_suffix("/blobs"), last) {
            return upload(method, named(name)?, "");
        }
        if let Some(name) = head.strip_suffix("/manifests") {
            return manifest(method, named(name)?, last);
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            let (name, digest) = (named(name)?, digest(last)?);
            return match method {
                _ if read => Ok(Self::BlobGet(name, digest)),
                "DELETE" => Ok(Self::BlobDelete(name, digest)),
                _ => Err(Refusal::method(method)),
            };
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            let (name, digest) = (named(name)?, digest(last)?);
            let found = Self::Referrers(name, digest);
            return if read { Ok(found) } else { Err(Refusal::method(method)) };
        }
        Err(Refusal::not_found(path))
    }

    /// The repository concerned and what is done to it; nothing for what concerns none.
    pub(crate) fn needs(&self) -> Option<(&Name, Action)> {
        match self {
            Self::Base | Self::Catalog | Self::Token | Self::Metrics | Self::Health => None,
            Self::Tags(name)
            | Self::Referrers(name, _)
            | Self::ManifestGet(name, _)
            | Self::BlobGet(name, _) => Some((name, Action::Pull)),
            Self::ManifestPut(name, _)
            | Self::UploadStart(name)
            | Self::UploadStatus(name, _)
            | Self::UploadAppend(name, _)
            | Self::UploadFinish(name, _)
            | Self::UploadCancel(name, _) => Some((name, Action::Push)),
            Self::ManifestDelete(name, _) | Self::BlobDelete(name, _) => {
                Some((name, Action::Delete))
            }
        }
    }
}

fn upload(method: &str, name: Name, id: &str) -> Result<Route, Refusal> {
    if id.is_empty() {
        return match method {
            "POST" => Ok(Route::UploadStart(name)),
            _ => Err(Refusal::method(method)),
        };
    }
    let unknown = || Refusal::new(Code::BlobUploadUnknown, "the upload is not known here");
    let id = UploadId::parse(id).ok_or_else(unknown)?;
    match method {
        "GET" | "HEAD" => Ok(Route::UploadStatus(name, id)),
        "PATCH" => Ok(Route::UploadAppend(name, id)),
        "PUT" => Ok(Route::UploadFinish(name, id)),
        "DELETE" => Ok(Route::UploadCancel(name, id)),
        _ => Err(Refusal::method(method)),
    }
}

fn manifest(method: &str, name: Name, reference: &str) -> Result<Route, Refusal> {
    let Some(reference) = Reference::parse(reference) else {
        let code = if reference.contains(':') { Code::DigestInvalid } else { Code::TagInvalid };
        return Err(Refusal::new(code, "the reference is neither a tag nor a digest"));
    };
    match method {
        "GET" | "HEAD" => Ok(Route::ManifestGet(name, reference)),
        "PUT" => Ok(Route::ManifestPut(name, reference)),
        "DELETE" => Ok(Route::ManifestDelete(name, reference)),
        _ => Err(Refusal::method(method)),
    }
}

fn named(text: &str) -> Result<Name, Refusal> {
    let invalid = || Refusal::new(Code::NameInvalid, "invalid repository name");
    Name::parse(text).ok_or_else(invalid)
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    let invalid = || Refusal::new(Code::DigestInvalid, "the digest is no sha256 and no sha512");
    Digest::parse(text).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(line: &str) -> Result<Route, Code> {
        let (method, path) = line.split_once(' ').unwrap();
        Route::parse(method, path).map_err(|refusal| refusal.code)
    }

    #[test]
    fn every_operation_has_its_path() {
        let name = |text| Name::parse(text).unwrap();
        let hex = "a".repeat(64);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        let id = UploadId::parse(&"0".repeat(32)).unwrap();
        let tag = || Reference::parse("v1").unwrap();
        let table = [
            ("GET /v2/".to_owned(), Route::Base),
            ("GET /v2/_catalog".into(), Route::Catalog),
            ("GET /v2/a/b/tags/list".into(), Route::Tags(name("a/b"))),
            ("HEAD /v2/a/manifests/v1".into(), Route::ManifestGet(name("a"), tag())),
            ("PUT /v2/a/manifests/v1".into(), Route::ManifestPut(name("a"), tag())),
            ("DELETE /v2/a/manifests/v1".into(), Route::ManifestDelete(name("a"), tag())),
            (
                format!("GET /v2/blobs/blobs/sha256:{hex}"),
                Route::BlobGet(name("blobs"), digest.clone()),
            ),
            (
                format!("DELETE /v2/a/blobs/sha256:{hex}"),
                Route::BlobDelete(name("a"), digest.clone()),
            ),
            (
                format!("GET /v2/a/referrers/sha256:{hex}"),
                Route::Referrers(name("a"), digest.clone()),
            ),
            ("POST /v2/a/blobs/uploads/".into(), Route::UploadStart(name("a"))),
            ("POST /v2/a/blobs/uploads".into(), Route::UploadStart(name("a"))),
            (
                format!("PATCH /v2/a/blobs/uploads/{}", id.as_str()),
                Route::UploadAppend(name("a"), id.clone()),
            ),
        ];
        for (line, want) in table {
            assert_eq!(route(&line), Ok(want), "{line}");
        }
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for (line, want) in [
            ("GET /v1/", Code::NotFound),
            ("GET /v2/a", Code::NotFound),
            ("POST /v2/", Code::Unsupported),
            ("PATCH /v2/a/manifests/v1", Code::Unsupported),
            ("GET /v2/A/tags/list", Code::NameInvalid),
            ("GET /v2/a/../b/tags/list", Code::NameInvalid),
            ("GET /v2/a%2fb/tags/list", Code::NameInvalid),
            ("GET /v2/a/manifests/sha256:zz", Code::DigestInvalid),
            ("GET /v2/a/manifests/-", Code::TagInvalid),
            ("GET /v2/a/blobs/md5:00", Code::DigestInvalid),
            ("PATCH /v2/a/blobs/uploads/../../x", Code::NotFound),
            ("PATCH /v2/a/blobs/uploads/xyz", Code::BlobUploadUnknown),
            ("GET /v2//tags/list", Code::NameInvalid),
        ] {
            assert_eq!(route(line).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn every_path_of_a_repository_names_what_it_needs() {
        let hex = "a".repeat(64);
        for (line, want) in [
            ("GET /v2/a/tags/list".to_owned(), Action::Pull),
            (format!("HEAD /v2/a/blobs/sha256:{hex}"), Action::Pull),
            ("POST /v2/a/blobs/uploads/".into(), Action::Push),
            ("DELETE /v2/a/manifests/v1".into(), Action::Delete),
        ] {
            let route = route(&line).unwrap();
            assert_eq!(route.needs().map(|(_, action)| action), Some(want), "{line}");
        }
    }
}
