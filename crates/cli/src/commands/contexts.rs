//! `context …`: named addresses of engines. None of them talks to an engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::command::Outcome;
use crate::config::Config;
use crate::context::{self, Context, DEFAULT};
use crate::failure::Failure;
use crate::format::{self, Row, Table};
use crate::invocation::Invocation;
use crate::json::escape_html;
use crate::terminal::{complain, print};
use crate::{csv, transfer};

/// How the built-in context describes itself.
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";
/// The widest description that a table shows.
const DESCRIPTION_WIDTH: usize = 60;

const TABLE: Table = Table {
    default: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    titles: &[
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
        ("Name", "NAME"),
    ],
    type_name: "*formatter.clientContextContext",
};

/// `context ls`.
pub(crate) fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let current = invocation.globals.context_name()?;
    let host = invocation.globals.default_host();
    let dir = invocation.globals.config_dir();
    let stored = context::list(dir);
    let known = current == DEFAULT || stored.iter().any(|context| context.name == current);
    let mut rows = vec![(DEFAULT.to_owned(), DEFAULT_DESCRIPTION.to_owned(), host, String::new())];
    for Context { name, description, host, .. } in stored {
        rows.push((name, description, host, String::new()));
    }
    if !known {
        let error = format!("context not found: {current}");
        rows.push((current.clone(), String::new(), String::new(), error));
    }
    rows.sort();
    let quiet = matches.bool("quiet");
    let rows = rows.into_iter().map(|(name, description, host, error)| {
        Row::default()
            .with("Current", name == current)
            .with("Description", format::ellipsis(&description, DESCRIPTION_WIDTH))
            .with("DockerEndpoint", host)
            .with("Error", error)
            .with("Name", name)
    });
    let format = if quiet { "{{.Name}}" } else { matches.text("format") };
    format::list(&TABLE, format, rows.collect())?;
    if std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
        complain(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a \
             context, either set the global --context flag, or unset DOCKER_HOST environment \
             variable.\n",
        );
    }
    Ok(0)
}

/// `context show`.
pub(crate) fn show(invocation: &Invocation) -> Outcome {
    print(format!("{}\n", invocation.globals.context_name()?))?;
    Ok(0)
}

/// `context inspect`.
pub(crate) fn inspect(invocation: &Invocation) -> Outcome {
    let current = invocation.globals.context_name()?;
    let names = match invocation.matches.args() {
        [] => std::slice::from_ref(&current),
        names => names,
    };
    let dir = invocation.globals.config_dir();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match document(invocation, dir, name) {
            Ok(document) => found.push(bytes::Bytes::from(escape_html(&document.to_string()))),
            Err(failure) => failures.push(failure.message),
        }
    }
    print(format::documents(invocation.matches.text("format"), &found)?)?;
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(failures.join("\n"))),
    }
}

fn document(invocation: &Invocation, dir: &std::path::Path, name: &str) -> Result<Value, Failure> {
    if name == DEFAULT {
        let host = invocation.globals.default_host();
        return Ok(json!({
            "Name": DEFAULT,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        }));
    }
    let context = context::load(dir, name)?;
    let (meta, tls) = context::storage(dir, name);
    let mut all = context.document.as_object().cloned().unwrap_or_default();
    let files: Vec<&String> = context.tls.keys().collect();
    let material = if files.is_empty() { json!({}) } else { json!({"docker": files}) };
    all.insert("TLSMaterial".to_owned(), material);
    let path = |path: &std::path::Path| path.display().to_string();
    let storage = json!({"MetadataPath": path(&meta), "TLSPath": path(&tls)});
    all.insert("Storage".to_owned(), storage);
    Ok(Value::Object(all))
}

/// `context create`.
pub(crate) fn create(invocation: &Invocation) -> Outcome {
    let (matches, name) = (&invocation.matches, invocation.arg(0));
    context::check_name(name)?;
    let dir = invocation.globals.config_dir();
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    if context::load(dir, name).is_ok() {
        return Err(Failure::new(format!("context \"{name}\" already exists")));
    }
    let mut made = match (matches.text("from"), matches.list("docker").as_slice()) {
        ("", []) => source(invocation, DEFAULT)?,
        ("", options) => endpoint(invocation, options)?,
        (from, []) => source(invocation, from)?,
        _ => return Err(Failure::new("cannot use --docker flag when --from is set")),
    };
    name.clone_into(&mut made.name);
    if let Some(description) = matches.string("description") {
        description.clone_into(&mut made.description);
    }
    context::store(dir, &made)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully created context \"{name}\"\n"));
    Ok(0)
}

/// `context update`.
pub(crate) fn update(invocation: &Invocation) -> Outcome {
    let (matches, name) = (&invocation.matches, invocation.arg(0));
    let dir = invocation.globals.config_dir();
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    let found = context::load(dir, name)?;
    let mut made = match matches.list("docker").as_slice() {
        [] => found,
        options => Context { description: found.description, ..endpoint(invocation, options)? },
    };
    name.clone_into(&mut made.name);
    if let Some(description) = matches.string("description") {
        description.clone_into(&mut made.description);
    }
    context::store(dir, &made)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully updated context \"{name}\"\n"));
    Ok(0)
}

/// A test of `--docker`: pairs, separated by commas.
pub(crate) fn check_pairs(value: &str) -> Result<(), String> {
    for pair in csv::split(value)? {
        if !pair.contains('=') {
            return Err(format!("{pair} must be formatted as key=value"));
        }
    }
    Ok(())
}

/// What `--docker` describes: an address, and the files of a connection by TLS.
fn endpoint(invocation: &Invocation, options: &[&str]) -> Result<Context, Failure> {
    const KEYS: [&str; 6] = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];
    let mut given = BTreeMap::new();
    for fields in options.iter().map(|option| csv::split(option)) {
        for pair in fields? {
            let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
            if !KEYS.contains(&key) {
                let what = "unable to create docker endpoint config: unrecognized config key";
                return Err(Failure::new(format!("{what}: {key}")));
            }
            given.insert(key.to_owned(), value.to_owned());
        }
    }
    if let Some(name) = given.get("from") {
        return source(invocation, name);
    }
    let text = |key: &str| given.get(key).map(String::as_str).unwrap_or_default();
    let failed =
        |why: String| Failure::new(format!("unable to create docker endpoint config: {why}"));
    let mut tls = BTreeMap::new();
    for (key, file) in ["ca", "cert", "key"].into_iter().zip(context::MATERIAL) {
        if text(key).is_empty() {
            continue;
        }
        let bytes = std::fs::read(text(key)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                failed(format!("open {}: no such file or directory", text(key)))
            }
            _ => failed(format!("open {}: {error}", text(key))),
        })?;
        let begins = b"-----BEGIN ";
        if !bytes.windows(begins.len()).any(|found| found == begins) {
            let what = "invalid docker endpoint options: failed to retrieve context tls info";
            return Err(failed(format!("{what}: {file} seems invalid")));
        }
        tls.insert(file.to_owned(), bytes);
    }
    let skip_verify = match text("skip-tls-verify") {
        "" => false,
        value => crate::number::parse_bool(value).map_err(|_| {
            let value = crate::number::quote(value);
            failed(format!("skip-tls-verify: parsing {value}: invalid syntax"))
        })?,
    };
    Ok(Context {
        name: String::new(),
        description: String::new(),
        host: text("host").to_owned(),
        skip_verify,
        tls,
        document: Value::Null,
    })
}

fn source(invocation: &Invocation, name: &str) -> Result<Context, Failure> {
    if name != DEFAULT {
        return context::load(invocation.globals.config_dir(), name);
    }
    Ok(Context {
        name: name.to_owned(),
        description: String::new(),
        host: invocation.globals.default_host(),
        skip_verify: false,
        tls: BTreeMap::new(),
        document: Value::Null,
    })
}

/// `context use`.
pub(crate) fn use_(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    let dir = invocation.globals.config_dir().to_owned();
    if name != DEFAULT {
        context::check_name(name)?;
        context::load(&dir, name)?;
    }
    let mut config = Config::load(dir).0;
    config.store("currentContext", (name != DEFAULT).then(|| name.into()))?;
    print(format!("{name}\n"))?;
    complain(format!("Current context is now \"{name}\"\n"));
    if name != DEFAULT && std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
        complain(format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use \
             \"{name}\", either set the global --context flag, or unset DOCKER_HOST environment \
             variable.\n"
        ));
    }
    Ok(0)
}

/// `context rm`.
pub(crate) fn remove(invocation: &Invocation) -> Outcome {
    let current = invocation.globals.context_name()?;
    let (dir, force) = (invocation.globals.config_dir(), invocation.matches.bool("force"));
    let mut failures = Vec::new();
    for name in invocation.matches.args() {
        let removed = match name.as_str() {
            DEFAULT => Err(Failure::new("context \"default\" cannot be removed")),
            name if name == current && !force => Err(Failure::new(format!(
                "context \"{name}\" is in use, set -f flag to force remove"
            ))),
            name => match context::remove(dir, name) {
                Err(_) if force => Ok(()),
                removed => removed,
            },
        };
        match removed {
            Ok(()) => print(format!("{name}\n"))?,
            Err(failure) => failures.push(failure.message),
        }
    }
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(failures.join("\n"))),
    }
}

/// `context export`: the document and the files of its connection, as a tar archive.
pub(crate) fn export(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    let (found, document) = match name {
        DEFAULT => {
            let document = document(invocation, invocation.globals.config_dir(), name)?;
            let kept = ["Name", "Metadata", "Endpoints"];
            let kept = kept.map(|key| (key.to_owned(), document[key].clone()));
            (source(invocation, name)?, Value::Object(kept.into_iter().collect()))
        }
        name => {
            let found = context::load(invocation.globals.config_dir(), name)?;
            let document = found.document.clone();
            (found, document)
        }
    };
    let target = match invocation.matches.arg(1) {
        Some(target) => target.to_owned(),
        None => format!("{name}.dockercontext"),
    };
    let bytes = packed(&found, &document)
        .map_err(|error| Failure::new(format!("export context {name}: {error}")))?;
    if target == "-" {
        print(bytes)?;
        return Ok(0);
    }
    if std::path::Path::new(&target).exists() {
        return Err(Failure::new(format!("open {target}: file exists")));
    }
    crate::config::write_whole(std::path::Path::new(&target), &bytes)?;
    complain(format!("Written file \"{target}\"\n"));
    Ok(0)
}

/// `meta.json`, and what is in `tls`.
fn packed(found: &Context, document: &Value) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o700 } else { 0o644 });
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes)
    };
    add("meta.json", tar::EntryType::Regular, document.to_string().as_bytes())?;
    add("tls", tar::EntryType::Directory, b"")?;
    if !found.tls.is_empty() {
        add("tls/docker", tar::EntryType::Directory, b"")?;
    }
    for (name, bytes) in &found.tls {
        add(&format!("tls/docker/{name}"), tar::EntryType::Regular, bytes)?;
    }
    builder.into_inner()
}

/// `context import`.
pub(crate) fn import(invocation: &Invocation) -> Outcome {
    let (name, source) = (invocation.arg(0), invocation.arg(1));
    context::check_name(name)?;
    let dir = invocation.globals.config_dir();
    if context::load(dir, name).is_ok() {
        return Err(Failure::new(format!("context \"{name}\" already exists")));
    }
    let input: Box<dyn std::io::Read> = match source {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(transfer::open(path)?),
    };
    let files = context::MATERIAL.map(|file| format!("tls/docker/{file}"));
    let wanted: Vec<&str> =
        std::iter::once("meta.json").chain(files.iter().map(|s| &**s)).collect();
    let mut found = transfer::find(input, &wanted)?;
    let bytes = found
        .remove("meta.json")
        .ok_or_else(|| Failure::new("invalid context: no meta.json in it"))?;
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("read {source}: {error}")))?;
    let text = |pointer: &str| {
        document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let skip = document.pointer("/Endpoints/docker/SkipTLSVerify").and_then(Value::as_bool);
    let bare = |path: String| path.trim_start_matches("tls/docker/").to_owned();
    let made = Context {
        name: name.to_owned(),
        description: text("/Metadata/Description"),
        host: text("/Endpoints/docker/Host"),
        skip_verify: skip.unwrap_or_default(),
        tls: found.into_iter().map(|(path, bytes)| (bare(path), bytes)).collect(),
        document: Value::Null,
    };
    context::store(dir, &made)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully imported context \"{name}\"\n"));
    Ok(0)
}
