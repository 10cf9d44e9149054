//! Lists as tables, lines of JSON or templates; documents as JSON or templates. It never knows
//! what the rows are about.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::command::Outcome;
use crate::failure::Failure;
use crate::tabwriter;
use crate::template::{self, Data, Piece, Template};
use crate::terminal::print;

/// The narrowest column of a table.
const COLUMN_MIN: usize = 10;
/// Blanks between columns.
const COLUMN_GAP: usize = 3;

/// How a kind of list is shown.
pub(crate) struct Table {
    /// The template of the default table, after the word `table`.
    pub(crate) default: &'static str,
    /// The titles of columns, by field.
    pub(crate) titles: &'static [(&'static str, &'static str)],
    /// Go's name of a row's type, for errors.
    pub(crate) type_name: &'static str,
}

/// One row: its fields by name. They are few, and there may be thousands of rows.
#[derive(Default)]
pub(crate) struct Row(Vec<(Cow<'static, str>, Value)>);

impl Row {
    /// Sets a field.
    pub(crate) fn with(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
        self
    }

    /// Adds what the method `name` (`.Label "key"`) answers from.
    pub(crate) fn method(
        self,
        name: &str,
        entries: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let map: Map<String, Value> =
            entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        self.with(format!("\0{name}"), Value::Object(map))
    }

    /// The fields alone, by name.
    pub(crate) fn plain(mut self) -> Value {
        self.0.retain(|(name, _)| !name.starts_with('\0'));
        self.by_name()
    }

    fn by_name(mut self) -> Value {
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let fields = self.0.into_iter().map(|(name, value)| (name.into_owned(), value));
        Value::Object(fields.collect())
    }

    fn sorted(self) -> Value {
        // Marks the value as a row, which is written as JSON in a way of its own.
        self.with("\0", true).by_name()
    }

    /// Fills a template of text and fields in; `false`, and nothing is added, when a field is
    /// missing.
    fn fill(&self, pieces: &[Piece<'_>], out: &mut String) -> bool {
        let before = out.len();
        for piece in pieces {
            let name = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Field(name) => name,
            };
            let Some((_, value)) = self.0.iter().find(|(known, _)| known == name) else {
                out.truncate(before);
                return false;
            };
            template::print_to(out, name, value);
        }
        true
    }
}

/// Prints rows as `format` says: empty or `table`, `table TEMPLATE`, `json` or a template.
pub(crate) fn list(table: &Table, format: &str, rows: Vec<Row>) -> Outcome {
    print(render(table, format, rows)?)?;
    Ok(0)
}

/// Refuses a template that no row could fill, in the words of the list of containers, which looks
/// before it asks the engine.
pub(crate) fn probe(table: &Table, format: &str) -> Result<(), Failure> {
    let format = format.trim();
    let source = format.strip_prefix("table").unwrap_or(format).trim();
    let source = if format == "json" { "" } else { source };
    let template = Template::parse(&source.replace("\\t", "\t").replace("\\n", "\n"))
        .map_err(|why| Failure::new(format!("failed to parse template: {why}")))?;
    let row = table.titles.iter().fold(Row::default(), |row, (field, _)| row.with(*field, ""));
    let row = row.method("Label", []);
    let filled = template.execute(&Data::row(row.sorted(), table.type_name));
    filled.map_err(|why| Failure::new(format!("failed to execute template: {why}")))?;
    Ok(())
}

/// The text that [`list`] prints.
pub(crate) fn render(table: &Table, format: &str, rows: Vec<Row>) -> Result<String, Failure> {
    let format = format.trim();
    let (source, is_table) = match format {
        "" | "table" => (table.default, true),
        "json" => ("{{json .}}", false),
        _ => match format.strip_prefix("table") {
            Some(template) => (template.trim(), true),
            None => (format, false),
        },
    };
    let source = source.replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&source)
        .map_err(|why| Failure::new(format!("template parsing error: {why}")))?;
    let failed = |why: String| Failure::new(format!("template parsing error: {why}"));
    let pieces = template.pieces();
    let mut out = String::new();
    for row in rows {
        let filled = pieces.as_deref().is_some_and(|pieces| row.fill(pieces, &mut out));
        if !filled {
            let data = Data::row(row.sorted(), table.type_name);
            out.push_str(&template.execute(&data).map_err(failed)?);
        }
        out.push('\n');
    }
    if !is_table {
        return Ok(out);
    }
    let titles: Map<String, Value> = table
        .titles
        .iter()
        .map(|(field, title)| ((*field).to_owned(), Value::from(*title)))
        .collect();
    let header = Data::header(Value::Object(titles));
    let header = template.execute(&header).map_err(failed)?;
    Ok(tabwriter::align(&format!("{header}\n{out}"), COLUMN_MIN, COLUMN_GAP))
}

/// Refuses what is no format of [`documents`], before anything is asked for.
pub(crate) fn check(format: &str) -> Result<(), Failure> {
    let parsed = Template::parse(format);
    parsed.map_err(|why| Failure::new(format!("template parsing error: {why}")).with_code(64))?;
    Ok(())
}

/// Documents as `inspect` prints them: a JSON list, or a template for each.
pub(crate) fn documents(format: &str, documents: &[bytes::Bytes]) -> Result<String, Failure> {
    let text = |document: &bytes::Bytes| String::from_utf8_lossy(document).trim().to_owned();
    match format {
        "" => {
            let all: Vec<String> = documents.iter().map(text).collect();
            Ok(format!("{}\n", crate::json::indent(&format!("[{}]", all.join(",")), "    ")))
        }
        "json" => {
            let all: Vec<String> =
                documents.iter().map(|document| crate::json::compact(&text(document))).collect();
            Ok(format!("[{}]\n", all.join(",")))
        }
        format => {
            let template = Template::parse(format)
                .map_err(|why| Failure::new(format!("template parsing error: {why}")))?;
            // Docker's prints an empty line where there is nothing to fill it with.
            let mut out = if documents.is_empty() { "\n".to_owned() } else { String::new() };
            for document in documents {
                let mut value: Value = serde_json::from_slice(document)
                    .map_err(|error| Failure::new(format!("read the answer: {error}")))?;
                if names_json(format) {
                    value.sort_all_objects();
                }
                let filled = template.execute(&Data::document(value));
                out.push_str(
                    &filled
                        .map_err(|why| Failure::new(format!("template parsing error: {why}")))?,
                );
                out.push('\n');
            }
            Ok(out)
        }
    }
}

/// Whether a template names a field as JSON does and Go does not. Docker's command line then fills
/// it from maps, whose keys are sorted, instead of from its types.
fn names_json(template: &str) -> bool {
    const NAMES: [&str; 12] = [
        "CpuCount",
        "CpuPercent",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpuShares",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Id",
        "NanoCpus",
    ];
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let mut fields = template.split('.').skip(1);
    fields.any(|rest| NAMES.contains(&&rest[..word(rest)]))
}

/// One document as `json` or a template, with a line end.
pub(crate) fn document(format: &str, value: Value) -> Outcome {
    document_of(format, value, "map[string]interface {}")
}

/// The same, where errors name the document's type in Go.
pub(crate) fn document_of(format: &str, value: Value, type_name: &'static str) -> Outcome {
    if format == "json" {
        print(format!("{value}\n"))?;
        return Ok(0);
    }
    let template = Template::parse(format)
        .map_err(|why| Failure::new(format!("template parsing error: {why}")).with_code(64))?;
    match template.execute(&Data::document(value).of_type(type_name)) {
        Ok(filled) => print(format!("{filled}\n"))?,
        Err(why) => {
            // What a document prints before it fails is an empty line.
            print("\n")?;
            return Err(Failure::new(why));
        }
    }
    Ok(0)
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// At most `width` characters, the last one an ellipsis when something is missing.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        default: "{{.ID}}\t{{.Name}}",
        titles: &[("ID", "ID"), ("Name", "NAME")],
        type_name: "*formatter.testContext",
    };

    fn shown(format: &str) -> String {
        let rows = vec![
            Row::default()
                .with("Name", "web")
                .with("ID", "1")
                .method("Label", [("com.x.kind".to_owned(), "v".to_owned())]),
            Row::default().with("Name", "a-long-name").with("ID", "22"),
        ];
        render(&TABLE, format, rows).unwrap_or_else(|failure| failure.message)
    }

    #[test]
    fn every_format() {
        assert_eq!(shown(""), "ID        NAME\n1         web\n22        a-long-name\n");
        assert_eq!(
            shown("table {{.Name}}\\t{{.ID}}"),
            "NAME          ID\nweb           1\na-long-name   22\n"
        );
        assert_eq!(shown("table {{upper .Name}}"), "NAME\nWEB\nA-LONG-NAME\n");
        assert_eq!(shown("{{.ID}}:{{.Name}}"), "1:web\n22:a-long-name\n");
        assert_eq!(
            shown("json"),
            "{\"ID\":\"1\",\"Name\":\"web\"}\n{\"ID\":\"22\",\"Name\":\"a-long-name\"}\n"
        );
        assert_eq!(
            shown("{{.Foo}}"),
            "template parsing error: template: :1:2: executing \
            \"\" at <.Foo>: can't evaluate field Foo in type *formatter.testContext"
        );
        assert_eq!(shown("{{"), "template parsing error: template: :1: unclosed action");
    }

    #[test]
    fn labels_by_name() {
        let row = Row::default().method("Label", [("com.x.kind".to_owned(), "v".to_owned())]);
        let text = render(&TABLE, "table {{.Label \"com.x.kind\"}}", vec![row]).unwrap();
        assert_eq!(text, "kind\nv\n");
    }

    #[test]
    fn shortened() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("<missing>"), "<missing>");
        assert_eq!(ellipsis("abcdef", 4), "abc…");
    }
}
