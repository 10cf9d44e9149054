//! `login` and `logout`, and the credentials that calls to registries carry. Where they are kept
//! is decided in [`crate::credentials`].

use std::io::{BufRead, Write};

use rustix::termios::{self, LocalModes, OptionalActions};
use wire::docker::registry::AuthConfig;

use crate::base64;
use crate::command::Outcome;
use crate::config::Config;
use crate::credentials::{self, HUB};
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, is_terminal, print};

/// `login`.
pub(crate) async fn login(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let key = credentials::key(matches.arg(0));
    let given = (matches.changed("password"), matches.bool("password-stdin"));
    let username = matches.text("username").to_owned();
    let known = match (given, username.is_empty()) {
        ((false, false), true) => credentials::find(invocation.config(), &key)?,
        _ => None,
    };
    let auth = match known {
        Some(known) => {
            let whose = match known.username.as_str() {
                "" => String::new(),
                name => format!(" [Username: {name}]"),
            };
            print(format!("Authenticating with existing credentials...{whose}\n"))?;
            known
        }
        None => AuthConfig { serveraddress: key.clone(), ..asked(invocation, username, given)? },
    };
    let answer = invocation.client()?.registry_login(&auth).await?;
    let mut kept = auth;
    if !answer.identity_token.is_empty() {
        kept.identitytoken = answer.identity_token;
        kept.password.clear();
    }
    let mut config = reread(invocation);
    if let Some(path) = credentials::keep(&mut config, &key, &kept, matches.bool("plaintext"))? {
        complain(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{path}'.\nConfigure a \
             credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n\n"
        ));
    }
    if !answer.status.is_empty() {
        print(format!("{}\n", answer.status))?;
    }
    Ok(0)
}

/// The credentials that the flags, standard input or the terminal give.
fn asked(
    invocation: &Invocation,
    mut username: String,
    (flag, stdin): (bool, bool),
) -> Result<AuthConfig, Failure> {
    let mut password = match (flag, stdin) {
        (true, true) => {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        (true, false) => {
            complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
            invocation.matches.text("password").to_owned()
        }
        (false, true) if username.is_empty() => {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        (false, true) => from_stdin()?,
        (false, false) => String::new(),
    };
    if username.is_empty() || password.is_empty() {
        if !is_terminal(rustix::stdio::stdin()) {
            return Err("Error: Cannot perform an interactive login from a non TTY device".into());
        }
        if username.is_empty() {
            username = prompt("Username: ", true)?;
        }
        if password.is_empty() {
            password = prompt("Password: ", false)?;
        }
    }
    match (username.is_empty(), password.is_empty()) {
        (true, _) => Err("Error: Non-null Username Required".into()),
        (_, true) => Err("Error: Password Required".into()),
        _ => Ok(AuthConfig { username, password, ..AuthConfig::default() }),
    }
}

/// Asks on the terminal; a secret is not shown.
fn prompt(question: &str, shown: bool) -> Result<String, Failure> {
    print(question)?;
    let failed = |error: std::io::Error| Failure::new(format!("read from the terminal: {error}"));
    std::io::stdout().flush().map_err(failed)?;
    let stdin = rustix::stdio::stdin();
    let before = termios::tcgetattr(stdin).map_err(|errno| failed(errno.into()))?;
    if !shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(stdin, OptionalActions::Now, &silent)
            .map_err(|errno| failed(errno.into()))?;
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if !shown {
        // Nothing can be done for a terminal that does not take its old mode back.
        let _ = termios::tcsetattr(stdin, OptionalActions::Now, &before);
        print("\n")?;
    }
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\n', '\r']).trim().to_owned())
}

/// `logout`.
pub(crate) async fn logout(invocation: &Invocation) -> Outcome {
    let key = credentials::key(invocation.matches.arg(0));
    print(format!("Removing login credentials for {key}\n"))?;
    credentials::forget(&mut reread(invocation), &key)?;
    Ok(0)
}

/// The `X-Registry-Auth` header for a repository: only the credentials of its own registry.
pub(crate) fn header(invocation: &Invocation, repository: &str) -> Result<String, Failure> {
    let host = repository.split_once('/').map(|(host, _)| host);
    let host = host.filter(|host| host.contains(['.', ':']) || *host == "localhost");
    let key = match host {
        None => HUB.to_owned(),
        host => credentials::key(host),
    };
    let auth = credentials::find(invocation.config(), &key)?.unwrap_or_default();
    let text = serde_json::to_vec(&auth)
        .map_err(|error| Failure::new(format!("write credentials: {error}")))?;
    Ok(base64::encode_url(&text))
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut text)
        .map_err(|error| Failure::new(format!("read the password: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The configuration as it is now, to be changed.
fn reread(invocation: &Invocation) -> Config {
    Config::load(invocation.globals.config_dir().to_owned()).0
}
