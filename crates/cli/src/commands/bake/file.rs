//! Bake files: HCL, JSON of the same shape, and compose files. What they say is kept as
//! expressions until it is known what variables are.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use hcl::expr::Expression;
use hcl::{Body, Structure};
use serde_json::Value;

use super::eval::{self, Evaluated, Scope, evaluate, evaluate_with};
use super::functions;

/// Attributes of a block, each as it was written.
pub(super) type Attributes = Vec<(String, Expression)>;

/// What all files together say.
#[derive(Default)]
pub(super) struct File {
    variables: HashMap<String, Variable>,
    functions: HashMap<String, Function>,
    /// Targets in order, each with its blocks, first file first.
    pub(super) targets: Vec<(String, Vec<Attributes>)>,
    /// Groups.
    pub(super) groups: Vec<(String, Vec<Attributes>)>,
    /// Values found so far; `None` while one is being found.
    known: RefCell<HashMap<String, Option<Value>>>,
    /// What the command line says of variables.
    given: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
struct Variable {
    default: Option<Expression>,
    kind: String,
    description: Option<Expression>,
    /// Conditions with what is said when they do not hold.
    validations: Vec<(Expression, Option<Expression>)>,
    /// It is the file's own: the environment has no say.
    fixed: bool,
}

#[derive(Clone)]
struct Function {
    params: Vec<String>,
    rest: Option<String>,
    result: Expression,
}

impl File {
    /// With what the command line says of variables, and those that every file has.
    pub(super) fn new(given: BTreeMap<String, String>, platform: &str) -> Self {
        let mut file = Self { given, ..Self::default() };
        let context = std::env::var("BAKE_CMD_CONTEXT").unwrap_or_else(|_| "cwd://".to_owned());
        for (name, value) in
            [("BAKE_CMD_CONTEXT", context), ("BAKE_LOCAL_PLATFORM", platform.into())]
        {
            let default = Some(Expression::String(value));
            let variable = Variable { default, fixed: true, ..Variable::default() };
            file.variables.insert(name.to_owned(), variable);
        }
        file
    }

    /// Adds an HCL text.
    pub(super) fn add_hcl(&mut self, name: &str, text: &str) -> Result<(), String> {
        let body: Body = hcl::parse(text).map_err(|error| format!("{name}: {error}"))?;
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let key = attribute.key.to_string();
                    self.global(&key, attribute.expr);
                }
                Structure::Block(block) => {
                    let kind = block.identifier.to_string();
                    let label = block.labels.first().map(|label| label.as_str().to_owned());
                    let label =
                        label.ok_or_else(|| format!("{name}: a {kind:?} block needs a name"))?;
                    self.block(&kind, &label, block.body)
                        .map_err(|why| format!("{name}: {why}"))?;
                }
            }
        }
        Ok(())
    }

    /// Adds a JSON text.
    pub(super) fn add_json(&mut self, name: &str, text: &str) -> Result<(), String> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        let map = document.as_object().ok_or_else(|| format!("{name}: want an object"))?;
        for (kind, value) in map {
            let blocks = ["variable", "function", "target", "group"].contains(&kind.as_str());
            let Some(blocks) = value.as_object().filter(|_| blocks) else {
                self.global(kind, expression(value));
                continue;
            };
            for (label, body) in blocks {
                let attributes = body.as_object().into_iter().flatten();
                let mut block = Body::builder();
                for (key, value) in attributes {
                    let key = hcl::Identifier::sanitized(key);
                    block = block.add_attribute(hcl::Attribute::new(key, expression(value)));
                }
                self.block(kind, label, block.build()).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Adds a target made elsewhere.
    pub(super) fn add_target(&mut self, name: &str, attributes: &Value) {
        let map = attributes.as_object().into_iter().flatten();
        let literal = |value: &Value| Expression::from_serializable(value);
        let attributes =
            map.map(|(key, value)| (key.clone(), literal(value).unwrap_or(Expression::Null)));
        push(&mut self.targets, name, attributes.collect());
    }

    /// Adds a group made elsewhere.
    pub(super) fn add_group(&mut self, name: &str, targets: &[String]) {
        let list = targets.iter().map(|target| Expression::String(target.clone())).collect();
        push(&mut self.groups, name, vec![("targets".to_owned(), Expression::Array(list))]);
    }

    fn global(&mut self, name: &str, value: Expression) {
        let variable = Variable { default: Some(value), fixed: true, ..Variable::default() };
        self.variables.insert(name.to_owned(), variable);
    }

    fn block(&mut self, kind: &str, label: &str, body: Body) -> Result<(), String> {
        let mut attributes = Attributes::new();
        let mut variable = Variable::default();
        for structure in body {
            match structure {
                Structure::Attribute(it) => attributes.push((it.key.to_string(), it.expr)),
                Structure::Block(inner) if kind == "variable" => {
                    let mut parts = inner.body.into_attributes();
                    let mut find =
                        |name: &str| parts.find(|it| it.key.as_str() == name).map(|it| it.expr);
                    let condition = find("condition").ok_or("validation needs a condition")?;
                    variable.validations.push((condition, find("error_message")));
                }
                Structure::Block(inner) => {
                    let name = inner.identifier.to_string();
                    return Err(format!("{kind} {label:?}: unexpected block {name:?}"));
                }
            }
        }
        match kind {
            "target" => push(&mut self.targets, label, attributes),
            "group" => push(&mut self.groups, label, attributes),
            "variable" => {
                for (key, value) in attributes {
                    match key.as_str() {
                        "default" => variable.default = Some(value),
                        "type" => variable.kind = value.to_string(),
                        "description" => variable.description = Some(value),
                        "sensitive" => {}
                        other => return Err(format!("variable {label:?}: unknown key {other:?}")),
                    }
                }
                // A later file may only change a part.
                let known = self.variables.entry(label.to_owned()).or_default();
                known.default = variable.default.or(known.default.take());
                known.description = variable.description.or(known.description.take());
                known.validations.extend(variable.validations);
                if !variable.kind.is_empty() {
                    known.kind = variable.kind;
                }
            }
            "function" => self.function(label, attributes)?,
            other => return Err(format!("unknown block {other:?}")),
        }
        Ok(())
    }

    fn function(&mut self, label: &str, attributes: Attributes) -> Result<(), String> {
        let (mut params, mut rest, mut result) = (Vec::new(), None, None);
        for (key, value) in attributes {
            match (key.as_str(), value) {
                ("params", Expression::Array(list)) => {
                    params = list.iter().map(name_of).collect();
                }
                ("variadic_params" | "variadic_param", value) => rest = Some(name_of(&value)),
                ("result", value) => result = Some(value),
                (other, _) => return Err(format!("function {label:?}: bad {other:?}")),
            }
        }
        let result = result.ok_or_else(|| format!("function {label:?} has no result"))?;
        self.functions.insert(label.to_owned(), Function { params, rest, result });
        Ok(())
    }

    /// The names of variables that a file declares, with what they are and what they are for.
    pub(super) fn variables(&self) -> Result<Vec<(String, Value, String)>, String> {
        let own = |name: &&String| !name.starts_with("BAKE_");
        let mut names: Vec<&String> = self.variables.keys().filter(own).collect();
        names.sort_unstable();
        let mut list = Vec::new();
        for name in names {
            let Some(variable) = self.variables.get(name).filter(|it| !it.fixed) else { continue };
            let value = self.variable(name).unwrap_or(Ok(Value::Null))?;
            let about = variable.description.as_ref().map(|it| evaluate(it, self)).transpose()?;
            let about = about.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
            list.push((name.clone(), value, about));
        }
        Ok(list)
    }

    /// Checks what variables must hold to.
    pub(super) fn validate(&self) -> Result<(), String> {
        for (name, variable) in &self.variables {
            for (condition, message) in &variable.validations {
                if eval::truth(&evaluate(condition, self)?)? {
                    continue;
                }
                let said = message.as_ref().map(|it| evaluate(it, self)).transpose()?;
                let said = said.and_then(|it| it.as_str().map(str::to_owned));
                return Err(said.unwrap_or_else(|| format!("validation of {name} failed")));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Evaluated> {
        if let Some(known) = self.known.borrow().get(name) {
            let cycle = || format!("variable cycle not allowed for {name}");
            return Some(known.clone().ok_or_else(cycle));
        }
        let variable = self.variables.get(name)?;
        self.known.borrow_mut().insert(name.to_owned(), None);
        let value = self.value(name, variable);
        match &value {
            Ok(value) => self.known.borrow_mut().insert(name.to_owned(), Some(value.clone())),
            Err(_) => self.known.borrow_mut().remove(name),
        };
        Some(value)
    }

    fn value(&self, name: &str, variable: &Variable) -> Evaluated {
        let default = variable.default.as_ref().map(|it| evaluate(it, self)).transpose()?;
        let default = default.unwrap_or(Value::Null);
        let environment = || std::env::var(name).ok();
        let given = self.given.get(name).cloned();
        let given = if variable.fixed { None } else { given.or_else(environment) };
        match given {
            None => Ok(default),
            Some(text) => typed(name, text, &variable.kind, &default),
        }
    }
}

/// A text of the environment as what the variable is.
fn typed(name: &str, text: String, kind: &str, default: &Value) -> Evaluated {
    let wrong = |why: String| format!("failed to parse variable {name:?}: {why}");
    let collection = ["list", "set", "tuple", "map", "object"];
    if collection.iter().any(|it| kind.starts_with(it)) {
        if text.trim_start().starts_with(['[', '{']) {
            return serde_json::from_str(&text).map_err(|error| wrong(error.to_string()));
        }
        return Ok(crate::csv::split(&text).map_err(wrong)?.into());
    }
    match (kind, default) {
        ("bool", _) | ("", Value::Bool(_)) => {
            let value = crate::number::parse_bool(&text);
            value.map(Value::Bool).map_err(|_| wrong(format!("{text:?} is no bool")))
        }
        ("number", _) | ("", Value::Number(_)) => {
            eval::float(&Value::String(text)).map(eval::rational).map_err(wrong)
        }
        _ => Ok(Value::String(text)),
    }
}

impl Scope for File {
    fn variable(&self, name: &str) -> Option<Evaluated> {
        if name == "target" {
            // `target.NAME.KEY`: whatever other targets say themselves.
            let all = self.targets.iter().map(|(name, blocks)| {
                let mut map = serde_json::Map::new();
                for (key, value) in blocks.iter().flatten() {
                    if let Ok(value) = evaluate(value, &Plain(self)) {
                        map.insert(key.clone(), value);
                    }
                }
                (name.clone(), Value::Object(map))
            });
            return Some(Ok(Value::Object(all.collect())));
        }
        self.find(name)
    }

    fn call(&self, name: &str, args: Vec<Value>, depth: usize) -> Evaluated {
        let Some(function) = self.functions.get(name) else {
            let missing = || format!("Call to unknown function; There is no function {name:?}.");
            return functions::call(name, &args).unwrap_or_else(|| Err(missing()));
        };
        if args.len() < function.params.len()
            || (args.len() > function.params.len() && function.rest.is_none())
        {
            let want = function.params.len();
            return Err(format!("function {name:?} takes {want} arguments, not {}", args.len()));
        }
        let mut args = args.into_iter();
        let mut own: Vec<(String, Value)> =
            function.params.iter().cloned().zip(args.by_ref()).collect();
        own.extend(function.rest.iter().map(|rest| (rest.clone(), args.by_ref().collect())));
        evaluate_with(&function.result, self, own, depth + 1)
    }
}

/// The file without what targets say of one another, so that none waits for itself.
struct Plain<'a>(&'a File);

impl Scope for Plain<'_> {
    fn variable(&self, name: &str) -> Option<Evaluated> {
        self.0.find(name)
    }

    fn call(&self, name: &str, args: Vec<Value>, depth: usize) -> Evaluated {
        self.0.call(name, args, depth)
    }
}

fn push(list: &mut Vec<(String, Vec<Attributes>)>, name: &str, attributes: Attributes) {
    match list.iter_mut().find(|(known, _)| known == name) {
        Some((_, blocks)) => blocks.push(attributes),
        None => list.push((name.to_owned(), vec![attributes])),
    }
}

fn name_of(expression: &Expression) -> String {
    match expression {
        Expression::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON as HCL has it: texts may have `${…}` in them.
fn expression(value: &Value) -> Expression {
    match value {
        Value::String(text) if text.contains("${") || text.contains("%{") => {
            Expression::from(hcl::expr::TemplateExpr::from(text.as_str()))
        }
        Value::Array(list) => Expression::Array(list.iter().map(expression).collect()),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| {
                let key = hcl::expr::ObjectKey::from(Expression::String(key.clone()));
                (key, expression(value))
            });
            Expression::Object(pairs.collect())
        }
        other => Expression::from_serializable(other).unwrap_or(Expression::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str, name: &str) -> Evaluated {
        let mut file = File::new(BTreeMap::from([("GIVEN".into(), "7".into())]), "linux/amd64");
        file.add_hcl("bake", text).unwrap();
        file.variable(name).unwrap()
    }

    #[test]
    fn expressions_and_functions() {
        let text = "variable \"A\" { default = \"x\" }\n\
            variable \"GIVEN\" { default = 1 }\n\
            function \"twice\" {\n  params = [a]\n  result = \"${a}${a}\"\n}\n\
            function \"all\" {\n  params = []\n  variadic_params = items\n  \
            result = join(\",\", items)\n}\n\
            B = twice(A)\nC = [for v in [\"a\", \"b\"]: upper(v) if v != \"b\"]\n\
            D = GIVEN + 1\nE = A == \"x\" ? { k = \"v\" } : {}\n\
            F = all([1, 2]...)\nG = \"%{ if A == \"x\" }yes%{ else }no%{ endif }\"\n\
            H = [{n = 1}, {n = 2}][*].n\nI = try(NONE, \"fallback\")\nJ = E.k\n";
        for (name, want) in [
            ("B", json!("xx")),
            ("C", json!(["A"])),
            ("D", json!(8)),
            ("E", json!({"k": "v"})),
            ("F", json!("1,2")),
            ("G", json!("yes")),
            ("H", json!([1, 2])),
            ("I", json!("fallback")),
            ("J", json!("v")),
        ] {
            assert_eq!(value(text, name), Ok(want), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        let cycle = "variable \"A\" { default = B }\nvariable \"B\" { default = A }\n";
        assert!(value(cycle, "A").unwrap_err().contains("cycle"));
        assert!(value("A = NONE", "A").unwrap_err().contains("no variable named"));
        assert!(value("A = none(1)", "A").unwrap_err().contains("no function"));
        assert!(value("A = 1 / 0", "A").unwrap_err().contains("zero"));
        let deep = "function \"f\" {\n  params = [a]\n  result = f(a)\n}\nA = f(1)";
        assert!(value(deep, "A").unwrap_err().contains("too deep"));
        let mut file = File::new(BTreeMap::new(), "p");
        assert!(file.add_hcl("x", "nonsense {").is_err());
        let bad = "variable \"V\" {\n  default = \"a\"\n  validation {\n    \
            condition = V != \"a\"\n    error_message = \"not a\"\n  }\n}\n";
        file.add_hcl("x", bad).unwrap();
        assert_eq!(file.validate().unwrap_err(), "not a");
    }
}
