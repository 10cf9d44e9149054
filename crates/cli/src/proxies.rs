//! The client's `proxies` (config.json): environment variables for containers and builds, by the
//! address of the daemon or for all of them. Pure.

use serde_json::Value;

use crate::config::Config;

/// Keys of `config.json`, and the variable each sets, which is also set in lower case.
const NAMES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// The variables for this daemon, as `NAME=value`.
pub(crate) fn variables(config: &Config, daemon: &str) -> Vec<String> {
    let proxies = config.value("proxies");
    let own = proxies.and_then(|proxies| proxies.get(daemon).or_else(|| proxies.get("default")));
    let mut found = Vec::new();
    for (key, name) in NAMES {
        let value = own.and_then(|own| own.get(key)).and_then(Value::as_str).unwrap_or_default();
        if !value.is_empty() {
            found.push(format!("{name}={value}"));
            found.push(format!("{}={value}", name.to_lowercase()));
        }
    }
    found
}

/// Adds to an environment what it does not set itself.
pub(crate) fn add(environment: &mut Option<Vec<String>>, variables: Vec<String>) {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    for variable in variables {
        let own = environment.get_or_insert_default();
        if !own.iter().any(|known| name(known) == name(&variable)) {
            own.push(variable);
        }
    }
    if environment.as_ref().is_some_and(Vec::is_empty) {
        *environment = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_proxies_win_and_the_users_variables_stay() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"proxies": {"default": {"httpProxy": "http://a:1", "noProxy": ".x, y"},
            "tcp://d:1": {"httpsProxy": "http://b:2"}}}"#;
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let (config, _) = Config::load(dir.path().to_owned());
        assert_eq!(
            variables(&config, "unix:///x"),
            ["HTTP_PROXY=http://a:1", "http_proxy=http://a:1", "NO_PROXY=.x, y", "no_proxy=.x, y"]
        );
        assert_eq!(
            variables(&config, "tcp://d:1"),
            ["HTTPS_PROXY=http://b:2", "https_proxy=http://b:2"]
        );
        let mut environment = Some(vec!["HTTP_PROXY=mine".to_owned(), "no_proxy".to_owned()]);
        add(&mut environment, variables(&config, "unix:///x"));
        assert_eq!(
            environment.unwrap(),
            ["HTTP_PROXY=mine", "no_proxy", "http_proxy=http://a:1", "NO_PROXY=.x, y"]
        );
    }
}
