//! Walks a template's tree with a value.

use serde_json::Value;

use super::functions;
use super::parse::{Base, Node, Operand, Pipe};
use super::value::{Data, Val};

/// How a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

/// Fills nodes in.
pub(super) fn run(nodes: &[Node], data: &Data, source: &str) -> Result<String, String> {
    let mut state = State { data, source, variables: Vec::new(), out: String::new() };
    state.list(nodes, &data.value)?;
    Ok(state.out)
}

struct State<'a> {
    data: &'a Data,
    source: &'a str,
    /// But for `$`, which is the data.
    variables: Vec<(String, Val)>,
    out: String,
}

impl State<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Val) -> Result<Flow, String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::Pipe(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.print());
                    }
                }
                Node::If(pipe, then, otherwise) => {
                    let scope = self.variables.len();
                    let branch = if self.pipe(pipe, dot)?.truth() { then } else { otherwise };
                    let flow = self.list(branch, dot)?;
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Node::With(pipe, then, otherwise) => {
                    let scope = self.variables.len();
                    let value = self.pipe(pipe, dot)?;
                    let flow = match value.truth() {
                        true => self.list(then, &value)?,
                        false => self.list(otherwise, dot)?,
                    };
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Node::Range(pipe, body, otherwise) => self.range(pipe, body, otherwise, dot)?,
            }
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Val,
    ) -> Result<(), String> {
        let scope = self.variables.len();
        let value = self.commands(pipe, dot)?;
        let items: Vec<(Value, Val)> = match &value.json {
            Value::Array(list) => {
                let item = |(index, one): (usize, &Value)| (index.into(), value.item(one.clone()));
                list.iter().enumerate().map(item).collect()
            }
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                let item =
                    |key: &String| value.entry(key).map(|entry| (key.as_str().into(), entry));
                keys.into_iter().filter_map(item).collect()
            }
            Value::Number(number) => {
                let item = |index: u64| (index.into(), Val::new(index.into()));
                (0..number.as_u64().unwrap_or_default()).map(item).collect()
            }
            Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() => Vec::new(),
            _ => {
                let why = format!("range can't iterate over {}", value.print());
                let word = pipe.commands.first().and_then(|words| words.first());
                return Err(word.map_or_else(|| why.clone(), |word| self.fail(word.at, word, &why)));
            }
        };
        if items.is_empty() {
            self.list(otherwise, dot)?;
        }
        for (key, item) in items {
            self.variables.truncate(scope);
            match pipe.variables.as_slice() {
                [value] => self.set(pipe.assigns, value, item.clone()),
                [index, value] => {
                    self.set(pipe.assigns, index, Val::new(key));
                    self.set(pipe.assigns, value, item.clone());
                }
                _ => {}
            }
            if matches!(self.list(body, &item)?, Flow::Break) {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn set(&mut self, assign: bool, name: &str, value: Val) {
        let slot = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match slot {
            Some((_, slot)) if assign => *slot = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Val) -> Result<Val, String> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(pipe.assigns, name, value.clone());
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Val) -> Result<Val, String> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_else(|| Val::new(Value::Null)))
    }

    fn command(&mut self, words: &[Operand], dot: &Val, last: Option<Val>) -> Result<Val, String> {
        let Some((first, rest)) = words.split_first() else { return Ok(Val::new(Value::Null)) };
        let Base::Function(name) = &first.base else {
            if first.fields.len() == 1
                && let Some(found) = self.method(first, rest, dot, last.as_ref())?
            {
                return Ok(found);
            }
            let value = self.operand(first, dot)?;
            if rest.is_empty() && last.is_none() {
                return Ok(value);
            }
            let why = format!("can't give argument to non-function {}", self.text(first));
            return Err(self.fail(first.at, first, &why));
        };
        // `and` and `or` stop at the first word that decides.
        if matches!(name.as_str(), "and" | "or") {
            let mut value = Val::new(Value::Null);
            for word in rest {
                value = self.operand(word, dot)?;
                if value.truth() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for word in rest {
            arguments.push(self.operand(word, dot)?);
        }
        arguments.extend(last);
        if self.data.header && functions::keeps_titles(name) {
            return Ok(arguments.swap_remove(0));
        }
        functions::call(name, &arguments)
            .map_err(|why| self.fail(first.at, first, &format!("error calling {name}: {why}")))
    }

    /// `.Label "key"`: the one field that takes an argument. Rows keep its map beside the fields.
    fn method(
        &mut self,
        word: &Operand,
        rest: &[Operand],
        dot: &Val,
        last: Option<&Val>,
    ) -> Result<Option<Val>, String> {
        if self.data.header
            && let ([(name, _)], Some(Base::Str(key))) =
                (&*word.fields, rest.first().map(|w| &w.base))
            && name == "Label"
        {
            let last = key.rsplit('.').next().unwrap_or_default();
            return Ok(Some(Val::new(last.replace(['-', '_'], " ").into())));
        }
        let hidden = word.fields.first().map(|(name, _)| format!("\0{name}"));
        let (Base::Dot, Some(hidden)) = (&word.base, hidden) else { return Ok(None) };
        let Some(map) = dot.exact(&hidden) else { return Ok(None) };
        let key = match (rest.first(), last) {
            (Some(key), _) => self.operand(key, dot)?.print(),
            (None, Some(last)) => last.print(),
            (None, None) => {
                let why = format!("wrong number of args for {}: want 1 got 0", self.text(word));
                return Err(self.fail(word.at, word, &why));
            }
        };
        Ok(Some(map.exact(&key).unwrap_or_else(|| Val::new(Value::String(String::new())))))
    }

    fn operand(&mut self, operand: &Operand, dot: &Val) -> Result<Val, String> {
        let mut fields = operand.fields.iter();
        let mut value = match &operand.base {
            // Of what is there already only the field is copied.
            Base::Dot => match fields.next() {
                Some((name, at)) => self.field(dot, name, *at, operand)?,
                None => dot.clone(),
            },
            Base::Variable(name) => match (self.variable(name), fields.next()) {
                (Some(value), Some((name, at))) => self.field(value, name, *at, operand)?,
                (Some(value), None) => value.clone(),
                (None, Some((name, at))) => {
                    self.field(&Val::new(Value::Null), name, *at, operand)?
                }
                (None, None) => Val::new(Value::Null),
            },
            Base::Function(name) => functions::call(name, &[]).map_err(|why| {
                self.fail(operand.at, operand, &format!("error calling {name}: {why}"))
            })?,
            Base::Pipe(pipe) => self.pipe(pipe, dot)?,
            Base::Str(text) => Val::new(text.clone().into()),
            Base::Int(int) => Val::new((*int).into()),
            Base::Float(float) => Val::new((*float).into()),
            Base::Bool(value) => Val::new((*value).into()),
            Base::Nil => Val::new(Value::Null),
        };
        for (name, at) in fields {
            value = self.field(&value, name, *at, operand)?;
        }
        Ok(value)
    }

    fn variable(&self, name: &str) -> Option<&Val> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value).or_else(|| name.is_empty().then_some(&self.data.value))
    }

    fn field(&self, value: &Val, name: &str, at: usize, word: &Operand) -> Result<Val, String> {
        if let (Some(type_name), true) = (self.data.row, value.is_row()) {
            return value.exact(name).ok_or_else(|| {
                let why = format!("can't evaluate field {name} in type {type_name}");
                self.fail(at, word, &why)
            });
        }
        if let Some(entry) = value.entry(name) {
            return Ok(entry);
        }
        if self.data.header {
            return Ok(Val::new("<no value>".into()));
        }
        let why = match &value.json {
            Value::Object(_) if *value == self.data.value && self.data.row.is_some() => {
                let type_name = self.data.row.unwrap_or_default();
                format!("can't evaluate field {name} in type {type_name}")
            }
            Value::Object(_) => format!("map has no entry for key \"{name}\""),
            Value::Null => format!("nil pointer evaluating interface {{}}.{name}"),
            _ => format!("can't evaluate field {name} in type {}", value.type_name()),
        };
        Err(self.fail(at, word, &why))
    }

    fn text(&self, word: &Operand) -> String {
        self.source.get(word.at..word.end).unwrap_or_default().trim().to_owned()
    }

    fn fail(&self, at: usize, word: &Operand, why: &str) -> String {
        let before = self.source.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        format!("template: :{line}:{column}: executing \"\" at <{}>: {why}", self.text(word))
    }
}
