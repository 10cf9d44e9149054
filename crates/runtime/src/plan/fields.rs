//! Every field of the published schema of `config.json`, one after the other: its value is changed,
//! and what would be done changes, or it is refused. None is passed over in silence.
//!
//! `fields.tsv` has the fields of runtime-spec's `schema/config-schema.json` (1.3.0), where each is
//! in `full.json`, and another value for it. `docs/runtime.md` says how each is met.

use super::tests::{facts, launch};
use super::*;
use crate::cgroup::{MountPlan, decided};
use serde_json::Value;

const FULL: &str = include_str!("fields/full.json");
const FIELDS: &str = include_str!("fields/fields.tsv");
const DOCS: &str = include_str!("../../../../docs/runtime.md");

/// Only other systems have a meaning for these, `config.md` "POSIX process" and "Windows User".
const ELSEWHERE: [&str; 2] = ["process.commandLine", "process.user.username"];

fn full() -> Value {
    serde_json::from_str(FULL).expect("JSON")
}

fn fields() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    FIELDS.lines().map(|line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().expect("three columns");
        (next(), next(), serde_json::from_str(next()).expect("JSON"))
    })
}

/// Puts `value` to `pointer`; the last name may be new, `-` is a new element.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("pointer");
    match document.pointer_mut(parent).expect(pointer) {
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => list[name.parse::<usize>().expect("index")] = value,
        Value::Object(map) => drop(map.insert(name.replace("~1", "/"), value)),
        _ => unreachable!("{pointer}"),
    }
}

/// Everything that is decided from a document, in words; what refuses it, else.
fn outcome(document: &Value) -> String {
    let spec: Spec = match serde_json::from_value(document.clone()) {
        Ok(spec) => spec,
        Err(error) => return format!("refused: {error}"),
    };
    let refused = |error: LaunchError| format!("refused: {error}");
    if let Err(error) = crate::command::check_version(&spec) {
        return format!("refused: {error}");
    }
    let linux = spec.linux.clone().unwrap_or_default();
    let root = spec.root.clone();
    let process = spec.process.clone().expect("process");
    let launch = Launch { ids: crate::launch::Ids::Host, spec, ..launch(super::tests::spec()) };
    let filter = match crate::facts::filter(&launch) {
        Ok(filter) => filter,
        Err(error) => return refused(error),
    };
    let path = crate::facts::cgroup_path(&launch);
    let host_dir = "/sys/fs/cgroup".into();
    let cgroups = Some(MountPlan::Unified { host_dir });
    let facts = Facts { filter, cgroups, cgroup_path: path, ..facts() };
    let stdio = match process.terminal {
        true => StdioKind::Terminal(None),
        false => StdioKind::Provided,
    };
    let plan = match plan(&launch, &facts, stdio) {
        Ok(plan) => plan,
        Err(error) => return refused(error),
    };
    let joined = namespaces_of(&launch).expect("namespaces");
    let exec = match plan_exec(&launch, &process, &facts, stdio, joined) {
        Ok(exec) => exec,
        Err(error) => return refused(error),
    };
    let limits = decided(&linux.resources.unwrap_or_default());
    let hooks = crate::hooks::all(&launch);
    format!("{plan:?}\n{exec:?}\n{limits}\n{hooks}\n{root:?}\n{:?}", facts.cgroup_path)
}

#[test]
fn no_field_is_passed_over_in_silence() {
    let before = outcome(&full());
    assert!(!before.starts_with("refused"), "{before}");
    let mut silent = Vec::new();
    for (field, pointer, other) in fields().filter(|(field, ..)| !ELSEWHERE.contains(field)) {
        let mut document = full();
        put(&mut document, pointer, other);
        if outcome(&document) == before {
            silent.push(field);
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn every_field_comes_through_the_documents_types() {
    let spec: Spec = serde_json::from_value(full()).expect("spec");
    let again = serde_json::to_value(&spec).expect("JSON");
    let lost: Vec<&str> = fields()
        .filter(|(_, pointer, _)| {
            let there = full().pointer(pointer).cloned();
            let idle = |value: &Value| {
                [Value::Bool(false), Value::from(0), Value::from("")].contains(value)
            };
            there.is_some_and(|value| !idle(&value) && again.pointer(pointer) != Some(&value))
        })
        .map(|(field, ..)| field)
        .collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn the_documentation_names_every_field() {
    let named = |field: &str| {
        let whole = format!("`{field}`");
        // A line may stand for everything below a field.
        let mut parents = field.match_indices('.').map(|(at, _)| format!("`{}.…`", &field[..at]));
        DOCS.contains(&whole) || parents.any(|parent| DOCS.contains(&parent))
    };
    let missing: Vec<&str> =
        fields().map(|(field, ..)| field).filter(|field| !named(field)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
