//! What differs between any two runs of one script, ids and times, made equal; and how a
//! difference that is left is told.

use lab::{Lab, Output};
use regex_lite::{Captures, Regex};
use std::path::Path;

/// The ids that were seen in one run, in the order in which they were.
pub(crate) struct Names {
    ids: Vec<String>,
    paths: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
    hexadecimal: Regex,
    relative: Regex,
    padding: Regex,
}

/// What the stock command line says where it lacks a plugin that ours has inside.
const WITHOUT_BUILDX: &str = "\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            Install the buildx component to build images with BuildKit:
            https://docs.docker.com/go/buildx/

";

/// What is put in the place of what differs.
const PATTERNS: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} [A-Z]+", "TIME"),
    (r#""Pid": ?\d+"#, r#""Pid": PID"#),
    (r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "MAC"),
];

impl Names {
    /// For a run by `home`'s command line.
    pub(crate) fn new(lab: &Lab, home: &Path) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let compiled = PATTERNS.iter().map(|(it, by)| (Regex::new(it).expect("a pattern"), *by));
        Self {
            ids: Vec::new(),
            paths: vec![(text(home), "HOME"), (text(lab.dir()), "LAB")],
            patterns: compiled.collect(),
            hexadecimal: Regex::new(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b").expect("a pattern"),
            relative: Regex::new(
                "(Less than a second|About (a minute|an hour)|\\d+ (seconds?|minutes?|hours?))\
                 ( ago)?",
            )
            .expect("a pattern"),
            padding: Regex::new(" {3,}").expect("a pattern"),
        }
    }

    /// The same output with what differs from run to run made equal.
    pub(crate) fn alike(&mut self, output: &Output) -> Output {
        let stdout = self.text(&output.stdout);
        let stderr = self.text(&output.stderr);
        Output { status: output.status, stdout, stderr }
    }

    fn text(&mut self, text: &str) -> String {
        let mut text = text.replace(WITHOUT_BUILDX, "");
        for (path, by) in &self.paths {
            text = text.replace(path, by);
        }
        for (pattern, by) in &self.patterns {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        // Columns are as wide as what they hold: "1 second" or "12 seconds".
        if self.relative.is_match(&text) {
            text = self.relative.replace_all(&text, "AGO").into_owned();
            text = self.padding.replace_all(&text, "   ").into_owned();
        }
        let ids = &mut self.ids;
        let numbered = |found: &Captures| {
            let (id, long) = (&found[0][..12], found[0].len() > 12);
            let number = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(id.to_owned());
                ids.len() - 1
            });
            format!("{}{number}", if long { "LONGID" } else { "ID" })
        };
        self.hexadecimal.replace_all(&text, numbered).into_owned()
    }
}

/// Where the two differ, for who has to mend it; nothing where they do not.
pub(crate) fn told(line: &str, stock: &Output, ours: &Output) -> Option<String> {
    let mut parts = Vec::new();
    for (stream, stock, ours) in
        [("stdout", &stock.stdout, &ours.stdout), ("stderr", &stock.stderr, &ours.stderr)]
    {
        if stock != ours {
            parts.push(format!("  {stream}:\n{}", diff(stock, ours)));
        }
    }
    if stock.status != ours.status {
        parts.push(format!("  status: {} and ours {}", stock.status, ours.status));
    }
    (!parts.is_empty()).then(|| format!("$ {line}\n{}", parts.join("\n")))
}

/// The lines that only one of them has, at most a screen of them.
fn diff(stock: &str, ours: &str) -> String {
    let only = |these: &str, those: &str, mark: &str| {
        let those: Vec<&str> = those.split('\n').collect();
        let lines = these.split('\n').filter(|line| !those.contains(line));
        lines.take(12).map(|line| format!("    {mark}|{line}\n")).collect::<String>()
    };
    let all = only(stock, ours, "-") + &only(ours, stock, "+");
    if all.is_empty() { "    the order of lines, or how many\n".to_owned() } else { all }
}
