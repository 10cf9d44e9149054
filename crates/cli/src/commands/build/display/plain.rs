//! Progress as lines, each with the number of its step, as BuildKit's clients print it.

use std::collections::{HashMap, HashSet};

use wire::build::{SolveStatus, VertexStatus};

use super::{Line, Steps, duration};
use crate::units;

/// What was printed so far.
#[derive(Default)]
pub(super) struct Plain {
    numbers: HashMap<String, usize>,
    /// The step that was printed last.
    current: Option<String>,
    done: HashSet<String>,
    parts: HashSet<(String, String)>,
}

impl Plain {
    /// The text for these news.
    pub(super) fn draw(&mut self, steps: &Steps, status: &SolveStatus, lines: &[Line]) -> String {
        let mut out = String::new();
        for vertex in &status.vertexes {
            if vertex.started.is_some() && !self.numbers.contains_key(&vertex.digest) {
                self.turn_to(&mut out, steps, &vertex.digest);
            }
        }
        for part in &status.statuses {
            self.part(&mut out, steps, part);
        }
        for line in lines {
            let number = self.turn_to(&mut out, steps, &line.digest);
            out.push_str(&format!("#{number} {:.3} {}\n", line.seconds, line.text));
        }
        for vertex in &status.vertexes {
            if vertex.completed.is_none() || !self.done.insert(vertex.digest.clone()) {
                continue;
            }
            let number = self.turn_to(&mut out, steps, &vertex.digest);
            let seconds = duration(vertex).unwrap_or(0.0);
            out.push_str(&match (vertex.error.as_str(), vertex.cached) {
                ("", true) => format!("#{number} CACHED\n\n"),
                ("", false) => format!("#{number} DONE {seconds:.1}s\n\n"),
                (error, _) if error.ends_with("context canceled") => {
                    format!("#{number} CANCELED\n\n")
                }
                (error, _) => format!("#{number} ERROR: {error}\n\n"),
            });
            self.current = None;
        }
        out
    }

    /// The text at the end.
    pub(super) fn end(&mut self) -> String {
        self.current = None;
        String::new()
    }

    /// Prints a step's name unless it was printed last; gives its number.
    fn turn_to(&mut self, out: &mut String, steps: &Steps, digest: &str) -> usize {
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(digest.to_owned()).or_insert(next);
        if self.current.as_deref() == Some(digest) {
            return number;
        }
        if let Some(left) = &self.current
            && let Some(number) = self.numbers.get(left)
        {
            out.push_str(&format!("#{number} ...\n\n"));
        }
        let name = steps.all.get(digest).map(|step| step.vertex.name.as_str()).unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        out.push_str(&format!("#{number} {name}\n"));
        self.current = Some(digest.to_owned());
        number
    }

    /// Parts are told once, when they are done.
    fn part(&mut self, out: &mut String, steps: &Steps, part: &VertexStatus) {
        let key = (part.vertex.clone(), part.id.clone());
        if part.completed.is_none() || !self.parts.insert(key) {
            return;
        }
        let number = self.turn_to(out, steps, &part.vertex);
        let name = if part.name.is_empty() { &part.id } else { &part.name };
        #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
        let size = match part.current {
            0 => String::new(),
            bytes => format!(" {}", units::human_size(bytes as f64, 4)),
        };
        out.push_str(&format!("#{number} {name}{size} done\n"));
    }
}
