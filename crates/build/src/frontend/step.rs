//! Instructions of a stage, one after the other.

use super::plan::Planner;
use super::stages::{Base, Stage, Step};
use super::state::State;
use super::wrong::Wrong;
use super::{ports, scan};
use crate::check::{is_secret_name, rule};
use crate::dockerfile::{ArgDefinition, Command, Fault, Healthcheck, Instruction, Kind, Pair};
use crate::expand::{Expanded, Expander, Quotes, Variables};
use crate::graph::{Base as FileBase, Change, File, FileAction, OpKind, Owner, Vertex, Who};
use crate::text::{clean_path, format_duration, is_absolute, join_paths, nearest, quote_list};
use model::signal::Signal;
use std::collections::BTreeMap;
use wire::oci::image::Empty;

/// What is shown of a value that looks like a secret.
pub(super) const MASK: &str = "****";

/// Where a step is.
pub(super) struct At<'s> {
    pub(super) index: usize,
    pub(super) stage: &'s Stage,
    pub(super) step: &'s Step,
    /// Its number among those shown.
    pub(super) number: usize,
}

impl At<'_> {
    pub(super) fn instruction(&self) -> &Instruction {
        &self.step.instruction
    }

    pub(super) fn wrong(&self, message: impl Into<String>) -> Wrong {
        (message.into(), self.step.instruction.span).into()
    }

    pub(super) fn fault(&self, fault: Fault) -> Wrong {
        (fault, self.step.instruction.span).into()
    }
}

/// Instructions of which only the last counts.
#[derive(Default)]
struct Once {
    cmd: Option<usize>,
    entrypoint: Option<usize>,
    healthcheck: Option<usize>,
}

impl Planner<'_> {
    /// Carries out all steps of a stage.
    pub(super) fn run_steps(
        &mut self,
        index: usize,
        stage: &Stage,
        mut state: State,
    ) -> Result<State, Wrong> {
        let mut number = usize::from(matches!(stage.base, Base::Image(_)));
        let mut once = Once::default();
        for (place, step) in stage.steps.iter().enumerate() {
            number += usize::from(step.is_shown());
            let at = At { index, stage, step, number };
            self.check_once(&at, place, &mut once);
            self.run_step(&at, &mut state, &once)?;
        }
        Ok(state)
    }

    fn check_once(&mut self, at: &At<'_>, place: usize, once: &mut Once) {
        let before = match at.instruction().kind {
            Kind::Cmd(_) => &mut once.cmd,
            Kind::Entrypoint(_) => &mut once.entrypoint,
            Kind::Healthcheck(_) => &mut once.healthcheck,
            _ => return,
        };
        if let Some(before) = before.replace(place) {
            let name = &at.instruction().name;
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only \
                 the last one will be used"
            );
            // The earlier one is what will be ignored.
            let span = at.stage.steps[before].instruction.span;
            self.checks.report_at(&rule::MULTIPLE_INSTRUCTIONS_DISALLOWED, span, message);
        }
    }

    fn run_step(&mut self, at: &At<'_>, state: &mut State, once: &Once) -> Result<(), Wrong> {
        match &at.instruction().kind {
            Kind::Add(copy) => self.copy(at, state, copy, true)?,
            Kind::Copy(copy) => self.copy(at, state, copy, false)?,
            Kind::Run(run) => self.run_command(at, state, run)?,
            Kind::Arg(args) => self.arg(at, state, args)?,
            Kind::Env(pairs) => self.env(at, state, pairs)?,
            Kind::Label(pairs) => self.label(at, state, pairs)?,
            Kind::Workdir(path) => self.workdir(at, state, path)?,
            Kind::User(user) => {
                let user = self.expand(at, state, user)?;
                state.commit(&format!("USER {user}"), false);
                state.config.config.user = user;
            }
            Kind::Volume(volumes) => self.volumes(at, state, volumes)?,
            Kind::StopSignal(text) => {
                let signal = self.expand(at, state, text)?;
                if Signal::parse(&signal).is_err() {
                    return Err(at.wrong(format!("invalid signal: {signal}")).about(text));
                }
                state.commit(&format!("STOPSIGNAL {signal}"), false);
                state.config.config.stop_signal = Some(signal);
            }
            Kind::Expose(exposed) => self.expose(at, state, &exposed.0)?,
            Kind::Shell(shell) => {
                state.commit(&format!("SHELL [{}]", shell.join(" ")), false);
                state.config.config.shell = Some(shell.clone());
            }
            Kind::Maintainer(name) => {
                state.commit(&format!("MAINTAINER {name}"), false);
                state.config.author = Some(name.clone());
            }
            Kind::OnBuild(trigger) => {
                let triggers = state.config.config.on_build.get_or_insert_default();
                triggers.push(trigger.expression.clone());
            }
            Kind::Cmd(command) => {
                let args = self.command(at, state, command, "CMD");
                state.commit(&format!("CMD {}", quote_list(&args)), false);
                state.config.config.cmd = Some(args);
                // Docker's builder says so on every system.
                state.config.config.args_escaped = true;
            }
            Kind::Entrypoint(command) => {
                let args = self.command(at, state, command, "ENTRYPOINT");
                state.commit(&format!("ENTRYPOINT {}", quote_list(&args)), false);
                state.config.config.entrypoint = Some(args).filter(|args| !args.is_empty());
                // A base image's CMD was meant for its own entry point.
                if once.cmd.is_none() {
                    state.config.config.cmd = None;
                }
            }
            Kind::Healthcheck(check) => healthcheck(state, check),
            Kind::From(_) => {}
        }
        Ok(())
    }

    /// Expands a word as most instructions do.
    pub(super) fn expand(
        &mut self,
        at: &At<'_>,
        state: &State,
        word: &str,
    ) -> Result<String, Wrong> {
        let expander = Expander::new(self.shared.file.directives.escape_char());
        self.expand_with(expander, at, state, word).map(|expanded| expanded.text)
    }

    /// Expands the text of a here-document: quotes are text.
    pub(super) fn expand_text(
        &mut self,
        at: &At<'_>,
        state: &State,
        text: &str,
    ) -> Result<String, Wrong> {
        let expander = Expander { quotes: Quotes::Ignore, ..Expander::new('\\') };
        self.expand_with(expander, at, state, text).map(|expanded| expanded.text)
    }

    fn expand_with(
        &mut self,
        expander: Expander,
        at: &At<'_>,
        state: &State,
        word: &str,
    ) -> Result<Expanded, Wrong> {
        let expanded = expander.expand(word, &state.env);
        let expanded = expanded.map_err(|err| at.wrong(err.to_string()).about(word))?;
        for name in &expanded.unmatched {
            if state.args.iter().any(|(declared, _)| declared == name) {
                continue;
            }
            let mut message = format!("Usage of undefined variable '${name}'");
            if let Some(near) = nearest(name, state.env.names(), true) {
                message.push_str(&format!(" (did you mean ${near}?)"));
            }
            self.checks.report(&rule::UNDEFINED_VAR, at.instruction(), message);
        }
        Ok(expanded)
    }

    /// The name under which a step is shown; values that look like secrets are masked.
    pub(super) fn step_title(
        &self,
        at: &At<'_>,
        state: &State,
        text: &str,
        masked: &[String],
    ) -> String {
        struct Shown<'a>(&'a State, &'a [String]);
        impl Variables for Shown<'_> {
            fn value(&self, name: &str) -> Option<&str> {
                if self.1.iter().any(|masked| masked == name) {
                    return Some(MASK);
                }
                let value = self.0.env.value(name)?;
                Some(if is_secret_name(name) { MASK } else { value })
            }
        }
        let is_run = matches!(at.instruction().kind, Kind::Run(_));
        let quotes = if is_run { Quotes::Keep } else { Quotes::Remove };
        let escape = self.shared.file.directives.escape_char();
        let expander = Expander { quotes, keep_unset: is_run, ..Expander::new(escape) };
        let expanded = expander.expand(text, &Shown(state, masked));
        let text = expanded.map_or_else(|_| text.to_owned(), |expanded| expanded.text);
        let name = &at.instruction().name;
        let upper = text.strip_prefix(name.as_str());
        let text = upper.map_or_else(|| text.clone(), |rest| name.to_uppercase() + rest);
        self.title(at.index, at.number, &text, at.step.on_build)
    }

    fn arg(&mut self, at: &At<'_>, state: &mut State, args: &[ArgDefinition]) -> Result<(), Wrong> {
        let mut shown = Vec::new();
        for ArgDefinition { name, default } in args {
            self.check_secret(at, "ARG", name);
            let given = self.shared.options.build_args.get(name).cloned();
            let value = match (given, default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.expand(at, state, default)?),
                (None, None) => self.globals.env.value(name).map(str::to_owned),
            };
            if let Some(value) = value.as_ref().filter(|_| !scan::is_argument(name)) {
                state.env.set(name, value);
            }
            shown.push(match &value {
                Some(value) => format!("{name}={}", shown_value(name, value)),
                None => name.clone(),
            });
            state.args.push((name.clone(), value));
        }
        state.commit(&format!("ARG {}", shown.join(" ")), false);
        Ok(())
    }

    fn check_secret(&mut self, at: &At<'_>, what: &str, name: &str) {
        if is_secret_name(name) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({what} {})",
                crate::text::quote(name)
            );
            self.checks.report(&rule::SECRETS_USED_IN_ARG_OR_ENV, at.instruction(), message);
        }
    }

    fn pairs(
        &mut self,
        at: &At<'_>,
        state: &State,
        pairs: &[Pair],
    ) -> Result<Vec<(String, String, String)>, Wrong> {
        let mut out = Vec::new();
        for pair in pairs {
            if pair.legacy {
                let name = &at.instruction().name;
                let message = format!(
                    "\"{name} key=value\" should be used instead of legacy \"{name} key value\" \
                     format"
                );
                self.checks.report(&rule::LEGACY_KEY_VALUE_FORMAT, at.instruction(), message);
            }
            let name = self.expand(at, state, &pair.name)?;
            let value = self.expand(at, state, &pair.value)?;
            let shown = format!("{name}={value}");
            out.push((name, value, shown));
        }
        Ok(out)
    }

    fn env(&mut self, at: &At<'_>, state: &mut State, pairs: &[Pair]) -> Result<(), Wrong> {
        // All values are expanded before the first is set: `ENV a=1 b=$a` takes the old `a`.
        let mut text = "ENV".to_owned();
        for (name, value, shown) in self.pairs(at, state, pairs)? {
            self.check_secret(at, "ENV", &name);
            text = format!("{text} {shown}");
            state.set_env(&name, &value);
        }
        state.commit(&text, false);
        Ok(())
    }

    fn label(&mut self, at: &At<'_>, state: &mut State, pairs: &[Pair]) -> Result<(), Wrong> {
        let mut text = "LABEL".to_owned();
        for (name, value, shown) in self.pairs(at, state, pairs)? {
            text = format!("{text} {shown}");
            let labels: &mut BTreeMap<_, _> = state.config.config.labels.get_or_insert_default();
            labels.insert(name, value);
        }
        state.commit(&text, false);
        Ok(())
    }

    fn workdir(&mut self, at: &At<'_>, state: &mut State, path: &str) -> Result<(), Wrong> {
        let path = self.expand(at, state, path)?;
        if !state.workdir_set && !is_absolute(&path) {
            let message = format!(
                "Relative workdir {} can have unexpected results if the base image changes",
                crate::text::quote(&path)
            );
            self.checks.report(&rule::WORKDIR_RELATIVE_PATH, at.instruction(), message);
        }
        state.workdir_set = true;
        let dir = match is_absolute(&path) {
            true => clean_path(&path),
            false => join_paths(state.workdir(), &path),
        };
        if dir != "/" {
            let base = state.root.map_or(FileBase::Empty, |_| FileBase::Input(0));
            let change = Change::Mkdir {
                path: dir.clone(),
                mode: 0o755,
                parents: true,
                owner: owner(&state.config.config.user, base),
                time_ns: self.shared.epoch_ns,
            };
            let actions = vec![FileAction { base, change, output: Some(0) }];
            let name = self.step_title(at, state, &at.instruction().original, &[]);
            let ignore_cache = self.ignores_cache(at.index);
            let vertex = Vertex { name, ignore_cache, ..Vertex::default() };
            let inputs = state.root.into_iter().collect();
            let platform = Some(state.platform.clone());
            let kind = OpKind::File(File { actions });
            state.root = Some(self.add(kind, inputs, platform, vertex, at.instruction().span)?);
        }
        state.commit(&format!("WORKDIR {dir}"), dir != "/");
        state.config.config.working_dir = dir;
        Ok(())
    }

    fn volumes(&mut self, at: &At<'_>, state: &mut State, words: &[String]) -> Result<(), Wrong> {
        let mut all = Vec::new();
        for word in words {
            let volume = self.expand(at, state, word)?;
            if volume.is_empty() {
                let message = "VOLUME specified can not be an empty string";
                return Err(at.wrong(message).about(word));
            }
            all.push(volume);
        }
        state.commit(&format!("VOLUME [{}]", all.join(" ")), false);
        let volumes = state.config.config.volumes.get_or_insert_default();
        volumes.extend(all.into_iter().map(|volume| (volume, Empty {})));
        Ok(())
    }

    fn expose(&mut self, at: &At<'_>, state: &mut State, words: &[String]) -> Result<(), Wrong> {
        let expander = Expander::new(self.shared.file.directives.escape_char());
        let mut all = Vec::new();
        for written in words {
            for word in self.expand_with(expander, at, state, written)?.words {
                let ports = ports::parse(&word);
                let ports = ports.map_err(|message| at.wrong(message).about(written))?;
                if ports.odd_casing {
                    let message = format!(
                        "Defined protocol '{word}' in EXPOSE instruction should be lowercase"
                    );
                    self.checks.report(&rule::EXPOSE_PROTO_CASING, at.instruction(), message);
                }
                if ports.published {
                    let message = format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, \
                         found '{word}'"
                    );
                    self.checks.report(&rule::EXPOSE_INVALID_FORMAT, at.instruction(), message);
                }
                all.extend(ports.ports);
            }
        }
        state.commit(&format!("EXPOSE [{}]", all.join(" ")), false);
        let exposed = state.config.config.exposed_ports.get_or_insert_default();
        exposed.extend(all.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }

    fn command(
        &mut self,
        at: &At<'_>,
        state: &State,
        command: &Command,
        name: &str,
    ) -> Vec<String> {
        if command.exec {
            return command.args.clone();
        }
        if state.config.config.shell.is_none() {
            let message = format!(
                "JSON arguments recommended for {name} to prevent unintended behavior related to \
                 OS signals"
            );
            self.checks.report(&rule::JSON_ARGS_RECOMMENDED, at.instruction(), message);
        }
        with_shell(state, &command.args.join(" "))
    }
}

/// A shell-form command with its shell.
pub(super) fn with_shell(state: &State, text: &str) -> Vec<String> {
    let default = || match state.config.os.as_str() {
        "windows" => vec!["cmd".to_owned(), "/S".to_owned(), "/C".to_owned()],
        _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
    };
    let shell = state.config.config.shell.clone().filter(|shell| !shell.is_empty());
    let mut args = shell.unwrap_or_else(default);
    args.push(text.to_owned());
    args
}

/// A value as history shows it.
pub(super) fn shown_value<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret_name(name) { MASK } else { value }
}

/// `user[:group]` as owner; names are looked up `within`. Empty is no owner.
pub(super) fn owner(text: &str, within: FileBase) -> Option<Owner> {
    if text.is_empty() {
        return None;
    }
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let who = |text: &str| match text.parse() {
        Ok(id) => Who::Id(id),
        Err(_) => Who::Name { name: text.to_owned(), within },
    };
    let given = |text: &&str| !text.is_empty();
    Some(Owner { user: Some(user).filter(given).map(who), group: group.filter(given).map(who) })
}

fn healthcheck(state: &mut State, check: &Healthcheck) {
    let text = format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} \
         Retries:{}}}",
        check.test.join(" "),
        format_duration(check.interval_ns),
        format_duration(check.timeout_ns),
        format_duration(check.start_period_ns),
        format_duration(check.start_interval_ns),
        check.retries
    );
    state.commit(&text, false);
    state.config.config.healthcheck = Some(wire::oci::image::Healthcheck {
        test: Some(check.test.clone()),
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
        retries: check.retries,
    });
}
