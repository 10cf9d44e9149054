//! From what happens to what is done: every input goes through [`model::step::step`], and the
//! effects it answers with are executed here, in their order.

use super::{Actor, view};
use crate::node::blocking;
use crate::{EngineError, Result, clock, record};
use model::event::EventKind;
use model::phase::Phase;
use model::step::{Action, Effect, Input, Refusal, step};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Why an input did not go through.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Refusal),
    Failed(EngineError),
}

impl Actor {
    /// [`Actor::decide`] with refusals in Docker's words.
    pub(super) async fn apply(&mut self, input: Input) -> Result<()> {
        let outcome = self.decide(input).await;
        self.told(outcome)
    }

    pub(super) fn told(&self, outcome: std::result::Result<(), Stop>) -> Result<()> {
        outcome.map_err(|stop| match stop {
            Stop::Refused(refusal) => self.refused(refusal),
            Stop::Failed(error) => error,
        })
    }

    /// Takes an input through the transition function and executes its effects, and those of
    /// whatever input follows from them. An order whose effect fails leaves the phase as it was;
    /// news cannot be refused, so there failures are only told.
    pub(super) async fn decide(&mut self, input: Input) -> std::result::Result<(), Stop> {
        let mut next = Some(input);
        let mut outcome = Ok(());
        while let Some(input) = next.take() {
            let news = matches!(
                input,
                Input::Started(_)
                    | Input::Failed(_)
                    | Input::Exited(_)
                    | Input::Due
                    | Input::RemoveFailed { .. }
            );
            if let Input::Exited(exit) | Input::Failed(exit) = &input {
                self.state.last_exit = Some(exit.clone());
            }
            let (phase, effects) =
                step(&self.state.phase, input, &self.facts()).map_err(Stop::Refused)?;
            let before = std::mem::replace(&mut self.state.phase, phase);
            if let Phase::Restarting { delay_ns, .. } = self.state.phase {
                self.state.last_delay_ns = delay_ns;
            }
            for effect in effects {
                match self.execute(effect).await {
                    Ok(None) => {}
                    Ok(Some(input)) => next = Some(input),
                    Err(error) if news => {
                        tracing::error!(container = %self.definition.id, %error, "state change");
                    }
                    Err(error) => {
                        self.state.phase = before;
                        self.publish();
                        return Err(Stop::Failed(error));
                    }
                }
            }
            if let Some(error) = self.launch_error.take() {
                outcome = Err(Stop::Failed(error));
            }
            self.publish();
        }
        outcome
    }

    async fn execute(&mut self, effect: Effect) -> Result<Option<Input>> {
        match effect {
            Effect::Record => {
                store::failpoint::hit("engine.state.record");
                record::save_state(self.node.store.records(), &self.definition.id, &self.state)?;
                store::failpoint::hit("engine.state.recorded");
            }
            Effect::Launch => {
                self.publish();
                self.part_from_monitor().await;
                return Ok(Some(Box::pin(self.launch_or_fail()).await));
            }
            Effect::Emit(action) => self.emit_action(action),
            Effect::Signal(signal) => self.signal(signal).await?,
            Effect::Deadline => {
                let patience = u64::try_from(self.stop_timeout).ok().map(Duration::from_secs);
                self.deadline = patience.and_then(|time| Instant::now().checked_add(time));
            }
            Effect::Freeze => self.freeze(true).await?,
            Effect::Thaw => self.freeze(false).await?,
            Effect::AnswerExit => self.answer_exit(),
            Effect::Release => self.release(),
            Effect::Wake(at) => {
                let wait = Duration::from_nanos(at.since(clock::now()));
                self.due = Instant::now().checked_add(wait);
            }
            Effect::Remove => return Ok(Box::pin(self.clear_away()).await),
        }
        Ok(None)
    }

    /// Freezes its processes, or thaws them; those of a group that is gone by now are over.
    pub(super) async fn freeze(&self, freeze: bool) -> Result<()> {
        let hierarchy = self.node.hierarchy.clone();
        let path = self.state.cgroup.clone();
        blocking(move || {
            let group = match runtime::cgroup::Cgroup::open(&hierarchy, &path) {
                Err(runtime::cgroup::CgroupError::NotFound { .. }) if !freeze => return Ok(()),
                group => group.map_err(EngineError::internal)?,
            };
            let done = if freeze { group.freeze() } else { group.thaw() };
            done.map_err(EngineError::internal)
        })
        .await
    }

    fn emit_action(&self, action: Action) {
        match action {
            Action::Start => self.emit("start", &[]),
            Action::Stop => self.emit("stop", &[]),
            Action::Pause => self.emit("pause", &[]),
            Action::Unpause => self.emit("unpause", &[]),
            Action::Kill(signal) => {
                self.emit("kill", &[("signal", signal.number().to_string())]);
            }
            Action::Die => {
                let exit = self.state.last_exit.clone().unwrap_or_default();
                let seconds = exit.finished.since(exit.started) / 1_000_000_000;
                self.emit(
                    "die",
                    &[("exitCode", exit.code.to_string()), ("execDuration", seconds.to_string())],
                );
            }
        }
    }

    /// Tells an event of this container.
    pub(super) fn emit(&self, action: &str, further: &[(&str, String)]) {
        if self.quiet {
            return;
        }
        let mut attributes: BTreeMap<String, String> = self.definition.spec.labels.clone();
        attributes.insert("image".to_owned(), self.definition.draft.image.clone());
        attributes.insert("name".to_owned(), self.definition.name.to_string());
        attributes.extend(further.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let id = self.definition.id.to_string();
        self.node.emit(EventKind::Container, action, id, attributes);
    }

    /// Replaces the snapshot that the others see.
    pub(super) fn publish(&self) {
        let health = self.health_view.clone();
        let view = view::of(&self.node, &self.definition, &self.state, health, &self.paths);
        self.handle.publish(view);
    }
}
