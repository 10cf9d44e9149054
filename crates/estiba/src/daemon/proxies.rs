//! The proxies of the daemon's environment, which apply where its configuration names none: what a
//! service manager sets, and every program written in Go obeys.

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

#[cfg(test)]
mod tests {
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
