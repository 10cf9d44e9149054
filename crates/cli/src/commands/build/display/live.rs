//! Progress on a terminal: the steps with their times, those that run with their last lines of
//! output, redrawn in place.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::{Line, Steps, duration};
use crate::terminal;

/// How many lines of output a running step shows.
const SHOWN_LINES: usize = 6;
/// The size assumed for a terminal that tells none.
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// What is on the screen.
pub(super) struct Live {
    begun: Instant,
    /// When a step was first seen running.
    seen: HashMap<String, Instant>,
    output: HashMap<String, VecDeque<String>>,
    /// How many rows the last drawing has.
    rows: usize,
}

impl Live {
    /// An empty screen.
    pub(super) fn new() -> Self {
        let (seen, output) = (HashMap::new(), HashMap::new());
        Self { begun: Instant::now(), seen, output, rows: 0 }
    }

    /// Takes lines of output.
    pub(super) fn note(&mut self, lines: &[Line]) {
        for line in lines {
            let shown = self.output.entry(line.digest.clone()).or_default();
            if shown.len() >= SHOWN_LINES {
                shown.pop_front();
            }
            shown.push_back(line.text.clone());
        }
    }

    /// The text that draws the state anew.
    pub(super) fn draw(&mut self, steps: &Steps, last: bool) -> String {
        let size = terminal::size(rustix::stdio::stderr());
        let (height, width) = size.filter(|(h, w)| *h > 0 && *w > 0).unwrap_or(DEFAULT_SIZE);
        let (height, width) = (usize::from(height), usize::from(width));
        let mut rows = self.rows(steps, width);
        if !last && rows.len() > height.saturating_sub(2) {
            // What is done scrolls out first.
            let surplus = rows.len() - height.saturating_sub(2);
            rows.drain(1..=surplus.min(rows.len() - 1));
        }
        let mut out = String::new();
        if self.rows > 0 {
            out.push_str(&format!("\x1b[{}A\r", self.rows));
        }
        for row in &rows {
            out.push_str(&format!("\x1b[2K{row}\n"));
        }
        // Rows of a longer drawing before this one.
        out.push_str("\x1b[J");
        self.rows = rows.len();
        out
    }

    fn rows(&mut self, steps: &Steps, width: usize) -> Vec<String> {
        let all = steps.order.iter().filter_map(|digest| steps.all.get(digest));
        let done = all.clone().filter(|step| step.vertex.completed.is_some()).count();
        let finished = if done == steps.order.len() && done > 0 { " FINISHED" } else { "" };
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut rows =
            vec![format!("[+] Building {seconds:.1}s ({done}/{}){finished}", steps.order.len())];
        for step in all {
            let vertex = &step.vertex;
            if vertex.started.is_none() {
                continue;
            }
            let seen = *self.seen.entry(vertex.digest.clone()).or_insert_with(Instant::now);
            let running = vertex.completed.is_none();
            let time = duration(vertex).unwrap_or_else(|| seen.elapsed().as_secs_f64());
            let name: String = vertex.name.chars().filter(|c| !c.is_control()).collect();
            let name = match (vertex.cached, vertex.error.is_empty()) {
                (true, _) => format!(" => CACHED {name}"),
                (false, true) => format!(" => {name}"),
                (false, false) => format!(" => ERROR {name}"),
            };
            rows.push(spread(&name, &format!("{time:.1}s"), width));
            if running {
                let lines = self.output.get(&vertex.digest).into_iter().flatten();
                rows.extend(lines.map(|line| cut(&format!(" => => # {line}"), width)));
            }
        }
        rows
    }
}

/// A text at the left and one at the right edge.
fn spread(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(right.len() + 2);
    let left = cut(left, room);
    let gap = width.saturating_sub(left.chars().count() + right.len() + 1);
    format!("{left}{}{right}", " ".repeat(gap))
}

fn cut(text: &str, width: usize) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).take(width).collect()
}
