//! The proxies of the daemon's environment, which apply where its configuration names none: what a
//! service manager sets, and every program written in Go obeys.

use super::given::Given;
use std::borrow::Cow;

/// Proxy of plain requests, proxy of TLS requests, hosts reached without; empty where nothing is
/// said. The upper-case name of a variable comes first.
pub(crate) fn of(variable: &dyn Fn(&str) -> Option<String>) -> (String, String, String) {
    let either = |name: &str| {
        let names = [name.to_owned(), name.to_ascii_lowercase()];
        let mut values = names.iter().filter_map(|name| variable(name));
        values.find(|value| !value.is_empty()).unwrap_or_default()
    };
    (either("HTTP_PROXY"), either("HTTPS_PROXY"), either("NO_PROXY"))
}

/// Says which variables of the environment count for nothing beside the configuration.
pub(crate) fn tell_overridden(given: &Given, variable: &dyn Fn(&str) -> Option<String>) {
    for setting in ["http-proxy", "https-proxy", "no-proxy"] {
        let Some(value) = given.get(setting).and_then(|texts| texts.last()) else { continue };
        let lower = setting.replace('-', "_");
        for name in [lower.to_ascii_uppercase(), lower] {
            let Some(old) = variable(&name).filter(|old| !old.is_empty() && old != value) else {
                continue;
            };
            let (old, new) = (masked(&old), masked(value));
            tracing::warn!(
                name,
                "overriding existing proxy variable with value from configuration: {old} -> {new}"
            );
        }
    }
}

/// An address without the account in it, which is for no log and no listener.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://xxxxx:xxxxx@{}", &rest[at + 1..])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn accounts_are_masked() {
        for (text, shown) in [
            ("http://a:b@c.test:1/x@y", "http://xxxxx:xxxxx@c.test:1/x@y"),
            ("https://a@b@c.test", "https://xxxxx:xxxxx@c.test"),
            ("http://c.test/@", "http://c.test/@"),
            ("a=b@c", "a=b@c"),
        ] {
            assert_eq!(super::masked(text), shown);
        }
    }

    #[test]
    fn variables_in_either_case() {
        let variable = |name: &str| match name {
            "HTTP_PROXY" => Some(String::new()),
            "http_proxy" => Some("http://a:1".to_owned()),
            "HTTPS_PROXY" => Some("http://b:2".to_owned()),
            "https_proxy" => Some("http://c:3".to_owned()),
            _ => None,
        };
        let (plain, tls, none) = super::of(&variable);
        assert_eq!((plain.as_str(), tls.as_str(), none.as_str()), ("http://a:1", "http://b:2", ""));
    }
}
