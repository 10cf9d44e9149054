//! Targets: what blocks, those they inherit from, and the command line say, put together.

use serde_json::{Map, Value};

use super::eval::{evaluate, evaluate_with, text};
use super::file::{Attributes, File};

/// How deep targets may inherit.
const MAX_DEPTH: usize = 64;

/// How two values of an attribute become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// The later one counts.
    Last,
    /// Both count.
    Append,
    /// The later one's entries count, the others stay.
    Entries,
}

/// The attributes, in the order in which they are printed.
const ATTRIBUTES: [(&str, Joining); 29] = [
    ("description", Joining::Last),
    ("annotations", Joining::Append),
    ("attest", Joining::Append),
    ("context", Joining::Last),
    ("contexts", Joining::Entries),
    ("dockerfile", Joining::Last),
    ("dockerfile-inline", Joining::Last),
    ("args", Joining::Entries),
    ("labels", Joining::Entries),
    ("tags", Joining::Last),
    ("cache-from", Joining::Append),
    ("cache-to", Joining::Last),
    ("target", Joining::Last),
    ("secret", Joining::Append),
    ("ssh", Joining::Append),
    ("platforms", Joining::Last),
    ("output", Joining::Last),
    ("pull", Joining::Last),
    ("no-cache", Joining::Last),
    ("network", Joining::Last),
    ("no-cache-filter", Joining::Append),
    ("shm-size", Joining::Last),
    ("ulimits", Joining::Append),
    ("call", Joining::Last),
    ("entitlements", Joining::Append),
    ("extra-hosts", Joining::Entries),
    ("policy", Joining::Append),
    ("resource", Joining::Append),
    ("inherits", Joining::Append),
];
/// Attributes whose entries are `type=x,name=value`.
const TYPED: [&str; 6] = ["attest", "cache-from", "cache-to", "secret", "ssh", "output"];

/// A target, put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Target {
    /// By attribute.
    pub(super) values: Map<String, Value>,
}

/// All targets and groups by name.
pub(super) struct Targets {
    own: Vec<(String, Target)>,
    groups: Vec<(String, Vec<String>)>,
}

impl Target {
    fn set(&mut self, key: &str, value: Value) {
        if value.is_null() {
            return;
        }
        let joining = ATTRIBUTES.iter().find(|(name, _)| *name == key).map(|(_, joining)| *joining);
        match (joining, self.values.get_mut(key), value) {
            (Some(Joining::Append), Some(Value::Array(list)), Value::Array(more)) => {
                more.into_iter().for_each(|it| {
                    if !list.contains(&it) {
                        list.push(it)
                    }
                });
            }
            (Some(Joining::Entries), Some(Value::Object(map)), Value::Object(more)) => {
                map.extend(more);
            }
            (_, _, value) => drop(self.values.insert(key.to_owned(), value)),
        }
    }

    fn merge(&mut self, other: &Self) {
        other.values.iter().for_each(|(key, value)| self.set(key, value.clone()));
    }

    /// A text of it; empty if it has none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.values.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// As `--print` shows it.
    pub(super) fn shown(&self) -> Value {
        let mut map = Map::new();
        for (key, joining) in ATTRIBUTES {
            let Some(value) = self.values.get(key).filter(|_| key != "inherits") else { continue };
            let value = match value {
                Value::Array(list) if TYPED.contains(&key) => {
                    list.iter().map(|it| structured(key, it)).collect()
                }
                Value::Object(entries) if joining == Joining::Entries => {
                    let mut sorted: Vec<_> = entries.iter().collect();
                    sorted.sort_by_key(|(name, _)| *name);
                    sorted.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect()
                }
                other => other.clone(),
            };
            map.insert(key.to_owned(), value);
        }
        Value::Object(map)
    }
}

/// `type=x,name=value` as an object; what is none stays as it is.
fn structured(key: &str, value: &Value) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let fields = crate::csv::split(text).unwrap_or_default();
    let pairs: Option<Vec<_>> = fields.iter().map(|field| field.split_once('=')).collect();
    match pairs {
        Some(pairs) if key != "ssh" => {
            let pairs = pairs.into_iter().map(|(k, v)| (k.to_owned(), Value::from(v)));
            Value::Object(pairs.collect())
        }
        _ if key == "cache-from" => serde_json::json!({"type": "registry", "ref": text}),
        _ if key == "ssh" => match text.split_once('=') {
            Some((id, path)) => serde_json::json!({"id": id, "paths": [path]}),
            None => serde_json::json!({ "id": text }),
        },
        _ if key == "output" => serde_json::json!({"type": "local", "dest": text}),
        _ => value.clone(),
    }
}

impl Targets {
    /// Evaluates what a file says; `overrides` are the command line's `--set`.
    pub(super) fn read(file: &File, overrides: &[String]) -> Result<Self, String> {
        file.validate()?;
        let mut own: Vec<(String, Target)> = Vec::new();
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (label, blocks) in &file.targets {
            let named = expand(file, label, blocks)?;
            if named.iter().any(|(name, _)| name != label) {
                groups.push((label.clone(), named.iter().map(|(name, _)| name.clone()).collect()));
            }
            own.extend(named);
        }
        for (label, blocks) in &file.groups {
            let mut members = Vec::new();
            for (key, value) in blocks.iter().flatten() {
                if key == "targets" {
                    let list =
                        evaluate(value, file).map_err(|why| format!("group {label}: {why}"))?;
                    for member in list.as_array().into_iter().flatten() {
                        members.push(text(member)?);
                    }
                }
            }
            groups.push((label.clone(), members));
        }
        let all = Self { own, groups };
        let names: Vec<String> = all.own.iter().map(|(name, _)| name.clone()).collect();
        let mut done = Vec::new();
        for name in names {
            done.push((name.clone(), all.inherited(&name, 0)?));
        }
        let mut targets = Self { own: done, groups: all.groups };
        targets.set(overrides)?;
        Ok(targets)
    }

    fn inherited(&self, name: &str, depth: usize) -> Result<Target, String> {
        if depth > MAX_DEPTH {
            return Err(format!("target {name:?} inherits from itself"));
        }
        let own = self.find(name).ok_or_else(|| self.missing(name))?;
        let mut target = Target::default();
        let parents = own.values.get("inherits").and_then(Value::as_array);
        for parent in parents.into_iter().flatten() {
            let mut inherited = self.inherited(&text(parent)?, depth + 1)?;
            inherited.values.shift_remove("inherits");
            target.merge(&inherited);
        }
        target.merge(own);
        for (key, default) in [("context", "."), ("dockerfile", "Dockerfile")] {
            let inline = key == "dockerfile" && target.values.contains_key("dockerfile-inline");
            // Only the whole has defaults: a parent's must not hide another parent's value.
            if depth == 0 && !inline {
                target.values.entry(key).or_insert_with(|| default.into());
            }
        }
        Ok(target)
    }

    fn find(&self, name: &str) -> Option<&Target> {
        self.own.iter().find(|(known, _)| known == name).map(|(_, target)| target)
    }

    fn missing(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.own.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(self.groups.iter().map(|(name, _)| name.as_str()));
        names.sort_unstable();
        names.dedup();
        format!("failed to find target {name}: known are {}", names.join(", "))
    }

    /// Targets with their names, in order.
    pub(super) fn all(&self) -> &[(String, Target)] {
        &self.own
    }

    /// What names on the command line mean: targets, without repetition, in order.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<(String, Target)>, String> {
        let mut chosen = Vec::new();
        for name in names {
            self.choose(name, &mut chosen, 0)?;
        }
        let target = |name: String| {
            let target = self.find(&name).cloned();
            target.map(|target| (name.clone(), target)).ok_or_else(|| self.missing(&name))
        };
        chosen.into_iter().map(target).collect()
    }

    fn choose(&self, name: &str, into: &mut Vec<String>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("group {name:?} is a member of itself"));
        }
        if let Some((_, members)) = self.groups.iter().rev().find(|(known, _)| known == name) {
            return members.iter().try_for_each(|member| self.choose(member, into, depth + 1));
        }
        match self.find(name) {
            Some(_) if into.iter().any(|known| known == name) => Ok(()),
            Some(_) => {
                into.push(name.to_owned());
                Ok(())
            }
            None => Err(self.missing(name)),
        }
    }

    /// `--set TARGET.KEY[.NAME][+]=VALUE`.
    fn set(&mut self, overrides: &[String]) -> Result<(), String> {
        let mut seen: Vec<(String, String)> = Vec::new();
        for entry in overrides {
            let wrong =
                || format!("invalid override {entry}, must be [targetpattern.]key[.name]=value");
            let (path, value) = entry.split_once('=').unwrap_or((entry, ""));
            let (path, append) = match path.strip_suffix('+') {
                Some(path) => (path, true),
                None => (path, false),
            };
            let (pattern, rest) = path.split_once('.').ok_or_else(wrong)?;
            let (key, name) = match rest.split_once('.') {
                Some((key, name)) => (key, Some(name)),
                None => (rest, None),
            };
            let key = match key {
                "platform" => "platforms",
                "secrets" => "secret",
                "outputs" => "output",
                "annotation" => "annotations",
                key => key,
            };
            let pattern: Vec<char> = pattern.chars().collect();
            let mut hit = false;
            for (target_name, target) in &mut self.own {
                let chars: Vec<char> = target_name.chars().collect();
                if !crate::commands::build::glob(&pattern, &chars) {
                    continue;
                }
                hit = true;
                let first = (target_name.clone(), key.to_owned());
                let again = append || seen.contains(&first);
                override_one(target, (key, name), value, again).map_err(|why| why + entry)?;
                seen.push(first);
            }
            if !hit {
                let pattern: String = pattern.into_iter().collect();
                return Err(format!("could not find any target matching '{pattern}'"));
            }
        }
        Ok(())
    }
}

fn override_one(
    target: &mut Target,
    (key, name): (&str, Option<&str>),
    value: &str,
    again: bool,
) -> Result<(), String> {
    let joining = ATTRIBUTES.iter().find(|(known, _)| *known == key).map(|(_, it)| *it);
    let flag = || {
        let parsed = crate::number::parse_bool(value);
        parsed.map(Value::Bool).map_err(|_| format!("{value:?} is no bool: "))
    };
    match (key, name) {
        ("push" | "load", None) => {
            if flag()? == Value::Bool(true) {
                target.values.insert(key.to_owned(), true.into());
            }
        }
        ("inherits", _) => return Err("inherits cannot be set: ".to_owned()),
        ("pull" | "no-cache", None) => drop(target.values.insert(key.to_owned(), flag()?)),
        (_, Some(name)) if joining == Some(Joining::Entries) => {
            let map = target.values.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if let Some(map) = map.as_object_mut() {
                map.insert(name.to_owned(), value.into());
            }
        }
        _ if is_list(key) => {
            let list = target.values.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = list.as_array_mut() {
                if !again {
                    list.clear();
                }
                list.push(value.into());
            }
        }
        (_, None) if joining == Some(Joining::Last) => {
            target.values.insert(key.to_owned(), value.into());
        }
        _ => return Err("unknown key in ".to_owned()),
    }
    Ok(())
}

fn is_list(key: &str) -> bool {
    const LISTS: [&str; 4] = ["tags", "cache-to", "platforms", "output"];
    let append = ATTRIBUTES.iter().any(|(name, it)| *name == key && *it == Joining::Append);
    append || LISTS.contains(&key)
}

/// The targets that a label stands for: one, or one per combination of its matrix.
fn expand(
    file: &File,
    label: &str,
    blocks: &[Attributes],
) -> Result<Vec<(String, Target)>, String> {
    let wrong = |why: String| format!("target {label:?}: {why}");
    let find = |key: &str| blocks.iter().flatten().rev().find(|(name, _)| name == key);
    let Some((_, matrix)) = find("matrix") else {
        return Ok(vec![(label.to_owned(), target_of(file, blocks, &[]).map_err(wrong)?)]);
    };
    let matrix = evaluate(matrix, file).map_err(wrong)?;
    let mut axes: Vec<(&String, &Vec<Value>)> = Vec::new();
    for (key, values) in matrix.as_object().into_iter().flatten() {
        let values = values.as_array().ok_or_else(|| wrong(format!("matrix {key} is no list")))?;
        axes.push((key, values));
    }
    axes.sort_by_key(|(key, _)| *key);
    let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for (key, values) in axes {
        if rows.len().saturating_mul(values.len()) > super::eval::MAX_ELEMENTS {
            return Err(wrong("the matrix is too large".to_owned()));
        }
        let extend = |row: &Vec<(String, Value)>| {
            let row = row.clone();
            values.iter().map(move |it| {
                row.iter().cloned().chain([(key.clone(), it.clone())]).collect::<Vec<_>>()
            })
        };
        rows = rows.iter().flat_map(extend).collect();
    }
    let (_, name) = find("name").ok_or_else(|| wrong("a matrix needs a name".to_owned()))?;
    let mut targets: Vec<(String, Target)> = Vec::new();
    for row in rows {
        let value = evaluate_with(name, file, row.clone(), 0).map_err(wrong)?;
        let named = text(&value).map_err(wrong)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if named.is_empty() || !named.chars().all(plain) {
            return Err(wrong(format!(
                "invalid name {named:?}, only \"^[a-zA-Z0-9_-]+$\" allowed"
            )));
        }
        if targets.iter().any(|(known, _)| *known == named) {
            return Err(wrong(format!("duplicate target name {named:?} of its matrix")));
        }
        targets.push((named, target_of(file, blocks, &row).map_err(wrong)?));
    }
    Ok(targets)
}

fn target_of(
    file: &File,
    blocks: &[Attributes],
    row: &[(String, Value)],
) -> Result<Target, String> {
    let mut target = Target::default();
    for block in blocks {
        let mut one = Target::default();
        for (key, expression) in block {
            if key == "matrix" || key == "name" {
                continue;
            }
            let key = match key.as_str() {
                "secrets" => "secret",
                "outputs" => "output",
                key => key,
            };
            if !ATTRIBUTES.iter().any(|(known, _)| *known == key) {
                let close = ATTRIBUTES.iter().map(|(known, _)| *known);
                let close = close.filter(|known| known.starts_with(&key[..1.min(key.len())]));
                let close: Vec<_> = close.collect();
                return Err(format!(
                    "Unsupported argument {key:?}: known are {}",
                    close.join(", ")
                ));
            }
            let value = evaluate_with(expression, file, row.to_vec(), 0)
                .map_err(|why| format!("{key}: {why}"))?;
            one.set(key, value);
        }
        target.merge(&one);
    }
    Ok(target)
}
