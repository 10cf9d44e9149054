//! Go's `text/template` over JSON values, as far as `--format` uses it: fields, pipelines,
//! variables, `if`/`range`/`with`, functions. It never knows which command's output it shapes.

mod eval;
mod functions;
mod lex;
mod parse;
mod value;

pub(crate) use value::Data;

use parse::{Base, Node, Pipe};
use serde_json::Value;

/// The field that marks a row of a table; no field of a document has such a name.
pub(crate) const ROW: &str = "\0";

/// A parsed template.
pub(crate) struct Template {
    nodes: Vec<Node>,
    source: String,
}

/// A part of a template that is nothing but text and fields.
pub(crate) enum Piece<'a> {
    /// Stands there as it is.
    Text(&'a str),
    /// The field of that name.
    Field(&'a str),
}

/// Adds a field's value as templates print it.
pub(crate) fn print_to(out: &mut String, name: &str, value: &Value) {
    value::print_to(out, name, value);
}

impl Template {
    /// Its parts, when it is nothing but text and fields. Tables are, and lists may be long: their
    /// rows need no walk through the tree.
    pub(crate) fn pieces(&self) -> Option<Vec<Piece<'_>>> {
        let pieces = self.nodes.iter().map(|node| match node {
            Node::Text(text) => Some(Piece::Text(text)),
            Node::Pipe(pipe) => field_of(pipe).map(Piece::Field),
            _ => None,
        });
        pieces.collect()
    }

    /// Parses a template.
    ///
    /// # Errors
    /// The sentence that Go's parser would say, with the line.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let tokens = lex::split(source)?;
        Ok(Self { nodes: parse::nodes(tokens)?, source: source.to_owned() })
    }

    /// Fills the template in with `data`.
    ///
    /// # Errors
    /// A field that does not exist, a function that fails.
    pub(crate) fn execute(&self, data: &Data) -> Result<String, String> {
        eval::run(&self.nodes, data, &self.source)
    }
}

/// `.Name` and nothing else.
fn field_of(pipe: &Pipe) -> Option<&str> {
    let ([], [command]) = (&*pipe.variables, &*pipe.commands) else { return None };
    let [word] = &**command else { return None };
    match (&word.base, &*word.fields) {
        (Base::Dot, [(name, _)]) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> String {
        let data = json!({
            "Name": "web", "N": 3, "Zero": 0, "F": 1.5, "Yes": true, "Empty": "", "Nil": null,
            "List": ["a", "b", "c"], "Labels": {"x": "1", "a": "2"},
            "State": {"Running": true, "Pid": 42},
            "Mounts": [{"Source": "/a", "RW": true}, {"Source": "/b", "RW": false}],
        });
        let template = Template::parse(template);
        let filled = template.and_then(|template| template.execute(&Data::document(data)));
        filled.unwrap_or_else(|why| format!("error: {why}"))
    }

    #[test]
    fn everything_that_formats_use() {
        for (template, expected) in [
            ("{{.Name}}", "web"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{/* no */}}x", "x"),
            ("{{.State.Pid}}", "42"),
            ("{{.State}}", "{true 42}"),
            ("{{.Labels}}", "map[a:2 x:1]"),
            ("{{.List}} {{.F}} {{.Nil}}", "[a b c] 1.5 <nil>"),
            ("{{json .List}} {{json .Name}}", "[\"a\",\"b\",\"c\"] \"web\""),
            ("{{.Name | upper | printf \"%s!\"}}", "WEB!"),
            ("{{if .Yes}}y{{else}}n{{end}}", "y"),
            ("{{if .Zero}}y{{else if .Empty}}e{{else}}n{{end}}", "n"),
            ("{{range .List}}{{.}},{{end}}", "a,b,c,"),
            ("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=a 1=b 2=c "),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a=2 x=1 "),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{with .State}}{{.Pid}}/{{$.Name}}{{end}}", "42/web"),
            ("{{with .Empty}}x{{else}}none{{end}}", "none"),
            ("{{range .Mounts}}{{if .RW}}{{.Source}}{{end}}{{end}}", "/a"),
            ("{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
            ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
            ("{{$x := .N}}{{$x = 5}}{{$x}}", "5"),
            ("{{eq .N 3}} {{ne .N 3}} {{lt .N 4}} {{ge .N 4}}", "true false true false"),
            ("{{eq .Name \"a\" \"web\"}}", "true"),
            ("{{and .Yes .N}} {{or .Zero .Name}} {{not .Zero}}", "3 web true"),
            ("{{len .List}} {{len .Name}} {{index .List 1}}", "3 3 b"),
            ("{{index .Labels \"x\"}}|{{index .Labels \"none\"}}|", "1||"),
            ("{{.Labels.none}}{{if .Labels.none}}x{{end}}", "<no value>"),
            ("{{(index .Mounts 1).Source}}", "/b"),
            ("{{slice .Name 1 2}}", "e"),
            ("{{join .List \"-\"}} {{split \"a:b\" \":\"}}", "a-b-c [a b]"),
            ("{{title \"web\"}} {{lower \"ABC\"}}", "Web abc"),
            ("{{pad \"x\" 1 2}}| {{truncate \"abcdef\" 3}}", " x  | abc"),
            (
                "{{printf \"%-5s|%5s|%05d|%.2f|%q|%v|%t|%x\" \
                 \"a\" \"b\" 42 1.5 \"q\" .List true 255}}",
                "a    |    b|00042|1.50|\"q\"|[a b c]|true|ff",
            ),
            ("{{println .N}}", "3\n"),
            ("{{print 1 2 \"a\"}}", "1 2a"),
            ("{{\"quoted\\t\"}}{{`raw\\`}}", "quoted\traw\\"),
            (
                "{{.Missing}}",
                "error: template: :1:2: executing \"\" at <.Missing>: map has no entry for key \
                 \"Missing\"",
            ),
            (
                "{{.Name.Foo}}",
                "error: template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in \
                 type string",
            ),
            ("{{", "error: template: :1: unclosed action"),
            ("{{.Name", "error: template: :1: unclosed action"),
            ("{{if .Name}}", "error: template: :1: unexpected EOF"),
            ("{{end}}", "error: template: :1: unexpected {{end}}"),
            ("{{nope 1}}", "error: template: :1: function \"nope\" not defined"),
            ("{{$x}}", "error: template: :1: undefined variable \"$x\""),
        ] {
            assert_eq!(filled(template), expected, "{template}");
        }
    }
}
