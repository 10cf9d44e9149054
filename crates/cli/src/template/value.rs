//! Values as Go's templates see them: printing, truth, comparison. A JSON object may be a Go
//! struct (`{a b}`) or a map (`map[k:v]`); the name of the field it came from tells which.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Fields whose values are maps from text to text in the Engine API.
const TEXT_MAPS: [&str; 14] = [
    "Annotations",
    "AuxiliaryAddresses",
    "Config",
    "Data",
    "Details",
    "DriverOpts",
    "Labels",
    "Log",
    "Options",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Attributes",
    "Status",
];
/// Fields whose values are maps to something else.
const OTHER_MAPS: [&str; 8] = [
    "Containers",
    "EndpointsConfig",
    "ExposedPorts",
    "Networks",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Volumes",
];
/// Fields that the engine leaves out when they are empty, with the value they then have.
const OMITTED: [(&str, Omitted); 18] = [
    ("Health", Omitted::Nil),
    ("Healthcheck", Omitted::Nil),
    ("Init", Omitted::Nil),
    ("StopTimeout", Omitted::Nil),
    ("SizeRw", Omitted::Nil),
    ("SizeRootFs", Omitted::Nil),
    ("Annotations", Omitted::Map),
    ("StorageOpt", Omitted::Map),
    ("Sysctls", Omitted::Map),
    ("Tmpfs", Omitted::Map),
    ("ExposedPorts", Omitted::Map),
    ("Mounts", Omitted::List),
    ("Shell", Omitted::List),
    ("StopSignal", Omitted::Text),
    ("Runtime", Omitted::Text),
    ("MacAddress", Omitted::Text),
    ("NetworkDisabled", Omitted::False),
    ("ArgsEscaped", Omitted::False),
];

#[derive(Clone, Copy)]
enum Omitted {
    Nil,
    Map,
    List,
    Text,
    False,
}

/// What a template is filled in with.
pub(crate) struct Data {
    pub(super) value: Val,
    /// The Go type to name when a row has no such field; documents say it in another way.
    pub(super) row: Option<&'static str>,
    /// Whether these are a table's column titles: functions leave them as they are.
    pub(super) header: bool,
}

impl Data {
    /// A document of the API: fields are looked up with the engine's omissions in mind.
    pub(crate) fn document(value: Value) -> Self {
        Self { value: Val::new(value), row: None, header: false }
    }

    /// With the Go type that errors name.
    pub(crate) fn of_type(self, type_name: &'static str) -> Self {
        Self { row: Some(type_name), ..self }
    }

    /// A row of a table: only its own fields exist. `type_name` appears in errors.
    pub(crate) fn row(value: Value, type_name: &'static str) -> Self {
        Self { value: Val::new(value), row: Some(type_name), header: false }
    }

    /// The titles of a table's columns, by field.
    pub(crate) fn header(value: Value) -> Self {
        Self { value: Val::new(value), row: None, header: true }
    }
}

/// A value and whether it is a map when it is an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Val {
    pub(super) json: Value,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Struct,
    TextMap,
    Map,
    /// The entry that a map of text does not have: nothing, but no failure.
    Missing,
}

impl Val {
    pub(super) fn new(json: Value) -> Self {
        Self { json, shape: Shape::Struct }
    }

    fn under(json: Value, name: &str) -> Self {
        let shape = match name {
            name if TEXT_MAPS.contains(&name) && holds_text(&json) => Shape::TextMap,
            name if OTHER_MAPS.contains(&name) => Shape::Map,
            _ => Shape::Struct,
        };
        Self { json, shape }
    }

    /// The entry called `name`; maps of text have every entry.
    pub(super) fn entry(&self, name: &str) -> Option<Val> {
        let object = self.json.as_object()?;
        if let Some(value) = object.get(name) {
            return Some(Val::under(value.clone(), name));
        }
        if self.shape == Shape::TextMap {
            return Some(Self { json: Value::Null, shape: Shape::Missing });
        }
        if self.shape == Shape::Map {
            return Some(Val::new(Value::Null));
        }
        let folded = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        if let Some((key, value)) = folded {
            return Some(Val::under(value.clone(), key));
        }
        let (_, omitted) = OMITTED.iter().find(|(known, _)| *known == name)?;
        let value = match omitted {
            Omitted::Nil => Value::Null,
            Omitted::Map => Value::Object(Map::new()),
            Omitted::List => Value::Array(Vec::new()),
            Omitted::Text => Value::String(String::new()),
            Omitted::False => Value::Bool(false),
        };
        Some(Val::under(value, name))
    }

    /// The entry called `name` of a row, exactly.
    pub(super) fn exact(&self, name: &str) -> Option<Val> {
        self.json.as_object()?.get(name).cloned().map(Val::new)
    }

    /// Whether this is a row of a table: those carry a mark that nothing else has.
    pub(super) fn is_row(&self) -> bool {
        self.json.as_object().is_some_and(|fields| fields.contains_key(super::ROW))
    }

    /// Go's truth: not false, 0, empty or nil.
    pub(super) fn truth(&self) -> bool {
        match &self.json {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => self.shape == Shape::Struct || !map.is_empty(),
        }
    }

    /// Go's `%v`.
    pub(super) fn print(&self) -> String {
        if self.shape == Shape::Missing {
            return "<no value>".to_owned();
        }
        let mut out = String::new();
        show(&mut out, &self.json, self.shape != Shape::Struct);
        out
    }

    /// Go's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self.json {
            Value::Null => "interface {}",
            Value::Bool(_) => "bool",
            Value::Number(_) => "int",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        }
    }

    /// Compact JSON; map keys are sorted, struct fields keep their order.
    pub(super) fn json_text(&self) -> String {
        let Value::Object(map) = &self.json else { return self.json.to_string() };
        if !map.keys().any(|key| key.starts_with('\0')) {
            return self.json.to_string();
        }
        // What methods need stands beside a row's fields under names that no field has.
        let fields = map.iter().filter(|(key, _)| !key.starts_with('\0'));
        let fields: Map<String, Value> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        // Rows are written as Go writes text that may end up in a web page.
        crate::json::escape_html(&Value::Object(fields).to_string())
    }

    /// The order of two basic values of one kind.
    pub(super) fn compare(&self, other: &Val) -> Option<Ordering> {
        match (&self.json, &other.json) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
            },
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn holds_text(json: &Value) -> bool {
    json.as_object().is_some_and(|map| map.values().all(Value::is_string)) || json.is_null()
}

/// Go's `%v`; an object is a map or a struct.
pub(super) fn show(out: &mut String, value: &Value, map: bool) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                show(out, value, false);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<(&String, &Value)> = object.iter().collect();
            if map {
                entries.sort_by_key(|(key, _)| *key);
            }
            out.push_str(if map { "map[" } else { "{" });
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                if map {
                    out.push_str(key);
                    out.push(':');
                }
                // A port that is not published has an empty list, which is sent as null.
                if value.is_null() && map && key.contains('/') {
                    out.push_str("[]");
                    continue;
                }
                let inner = Val::under(value.clone(), key);
                show(out, value, inner.shape != Shape::Struct);
            }
            out.push(if map { ']' } else { '}' });
        }
    }
}
