//! A stage as it grows: file system, variables, configuration, history.

use super::env::Env;
use super::options::History;
use crate::graph::Edge;
use crate::platform::Platform;
use wire::oci::image::{self, ImageConfig};

/// Where programs are looked for when an image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The comment of BuildKit's history entries, by which tools know them.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// A stage's state between two instructions.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The file system; `None` is the empty one.
    pub(super) root: Option<Edge>,
    /// Variables of steps: the configuration's and ARGs.
    pub(super) env: Env,
    /// The configuration with history.
    pub(super) config: ImageConfig,
    /// What it runs on.
    pub(super) platform: Platform,
    /// ARGs with their values, in order.
    pub(super) args: Vec<(String, Option<String>)>,
    /// WORKDIR was given with an absolute path.
    pub(super) workdir_set: bool,
    /// The base image's reference.
    pub(super) base: Option<String>,
    style: History,
}

impl State {
    /// Of nothing.
    pub(super) fn scratch(platform: &Platform, style: History) -> Self {
        let mut config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: Some(platform.variant.clone()).filter(|variant| !variant.is_empty()),
            ..ImageConfig::default()
        };
        "/".clone_into(&mut config.config.working_dir);
        Self::of(None, config, platform, style)
    }

    /// Of an image.
    pub(super) fn of(
        root: Option<Edge>,
        mut config: ImageConfig,
        platform: &Platform,
        style: History,
    ) -> Self {
        config.created = None;
        for leftover in ["container", "container_config"] {
            config.extra.shift_remove(leftover);
        }
        let entries = config.config.env.get_or_insert_with(Vec::new);
        if platform.os != "windows" && !entries.iter().any(|entry| entry.starts_with("PATH=")) {
            entries.push(format!("PATH={DEFAULT_PATH}"));
        }
        Self {
            root,
            env: Env::of(entries),
            config,
            platform: platform.clone(),
            args: Vec::new(),
            workdir_set: false,
            base: None,
            style,
        }
    }

    /// What a stage that begins with this one has.
    pub(super) fn child(&self) -> Self {
        let mut child = self.clone();
        child.config.config.on_build = None;
        // ARGs end with their stage, but BuildKit lets the ones of a base stage be seen.
        child
    }

    /// The working directory.
    pub(super) fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        }
    }

    /// Sets a variable of the configuration and of steps.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        self.env.set(name, value);
        let entries = self.config.config.env.get_or_insert_with(Vec::new);
        let entry = format!("{name}={value}");
        let same = |old: &&mut String| old.split_once('=').is_some_and(|(old, _)| old == name);
        match entries.iter_mut().find(same) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
    }

    /// A history entry of an instruction; `text` is BuildKit's wording.
    pub(super) fn commit(&mut self, text: &str, layer: bool) {
        let created_by = match self.style {
            History::BuildKit => text.to_owned(),
            History::Legacy => format!("/bin/sh -c #(nop) {text}"),
        };
        self.push(created_by, layer);
    }

    /// A history entry of an instruction that changes files.
    pub(super) fn commit_files(&mut self, text: &str) {
        match self.style {
            History::BuildKit => self.push(format!("{text} # buildkit"), true),
            History::Legacy => self.commit(text, true),
        }
    }

    /// The history entry of a RUN; `command` is what was run with the ARGs before it.
    pub(super) fn commit_run(&mut self, command: &str) {
        match self.style {
            History::BuildKit => self.push(format!("RUN {command} # buildkit"), true),
            History::Legacy => self.push(command.to_owned(), true),
        }
    }

    fn push(&mut self, created_by: String, layer: bool) {
        let comment = match self.style {
            History::BuildKit => Some(COMMENT.to_owned()),
            History::Legacy => None,
        };
        self.config.history.push(image::History {
            created_by: Some(created_by),
            comment,
            empty_layer: !layer,
            ..image::History::default()
        });
    }
}
