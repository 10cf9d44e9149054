//! Which targets a file has.

use super::{Answer, align, base64, place, put, table};
use crate::dockerfile::{Dockerfile, Kind};
use crate::frontend::stages;
use crate::span::Location;
use serde_json::{Map, Value, json};

/// The targets of a file, in its order.
pub(crate) fn targets(file: &Dockerfile) -> Answer {
    let froms = file.instructions.iter().filter(|it| matches!(it.kind, Kind::From(_)));
    let mut rows = table(&["TARGET", "DESCRIPTION"]);
    let mut list = Vec::new();
    for (stage, from) in stages(file).into_iter().zip(froms) {
        let name = stage.name.unwrap_or_default();
        let description = stage.description.unwrap_or_default();
        let mut map = Map::new();
        put(&mut map, "name", &name);
        if stage.default {
            map.insert("default".to_owned(), true.into());
        }
        put(&mut map, "description", &description);
        put(&mut map, "base", &stage.base);
        put(&mut map, "platform", stage.platform.as_deref().unwrap_or_default());
        map.insert("location".to_owned(), place(&Location::new(&file.source, from.span)));
        list.push(Value::Object(map));
        let shown = match (name.as_str(), stage.default) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        // A stage without a name can be built by its number only; it is not listed for people.
        if !shown.is_empty() {
            rows.push(vec![shown, description]);
        }
    }
    let json = json!({"targets": list, "sources": [base64(file.source.text.as_bytes())]});
    Answer { json, text: align(&rows), status: 0 }
}
