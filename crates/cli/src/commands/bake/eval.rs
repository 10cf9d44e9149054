//! HCL expressions to values. Variables and functions are asked of a [`Scope`], so that a file's
//! own may refer to one another in any order. Pure.

use hcl::expr::{
    BinaryOperator, Conditional, Expression, ForExpr, FuncCall, ObjectKey, Operation, TemplateExpr,
    Traversal, TraversalOperator, UnaryOperator,
};
use hcl::template::{Directive, Element, ForDirective, IfDirective, Strip, Template};
use serde_json::{Map, Number, Value};

/// How deep expressions and functions may be nested.
const MAX_DEPTH: usize = 128;
/// How many elements a collection that is made may have.
pub(super) const MAX_ELEMENTS: usize = 100_000;

/// The result of an evaluation; an error is a sentence.
pub(super) type Evaluated<T = Value> = Result<T, String>;

/// What names mean.
pub(super) trait Scope {
    /// A variable's value; `None` if there is none of that name.
    fn variable(&self, name: &str) -> Option<Evaluated>;

    /// Calls a function.
    fn call(&self, name: &str, args: Vec<Value>, depth: usize) -> Evaluated;
}

/// A scope with further variables in front of it.
struct Inner<'a> {
    outer: &'a dyn Scope,
    own: Vec<(String, Value)>,
}

impl Scope for Inner<'_> {
    fn variable(&self, name: &str) -> Option<Evaluated> {
        let own = self.own.iter().find(|(known, _)| known == name);
        own.map(|(_, value)| Ok(value.clone())).or_else(|| self.outer.variable(name))
    }

    fn call(&self, name: &str, args: Vec<Value>, depth: usize) -> Evaluated {
        self.outer.call(name, args, depth)
    }
}

/// Evaluates an expression.
pub(super) fn evaluate(expression: &Expression, scope: &dyn Scope) -> Evaluated {
    Evaluator { scope, depth: 0 }.expression(expression)
}

/// Evaluates an expression with variables of its own, inside a function of that depth.
pub(super) fn evaluate_with(
    expression: &Expression,
    scope: &dyn Scope,
    own: Vec<(String, Value)>,
    depth: usize,
) -> Evaluated {
    let inner = Inner { outer: scope, own };
    Evaluator { scope: &inner, depth }.expression(expression)
}

struct Evaluator<'a> {
    scope: &'a dyn Scope,
    depth: usize,
}

impl<'a> Evaluator<'a> {
    fn deeper(&self) -> Evaluated<Evaluator<'a>> {
        match self.depth < MAX_DEPTH {
            true => Ok(Evaluator { scope: self.scope, depth: self.depth + 1 }),
            false => Err("expressions are nested too deep".to_owned()),
        }
    }

    fn expression(&self, expression: &Expression) -> Evaluated {
        let this = self.deeper()?;
        match expression {
            Expression::Null => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value)),
            Expression::Number(value) => Ok(number_of(value)),
            Expression::String(text) => Ok(Value::String(text.clone())),
            Expression::Array(list) => list
                .iter()
                .map(|it| this.expression(it))
                .collect::<Evaluated<_>>()
                .map(Value::Array),
            Expression::Object(object) => {
                let mut map = Map::new();
                for (key, value) in object.iter() {
                    let key = match key {
                        ObjectKey::Identifier(name) => name.to_string(),
                        ObjectKey::Expression(expression) => text(&this.expression(expression)?)?,
                        _ => return Err("unknown kind of key".to_owned()),
                    };
                    map.insert(key, this.expression(value)?);
                }
                Ok(Value::Object(map))
            }
            Expression::TemplateExpr(template) => this.template(template),
            Expression::Variable(variable) => this.variable(variable.as_str()),
            Expression::Traversal(traversal) => this.traversal(traversal),
            Expression::FuncCall(call) => this.call(call),
            Expression::Parenthesis(inner) => this.expression(inner),
            Expression::Conditional(conditional) => this.conditional(conditional),
            Expression::Operation(operation) => this.operation(operation),
            Expression::ForExpr(expression) => this.each(expression),
            other => Err(format!("{other} is no expression that is known")),
        }
    }

    fn variable(&self, name: &str) -> Evaluated {
        let missing = || format!("Unknown variable; There is no variable named {name:?}.");
        self.scope.variable(name).unwrap_or_else(|| Err(missing()))
    }

    fn conditional(&self, conditional: &Conditional) -> Evaluated {
        match truth(&self.expression(&conditional.cond_expr)?)? {
            true => self.expression(&conditional.true_expr),
            false => self.expression(&conditional.false_expr),
        }
    }

    fn call(&self, call: &FuncCall) -> Evaluated {
        let name = call.name.name.as_str();
        // These two look whether their arguments fail.
        if name == "try" || name == "can" {
            let mut last = Err("try needs an argument".to_owned());
            for arg in &call.args {
                last = self.expression(arg);
                if last.is_ok() {
                    break;
                }
            }
            return if name == "can" { Ok(Value::Bool(last.is_ok())) } else { last };
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.expression(arg)?);
        }
        if call.expand_final {
            match args.pop() {
                Some(Value::Array(rest)) => args.extend(rest),
                _ => return Err(format!("{name}: only a list can be expanded")),
            }
        }
        self.scope.call(name, args, self.depth)
    }

    fn traversal(&self, traversal: &Traversal) -> Evaluated {
        let begin = self.expression(&traversal.expr)?;
        self.walk(begin, &traversal.operators)
    }

    fn walk(&self, mut value: Value, operators: &[TraversalOperator]) -> Evaluated {
        for (at, operator) in operators.iter().enumerate() {
            value = match operator {
                TraversalOperator::GetAttr(name) => member(&value, name.as_str())?,
                TraversalOperator::Index(index) => {
                    let index = self.expression(index)?;
                    match &index {
                        Value::String(name) => member(&value, name)?,
                        index => element(&value, index)?,
                    }
                }
                TraversalOperator::LegacyIndex(index) => element(&value, &Value::from(*index))?,
                TraversalOperator::AttrSplat | TraversalOperator::FullSplat => {
                    let items = match value {
                        Value::Array(items) => items,
                        Value::Null => Vec::new(),
                        other => vec![other],
                    };
                    let rest = &operators[at + 1..];
                    let each = items.into_iter().map(|item| self.walk(item, rest));
                    return each.collect::<Evaluated<_>>().map(Value::Array);
                }
            };
        }
        Ok(value)
    }

    fn operation(&self, operation: &Operation) -> Evaluated {
        let operation = match operation {
            Operation::Unary(unary) => {
                let value = self.expression(&unary.expr)?;
                return match unary.operator {
                    UnaryOperator::Not => Ok(Value::Bool(!truth(&value)?)),
                    UnaryOperator::Neg => Ok(rational(-float(&value)?)),
                };
            }
            Operation::Binary(binary) => binary,
        };
        let left = self.expression(&operation.lhs_expr)?;
        let right = || self.expression(&operation.rhs_expr);
        let numbers = || Ok::<_, String>((float(&left)?, float(&right()?)?));
        Ok(match operation.operator {
            BinaryOperator::And => Value::Bool(truth(&left)? && truth(&right()?)?),
            BinaryOperator::Or => Value::Bool(truth(&left)? || truth(&right()?)?),
            BinaryOperator::Eq => Value::Bool(equal(&left, &right()?)),
            BinaryOperator::NotEq => Value::Bool(!equal(&left, &right()?)),
            BinaryOperator::Less => numbers().map(|(a, b)| Value::Bool(a < b))?,
            BinaryOperator::LessEq => numbers().map(|(a, b)| Value::Bool(a <= b))?,
            BinaryOperator::Greater => numbers().map(|(a, b)| Value::Bool(a > b))?,
            BinaryOperator::GreaterEq => numbers().map(|(a, b)| Value::Bool(a >= b))?,
            BinaryOperator::Plus => numbers().map(|(a, b)| rational(a + b))?,
            BinaryOperator::Minus => numbers().map(|(a, b)| rational(a - b))?,
            BinaryOperator::Mul => numbers().map(|(a, b)| rational(a * b))?,
            BinaryOperator::Div | BinaryOperator::Mod => {
                let (a, b) = numbers()?;
                if b == 0.0 {
                    return Err("division by zero".to_owned());
                }
                rational(if operation.operator == BinaryOperator::Div { a / b } else { a % b })
            }
        })
    }

    fn each(&self, each: &ForExpr) -> Evaluated {
        let collection = self.expression(&each.collection_expr)?;
        let mut list = Vec::new();
        let mut map = Map::new();
        for (key, value) in pairs(collection)? {
            let inner = self.with(each.key_var.as_deref(), key, each.value_var.as_str(), value);
            let this = Evaluator { scope: &inner, depth: self.depth };
            if let Some(condition) = &each.cond_expr
                && !truth(&this.expression(condition)?)?
            {
                continue;
            }
            let value = this.expression(&each.value_expr)?;
            let Some(key) = &each.key_expr else {
                list.push(value);
                continue;
            };
            let key = text(&this.expression(key)?)?;
            match (each.grouping, map.get_mut(&key)) {
                (true, Some(Value::Array(group))) => group.push(value),
                (true, _) => drop(map.insert(key, Value::Array(vec![value]))),
                (false, Some(_)) => return Err(format!("Duplicate object key {key:?}")),
                (false, None) => drop(map.insert(key, value)),
            }
        }
        Ok(if each.key_expr.is_some() { Value::Object(map) } else { Value::Array(list) })
    }

    fn with(
        &self,
        key_name: Option<&str>,
        key: Value,
        value_name: &str,
        value: Value,
    ) -> Inner<'a> {
        let mut own = vec![(value_name.to_owned(), value)];
        own.extend(key_name.map(|name| (name.to_owned(), key)));
        Inner { outer: self.scope, own }
    }

    fn template(&self, expression: &TemplateExpr) -> Evaluated {
        let template = Template::from_expr(expression).map_err(|error| error.to_string())?;
        // A template that is one expression is that expression's value.
        if let [Element::Interpolation(only)] = template.elements() {
            return self.expression(&only.expr);
        }
        let mut out = String::new();
        self.elements(&template, Strip::None, Strip::None, &mut out)?;
        Ok(Value::String(out))
    }

    fn elements(
        &self,
        template: &Template,
        before: Strip,
        after: Strip,
        out: &mut String,
    ) -> Evaluated<()> {
        let elements = template.elements();
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let left = at.checked_sub(1).map_or(before, |at| strip_of(&elements[at]).1);
                    let right = elements.get(at + 1).map_or(after, |next| strip_of(next).0);
                    out.push_str(stripped(literal, left, right));
                }
                Element::Interpolation(inner) => {
                    out.push_str(&text(&self.expression(&inner.expr)?)?);
                }
                Element::Directive(directive) => match &**directive {
                    Directive::If(directive) => self.if_directive(directive, out)?,
                    Directive::For(directive) => self.for_directive(directive, out)?,
                },
            }
        }
        Ok(())
    }

    fn if_directive(&self, directive: &IfDirective, out: &mut String) -> Evaluated<()> {
        if truth(&self.expression(&directive.cond_expr)?)? {
            let after = match directive.false_template {
                Some(_) => directive.else_strip,
                None => directive.endif_strip,
            };
            return self.elements(&directive.true_template, directive.if_strip, after, out);
        }
        match &directive.false_template {
            Some(template) => {
                self.elements(template, directive.else_strip, directive.endif_strip, out)
            }
            None => Ok(()),
        }
    }

    fn for_directive(&self, directive: &ForDirective, out: &mut String) -> Evaluated<()> {
        let collection = self.expression(&directive.collection_expr)?;
        for (key, value) in pairs(collection)? {
            let names = (directive.key_var.as_deref(), directive.value_var.as_str());
            let inner = self.with(names.0, key, names.1, value);
            let this = Evaluator { scope: &inner, depth: self.depth };
            this.elements(&directive.template, directive.for_strip, directive.endfor_strip, out)?;
        }
        Ok(())
    }
}

/// How an element strips what is before and after it.
fn strip_of(element: &Element) -> (Strip, Strip) {
    match element {
        Element::Literal(_) => (Strip::None, Strip::None),
        Element::Interpolation(inner) => (inner.strip, inner.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(directive) => (directive.if_strip, directive.endif_strip),
            Directive::For(directive) => (directive.for_strip, directive.endfor_strip),
        },
    }
}

/// `~` takes spaces away up to the next line break, which goes too.
fn stripped(mut text: &str, left: Strip, right: Strip) -> &str {
    let space = |c: char| c.is_whitespace() && c != '\n';
    if matches!(left, Strip::End | Strip::Both) {
        let trimmed = text.trim_start_matches(space);
        text = trimmed.strip_prefix('\n').unwrap_or(trimmed);
    }
    if matches!(right, Strip::Start | Strip::Both) {
        let trimmed = text.trim_end_matches(space);
        text = trimmed.strip_suffix('\n').unwrap_or(trimmed);
    }
    text
}

/// Keys and values of a collection.
fn pairs(collection: Value) -> Evaluated<Vec<(Value, Value)>> {
    match collection {
        Value::Array(list) => {
            Ok(list.into_iter().enumerate().map(|(at, it)| (Value::from(at), it)).collect())
        }
        Value::Object(map) => {
            Ok(map.into_iter().map(|(key, it)| (Value::String(key), it)).collect())
        }
        _ => Err("only lists and maps can be gone through".to_owned()),
    }
}

fn member(value: &Value, name: &str) -> Evaluated {
    let found = value.as_object().and_then(|map| map.get(name)).cloned();
    found.ok_or_else(|| format!("Unsupported attribute; there is no attribute named {name:?}."))
}

fn element(value: &Value, index: &Value) -> Evaluated {
    let at = float(index)?;
    let list = value.as_array().ok_or("only a list has elements by number")?;
    let found = list.iter().enumerate().find(|(place, _)| as_float(*place) == at);
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("Invalid index {at}"))
}

#[expect(clippy::cast_precision_loss, reason = "collections are bounded far below")]
fn as_float(number: usize) -> f64 {
    number as f64
}

fn number_of(number: &hcl::Number) -> Value {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Value::from(whole),
        (None, Some(number)) => rational(number),
        (None, None) => Value::Null,
    }
}

/// A number; whole ones are written so.
pub(super) fn rational(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A number, also of a text that is one.
pub(super) fn float(value: &Value) -> Evaluated<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("a number is required, not {value}"))
}

/// A truth value, also of a text that is one.
pub(super) fn truth(value: &Value) -> Evaluated<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" || text == "1" => Ok(true),
        Value::String(text) if text == "false" || text == "0" => Ok(false),
        other => Err(format!("a bool is required, not {other}")),
    }
}

/// A text, also of a number or a truth value.
pub(super) fn text(value: &Value) -> Evaluated<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Err("the expression result is null; a string is required".to_owned()),
        other => Err(format!("a string is required, not {other}")),
    }
}

/// Whether two values are the same; numbers by what they are worth.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}
