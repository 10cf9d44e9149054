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
    Zero,
}

impl Omitted {
    fn value(self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Map => Value::Object(Map::new()),
            Self::List => Value::Array(Vec::new()),
            Self::Text => Value::String(String::new()),
            Self::False => Value::Bool(false),
            Self::Zero => Value::from(0),
        }
    }
}

/// The fields of structs of which the engine leaves some out, in their order: what is left out is
/// printed all the same.
type Fields = &'static [(&'static str, Omitted)];

const HEALTHCHECK: Fields = &[
    ("Test", Omitted::List),
    ("Interval", Omitted::Zero),
    ("Timeout", Omitted::Zero),
    ("StartPeriod", Omitted::Zero),
    ("StartInterval", Omitted::Zero),
    ("Retries", Omitted::Zero),
];
const MOUNT_POINT: Fields = &[
    ("Type", Omitted::Text),
    ("Name", Omitted::Text),
    ("Source", Omitted::Text),
    ("Destination", Omitted::Text),
    ("Driver", Omitted::Text),
    ("Mode", Omitted::Text),
    ("RW", Omitted::False),
    ("Propagation", Omitted::Text),
];
const ASKED_MOUNT: Fields = &[
    ("Type", Omitted::Text),
    ("Source", Omitted::Text),
    ("Target", Omitted::Text),
    ("ReadOnly", Omitted::False),
    ("Consistency", Omitted::Text),
    ("BindOptions", Omitted::Nil),
    ("VolumeOptions", Omitted::Nil),
    ("ImageOptions", Omitted::Nil),
    ("TmpfsOptions", Omitted::Nil),
    ("ClusterOptions", Omitted::Nil),
];

const STATE: Fields = &[
    ("Status", Omitted::Text),
    ("Running", Omitted::False),
    ("Paused", Omitted::False),
    ("Restarting", Omitted::False),
    ("OOMKilled", Omitted::False),
    ("Dead", Omitted::False),
    ("Pid", Omitted::Zero),
    ("ExitCode", Omitted::Zero),
    ("Error", Omitted::Text),
    ("StartedAt", Omitted::Text),
    ("FinishedAt", Omitted::Text),
    ("Health", Omitted::Nil),
];

/// Which struct an object below the field `name` is, if it is one that is not sent whole.
fn fields_of(name: &str, object: &Map<String, Value>) -> Option<Fields> {
    match name {
        "Healthcheck" => Some(HEALTHCHECK),
        "State" if object.contains_key("OOMKilled") => Some(STATE),
        "Mounts" if object.contains_key("Destination") => Some(MOUNT_POINT),
        "Mounts" if object.contains_key("Target") => Some(ASKED_MOUNT),
        _ => None,
    }
}

/// Fields whose objects are printed as [`fields_of`] says, or in a way of their own.
const NAMED: [&str; 5] = ["Healthcheck", "Mounts", "Platform", "State", "Ulimits"];

/// Numbers of nanoseconds that Go prints as durations.
const DURATIONS: [&str; 4] = ["Interval", "Timeout", "StartPeriod", "StartInterval"];

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
    /// A number of nanoseconds.
    Duration,
    /// What stands under this name has a way of its own to be printed.
    Named(&'static str),
    /// The entry that a map of text does not have: nothing, but no failure.
    Missing,
}

impl Shape {
    fn is_map(self) -> bool {
        matches!(self, Self::TextMap | Self::Map | Self::Missing)
    }
}

impl Val {
    pub(super) fn new(json: Value) -> Self {
        Self { json, shape: Shape::Struct }
    }

    fn under(json: Value, name: &str) -> Self {
        let shape = match name {
            name if TEXT_MAPS.contains(&name) && holds_text(&json) => Shape::TextMap,
            name if OTHER_MAPS.contains(&name) => Shape::Map,
            name if DURATIONS.contains(&name) && json.is_i64() => Shape::Duration,
            name => match NAMED.iter().find(|known| **known == name) {
                Some(known) => Shape::Named(known),
                None => Shape::Struct,
            },
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
        let fields = match self.shape {
            Shape::Named(own) => fields_of(own, object),
            _ => None,
        };
        let fields = fields.into_iter().flatten().chain(&OMITTED);
        let (_, omitted) = fields.into_iter().find(|(known, _)| *known == name)?;
        Some(Val::under(omitted.value(), name))
    }

    /// An element of this list: of objects each is what stands under the list's name.
    pub(super) fn item(&self, json: Value) -> Val {
        let shape = if self.shape.is_map() { Shape::Struct } else { self.shape };
        Self { json, shape }
    }

    /// The entry called `name` of a row, exactly.
    pub(super) fn exact(&self, name: &str) -> Option<Val> {
        self.json.as_object()?.get(name).map(|value| Val::under(value.clone(), name))
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
            Value::Object(map) => !self.shape.is_map() || !map.is_empty(),
        }
    }

    /// Go's `%v`.
    pub(super) fn print(&self) -> String {
        if self.shape == Shape::Missing {
            return "<no value>".to_owned();
        }
        let mut out = String::new();
        show(&mut out, &self.json, self.shape);
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

/// Go's `%v` of the field `name`.
pub(super) fn print_to(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::String(text) => out.push_str(text),
        value => show(out, value, Val::under(value.clone(), name).shape),
    }
}

fn show(out: &mut String, value: &Value, shape: Shape) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match (shape, number.as_i64()) {
            (Shape::Duration, Some(nanoseconds)) => {
                out.push_str(&crate::units::go_duration(nanoseconds));
            }
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            // Of a list of objects each is what stands under the name.
            let inner = if shape.is_map() { Shape::Struct } else { shape };
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                show(out, value, inner);
            }
            out.push(']');
        }
        Value::Object(object) if shape.is_map() => show_map(out, object),
        Value::Object(object) => show_struct(out, object, shape),
    }
}

fn show_map(out: &mut String, object: &Map<String, Value>) {
    let mut entries: Vec<(&String, &Value)> = object.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    out.push_str("map[");
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(key);
        out.push(':');
        // A port that is not published has an empty list, which is sent as null.
        match value.is_null() && key.contains('/') {
            true => out.push_str("[]"),
            false => show(out, value, Val::under(value.clone(), key).shape),
        }
    }
    out.push(']');
}

fn show_struct(out: &mut String, object: &Map<String, Value>, shape: Shape) {
    let Shape::Named(name) = shape else { return show_fields(out, object.iter()) };
    let text = |part: &str| object.get(part).and_then(Value::as_str).unwrap_or_default();
    match name {
        "Ulimits" => {
            let of = |side: &str| object.get(side).and_then(Value::as_i64).unwrap_or_default();
            out.push_str(&format!("{}={}:{}", text("Name"), of("Soft"), of("Hard")));
            return;
        }
        // Go's type of a row; documents have the platform's name as a text.
        "Platform" if object.contains_key("os") => {
            let parts = ["os", "architecture", "variant"].map(text);
            out.push_str(parts.join("/").trim_end_matches('/'));
            return;
        }
        _ => {}
    }
    let Some(fields) = fields_of(name, object) else { return show_fields(out, object.iter()) };
    let sent = |(field, omitted): &(&str, Omitted)| {
        (field.to_string(), object.get(*field).cloned().unwrap_or_else(|| omitted.value()))
    };
    let whole: Vec<(String, Value)> = fields.iter().map(sent).collect();
    show_fields(out, whole.iter().map(|(name, value)| (name, value)));
}

fn show_fields<'a>(out: &mut String, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    out.push('{');
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            out.push(' ');
        }
        show(out, value, Val::under(value.clone(), key).shape);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use crate::template::{Data, Template};
    use serde_json::json;

    /// As the stock command line prints them of the same documents.
    #[test]
    fn what_the_engine_leaves_out_is_printed_all_the_same() {
        let document = json!({
            "Config": {
                "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 7_000_000_000_i64}
            },
            "Row": {"Platform": {"architecture": "amd64", "os": "linux"}},
            "Server": {"Platform": {"Name": "Engine"}},
            "HostConfig": {
                "Ulimits": [{"Name": "nofile", "Hard": 20, "Soft": 10}],
                "Mounts": [{"Type": "tmpfs", "Target": "/t"}],
            },
            "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "",
                        "RW": true, "Propagation": "rprivate"}],
            "State": {"Status": "created", "Running": false, "Paused": false, "Restarting": false,
                      "OOMKilled": false, "Dead": false, "Pid": 0, "ExitCode": 0, "Error": "",
                      "StartedAt": "then", "FinishedAt": "later"},
        });
        for (text, want) in [
            ("{{.Config.Healthcheck}}", "{[CMD-SHELL true] 7s 0s 0s 0s 0}"),
            ("{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}}", "7s 0s"),
            ("{{json .Config.Healthcheck.Interval}}", "7000000000"),
            ("{{.Config.Healthcheck.Retries}}", "0"),
            ("{{.Row.Platform}} {{.Server.Platform}}", "linux/amd64 {Engine}"),
            ("{{json .Row.Platform}}", r#"{"architecture":"amd64","os":"linux"}"#),
            ("{{.HostConfig.Ulimits}}", "[nofile=10:20]"),
            ("{{.HostConfig.Mounts}}", "[{tmpfs  /t false  <nil> <nil> <nil> <nil> <nil>}]"),
            ("{{.Mounts}}", "[{bind  /a /b   true rprivate}]"),
            ("{{range .Mounts}}{{.Name}}|{{.Source}}{{end}}", "|/a"),
            ("{{(index .Mounts 0).Driver}}|", "|"),
            ("{{.State}}", "{created false false false false false 0 0  then later <nil>}"),
        ] {
            let filled = Template::parse(text).unwrap().execute(&Data::document(document.clone()));
            assert_eq!(filled.unwrap(), want, "{text}");
        }
    }
}
