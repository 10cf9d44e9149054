//! `login` and `logout`, and the credentials that calls to registries carry. Credentials are kept
//! in `config.json` as users have them; helpers (`credsStore`) are not run yet and say so.

use serde_json::{Map, Value, json};
use wire::docker::registry::AuthConfig;

use crate::base64;
use crate::command::Outcome;
use crate::config::Config;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, is_terminal, print};

/// What Docker Hub's credentials are stored under.
const HUB: &str = "https://index.docker.io/v1/";

/// `login`.
pub(crate) async fn login(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let server = server(matches.arg(0));
    let username = matches.text("username");
    let password = match (matches.changed("password"), matches.bool("password-stdin")) {
        (true, true) => {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        (true, false) => {
            complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
            matches.text("password").to_owned()
        }
        (false, true) if username.is_empty() => {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        (false, true) => from_stdin()?,
        (false, false) => return Err(interactive()),
    };
    if username.is_empty() {
        return Err(interactive());
    }
    helper_free(invocation.config())?;
    let auth = AuthConfig {
        username: username.to_owned(),
        password,
        serveraddress: server.clone(),
        ..AuthConfig::default()
    };
    let answer = invocation.client()?.registry_login(&auth).await?;
    let mut entry = Map::new();
    match answer.identity_token.as_str() {
        "" => {
            let pair = base64::encode(format!("{username}:{}", auth.password).as_bytes());
            entry.insert("auth".to_owned(), pair.into());
        }
        token => {
            let name = base64::encode(format!("{username}:").as_bytes());
            entry.insert("auth".to_owned(), name.into());
            entry.insert("identitytoken".to_owned(), token.into());
        }
    }
    let mut config = reread(invocation);
    let mut auths = stored(&config);
    auths.insert(server, Value::Object(entry));
    config.store("auths", Some(Value::Object(auths)))?;
    if !answer.status.is_empty() {
        print(format!("{}\n", answer.status))?;
    }
    Ok(0)
}

/// `logout`.
pub(crate) async fn logout(invocation: &Invocation) -> Outcome {
    let server = server(invocation.matches.arg(0));
    let mut config = reread(invocation);
    let mut auths = stored(&config);
    print(format!("Removing login credentials for {server}\n"))?;
    if auths.shift_remove(&server).is_some() {
        config.store("auths", Some(Value::Object(auths)))?;
    }
    Ok(0)
}

/// The `X-Registry-Auth` header for a repository: only the credentials of its own registry.
pub(crate) fn header(invocation: &Invocation, repository: &str) -> String {
    let host = repository.split_once('/').map(|(host, _)| host);
    let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost");
    let key = match host {
        None | Some("docker.io" | "index.docker.io") => HUB,
        Some(host) => host,
    };
    let auths = stored(invocation.config());
    let entry = auths.get(key).or_else(|| {
        // Older entries carry a scheme and a path.
        let bare = |name: &str| {
            let name = name.split_once("://").map_or(name, |(_, rest)| rest);
            name.split('/').next() == Some(key)
        };
        auths.iter().find(|(name, _)| bare(name)).map(|(_, entry)| entry)
    });
    let text = |name: &str| {
        entry.and_then(|entry| entry.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    let pair = base64::decode(text("auth")).and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.unwrap_or_default();
    let (username, password) = pair.split_once(':').unwrap_or((text("username"), text("password")));
    let token = text("identitytoken");
    let auth = match (token, username) {
        ("", "") => json!({}),
        ("", username) => json!({
            "username": username, "password": password.trim_end_matches('\0'), "serveraddress": key,
        }),
        (token, _) => json!({"identitytoken": token, "serveraddress": key}),
    };
    base64::encode_url(auth.to_string().as_bytes())
}

fn server(argument: Option<&str>) -> String {
    match argument {
        None | Some("" | "docker.io" | "index.docker.io" | "registry-1.docker.io") => {
            HUB.to_owned()
        }
        Some(server) => {
            let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
            bare.split('/').next().unwrap_or_default().to_owned()
        }
    }
}

fn interactive() -> Failure {
    match is_terminal(rustix::stdio::stdin()) {
        true => Failure::new(
            "interactive login is not available in this version; use --username with \
             --password-stdin",
        ),
        false => Failure::new("Error: Cannot perform an interactive login from a non TTY device"),
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut text)
        .map_err(|error| Failure::new(format!("read the password: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Credentials must not end up in a file when the user chose a helper for them.
fn helper_free(config: &Config) -> Result<(), Failure> {
    match config.text("credsStore") {
        Some(helper) => Err(Failure::new(format!(
            "credential helpers are not available in this version, and config.json asks for \
             {helper:?}"
        ))),
        None => Ok(()),
    }
}

/// The configuration as it is now, to be changed.
fn reread(invocation: &Invocation) -> Config {
    Config::load(invocation.globals.config_dir().to_owned()).0
}

fn stored(config: &Config) -> Map<String, Value> {
    config.value("auths").and_then(Value::as_object).cloned().unwrap_or_default()
}
