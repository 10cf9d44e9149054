//! What the command line and `daemon.json` say, as the same kind of value: a setting's name and
//! its texts. This module never decides what a setting means.

use super::proxies::masked;
use super::settings::{self, JSON_NAMES, SETTINGS, Support};
use cli::flags::{Flag, Kind, Parsed};
use serde_json::Value;
use std::collections::BTreeMap;

/// Setting names with the texts given for them.
pub(crate) type Given = BTreeMap<&'static str, Vec<String>>;

/// What the command line asks for.
pub(crate) enum Line {
    /// Run with these settings.
    Settings(Given),
    /// Print the usage.
    Help,
}

/// Reads the daemon's own arguments.
pub(crate) fn from_flags(arguments: &[String]) -> Result<Line, String> {
    let flags: Vec<&'static Flag> = SETTINGS.iter().map(|setting| &setting.flag).collect();
    let matches = match cli::flags::parse(flags, true, arguments)? {
        Parsed::Help(_) => return Ok(Line::Help),
        Parsed::Run(matches) => matches,
    };
    if let Some(extra) = matches.arg(0) {
        return Err(format!("accepts no arguments, was given {extra:?}"));
    }
    let mut given = Given::new();
    for setting in SETTINGS {
        let name = setting.flag.long;
        let texts: Vec<String> = matches.list(name).into_iter().map(str::to_owned).collect();
        if !texts.is_empty() {
            given.insert(name, texts);
        }
    }
    Ok(Line::Settings(given))
}

/// Reads the text of a `daemon.json`.
pub(crate) fn from_json(text: &str) -> Result<Given, String> {
    let value: Value = if text.trim().is_empty() {
        Value::Object(Default::default())
    } else {
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?
    };
    let Value::Object(keys) = value else { return Err("must hold a JSON object".into()) };
    let mut given = Given::new();
    for (key, value) in keys {
        one(&key, &value, &mut given).map_err(|why| match line_of(text, &key) {
            Some(line) => format!("line {line}: {why}"),
            None => why,
        })?;
    }
    Ok(given)
}

fn one(key: &str, value: &Value, given: &mut Given) -> Result<(), String> {
    if key == "proxies" {
        return proxies(value, given);
    }
    if key == "builder" {
        given.insert("builder", vec![value.to_string()]);
        return Ok(());
    }
    let name = JSON_NAMES.iter().find(|(json, _)| *json == key).map_or(key, |(_, n)| n);
    let setting = settings::find(name)
        .ok_or_else(|| format!("the following directive is not known: {key}"))?;
    let texts = texts(key, setting.flag.kind, value)?;
    given.insert(setting.flag.long, texts);
    Ok(())
}

/// The line of a JSON text, from 1 on, that a key is first in.
pub(crate) fn line_of(text: &str, key: &str) -> Option<usize> {
    let quoted = format!("\"{key}\"");
    let is_key = |at: &usize| text[at + quoted.len()..].trim_start().starts_with(':');
    let at = text.match_indices(&quoted).map(|(at, _)| at).find(is_key)?;
    Some(text[..at].matches('\n').count() + 1)
}

fn proxies(value: &Value, given: &mut Given) -> Result<(), String> {
    for name in ["http-proxy", "https-proxy", "no-proxy"] {
        if let Some(text) = value.get(name) {
            given.insert(name, texts(name, Kind::Text, text)?);
        }
    }
    Ok(())
}

fn texts(key: &str, kind: Kind, value: &Value) -> Result<Vec<String>, String> {
    let wrong = |want: &str| format!("{key} must be {want}, not {value}");
    match (kind, value) {
        (Kind::Bool, Value::Bool(on)) => Ok(vec![on.to_string()]),
        (Kind::Bool, _) => Err(wrong("true or false")),
        (Kind::Int, Value::Number(number)) => Ok(vec![number.to_string()]),
        (Kind::Int, _) => Err(wrong("a number")),
        (Kind::List, Value::Array(items)) => items.iter().map(|v| item(key, v)).collect(),
        (Kind::List, Value::Object(map)) => {
            map.iter().map(|(name, v)| Ok(format!("{name}={}", item(key, v)?))).collect()
        }
        (Kind::List, Value::String(one)) => Ok(vec![one.clone()]),
        (Kind::List, _) => Err(wrong("a list")),
        (_, Value::String(text)) => Ok(vec![text.clone()]),
        (_, Value::Number(number)) => Ok(vec![number.to_string()]),
        _ => Err(wrong("a text")),
    }
}

/// One member of a list, in the form its flag takes.
fn item(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(on) => Ok(on.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Object(map) => match key {
            "runtimes" => runtime(map),
            "default-ulimits" => {
                let limit = |name: &str| map.get(name).and_then(Value::as_i64);
                match (limit("Soft"), limit("Hard")) {
                    (Some(soft), Some(hard)) => Ok(format!("{soft}:{hard}")),
                    _ => Err("default-ulimits: each needs numbers \"Soft\" and \"Hard\"".into()),
                }
            }
            _ => {
                let pairs = map.iter().map(|(k, v)| Ok(format!("{k}={}", item(key, v)?)));
                Ok(pairs.collect::<Result<Vec<_>, String>>()?.join(","))
            }
        },
        other => Err(format!("{key}: {other} is not a text")),
    }
}

/// What no word of a program can have is between its path and its arguments.
pub(crate) const BETWEEN_WORDS: char = '\0';

/// A runtime: its path, and its arguments after it.
fn runtime(map: &serde_json::Map<String, Value>) -> Result<String, String> {
    let path = match map.get("path") {
        Some(Value::String(path)) => path.clone(),
        _ => return Err("runtimes: each needs a \"path\"".into()),
    };
    let none = Vec::new();
    let arguments = match map.get("runtimeArgs") {
        None | Some(Value::Null) => &none,
        Some(Value::Array(arguments)) => arguments,
        Some(_) => return Err("runtimes: \"runtimeArgs\" is a list".into()),
    };
    if let Some(other) = map.keys().find(|key| !matches!(key.as_str(), "path" | "runtimeArgs")) {
        return Err(format!("runtimes: {other:?} is not known: a runtime is a path and arguments"));
    }
    arguments.iter().try_fold(path, |words, argument| match argument {
        Value::String(word) if !word.contains(BETWEEN_WORDS) => {
            Ok(format!("{words}{BETWEEN_WORDS}{word}"))
        }
        other => Err(format!("runtimes: argument {other} is not a text")),
    })
}

/// Joins both; a setting given twice is refused, as dockerd does, so that nobody wonders which won.
pub(crate) fn join(flags: Given, file: Given) -> Result<Given, String> {
    let lists = |name: &str| matches!(name, "label" | "insecure-registry" | "registry-mirror");
    let shown =
        |texts: &[String]| texts.iter().map(|text| masked(text)).collect::<Vec<_>>().join(",");
    let both = file.iter().filter(|(name, _)| !lists(name));
    let both = both.filter_map(|(name, texts)| Some((name, flags.get(name)?, texts)));
    let twice: Vec<String> = both
        .map(|(name, flag, file)| {
            format!("{name}: (from flag: {}, from file: {})", shown(flag), shown(file))
        })
        .collect();
    if !twice.is_empty() {
        return Err(format!(
            "the following directives are specified both as a flag and in the configuration \
             file: {}",
            twice.join(", ")
        ));
    }
    let mut joined = flags;
    for (name, texts) in file {
        joined.entry(name).or_default().extend(texts);
    }
    Ok(joined)
}

/// Refuses what is known but not there yet; returns a line for each that changes nothing.
pub(crate) fn served(given: &Given) -> Result<Vec<String>, String> {
    let mut moot = Vec::new();
    for (name, texts) in given {
        match settings::find(name).map(|setting| setting.support) {
            Some(Support::Moot(why)) => moot.push(format!("--{name} changes nothing: {why}")),
            // Switching off what does not exist asks for nothing.
            Some(Support::NotYet) if texts.iter().all(|text| text == "false") => {}
            Some(Support::NotYet) => {
                return Err(format!("--{name} is not supported by this version: remove it"));
            }
            _ => {}
        }
    }
    Ok(moot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn flags(line: &str) -> Given {
        match from_flags(&words(line)) {
            Ok(Line::Settings(given)) => given,
            Ok(Line::Help) => panic!("help"),
            Err(why) => panic!("{why}"),
        }
    }

    #[test]
    fn flags_and_file_say_the_same_thing() {
        let by_flags = flags(
            "--debug -H unix:///a -H unix:///b --default-ulimit nofile=64:128 --mtu 1400 \
             --log-opt max-size=1m --default-address-pool base=10.0.0.0/8,size=24 \
             --add-runtime c=/usr/bin/crun",
        );
        let by_file = from_json(
            r#"{"debug": true, "hosts": ["unix:///a", "unix:///b"], "mtu": 1400,
                "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 64, "Hard": 128}},
                "log-opts": {"max-size": "1m"},
                "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
                "runtimes": {"c": {"path": "/usr/bin/crun"}}}"#,
        )
        .unwrap();
        assert_eq!(by_flags, by_file);
    }

    #[test]
    fn a_runtime_is_a_path_and_arguments() {
        let given = from_json(
            r#"{"runtimes": {"c": {"path": "/usr/bin/crun",
                "runtimeArgs": ["--debug", "--x=a b"]}}}"#,
        );
        assert_eq!(given.unwrap()["add-runtime"], ["c=/usr/bin/crun\0--debug\0--x=a b"]);
        for (runtime, want) in [
            (r#"{}"#, "path"),
            (r#"{"path": "/c", "runtimeArgs": "--debug"}"#, "a list"),
            (r#"{"path": "/c", "runtimeArgs": [1]}"#, "not a text"),
            (r#"{"path": "/c", "runtimeArgs": ["a\u0000b"]}"#, "not a text"),
            (r#"{"path": "/c", "runtimeType": "io.containerd.runc.v2"}"#, "runtimeType"),
        ] {
            let text = format!(r#"{{"runtimes": {{"c": {runtime}}}}}"#);
            let error = from_json(&text).unwrap_err();
            assert!(error.contains(want), "{runtime}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(from_flags(&words("--nope")).err().unwrap().contains("unknown flag: --nope"));
        assert!(from_flags(&words("extra")).is_err());
        for (text, want) in [
            ("[]", "object"),
            ("{", "not JSON"),
            (r#"{"nope": 1}"#, "not known: nope"),
            (r#"{"debug": "yes"}"#, "true or false"),
            (r#"{"hosts": 1}"#, "a list"),
        ] {
            assert!(from_json(text).unwrap_err().contains(want), "{text}");
        }
        let twice = join(flags("--debug"), from_json(r#"{"debug": false}"#).unwrap());
        assert!(twice.unwrap_err().contains("both as a flag and in the configuration file: debug"));
        assert!(served(&flags("--cri-containerd")).unwrap_err().contains("--cri-containerd"));
        assert!(served(&flags("--cri-containerd=false")).unwrap().is_empty());
        assert_eq!(served(&flags("--userland-proxy=false")).unwrap().len(), 1);
    }
}
