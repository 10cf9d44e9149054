//! The daemon's own log, on standard error: which messages and in which form, both of which can
//! change while it runs.

use super::config::Config;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

type Leveled = Layered<reload::Layer<LevelFilter, Registry>, Registry>;
type Lines = Box<dyn Layer<Leveled> + Send + Sync>;

/// The log of this process.
pub(crate) struct Log {
    level: Handle<LevelFilter, Registry>,
    lines: Handle<Lines, Leveled>,
}

impl Log {
    /// Begins it. Once in a process.
    pub(crate) fn begin(config: &Config) -> Self {
        let (filter, level) = reload::Layer::new(config.log_level);
        let (layer, lines) = reload::Layer::new(lines_of(config));
        tracing_subscriber::registry().with(filter).with(layer).init();
        Self { level, lines }
    }

    /// From now on as this configuration says.
    pub(crate) fn follow(&self, config: &Config) {
        // Both are there as long as the process.
        let _ = self.level.modify(|level| *level = config.log_level);
        let _ = self.lines.modify(|lines| *lines = lines_of(config));
    }
}

fn lines_of(config: &Config) -> Lines {
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    match config.log_json {
        true => Box::new(lines.json()),
        false => Box::new(lines),
    }
}
