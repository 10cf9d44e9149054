//! `context …`: named addresses of engines. None of them talks to an engine.

use serde_json::{Map, Value, json};

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
    if !quiet && std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
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
    all.insert("TLSMaterial".to_owned(), Value::Object(Map::new()));
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
    let mut description = matches.text("description").to_owned();
    let host = match (matches.text("from"), matches.list("docker").as_slice()) {
        ("", []) => invocation.globals.default_host(),
        ("", options) => endpoint(invocation, options)?,
        (from, []) => {
            let found = source(invocation, from)?;
            if description.is_empty() {
                description = found.description;
            }
            found.host
        }
        _ => return Err(Failure::new("cannot use --docker flag when --from is set")),
    };
    context::store(dir, name, &description, &host)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully created context \"{name}\"\n"));
    Ok(0)
}

/// `context update`.
pub(crate) fn update(invocation: &Invocation) -> Outcome {
    let (matches, name) = (&invocation.matches, invocation.arg(0));
    let dir = invocation.globals.config_dir();
    let found = context::load(dir, name)?;
    let description = match matches.string("description") {
        Some(description) => description,
        None => &found.description,
    };
    let host = match matches.list("docker").as_slice() {
        [] => found.host.clone(),
        options => endpoint(invocation, options)?,
    };
    context::store(dir, name, description, &host)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully updated context \"{name}\"\n"));
    Ok(0)
}

/// The address in `--docker host=…` or `--docker from=…`.
fn endpoint(invocation: &Invocation, options: &[&str]) -> Result<String, Failure> {
    let mut host = String::new();
    for field in options.iter().map(|option| csv::split(option)) {
        for pair in field? {
            match pair.split_once('=') {
                Some(("host", value)) => value.clone_into(&mut host),
                Some(("from", name)) => host = source(invocation, name)?.host,
                Some(("ca" | "cert" | "key" | "skip-tls-verify", _)) => {
                    return Err(Failure::new("TLS endpoints are not available in this version"));
                }
                _ => return Err(Failure::new(format!("unrecognized config key: {pair}"))),
            }
        }
    }
    client::Endpoint::parse(&host).map_err(|error| {
        Failure::new(format!("unable to create docker endpoint config: {error}"))
    })?;
    Ok(host)
}

fn source(invocation: &Invocation, name: &str) -> Result<Context, Failure> {
    if name != DEFAULT {
        return context::load(invocation.globals.config_dir(), name);
    }
    Ok(Context {
        name: name.to_owned(),
        description: String::new(),
        host: invocation.globals.default_host(),
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
            name => context::remove(dir, name),
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

/// `context export`: the document and nothing else, as a tar archive.
pub(crate) fn export(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    let found = context::load(invocation.globals.config_dir(), name)?;
    let target = match invocation.matches.arg(1) {
        Some(target) => target.to_owned(),
        None => format!("{name}.dockercontext"),
    };
    let bytes = transfer::single("meta.json", found.document.to_string().as_bytes())
        .map_err(|error| Failure::new(format!("export context {name}: {error}")))?;
    if target == "-" {
        print(bytes)?;
        return Ok(0);
    }
    if std::path::Path::new(&target).exists() {
        return Err(Failure::new(format!("cannot export to {target}: the file exists")));
    }
    crate::config::write_whole(std::path::Path::new(&target), &bytes)?;
    complain(format!("Written file \"{target}\"\n"));
    Ok(0)
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
    let bytes = transfer::find(input, "meta.json")?;
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("read {source}: {error}")))?;
    let text =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let host = text("/Endpoints/docker/Host");
    context::store(dir, name, text("/Metadata/Description"), host)?;
    print(format!("{name}\n"))?;
    complain(format!("Successfully imported context \"{name}\"\n"));
    Ok(0)
}
