//! The functions of templates: Go's own and those that Docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::value::Val;

const NAMES: [&str; 26] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "table", "title",
    "truncate", "upper", "urlquery",
];

/// Whether there is a function called `name`.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a function leaves column titles as they are.
pub(super) fn keeps_titles(name: &str) -> bool {
    matches!(name, "json" | "join" | "title" | "lower" | "upper" | "truncate" | "pad" | "split")
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Val]) -> Result<Val, String> {
    let text = |value: String| Ok(Val::new(Value::String(value)));
    match (name, arguments) {
        ("json", [value]) => text(value.json_text()),
        ("lower", [value]) => text(string(value)?.to_lowercase()),
        ("upper", [value]) => text(string(value)?.to_uppercase()),
        ("title", [value]) => text(title(string(value)?)),
        ("split", [value, separator]) => {
            let (value, separator) = (string(value)?, string(separator)?);
            let parts: Vec<Value> = match separator {
                "" => value.chars().map(|c| c.to_string().into()).collect(),
                separator => value.split(separator).map(Value::from).collect(),
            };
            Ok(Val::new(parts.into()))
        }
        ("join", [list, separator]) => text(join(list, string(separator)?)?),
        ("pad", [value, before, after]) => {
            let blanks = |count: &Val| " ".repeat(count.json.as_u64().map_or(0, clamp));
            match string(value)? {
                "" => text(String::new()),
                value => text(format!("{}{value}{}", blanks(before), blanks(after))),
            }
        }
        ("truncate", [value, length]) => {
            let length = length.json.as_u64().map_or(0, clamp);
            text(string(value)?.chars().take(length).collect())
        }
        ("table", [value]) => Ok(value.clone()),
        ("html" | "urlquery", values) => text(values.iter().map(Val::print).collect()),
        ("print", values) => text(print(values)),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(Val::print).collect();
            text(format!("{}\n", words.join(" ")))
        }
        ("printf", [format, values @ ..]) => text(printf(string(format)?, values)),
        ("len", [value]) => length(value).map(|length| Val::new(length.into())),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
        }
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Ok(Val::new((!value.truth()).into())),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            let equal = rest.iter().any(|other| same(first, other));
            Ok(Val::new(equal.into()))
        }
        ("ne", [a, b]) => Ok(Val::new((!same(a, b)).into())),
        ("lt" | "le" | "gt" | "ge", [a, b]) => {
            let order = a.compare(b).ok_or("incompatible types for comparison")?;
            let holds = match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            };
            Ok(Val::new(holds.into()))
        }
        (name, values) => Err(format!("wrong number of args for {name}: got {}", values.len())),
    }
}

/// A length that a template asks for, bounded so that it cannot exhaust memory.
fn clamp(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(1 << 16)
}

fn string(value: &Val) -> Result<&str, String> {
    value
        .json
        .as_str()
        .ok_or_else(|| format!("wrong type for value; expected string; got {}", value.type_name()))
}

fn same(a: &Val, b: &Val) -> bool {
    match a.compare(b) {
        Some(order) => order == Ordering::Equal,
        None => a.json == b.json,
    }
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        match start {
            true => out.extend(c.to_uppercase()),
            false => out.push(c),
        }
        start = !c.is_alphanumeric() && c != '_' && c != '\'';
    }
    out
}

fn join(list: &Val, separator: &str) -> Result<String, String> {
    match &list.json {
        Value::Array(list) => {
            let words: Vec<String> =
                list.iter().map(|value| Val::new(value.clone()).print()).collect();
            Ok(words.join(separator))
        }
        Value::Null => Ok(String::new()),
        _ => Err(format!("wrong type for value; expected []string; got {}", list.type_name())),
    }
}

/// Blanks go between neighbours when neither is text.
fn print(values: &[Val]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        let texts = |at: usize| values.get(at).is_some_and(|value| value.json.is_string());
        if index > 0 && !texts(index) && !texts(index - 1) {
            out.push(' ');
        }
        out.push_str(&value.print());
    }
    out
}

fn length(value: &Val) -> Result<usize, String> {
    match &value.json {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        _ => Err(format!("len of type {}", value.type_name())),
    }
}

fn index(value: &Val, key: &Val) -> Result<Val, String> {
    match (&value.json, &key.json) {
        (Value::Array(list), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            let item = at.and_then(|at| list.get(at));
            item.map(|item| value.item(item.clone()))
                .ok_or_else(|| format!("index out of range: {number}"))
        }
        (Value::Object(_), Value::String(name)) => {
            let entry = value.entry(name).filter(|entry| !entry.json.is_null());
            Ok(entry.unwrap_or_else(|| Val::new(Value::String(String::new()))))
        }
        (Value::String(text), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            let byte = at.and_then(|at| text.as_bytes().get(at));
            let byte = byte.ok_or_else(|| format!("index out of range: {number}"))?;
            Ok(Val::new(u64::from(*byte).into()))
        }
        (Value::Null, _) => Err("index of untyped nil".to_owned()),
        _ => Err(format!("can't index item of type {}", value.type_name())),
    }
}

fn slice(value: &Val, bounds: &[Val]) -> Result<Val, String> {
    let bound = |at: usize, default: usize| -> Result<usize, String> {
        let Some(bound) = bounds.get(at) else { return Ok(default) };
        let bound = bound.json.as_u64().and_then(|bound| usize::try_from(bound).ok());
        bound.filter(|bound| *bound <= default).ok_or_else(|| "index out of range".to_owned())
    };
    match &value.json {
        Value::String(text) => {
            let (from, to) = (bound(0, text.len())?.min(text.len()), bound(1, text.len())?);
            let from = if bounds.is_empty() { 0 } else { from };
            let part = text.get(from..to).ok_or("index out of range")?;
            Ok(Val::new(part.into()))
        }
        Value::Array(list) => {
            let from = if bounds.is_empty() { 0 } else { bound(0, list.len())? };
            let part = list.get(from..bound(1, list.len())?).ok_or("index out of range")?;
            Ok(Val::new(part.to_vec().into()))
        }
        _ => Err(format!("can't slice item of type {}", value.type_name())),
    }
}

/// Go's verbs with flags, width and precision.
fn printf(format: &str, values: &[Val]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let (mut left, mut zero, mut plus) = (false, false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            left |= flag == '-';
            zero |= flag == '0';
            plus |= flag == '+';
        }
        let mut digits = || {
            let mut number = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number.push(digit);
            }
            number.parse().ok().map(clamp)
        };
        let width = digits().unwrap_or_default();
        let precision = if chars.next_if_eq(&'.').is_some() {
            let mut number = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number.push(digit);
            }
            Some(number.parse().ok().map_or(0, clamp))
        } else {
            None
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        let Some(value) = values.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let text = verb_text(verb, value, precision, plus);
        let missing = width.saturating_sub(text.chars().count());
        match () {
            () if left => out.extend(text.chars().chain(std::iter::repeat_n(' ', missing))),
            () if zero => {
                let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
                out.push_str(sign);
                out.extend(std::iter::repeat_n('0', missing).chain(digits.chars()));
            }
            () => out.extend(std::iter::repeat_n(' ', missing).chain(text.chars())),
        }
    }
    out
}

fn verb_text(verb: char, value: &Val, precision: Option<usize>, plus: bool) -> String {
    let bad = || format!("%!{verb}({}={})", value.type_name(), value.print());
    let int = value.json.as_i64();
    match verb {
        'v' => value.print(),
        's' => {
            let text = match value.json {
                Value::Number(_) | Value::Bool(_) => return bad(),
                _ => value.print(),
            };
            precision.map_or(text.clone(), |count| text.chars().take(count).collect())
        }
        'q' => crate::number::quote(&value.print()),
        't' if value.json.is_boolean() => value.print(),
        'd' => int.map_or_else(bad, |int| if plus { format!("{int:+}") } else { int.to_string() }),
        'x' => match (&value.json, int) {
            (Value::String(text), _) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            (_, Some(int)) => format!("{int:x}"),
            _ => bad(),
        },
        'f' | 'g' | 'e' => match value.json.as_f64() {
            Some(float) if verb == 'f' => format!("{float:.*}", precision.unwrap_or(6)),
            Some(float) => float.to_string(),
            None => bad(),
        },
        'T' => value.type_name().to_owned(),
        _ => bad(),
    }
}
