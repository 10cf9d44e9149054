//! What a command gets: its parsed flags, the global ones, the configuration and a client. It
//! never knows which command it is for.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use client::{Client, Endpoint, TlsFiles};
use serde_json::Value;
use wire::docker::ApiVersion;

use crate::config::Config;
use crate::context::{self, DEFAULT};
use crate::failure::Failure;
use crate::flags::Matches;
use crate::terminal::complain;

/// One command, as it was called.
pub(crate) struct Invocation {
    /// The program's name as it was called: `docker` or `estiba`.
    pub(crate) prog: &'static str,
    /// The whole path, program included: `docker container ls`.
    pub(crate) path: String,
    /// The command's own flags and arguments.
    pub(crate) matches: Matches,
    /// The flags before the command.
    pub(crate) globals: Globals,
}

/// The flags before the command.
pub(crate) struct Globals {
    matches: Matches,
    prog: &'static str,
    config_dir: PathBuf,
    config: OnceCell<Config>,
}

impl Globals {
    pub(crate) fn new(matches: Matches, prog: &'static str) -> Self {
        let config_dir = Config::locate(matches.string("config"));
        Self { matches, prog, config_dir, config: OnceCell::new() }
    }

    /// Refuses what cannot be done whatever the command.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let level = self.matches.text("log-level");
        let known = ["", "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];
        if !known.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(Failure::new(format!("Unable to parse logging level: {level}")));
        }
        self.check_aliases()
    }

    /// The configuration may give `builder` another meaning, and nothing else.
    fn check_aliases(&self) -> Result<(), Failure> {
        let aliases = self.config().value("aliases").and_then(Value::as_object);
        match aliases.into_iter().flatten().find(|(name, _)| *name != "builder") {
            None => Ok(()),
            Some((name, _)) => Err(Failure::new(format!(
                "not allowed to alias {name:?} (allowed: map[string]struct \
                 {{}}{{\"builder\":struct {{}}{{}}}})"
            ))),
        }
    }

    /// The program's name as it was called.
    pub(crate) fn prog(&self) -> &'static str {
        self.prog
    }

    /// Where configuration is.
    pub(crate) fn config_dir(&self) -> &Path {
        &self.config_dir
    }

    /// `-D`.
    pub(crate) fn debug(&self) -> bool {
        self.matches.bool("debug")
    }

    /// The configuration, read once.
    pub(crate) fn config(&self) -> &Config {
        self.config.get_or_init(|| {
            let (config, warning) = Config::load(self.config_dir.clone());
            if let Some(warning) = warning {
                complain(warning);
            }
            config
        })
    }

    /// The address that applies when no context is chosen.
    pub(crate) fn default_host(&self) -> String {
        if let Some(host) = self.matches.string("host") {
            return host.to_owned();
        }
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => host,
            _ if let Some(socket) = users_own() => format!("unix://{}", socket.display()),
            _ if self.prog == "docker" => "unix:///var/run/docker.sock".to_owned(),
            _ => "unix:///run/estiba/estiba.sock".to_owned(),
        }
    }

    /// The context that applies: `--context`, then none because of `-H` or `DOCKER_HOST`, then
    /// `DOCKER_CONTEXT`, then the configured one.
    pub(crate) fn context_name(&self) -> Result<String, Failure> {
        let (context, host) = (self.matches.string("context"), self.matches.changed("host"));
        if let Some(name) = context {
            if host {
                return Err("conflicting options: cannot specify both --host and --context".into());
            }
            return Ok(name.to_owned());
        }
        if host || std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
            return Ok(DEFAULT.to_owned());
        }
        if let Ok(name) = std::env::var("DOCKER_CONTEXT")
            && !name.is_empty()
        {
            return Ok(name);
        }
        Ok(self.config().text("currentContext").unwrap_or(DEFAULT).to_owned())
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let name = self.context_name()?;
        let host = if name == DEFAULT {
            if self.matches.list("host").len() > 1 {
                return Err(unresolved("Specify only one -H"));
            }
            self.default_host()
        } else {
            context::host_of(self.config_dir(), &name).map_err(unresolved)?
        };
        Endpoint::parse(&host).map_err(unresolved)
    }

    /// TLS as the context, or else the flags and the environment, ask for it. Files that are not
    /// named are used when they are where Docker's tools put them.
    fn tls(&self) -> Result<Option<TlsFiles>, Failure> {
        let name = self.context_name()?;
        if name != DEFAULT {
            return context::tls_of(self.config_dir(), &name);
        }
        // What the environment says is the default of the flag.
        let asked = |flag: &str, variable: &str| match self.matches.changed(flag) {
            true => self.matches.bool(flag),
            false => std::env::var_os(variable).is_some_and(|value| !value.is_empty()),
        };
        let verify = asked("tlsverify", "DOCKER_TLS_VERIFY");
        if !verify && !asked("tls", "DOCKER_TLS") {
            return Ok(None);
        }
        let dir = std::env::var_os("DOCKER_CERT_PATH").filter(|dir| !dir.is_empty());
        let dir = dir.map_or_else(|| self.config_dir.clone(), PathBuf::from);
        let file = |flag: &str, name: &str| match self.matches.string(flag) {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(dir.join(name)).filter(|path| path.exists()),
        };
        let files = TlsFiles {
            verify,
            authority: match file("tlscacert", "ca.pem") {
                // Docker's trusts no authority that it was not given.
                None if verify && self.prog == "docker" => Some(dir.join("ca.pem")),
                found => found,
            },
            certificate: file("tlscert", "cert.pem"),
            key: file("tlskey", "key.pem"),
        };
        for path in [&files.authority, &files.certificate, &files.key].into_iter().flatten() {
            if !path.exists() {
                let path = path.display();
                return Err(unresolved(format!("open {path}: no such file or directory")));
            }
        }
        Ok(Some(files))
    }
}

impl Invocation {
    /// A client of the engine that the flags, the environment and the configuration choose.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let endpoint = self.globals.endpoint()?;
        let version = match std::env::var("DOCKER_API_VERSION") {
            Ok(text) if !text.is_empty() => {
                let text = text.strip_prefix('v').unwrap_or(&text);
                Some(text.parse::<ApiVersion>().map_err(|error| Failure::new(error.to_string()))?)
            }
            _ => None,
        };
        let mut client = Client::new(endpoint, version);
        if let Some(files) = self.globals.tls()? {
            client = client.with_tls(&files).map_err(|error| Failure::new(error.to_string()))?;
        }
        let Some(Value::Object(headers)) = self.globals.config().value("HttpHeaders") else {
            return Ok(client);
        };
        let header = |(name, value): (&String, &Value)| {
            value.as_str().map(|value| (name.clone(), value.to_owned()))
        };
        Ok(client.with_headers(headers.iter().filter_map(header).collect()))
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Config {
        self.globals.config()
    }

    /// The proxies that the configuration wants in containers and builds of the daemon that is
    /// chosen, as `NAME=value`.
    pub(crate) fn proxies(&self) -> Result<Vec<String>, Failure> {
        if self.config().value("proxies").is_none() {
            return Ok(Vec::new());
        }
        let name = self.globals.context_name()?;
        let daemon = match name == DEFAULT {
            true => self.globals.default_host(),
            false => context::host_of(self.globals.config_dir(), &name).map_err(unresolved)?,
        };
        Ok(crate::proxies::variables(self.config(), &daemon))
    }

    /// A positional argument that the command's arity guarantees.
    pub(crate) fn arg(&self, index: usize) -> &str {
        self.matches.arg(index).unwrap_or_default()
    }
}

/// Why there is no engine to talk to.
fn unresolved(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Failed to initialize: unable to resolve docker endpoint: {why}"))
}

/// The report of a mistake in a command's flags.
pub(crate) fn misuse(path: &str, usage: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{why}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"))
}

/// The socket of an ordinary user's own daemon, where there is one.
fn users_own() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    // Root's is the host's, wherever its login left the variable.
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return None;
    }
    let dir = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())?);
    Some(dir.join("docker.sock")).filter(|socket| socket.exists())
}
