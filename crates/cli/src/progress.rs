//! The progress lines of long calls (`pull`, `load`, `push`): redrawn in place on a terminal, one
//! after the other elsewhere.

use std::collections::HashMap;

use bytes::Bytes;
use client::{Lines, Response};
use wire::docker::progress::ProgressLine;

use crate::failure::Failure;
use crate::terminal::{complain, is_terminal, print};
use crate::units;

/// Where progress is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere; only failures are reported.
    Nowhere,
}

/// Shows an answer's progress to its end. `aux` sees the values that lines carry beside it.
pub(crate) async fn show(
    answer: Response<'_>,
    target: Target,
    mut aux: impl FnMut(&serde_json::Value),
) -> Result<(), Failure> {
    let terminal = match target {
        Target::Stdout => is_terminal(rustix::stdio::stdout()),
        Target::Stderr => is_terminal(rustix::stdio::stderr()),
        Target::Nowhere => false,
    };
    let mut screen = Screen { target, terminal, rows: HashMap::new() };
    let mut lines = answer.lines();
    while let Some(line) = next(&mut lines).await? {
        let line: ProgressLine = wire::docker::json::from_slice(&line)
            .map_err(|error| Failure::new(format!("read the progress: {error}")))?;
        let detail = line.error_detail.as_ref().map(|detail| detail.message.as_str());
        let error = detail.filter(|message| !message.is_empty()).unwrap_or(&line.error);
        if !error.is_empty() {
            return Err(Failure::new(error));
        }
        if let Some(value) = &line.aux {
            aux(value);
        }
        screen.draw(&line)?;
    }
    Ok(())
}

async fn next<F>(lines: &mut Lines<F>) -> Result<Option<Bytes>, Failure>
where
    F: AsyncFnMut() -> client::Result<Option<Bytes>>,
{
    Ok(lines.next().await?)
}

struct Screen {
    target: Target,
    terminal: bool,
    /// The row of each id, counted from the first one drawn.
    rows: HashMap<String, usize>,
}

impl Screen {
    fn draw(&mut self, line: &ProgressLine) -> Result<(), Failure> {
        if self.target == Target::Nowhere {
            return Ok(());
        }
        if !line.stream.is_empty() {
            return self.put(&line.stream);
        }
        let id = if line.id.is_empty() { String::new() } else { format!("{}: ", line.id) };
        let detail = line.progress_detail.as_ref().filter(|_| self.terminal);
        let bar = detail.map(|detail| bar(detail.current, detail.total)).unwrap_or_default();
        if !self.terminal {
            // Without a terminal, only what changes state is worth a line.
            if line.progress_detail.as_ref().is_some_and(|detail| detail.current != 0) {
                return Ok(());
            }
            return self.put(&format!("{id}{}\n", line.status));
        }
        if line.id.is_empty() {
            return self.put(&format!("{}\n", line.status));
        }
        let count = self.rows.len();
        match self.rows.get(&line.id) {
            Some(row) => {
                let up = count - row;
                self.put(&format!("\x1b[{up}A\r\x1b[2K{id}{} {bar}\x1b[{up}B\r", line.status))
            }
            None => {
                self.rows.insert(line.id.clone(), count);
                self.put(&format!("{id}{} {bar}\n", line.status))
            }
        }
    }

    fn put(&self, text: &str) -> Result<(), Failure> {
        match self.target {
            Target::Stdout => print(text),
            Target::Stderr => {
                complain(text);
                Ok(())
            }
            Target::Nowhere => Ok(()),
        }
    }
}

/// `[=====>     ]  1.2MB/3.4MB`.
fn bar(current: i64, total: i64) -> String {
    const WIDTH: i64 = 50;
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let size = |bytes: i64| units::human_size(bytes as f64, 4);
    if current <= 0 && total <= 0 {
        return String::new();
    }
    if total <= 0 {
        return format!("{:>8}", size(current));
    }
    let done = usize::try_from((current * WIDTH / total).clamp(0, WIDTH)).unwrap_or_default();
    let left = usize::try_from(WIDTH).unwrap_or_default() - done;
    format!("[{}>{}] {:>8}/{}", "=".repeat(done), " ".repeat(left), size(current), size(total))
}
