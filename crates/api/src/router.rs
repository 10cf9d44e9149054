//! Which operation a request is for: a table of methods and path patterns, searched in order. Knows
//! no operation; the table is in [`crate::routes`].

use std::pin::Pin;

use hyper::Method;
use wire::docker::ApiVersion;

use crate::call::Call;
use crate::failure::Failure;
use crate::query::decode;
use crate::reply::Reply;

/// How an operation is served.
pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What this build does with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// It works.
    Done,
    /// It is refused with a reason.
    Refused,
}

/// One operation.
pub(crate) struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; one `{id}` stands for one segment, one `{name}` or
    /// `{link}` for one or more.
    pub path: &'static str,
    /// Whether it works.
    pub coverage: Coverage,
    /// What serves it.
    pub handler: Handler,
}

/// The operation for a request and the path's variable, decoded.
pub(crate) fn find<'t>(
    table: &'t [Route],
    method: &Method,
    path: &str,
) -> Result<(&'t Route, String), Failure> {
    // Docker's own path has two forms.
    let path = if path == "/networks/" { "/networks" } else { path };
    let mut candidates = table.iter().filter(|route| route.method == *method);
    let found = candidates.clone().find_map(|route| Some((route, capture(route.path, path)?)));
    // A container by the name that a link gives it in another.
    let linked = |route: &'t Route| Some((route, capture_linked(route.path, path)?));
    let found = found.or_else(|| candidates.find_map(linked));
    let (route, raw) = found.ok_or_else(Failure::page_not_found)?;
    Ok((route, decode(raw, false)?))
}

/// What the pattern's variable stands for in `path`; empty without a variable.
fn capture<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((variable, middle)) = split(pattern, path) else {
        return (pattern == path).then_some("");
    };
    let many = variable != "id";
    (!middle.is_empty() && (many || !middle.contains('/'))).then_some(middle)
}

/// `container/alias` where one container is wanted.
fn capture_linked<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let (_, middle) = split(pattern, path).filter(|_| pattern.starts_with("/containers/{id}"))?;
    let (container, alias) = middle.split_once('/')?;
    (!container.is_empty() && !alias.is_empty() && !alias.contains('/')).then_some(middle)
}

/// The name of a pattern's variable, and what stands in its place.
fn split<'a, 'p>(pattern: &'a str, path: &'p str) -> Option<(&'a str, &'p str)> {
    let (prefix, rest) = pattern.split_once('{')?;
    let (variable, suffix) = rest.split_once('}')?;
    Some((variable, path.strip_prefix(prefix)?.strip_suffix(suffix)?))
}

/// Takes the version off a path: `/v1.43/info` is `/info` at 1.43. Without one, the newest. Older
/// ones than `oldest` are refused.
pub(crate) fn split_version(path: &str, oldest: ApiVersion) -> Result<(ApiVersion, &str), Failure> {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/')?;
        let number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        (end > 0 && rest[..end].bytes().all(number)).then(|| rest.split_at(end))
    });
    let Some((text, rest)) = versioned else { return Ok((ApiVersion::MAX, path)) };
    let version: ApiVersion =
        text.parse().map_err(|_| Failure::invalid(format!("invalid API version: {text}")))?;
    if version < oldest {
        return Err(Failure::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {oldest}, \
             please upgrade your client to a newer version"
        )));
    }
    if version > ApiVersion::MAX {
        return Err(Failure::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            ApiVersion::MAX
        )));
    }
    Ok((version, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_segments() {
        for (pattern, path, want) in [
            ("/info", "/info", Some("")),
            ("/info", "/info/", None),
            ("/containers/{id}/json", "/containers/abc/json", Some("abc")),
            ("/containers/{id}/json", "/containers//json", None),
            ("/containers/{id}/json", "/containers/a/b/json", None),
            ("/containers/{id}", "/containers/abc", Some("abc")),
            ("/containers/{id}", "/containers/abc/json", None),
            ("/images/{name}/json", "/images/a/b/c:d/json", Some("a/b/c:d")),
            ("/images/{name}/json", "/images/json", None),
            ("/images/{name}", "/images/host:5000/a", Some("host:5000/a")),
        ] {
            assert_eq!(capture(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn a_link_s_name_stands_for_a_container() {
        for (pattern, path, want) in [
            ("/containers/{id}/json", "/containers/app/db/json", Some("app/db")),
            ("/containers/{id}/json", "/containers/a/b/c/json", None),
            ("/containers/{id}/json", "/containers//b/json", None),
            ("/networks/{id}/json", "/networks/a/b/json", None),
        ] {
            assert_eq!(capture_linked(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn versions_are_taken_off_and_gated() {
        let v = ApiVersion::new;
        assert_eq!(split_version("/v1.43/info", ApiVersion::MIN).unwrap(), (v(1, 43), "/info"));
        assert_eq!(split_version("/info", ApiVersion::MIN).unwrap(), (ApiVersion::MAX, "/info"));
        assert_eq!(
            split_version("/version", ApiVersion::MIN).unwrap(),
            (ApiVersion::MAX, "/version")
        );
        assert_eq!(
            split_version("/volumes/x", ApiVersion::MIN).unwrap(),
            (ApiVersion::MAX, "/volumes/x")
        );
        for (path, text) in [
            (
                "/v1.23/info",
                "client version 1.23 is too old. Minimum supported API version is 1.24",
            ),
            ("/v1.99/info", "client version 1.99 is too new. Maximum supported API version is"),
            ("/v1/info", "invalid API version: 1"),
            ("/v1.2.3/info", "invalid API version: 1.2.3"),
        ] {
            let failure = split_version(path, ApiVersion::MIN).unwrap_err();
            assert!(failure.message.starts_with(text), "{failure}");
            assert_eq!(failure.status, 400);
        }
        let refused = split_version("/v1.39/info", v(1, 40)).unwrap_err();
        assert!(refused.message.contains("Minimum supported API version is 1.40,"), "{refused}");
        assert_eq!(split_version("/v1.40/info", v(1, 40)).unwrap(), (v(1, 40), "/info"));
    }
}
