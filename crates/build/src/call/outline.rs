//! What a target takes, as a document and as tables.

use super::{Answer, align, base64, place, put, table};
use crate::dockerfile::Dockerfile;
use crate::frontend::{Outline, Taken};
use serde_json::{Map, Value, json};

/// The document of an outline.
pub(crate) fn outline(file: &Dockerfile, outline: &Outline) -> Answer {
    let mut map = Map::new();
    put(&mut map, "name", &outline.name);
    put(&mut map, "description", &outline.description);
    let mut text = String::new();
    let mut head = Vec::new();
    for (label, value) in [("TARGET:", &outline.name), ("DESCRIPTION:", &outline.description)] {
        if !value.is_empty() {
            head.push(vec![label.to_owned(), value.clone()]);
        }
    }
    if !head.is_empty() {
        text.push_str(&align(&head));
        text.push('\n');
    }
    if !outline.args.is_empty() {
        let args: Vec<Value> = outline
            .args
            .iter()
            .map(|arg| {
                let mut map = Map::new();
                put(&mut map, "name", &arg.name);
                put(&mut map, "description", &arg.description);
                put(&mut map, "value", arg.value.as_deref().unwrap_or_default());
                map.insert("location".to_owned(), place(&arg.location));
                Value::Object(map)
            })
            .collect();
        map.insert("args".to_owned(), args.into());
        let mut rows = table(&["BUILD ARG", "VALUE", "DESCRIPTION"]);
        rows.extend(outline.args.iter().map(|arg| {
            vec![arg.name.clone(), arg.value.clone().unwrap_or_default(), arg.description.clone()]
        }));
        text.push_str(&align(&rows));
        text.push('\n');
    }
    for (name, title, list) in
        [("secrets", "SECRET", &outline.secrets), ("ssh", "SSH", &outline.agents)]
    {
        if !list.is_empty() {
            map.insert(name.to_owned(), list.iter().map(taken).collect::<Vec<_>>().into());
            let mut rows = table(&[title, "REQUIRED"]);
            let row = |it: &Taken| vec![it.name.clone(), it.required.to_string()];
            rows.extend(list.iter().map(row));
            text.push_str(&align(&rows));
            text.push('\n');
        }
    }
    if !outline.caches.is_empty() {
        let caches = outline.caches.iter();
        let caches = caches.map(|it| json!({"ID": it.name, "location": place(&it.location)}));
        map.insert("cache".to_owned(), caches.collect::<Vec<_>>().into());
        let mut rows = table(&["CACHE ID"]);
        rows.extend(outline.caches.iter().map(|it| vec![it.name.clone()]));
        text.push_str(&align(&rows));
        text.push('\n');
    }
    map.insert("sources".to_owned(), json!([base64(file.source.text.as_bytes())]));
    Answer { json: Value::Object(map), text, status: 0 }
}

fn taken(taken: &Taken) -> Value {
    let mut map = Map::new();
    put(&mut map, "name", &taken.name);
    if taken.required {
        map.insert("required".to_owned(), true.into());
    }
    map.insert("location".to_owned(), place(&taken.location));
    Value::Object(map)
}
