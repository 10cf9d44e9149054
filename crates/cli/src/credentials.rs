//! Where the user's credentials are kept: sealed beside `config.json` (see [`crate::sealed`]), or
//! with a helper program that the user chose (`credsStore` for all registries, `credHelpers` for
//! some). What other programs wrote into `config.json` in plain text is read; we write it only when
//! told to. A helper that fails is an error: credentials of another place are never used in its
//! stead. It never talks to a registry.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use wire::docker::registry::AuthConfig;

use crate::base64;
use crate::config::Config;
use crate::failure::Failure;
use crate::sealed::Sealed;
use crate::terminal::print;

/// What Docker Hub's credentials are stored under.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";
/// The helper that gives other programs what we sealed: this program by another name.
pub(crate) const OWN_HELPER: &str = "docker-credential-estiba";
/// What helpers say when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that says the secret is a token.
const TOKEN_USER: &str = "<token>";
/// The longest input of a helper.
const MAX_HELPER_BYTES: u64 = 1 << 20;

/// The key that a registry's credentials are kept under.
pub(crate) fn key(host: Option<&str>) -> String {
    match host {
        None | Some("" | "docker.io" | "index.docker.io" | "registry-1.docker.io") => {
            HUB.to_owned()
        }
        Some(server) => {
            let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
            bare.split('/').next().unwrap_or_default().to_owned()
        }
    }
}

/// The credentials for a registry, if there are any.
pub(crate) fn find(config: &Config, key: &str) -> Result<Option<AuthConfig>, Failure> {
    if let Some(helper) = helper(config, key)? {
        return helper.find(key);
    }
    // A login of ours leaves nothing there: what is there was written by another program since.
    match from_file(config, key) {
        Some(plain) => Ok(Some(plain)),
        None => Sealed::beside(config).find(key),
    }
}

/// The registries that there may be credentials for.
pub(crate) fn servers(config: &Config) -> Result<BTreeSet<String>, Failure> {
    let mut servers: BTreeSet<String> = stored(config).keys().cloned().collect();
    let helpers = config.value("credHelpers").and_then(Value::as_object);
    servers.extend(helpers.into_iter().flat_map(Map::keys).cloned());
    servers.extend(Sealed::beside(config).servers()?);
    Ok(servers)
}

/// Keeps credentials; with `plain`, in plain text where there is no helper. Returns where they lie
/// in plain text, if they do.
pub(crate) fn keep(
    config: &mut Config,
    key: &str,
    auth: &AuthConfig,
    plain: bool,
) -> Result<Option<String>, Failure> {
    let (helper, sealed) = (helper(config, key)?, Sealed::beside(config));
    let mut auths = stored(config);
    if helper.is_none() && plain {
        sealed.forget(key)?;
        auths.insert(key.to_owned(), plain_entry(auth));
        config.store("auths", Some(Value::Object(auths)))?;
        return Ok(Some(config.path().display().to_string()));
    }
    match helper {
        Some(helper) => helper.keep(key, auth)?,
        None => sealed.keep(key, auth)?,
    }
    // Who asks the file which registries there are still sees this one.
    auths.insert(key.to_owned(), json!({}));
    config.store("auths", Some(Value::Object(auths)))?;
    Ok(None)
}

fn plain_entry(auth: &AuthConfig) -> Value {
    let mut entry = Map::new();
    let pair = match auth.identitytoken.as_str() {
        "" => format!("{}:{}", auth.username, auth.password),
        _ => format!("{}:", auth.username),
    };
    entry.insert("auth".to_owned(), base64::encode(pair.as_bytes()).into());
    if !auth.identitytoken.is_empty() {
        entry.insert("identitytoken".to_owned(), auth.identitytoken.clone().into());
    }
    Value::Object(entry)
}

/// Forgets credentials.
pub(crate) fn forget(config: &mut Config, key: &str) -> Result<(), Failure> {
    if let Some(helper) = helper(config, key)? {
        helper.forget(key)?;
    }
    Sealed::beside(config).forget(key)?;
    let mut auths = stored(config);
    if auths.shift_remove(key).is_some() {
        config.store("auths", Some(Value::Object(auths)))?;
    }
    Ok(())
}

fn stored(config: &Config) -> Map<String, Value> {
    config.value("auths").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn from_file(config: &Config, key: &str) -> Option<AuthConfig> {
    let auths = stored(config);
    let entry = auths.get(key).or_else(|| {
        // Older entries carry a scheme and a path.
        let bare = |name: &str| {
            let name = name.split_once("://").map_or(name, |(_, rest)| rest);
            name.split('/').next() == Some(key)
        };
        auths.iter().find(|(name, _)| bare(name)).map(|(_, entry)| entry)
    })?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let pair = base64::decode(text("auth")).and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.unwrap_or_default();
    let (username, password) = pair.split_once(':').unwrap_or((text("username"), text("password")));
    let auth = AuthConfig {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
        serveraddress: key.to_owned(),
        identitytoken: text("identitytoken").to_owned(),
        registrytoken: text("registrytoken").to_owned(),
        ..AuthConfig::default()
    };
    let some = [&auth.username, &auth.identitytoken, &auth.registrytoken];
    some.iter().any(|text| !text.is_empty()).then_some(auth)
}

/// The program as a helper (docker-credential-helpers protocol), so that other programs that read
/// `config.json` find what was sealed: `"credsStore": "estiba"`.
pub(crate) fn serve(config: &Config, words: &[String]) -> Result<(), Failure> {
    let mut input = String::new();
    let verb = match words {
        [verb] => verb.as_str(),
        _ => return Err(Failure::new(format!("Usage: {OWN_HELPER} get|store|erase|list"))),
    };
    if verb != "list" {
        std::io::stdin()
            .take(MAX_HELPER_BYTES)
            .read_to_string(&mut input)
            .map_err(|error| Failure::new(format!("read the request: {error}")))?;
    }
    let (sealed, server) = (Sealed::beside(config), input.trim());
    match verb {
        "get" => match sealed.find(server)? {
            Some(auth) => {
                let (username, secret) = pair(&auth);
                let found = json!({"ServerURL": server, "Username": username, "Secret": secret});
                print(format!("{found}\n"))
            }
            None => Err(NOT_FOUND.into()),
        },
        "store" => {
            let wanted: Value = serde_json::from_str(server)
                .map_err(|error| Failure::new(format!("the request: {error}")))?;
            let text = |name: &str| wanted.get(name).and_then(Value::as_str).unwrap_or_default();
            sealed.keep(text("ServerURL"), &of_pair(text("Username"), text("Secret")))
        }
        "erase" => sealed.forget(server),
        "list" => {
            let mut all = Map::new();
            for server in sealed.servers()? {
                let auth = sealed.find(&server)?.unwrap_or_default();
                all.insert(server, pair(&auth).0.into());
            }
            print(format!("{}\n", Value::Object(all)))
        }
        verb => Err(Failure::new(format!("{OWN_HELPER}: unknown action {verb:?}"))),
    }
}

/// User and secret as helpers exchange them.
fn pair(auth: &AuthConfig) -> (&str, &str) {
    match auth.identitytoken.as_str() {
        "" => (&auth.username, &auth.password),
        token => (TOKEN_USER, token),
    }
}

fn of_pair(username: &str, secret: &str) -> AuthConfig {
    let (username, secret, auth) = (username.to_owned(), secret.to_owned(), AuthConfig::default());
    match username.as_str() {
        TOKEN_USER => AuthConfig { identitytoken: secret, ..auth },
        _ => AuthConfig { username, password: secret, ..auth },
    }
}

/// A program `docker-credential-<name>` (docker-credential-helpers protocol).
struct Helper(String);

/// The helper that the user chose for a registry; none when that is ourselves.
fn helper(config: &Config, key: &str) -> Result<Option<Helper>, Failure> {
    let own = config.value("credHelpers").and_then(|map| map.get(key)).and_then(Value::as_str);
    let Some(name) = own.filter(|name| !name.is_empty()).or(config.text("credsStore")) else {
        return Ok(None);
    };
    // Part of a program's name: never a path.
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    if name == "estiba" {
        return Ok(None);
    }
    match name.bytes().all(fits) {
        true => Ok(Some(Helper(format!("docker-credential-{name}")))),
        false => Err(Failure::new(format!("bad name of a credential helper: {name:?}"))),
    }
}

impl Helper {
    fn find(&self, key: &str) -> Result<Option<AuthConfig>, Failure> {
        let output = match self.run("get", key.as_bytes()) {
            Ok(output) => output,
            Err(Refused::Empty) => return Ok(None),
            Err(Refused::Failed(failure)) => return Err(failure),
        };
        let answer: Value = serde_json::from_slice(&output)
            .map_err(|error| self.failed("get", &format!("its answer: {error}")))?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let auth = of_pair(text("Username"), text("Secret"));
        Ok(Some(AuthConfig { serveraddress: key.to_owned(), ..auth }))
    }

    fn keep(&self, key: &str, auth: &AuthConfig) -> Result<(), Failure> {
        let (username, secret) = pair(auth);
        let entry = json!({"ServerURL": key, "Username": username, "Secret": secret});
        match self.run("store", entry.to_string().as_bytes()) {
            Ok(_) => Ok(()),
            Err(Refused::Empty) => Err(self.failed("store", NOT_FOUND)),
            Err(Refused::Failed(failure)) => Err(failure),
        }
    }

    fn forget(&self, key: &str) -> Result<(), Failure> {
        match self.run("erase", key.as_bytes()) {
            Ok(_) | Err(Refused::Empty) => Ok(()),
            Err(Refused::Failed(failure)) => Err(failure),
        }
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<Vec<u8>, Refused> {
        let failed = |why: &str| Refused::Failed(self.failed(verb, why));
        let mut child = Command::new(&self.0)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A helper that does not read says why by its status.
            let _ = pipe.write_all(input);
        }
        let output = child.wait_with_output().map_err(|error| failed(&error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stdout);
        match said.trim() {
            NOT_FOUND => Err(Refused::Empty),
            said => Err(failed(&format!("{}: {said}", output.status))),
        }
    }

    fn failed(&self, verb: &str, why: &str) -> Failure {
        Failure::new(format!("error getting credentials: {} {verb}: {why}", self.0))
    }
}

/// Why a helper gave nothing.
enum Refused {
    /// It has nothing.
    Empty,
    /// It failed.
    Failed(Failure),
}
