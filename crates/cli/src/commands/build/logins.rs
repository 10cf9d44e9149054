//! The credentials of the configuration file, for the registries a build talks to.

use std::collections::BTreeMap;

use serde_json::Value;
use wire::build::Login;

use crate::base64;
use crate::invocation::Invocation;

/// The names under which Docker Hub is asked for.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// All of them, by host.
pub(super) fn read(invocation: &Invocation) -> BTreeMap<String, Login> {
    let mut logins = BTreeMap::new();
    let Some(Value::Object(auths)) = invocation.config().value("auths") else { return logins };
    for (server, entry) in auths {
        let Some(login) = login(entry) else { continue };
        // Older entries carry a scheme and a path.
        let bare = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
        let host = bare.split('/').next().unwrap_or_default();
        match HUB.contains(&host) {
            true => logins.extend(HUB.map(|name| (name.to_owned(), login.clone()))),
            false => {
                logins.insert(host.to_owned(), login);
            }
        }
    }
    logins
}

fn login(entry: &Value) -> Option<Login> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let pair = base64::decode(text("auth")).and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.unwrap_or_default();
    let (username, password) = pair.split_once(':').unwrap_or((text("username"), text("password")));
    let login = Login {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
        identity_token: text("identitytoken").to_owned(),
    };
    (!login.username.is_empty() || !login.identity_token.is_empty()).then_some(login)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries() {
        let login = login(&json!({"auth": "dTpw"})).unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p"));
        assert!(super::login(&json!({})).is_none());
        assert!(super::login(&json!({"identitytoken": "t"})).is_some());
    }
}
