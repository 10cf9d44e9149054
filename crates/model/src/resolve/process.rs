//! What is executed, with which environment, where.

use super::Ask;
use crate::Draft;
use crate::error::Denied;
use crate::image::ImageConfig;
use crate::signal::Signal;

/// PATH when neither the image nor the user sets one; Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Process {
    pub(super) command: Vec<String>,
    pub(super) entrypoint_len: usize,
    pub(super) env: Vec<String>,
    pub(super) workdir: String,
}

pub(super) fn resolve(ask: &Ask<'_>, hostname: &str) -> Result<Process, Denied> {
    let (command, entrypoint_len) = command(ask.draft, ask.config)?;
    Ok(Process {
        command,
        entrypoint_len,
        env: env(ask.draft, ask.config, hostname)?,
        workdir: workdir(ask.draft, ask.config)?,
    })
}

/// A new entrypoint drops the image's command: it was meant for the old one.
fn command(draft: &Draft, config: &ImageConfig) -> Result<(Vec<String>, usize), Denied> {
    // `--entrypoint ""` arrives as a list of one empty word.
    let asked = draft.entrypoint.as_deref().map(|words| match words {
        [only] if only.is_empty() => &[],
        words => words,
    });
    let image_entrypoint = config.entrypoint.as_deref().unwrap_or_default();
    let entrypoint = asked.unwrap_or(image_entrypoint);
    let arguments = match draft.command.as_deref() {
        Some(words) if !words.is_empty() => words,
        _ if asked.is_some() => &[],
        _ => config.command.as_deref().unwrap_or_default(),
    };
    let words: Vec<String> = entrypoint.iter().chain(arguments).cloned().collect();
    if words.is_empty() {
        return Err(Denied::invalid("no command specified"));
    }
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Err(Denied::invalid(format!("invalid argument {word:?}: contains a NUL")));
    }
    Ok((words, entrypoint.len()))
}

fn env(draft: &Draft, config: &ImageConfig, hostname: &str) -> Result<Vec<String>, Denied> {
    let mut out = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if draft.tty {
        out.push("TERM=xterm".to_owned());
    }
    for entry in config.env.iter().chain(&draft.env) {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (entry.as_str(), None),
        };
        if name.is_empty() || entry.contains('\0') {
            return Err(Denied::invalid(format!("invalid environment variable: {entry}")));
        }
        let at = out.iter().position(|known| has_name(known, name));
        match (at, value) {
            (Some(at), Some(_)) => out[at].clone_from(entry),
            (Some(at), None) => drop(out.remove(at)),
            (None, Some(_)) => out.push(entry.clone()),
            (None, None) => {}
        }
    }
    Ok(out)
}

fn has_name(entry: &str, name: &str) -> bool {
    entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
}

fn workdir(draft: &Draft, config: &ImageConfig) -> Result<String, Denied> {
    let asked = if draft.workdir.is_empty() { &config.workdir } else { &draft.workdir };
    if asked.is_empty() {
        return Ok("/".to_owned());
    }
    super::mounts::clean(asked).ok_or_else(|| {
        Denied::invalid(format!(
            "the working directory '{asked}' is invalid, it needs to be an absolute path"
        ))
    })
}

pub(super) fn stop_signal(draft: &Draft, config: &ImageConfig) -> Result<Signal, Denied> {
    match draft.stop_signal.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Signal::parse(text),
        // An image of elsewhere may carry a signal that is none here; it still runs.
        None => Ok(config
            .stop_signal
            .as_deref()
            .and_then(|text| Signal::parse(text).ok())
            .unwrap_or(Signal::TERM)),
    }
}
