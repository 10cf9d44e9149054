//! A target as the arguments of `build`. Pure.

use serde_json::Value;

use super::eval::text;
use super::target::Target;

/// The prefix of a path that is relative to where the command is called, not to the context.
pub(super) const HERE: &str = "cwd://";

/// The arguments, context last.
///
/// # Errors
/// A value that is not what its attribute takes.
pub(super) fn of(target: &Target) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
    let context = here(target.text("context"));
    let dockerfile = target.text("dockerfile");
    if let Some(path) = dockerfile.strip_prefix(HERE) {
        flag("file", path.to_owned());
    } else if !dockerfile.is_empty() && !target.values.contains_key("dockerfile-inline") {
        let remote = crate::commands::build::is_remote(context) || context == "-";
        let path = match remote || dockerfile.starts_with('/') {
            true => dockerfile.to_owned(),
            false => format!("{}/{dockerfile}", context.trim_end_matches('/')),
        };
        flag("file", path);
    }
    for (key, name) in [("args", "build-arg"), ("labels", "label"), ("extra-hosts", "add-host")] {
        for (entry, value) in map(target, key) {
            if !value.is_null() {
                flag(name, format!("{entry}={}", text(value)?));
            }
        }
    }
    for (entry, value) in map(target, "contexts") {
        let value = text(value)?;
        flag("build-context", format!("{entry}={}", here(&value)));
    }
    for (key, name) in [
        ("tags", "tag"),
        ("annotations", "annotation"),
        ("attest", "attest"),
        ("cache-from", "cache-from"),
        ("cache-to", "cache-to"),
        ("secret", "secret"),
        ("ssh", "ssh"),
        ("platforms", "platform"),
        ("output", "output"),
        ("no-cache-filter", "no-cache-filter"),
        ("ulimits", "ulimit"),
        ("entitlements", "allow"),
        ("policy", "policy"),
        ("resource", "resource"),
    ] {
        for value in list(target, key) {
            flag(name, field(key, value)?);
        }
    }
    for (key, name) in [("target", "target"), ("network", "network"), ("shm-size", "shm-size")] {
        if let Some(value) = target.values.get(key) {
            flag(name, text(value)?);
        }
    }
    for key in ["pull", "no-cache", "push", "load"] {
        if target.values.get(key) == Some(&Value::Bool(true)) {
            flag(key, "true".to_owned());
        }
    }
    words.push("--".to_owned());
    words.push(if context.is_empty() { ".".to_owned() } else { context.to_owned() });
    Ok(words)
}

/// A path that is relative to where the command is called anyway.
fn here(path: &str) -> &str {
    match path.strip_prefix(HERE) {
        Some("") => ".",
        Some(rest) => rest,
        None => path,
    }
}

fn map<'a>(target: &'a Target, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    target.values.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn list<'a>(target: &'a Target, key: &str) -> impl Iterator<Item = &'a Value> {
    target.values.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// An entry as text, or as an object of `name=value`.
fn field(key: &str, value: &Value) -> Result<String, String> {
    let Value::Object(entries) = value else {
        let text = text(value)?;
        // buildx takes an object's place for `dest` alone too.
        return Ok(if key == "output" && text == "-" {
            "type=tar,dest=-".to_owned()
        } else {
            text
        });
    };
    if key == "ssh" {
        let id = entries.get("id").and_then(Value::as_str).unwrap_or("default");
        let path = entries.get("paths").and_then(|paths| paths.get(0)).and_then(Value::as_str);
        return Ok(path.map_or_else(|| id.to_owned(), |path| format!("{id}={path}")));
    }
    let mut fields = Vec::new();
    for (name, value) in entries {
        let whole = format!("{name}={}", text(value)?);
        fields.push(match whole.contains([',', '"', '\n']) {
            true => format!("\"{}\"", whole.replace('"', "\"\"")),
            false => whole,
        });
    }
    Ok(fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_a_command_line() {
        let values = json!({
            "context": "dir",
            "dockerfile": "D",
            "args": {"A": "b", "N": null, "I": 1},
            "tags": ["x:1", "y"],
            "output": [{"type": "local", "dest": "a,b"}],
            "secret": ["id=s,env=S"],
            "contexts": {"c": "docker-image://alpine"},
            "platforms": ["linux/amd64"],
            "no-cache": true,
            "pull": false,
        });
        let target = Target { values: values.as_object().unwrap().clone() };
        assert_eq!(
            of(&target).unwrap(),
            [
                "--file=dir/D",
                "--build-arg=A=b",
                "--build-arg=I=1",
                "--build-context=c=docker-image://alpine",
                "--tag=x:1",
                "--tag=y",
                "--secret=id=s,env=S",
                "--platform=linux/amd64",
                "--output=type=local,\"dest=a,b\"",
                "--no-cache=true",
                "--",
                "dir",
            ]
        );
    }

    #[test]
    fn paths_from_where_one_is() {
        let values = json!({"context": "cwd://", "dockerfile": "cwd://D"});
        let target = Target { values: values.as_object().unwrap().clone() };
        assert_eq!(of(&target).unwrap(), ["--file=D", "--", "."]);
    }
}
