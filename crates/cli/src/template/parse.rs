//! Tokens to a tree. Undefined functions and variables are found here, as Go does.

use super::functions;
use super::lex::{Kind, Token};

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Pipe(Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Pipe, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$a, $b := command | command`.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command, with the fields taken from it.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<(String, usize)>,
    pub(super) at: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Pipe(Pipe),
    Str(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
}

/// Parses all of a template.
pub(super) fn nodes(tokens: Vec<Token>) -> Result<Vec<Node>, String> {
    let mut parser = Parser { tokens, next: 0, variables: vec![String::new()], loops: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some(word) => parser.fail(&format!("unexpected {{{{{word}}}}}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    loops: usize,
}

impl Parser {
    fn fail<T>(&self, why: &str) -> Result<T, String> {
        let at = self.next.saturating_sub(1).min(self.tokens.len().saturating_sub(1));
        let line = self.tokens.get(at).map_or(1, |token| token.line);
        Err(format!("template: :{line}: {why}"))
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.next += 1;
        }
    }

    /// Nodes up to the end of the source, or to `end` or `else`, which is returned.
    fn list(&mut self) -> Result<(Vec<Node>, Option<String>), String> {
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.get(self.next) {
            if let Kind::Text(text) = &token.kind {
                nodes.push(Node::Text(text.clone()));
                self.next += 1;
                continue;
            }
            self.skip_space();
            let word = match self.peek() {
                Some(Kind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" | "else" => {
                    self.next += 1;
                    return Ok((nodes, Some(word)));
                }
                "if" | "with" | "range" => {
                    self.next += 1;
                    nodes.push(self.block(&word)?);
                }
                "break" | "continue" if self.loops == 0 => {
                    return self.fail(&format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                "break" | "continue" => {
                    self.next += 1;
                    self.close()?;
                    nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                _ => {
                    let pipe = self.pipe(&Kind::Close)?;
                    nodes.push(Node::Pipe(pipe));
                }
            }
        }
        Ok((nodes, None))
    }

    fn close(&mut self) -> Result<(), String> {
        self.skip_space();
        if self.peek() == Some(&Kind::Close) {
            self.next += 1;
            return Ok(());
        }
        self.fail("unexpected token in end; expected right delimiter")
    }

    fn block(&mut self, word: &str) -> Result<Node, String> {
        let scope = self.variables.len();
        let pipe = self.pipe(&Kind::Close)?;
        self.loops += usize::from(word == "range");
        let (then, end) = self.list()?;
        self.loops -= usize::from(word == "range");
        let otherwise = match end.as_deref() {
            Some("end") => {
                self.close()?;
                Vec::new()
            }
            Some(_) => self.otherwise()?,
            None => return self.fail("unexpected EOF"),
        };
        self.variables.truncate(scope);
        Ok(match word {
            "if" => Node::If(pipe, then, otherwise),
            "with" => Node::With(pipe, then, otherwise),
            _ => Node::Range(pipe, then, otherwise),
        })
    }

    /// What follows `else`: another condition or the rest up to `end`.
    fn otherwise(&mut self) -> Result<Vec<Node>, String> {
        self.skip_space();
        if let Some(Kind::Word(word)) = self.peek()
            && matches!(word.as_str(), "if" | "with")
        {
            let word = word.clone();
            self.next += 1;
            return Ok(vec![self.block(&word)?]);
        }
        self.close()?;
        let (nodes, end) = self.list()?;
        match end.as_deref() {
            Some("end") => self.close().map(|()| nodes),
            Some(_) => self.fail("expected end; found {{else}}"),
            None => self.fail("unexpected EOF"),
        }
    }

    fn pipe(&mut self, until: &Kind) -> Result<Pipe, String> {
        let (variables, assigns) = self.declaration()?;
        let mut commands = Vec::new();
        loop {
            let command = self.command()?;
            if command.is_empty() {
                return self.fail("missing value for command");
            }
            commands.push(command);
            match self.peek() {
                Some(Kind::Pipe) => self.next += 1,
                Some(kind) if kind == until => {
                    self.next += 1;
                    break;
                }
                Some(Kind::Shut) => return self.fail("unexpected right paren"),
                _ => return self.fail("unclosed action"),
            }
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { variables, assigns, commands })
    }

    /// `$a :=`, `$a, $b :=`, `$a =`, or nothing.
    fn declaration(&mut self) -> Result<(Vec<String>, bool), String> {
        let start = self.next;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let Some(Kind::Variable(name)) = self.peek() else { break };
            names.push(name.clone());
            self.next += 1;
            self.skip_space();
            match self.peek() {
                Some(Kind::Comma) => self.next += 1,
                Some(Kind::Declare) => {
                    self.next += 1;
                    return Ok((names, false));
                }
                Some(Kind::Assign) => {
                    self.next += 1;
                    for name in &names {
                        self.known(name)?;
                    }
                    return Ok((names, true));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str) -> Result<(), String> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        self.fail(&format!("undefined variable \"${name}\""))
    }

    fn command(&mut self) -> Result<Vec<Operand>, String> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            let Some(operand) = self.operand()? else { return Ok(words) };
            words.push(operand);
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(token) = self.tokens.get(self.next).cloned() else { return Ok(None) };
        let mut fields = Vec::new();
        self.next += 1;
        let base = match token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push((name, token.at));
                Base::Dot
            }
            Kind::Variable(name) => {
                self.known(&name)?;
                Base::Variable(name)
            }
            Kind::Str(text) => Base::Str(text),
            Kind::Int(int) => Base::Int(int),
            Kind::Float(float) => Base::Float(float),
            Kind::Open => Base::Pipe(self.pipe(&Kind::Shut)?),
            Kind::Word(word) => match word.as_str() {
                "true" | "false" => Base::Bool(word == "true"),
                "nil" => Base::Nil,
                name if functions::exists(name) => Base::Function(word),
                name => return self.fail(&format!("function \"{name}\" not defined")),
            },
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        while let Some(Token { kind: Kind::Field(name), at, .. }) = self.tokens.get(self.next) {
            fields.push((name.clone(), *at));
            self.next += 1;
        }
        let end = self.tokens.get(self.next).map_or(token.at, |token| token.at);
        Ok(Some(Operand { base, fields, at: token.at, end }))
    }
}
