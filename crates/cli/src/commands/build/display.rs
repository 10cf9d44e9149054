//! A build's progress on the screen: lines as they come, a redrawn list on a terminal, or JSON.
//! Times are the daemon's own, so that what is shown as cached or done is what was.

mod live;
mod plain;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wire::build::{SolveStatus, Vertex, VertexWarning};

use crate::base64;
use crate::failure::Failure;
use crate::terminal::{complain, is_terminal, print};

/// How often a terminal is redrawn.
pub(super) const REDRAW: Duration = Duration::from_millis(100);
/// How many lines of a step's output are kept to be shown when it fails.
const LAST_WORDS: usize = 50;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Redrawn on a terminal, else lines.
    Auto,
    /// Lines.
    Plain,
    /// Redrawn.
    Tty,
    /// BuildKit's status messages, one JSON document a line.
    RawJson,
    /// Not at all.
    Quiet,
}

impl Mode {
    /// The value of `--progress`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "plain" => Self::Plain,
            "tty" => Self::Tty,
            "rawjson" => Self::RawJson,
            "quiet" | "none" => Self::Quiet,
            other => {
                return Err(format!(
                    "invalid progress {other:?}: want auto, plain, tty, rawjson or quiet"
                ));
            }
        })
    }
}

/// A step as known so far.
#[derive(Default)]
struct Step {
    vertex: Vertex,
    /// The beginning of a line that is not whole yet.
    partial: Vec<u8>,
    last: VecDeque<String>,
}

/// Steps by digest, and in the order in which they were told.
#[derive(Default)]
struct Steps {
    all: HashMap<String, Step>,
    order: Vec<String>,
}

/// A line of a step's output, with the seconds since the step began.
struct Line {
    digest: String,
    seconds: f64,
    text: String,
}

/// The screen.
pub(super) struct Display {
    mode: Mode,
    steps: Steps,
    plain: plain::Plain,
    live: live::Live,
    warnings: Vec<VertexWarning>,
}

impl Display {
    /// A screen of the given mode; nothing is shown if `quiet`.
    pub(super) fn new(mode: Mode, quiet: bool) -> Self {
        let mode = match mode {
            _ if quiet => Mode::Quiet,
            Mode::Auto if is_terminal(rustix::stdio::stderr()) => Mode::Tty,
            Mode::Auto => Mode::Plain,
            mode => mode,
        };
        Self {
            mode,
            steps: Steps::default(),
            plain: plain::Plain::default(),
            live: live::Live::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether it changes by itself.
    pub(super) fn is_live(&self) -> bool {
        self.mode == Mode::Tty
    }

    /// Takes news.
    pub(super) fn take(&mut self, status: &SolveStatus) -> Result<(), Failure> {
        let lines = self.steps.take(status);
        self.warnings.extend(status.warnings.iter().cloned());
        match self.mode {
            Mode::RawJson => {
                let text = serde_json::to_string(status).unwrap_or_default();
                print(format!("{text}\n"))?;
            }
            Mode::Plain => complain(self.plain.draw(&self.steps, status, &lines)),
            Mode::Tty => self.live.note(&lines),
            Mode::Auto | Mode::Quiet => {}
        }
        Ok(())
    }

    /// Draws a terminal anew.
    pub(super) fn redraw(&mut self) {
        complain(self.live.draw(&self.steps, false));
    }

    /// Draws the last state.
    pub(super) fn finish(&mut self) {
        match self.mode {
            Mode::Tty => complain(self.live.draw(&self.steps, true)),
            Mode::Plain => complain(self.plain.end()),
            _ => {}
        }
    }

    /// What is odd about the Dockerfile.
    pub(super) fn warn(&self) {
        if self.warnings.is_empty() || matches!(self.mode, Mode::Quiet | Mode::RawJson) {
            return;
        }
        let count = self.warnings.len();
        let mut text = match count {
            1 => "\n 1 warning found (use docker --debug to expand):\n".to_owned(),
            _ => format!("\n {count} warnings found (use docker --debug to expand):\n"),
        };
        for warning in &self.warnings {
            let short = base64::decode(&warning.short).unwrap_or_default();
            // `Dockerfile:3`, the first line of an excerpt.
            let place = warning.excerpt.lines().next().and_then(|line| line.rsplit_once(':'));
            let place = place.map(|(_, line)| format!(" (line {line})")).unwrap_or_default();
            text.push_str(&format!(" - {}{place}\n", String::from_utf8_lossy(&short)));
        }
        complain(text);
    }

    /// The name of the step that failed; empty if none did. Of several builds, of the one with
    /// this name.
    pub(super) fn failed_step(&self, build: &str) -> String {
        let suffix = format!("@{build}");
        let failed = |digest: &&String| {
            let step = self.steps.all.get(*digest);
            step.is_some_and(|step| {
                let error = &step.vertex.error;
                !error.is_empty() && !error.ends_with("context canceled")
            }) && (build.is_empty() || digest.ends_with(&suffix))
        };
        let found = self.steps.order.iter().find(failed);
        let step = found.and_then(|digest| self.steps.all.get(digest));
        step.map(|step| step.vertex.name.clone()).unwrap_or_default()
    }

    /// The last lines of a step's output.
    pub(super) fn last_words(&self, name: &str) -> Vec<String> {
        let step = self.steps.all.values().find(|step| step.vertex.name == name);
        step.map(|step| step.last.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Steps {
    /// Takes news; returns the lines of output that are whole now.
    fn take(&mut self, status: &SolveStatus) -> Vec<Line> {
        for vertex in &status.vertexes {
            let known = self.all.contains_key(&vertex.digest);
            if !known {
                self.order.push(vertex.digest.clone());
            }
            self.all.entry(vertex.digest.clone()).or_default().vertex = vertex.clone();
        }
        let mut lines = Vec::new();
        for log in &status.logs {
            let Some(step) = self.all.get_mut(&log.vertex) else { continue };
            let begin = step.vertex.started.as_deref().and_then(seconds_of).unwrap_or(0.0);
            let now = log.timestamp.as_deref().and_then(seconds_of).unwrap_or(begin);
            step.partial.extend(base64::decode(&log.data).unwrap_or_default());
            while let Some(end) = step.partial.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = step.partial.drain(..=end).collect();
                lines.push(step.line(&log.vertex, now - begin, &whole));
            }
        }
        // What a step wrote last need not end with a line's end.
        for vertex in &status.vertexes {
            let Some(step) = self.all.get_mut(&vertex.digest) else { continue };
            if vertex.completed.is_some() && !step.partial.is_empty() {
                let rest = std::mem::take(&mut step.partial);
                let seconds = duration(&step.vertex).unwrap_or(0.0);
                lines.push(step.line(&vertex.digest, seconds, &rest));
            }
        }
        lines
    }
}

impl Step {
    fn line(&mut self, digest: &str, seconds: f64, bytes: &[u8]) -> Line {
        let text = String::from_utf8_lossy(bytes);
        // A line that overwrites itself is shown as it ends.
        let text = text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default();
        let text: String = text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        if self.last.len() >= LAST_WORDS {
            self.last.pop_front();
        }
        self.last.push_back(format!("{seconds:.3} {text}"));
        Line { digest: digest.to_owned(), seconds, text }
    }
}

/// Seconds since the epoch.
fn seconds_of(time: &str) -> Option<f64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

/// How long a step took, or nothing while it runs.
fn duration(vertex: &Vertex) -> Option<f64> {
    let (from, to) = (vertex.started.as_deref()?, vertex.completed.as_deref()?);
    Some((seconds_of(to)? - seconds_of(from)?).max(0.0))
}

#[cfg(test)]
mod tests;
