//! Compose files as bake files: every service with a `build` is a target. Knows nothing else of
//! compose.

use serde_json::{Map, Value, json};

use super::file::File;

/// Adds the services of a compose file that are built.
pub(super) fn add(file: &mut File, name: &str, text: &str) -> Result<(), String> {
    let document: Value =
        serde_saphyr::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let mut names = Vec::new();
    for (service, body) in document["services"].as_object().into_iter().flatten() {
        let Some(target) = target(service, body, &document) else { continue };
        // Dots separate the parts of `--set`.
        let service = service.replace('.', "_");
        file.add_target(&service, &target);
        names.push(service);
    }
    if !names.is_empty() {
        names.sort_unstable();
        file.add_group("default", &names);
    }
    Ok(())
}

fn target(service: &str, body: &Value, document: &Value) -> Option<Value> {
    let build = body.get("build").filter(|build| !build.is_null())?;
    let short = json!({ "context": build });
    let build = if build.is_string() { &short } else { build };
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !empty {
            map.insert(key.to_owned(), value);
        }
    };
    put("context", text(build.get("context")));
    for (from, to) in [
        ("dockerfile", "dockerfile"),
        ("dockerfile_inline", "dockerfile-inline"),
        ("target", "target"),
        ("network", "network"),
        ("shm_size", "shm-size"),
    ] {
        put(to, text(build.get(from)));
    }
    for (from, to) in [("args", "args"), ("labels", "labels"), ("additional_contexts", "contexts")]
    {
        put(to, entries(build.get(from)));
    }
    put("extra-hosts", hosts(build.get("extra_hosts")));
    for (from, to) in [
        ("cache_from", "cache-from"),
        ("cache_to", "cache-to"),
        ("platforms", "platforms"),
        ("entitlements", "entitlements"),
        ("ssh", "ssh"),
    ] {
        put(to, build.get(from).cloned().unwrap_or(Value::Null));
    }
    put("pull", build.get("pull").cloned().unwrap_or(Value::Null));
    put("no-cache", build.get("no_cache").cloned().unwrap_or(Value::Null));
    let image = body.get("image").and_then(Value::as_str);
    let mut tags: Vec<Value> = image.into_iter().map(Value::from).collect();
    tags.extend(build.get("tags").and_then(Value::as_array).cloned().unwrap_or_default());
    put("tags", tags.into());
    let secrets = build.get("secrets").and_then(Value::as_array);
    let secrets = secrets.into_iter().flatten().filter_map(|it| secret(it, document));
    put("secret", secrets.collect());
    // What compose says for bake alone.
    for (key, value) in build.get("x-bake").and_then(Value::as_object).into_iter().flatten() {
        put(key, value.clone());
    }
    let _ = service;
    Some(Value::Object(map))
}

fn text(value: Option<&Value>) -> Value {
    match value {
        Some(Value::Number(number)) => number.to_string().into(),
        Some(other) => other.clone(),
        None => Value::Null,
    }
}

/// A map, or a list of `NAME=value`.
fn entries(value: Option<&Value>) -> Value {
    let mut map = Map::new();
    match value {
        Some(Value::Object(entries)) => {
            for (key, value) in entries {
                let value = match value {
                    Value::Null => std::env::var(key).map_or(Value::Null, Value::String),
                    Value::String(text) => text.clone().into(),
                    other => other.to_string().into(),
                };
                map.insert(key.clone(), value);
            }
        }
        Some(Value::Array(list)) => {
            for entry in list.iter().filter_map(Value::as_str) {
                let (key, value) = match entry.split_once('=') {
                    Some((key, value)) => (key, value.to_owned()),
                    None => (entry, std::env::var(entry).unwrap_or_default()),
                };
                map.insert(key.to_owned(), value.into());
            }
        }
        _ => {}
    }
    Value::Object(map)
}

fn hosts(value: Option<&Value>) -> Value {
    let Some(Value::Array(list)) = value else { return entries(value) };
    let pairs = list.iter().filter_map(Value::as_str).filter_map(|entry| {
        let (name, address) = entry.split_once('=').or_else(|| entry.split_once(':'))?;
        Some((name.to_owned(), Value::from(address)))
    });
    Value::Object(pairs.collect())
}

fn secret(value: &Value, document: &Value) -> Option<Value> {
    let id = value.as_str().or_else(|| value.get("source").and_then(Value::as_str))?;
    let declared = &document["secrets"][id];
    let target = value.get("target").and_then(Value::as_str).unwrap_or(id);
    if let Some(path) = declared.get("file").and_then(Value::as_str) {
        return Some(format!("id={target},src={path}").into());
    }
    let name = declared.get("environment").and_then(Value::as_str)?;
    Some(format!("type=env,id={target},env={name}").into())
}
