//! Commands that other programs add: `docker-NAME` in the directories where Docker's client looks
//! for them (docs.docker.com, "Docker CLI plugins"). A program says what it is when it is called
//! with one certain word; called with the whole command line it takes this process' place. What it
//! does is not known here.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::config::Config;
use crate::failure::Failure;
use crate::invocation::Globals;
use crate::table;

/// How programs are named.
const PREFIX: &str = "docker-";
/// The word at which a program says what it is.
const METADATA: &str = "docker-cli-plugin-metadata";
/// Tells a program how its caller was called.
const ORIGINAL: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";
/// Where packages put them.
const PLACES: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// A program that adds a command.
pub(crate) struct Plugin {
    /// The command.
    pub(crate) name: String,
    /// The program.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    about: Map<String, Value>,
}

impl Plugin {
    /// Asks a program what it is. `None`: it is none of these, whatever it is called.
    fn ask(name: &str, path: &Path) -> Option<Self> {
        let mut ask = Command::new(path);
        ask.arg(METADATA).stdin(Stdio::null()).stderr(Stdio::null());
        let told = ask.output().ok().filter(|told| told.status.success())?;
        let about: Map<String, Value> = serde_json::from_slice(&told.stdout).ok()?;
        let plugin = Self { name: name.to_owned(), path: path.to_owned(), about };
        // The only version there is, and the one field that Docker insists on.
        (plugin.text("SchemaVersion") == "0.1.0" && !plugin.text("Vendor").is_empty())
            .then_some(plugin)
    }

    /// One of the things that it says of itself: `ShortDescription`, `Vendor`, `Version`.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.about.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// As `info` shows it.
    pub(crate) fn document(&self) -> Value {
        let mut document = self.about.clone();
        document.insert("Name".to_owned(), self.name.clone().into());
        document.insert("Path".to_owned(), self.path.display().to_string().into());
        Value::Object(document)
    }
}

/// Lets the program that adds the command `name` take this process' place, with the whole command
/// line. Returns when there is none, or when it cannot be executed.
pub(crate) fn run(globals: &Globals, name: &str, words: &[String]) -> Result<(), Failure> {
    let Some(plugin) = find(globals.config(), name) else { return Ok(()) };
    let mut command = Command::new(&plugin.path);
    let own = std::env::args_os().next().unwrap_or_else(|| globals.prog().into());
    command.args(words).env(ORIGINAL, own);
    if std::env::var_os("DOCKER_HOST").is_none_or(|host| host.is_empty()) {
        // It would look for an engine where Docker's is, which need not be where ours is.
        if globals.context_name()? == crate::context::DEFAULT {
            command.env("DOCKER_HOST", globals.default_host());
        }
    }
    let error = command.exec();
    Err(Failure::new(format!("execute {}: {error}", plugin.path.display())))
}

fn find(config: &Config, name: &str) -> Option<Plugin> {
    let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.bytes().all(letters) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let file = format!("{PREFIX}{name}");
    let mut paths = places(config).into_iter().map(|place| place.join(&file));
    paths.find(|path| is_program(path)).and_then(|path| Plugin::ask(name, &path))
}

/// Every program that adds a command, by name; the first of a name counts.
pub(crate) fn all(config: &Config) -> Vec<Plugin> {
    let mut names: Vec<String> = Vec::new();
    for place in places(config) {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(files.filter_map(|file| file.strip_prefix(PREFIX).map(str::to_owned)));
    }
    names.sort_unstable();
    names.dedup();
    names.retain(|name| table::find(name).is_none());
    names.iter().filter_map(|name| find(config, name)).collect()
}

fn places(config: &Config) -> Vec<PathBuf> {
    let further = config.value("cliPluginsExtraDirs").and_then(Value::as_array);
    let further = further.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from);
    let own = config.path().with_file_name("cli-plugins");
    further.chain([own]).chain(PLACES.map(PathBuf::from)).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
