//! What the build checks find, as a document and as lines.

use super::{Answer, place, put, source};
use crate::check::Warning;
use crate::span::{Location, Source};
use serde_json::{Map, Value, json};

/// A file that was checked: what was found in it, and why it cannot be built, if it cannot.
pub(crate) fn lint(
    file: &Source,
    warnings: &[Warning],
    error: Option<(&str, Option<&Location>)>,
) -> Answer {
    let mut document = Map::new();
    let found: Vec<Value> = warnings.iter().map(document_of).collect();
    document.insert("warnings".to_owned(), Value::Array(found));
    document.insert("sources".to_owned(), json!([source(file)]));
    let mut text = String::new();
    for warning in warnings {
        text.push_str(&words(warning));
    }
    if let Some((message, location)) = error {
        let location_of = location.map_or_else(|| json!({}), place);
        document
            .insert("buildError".to_owned(), json!({"message": message, "location": location_of}));
        let excerpt = location.map(Location::excerpt).unwrap_or_default();
        text.push_str(&format!("\n{excerpt}ERROR: {message}\n"));
    }
    let status = i32::from(!warnings.is_empty() || error.is_some());
    Answer { json: Value::Object(document), text, status }
}

fn document_of(warning: &Warning) -> Value {
    let mut map = Map::new();
    put(&mut map, "ruleName", warning.rule);
    put(&mut map, "description", warning.description);
    put(&mut map, "url", warning.url);
    put(&mut map, "detail", &warning.message);
    if let Some(location) = &warning.location {
        map.insert("location".to_owned(), place(location));
    }
    Value::Object(map)
}

/// The rule, what is wrong, and the lines that are meant.
fn words(warning: &Warning) -> String {
    let mut text = format!("\nWARNING: {}", warning.rule);
    if !warning.url.is_empty() {
        text.push_str(&format!(" - {}", warning.url));
    }
    text.push_str(&format!("\n{}\n\n", warning.message));
    text.push_str(&warning.location.as_ref().map(Location::excerpt).unwrap_or_default());
    text
}
