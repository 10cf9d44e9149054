//! The credentials of the user, for the registries a build talks to.

use std::collections::BTreeMap;

use wire::build::Login;

use crate::credentials;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::complain;

/// The names under which Docker Hub is asked for.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// All of them, by host. Those that cannot be had are left out with a warning: a build may well do
/// without.
pub(super) fn read(invocation: &Invocation) -> Result<BTreeMap<String, Login>, Failure> {
    let (config, mut logins) = (invocation.config(), BTreeMap::new());
    for server in credentials::servers(config)? {
        let login = match credentials::find(config, &server) {
            Ok(Some(auth)) => Login {
                username: auth.username,
                password: auth.password,
                identity_token: auth.identitytoken,
            },
            Ok(None) => continue,
            Err(failure) => {
                complain(format!("WARNING: {failure}\n"));
                continue;
            }
        };
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
    Ok(logins)
}
