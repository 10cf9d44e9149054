//! The transition function of a container's life: what happens, and what is to be done about it.
//! [`crate::phase`] draws the states. Pure: the clock comes in as a value, and effects are data
//! that the engine's actor executes.

use crate::error::Denied;
use crate::id::{ContainerId, ContainerName};
use crate::phase::{Exit, Phase, Run};
use crate::restart::{RestartPolicy, next_delay_ns};
use crate::signal::Signal;
use crate::time::Timestamp;

/// What a decision depends on beside the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When it starts again.
    pub policy: RestartPolicy,
    /// It is removed when it exits for good.
    pub auto_remove: bool,
    /// How often the policy restarted it since it was last started by hand.
    pub restart_count: u32,
    /// The last pause before a restart, ns.
    pub last_delay_ns: u64,
    /// A user asked it to stop, so the policy keeps quiet.
    pub stop_asked: bool,
    /// The signal it stops with.
    pub stop_signal: Signal,
    /// It is stopped because it was unhealthy, and is to run again.
    pub heal: bool,
    /// Its health check succeeded in this run, or it has none: a run that was of use.
    pub proven: bool,
}

/// What happens to a container: orders, and news of its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Start it.
    Start,
    /// Its program runs.
    Started(Run),
    /// It could not be started.
    Failed(Exit),
    /// Stop it.
    Stop,
    /// Send it a signal.
    Kill(Signal),
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// Its init is over.
    Exited(Exit),
    /// The pause before a restart is over.
    Due,
    /// Remove it; kill it first with `force`.
    Remove {
        /// Also when it runs.
        force: bool,
    },
    /// It could not be removed.
    RemoveFailed {
        /// Why.
        error: String,
    },
}

/// What the actor does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the new phase down, so that a killed daemon can go on from it.
    Record,
    /// Prepare everything, spawn the monitor, join networks, let it run.
    Launch,
    /// Tell whoever listens.
    Emit(Action),
    /// Send a signal to init.
    Signal(Signal),
    /// Begin to wait for the exit; SIGKILL when the time given is over.
    Deadline,
    /// Freeze its processes.
    Freeze,
    /// Thaw its processes.
    Thaw,
    /// Answer those who wait for an exit.
    AnswerExit,
    /// Give back networks, ports, ids and whatever else lives as long as a run.
    Release,
    /// Come back with [`Input::Due`] at this time.
    Wake(Timestamp),
    /// Remove everything that is left.
    Remove,
}

/// Events of a container that the transition alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `start`.
    Start,
    /// `die`.
    Die,
    /// `stop`.
    Stop,
    /// `kill`.
    Kill(Signal),
    /// `pause`.
    Pause,
    /// `unpause`.
    Unpause,
}

/// Why an input is refused in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It already is as asked.
    NotModified,
    /// It does not run.
    NotRunning,
    /// A signal was meant for it, and it does not run.
    CannotKill,
    /// It is paused already.
    AlreadyPaused,
    /// It is not paused.
    NotPaused,
    /// It is between two runs.
    Restarting,
    /// Paused containers are thawed, not started.
    Paused,
    /// It is being started by somebody else.
    Starting,
    /// It is being removed, or could not be.
    MarkedForRemoval,
    /// Somebody else removes it.
    RemovalInProgress,
    /// Removing it needs it stopped.
    RemoveRunning(&'static str),
}

impl Refusal {
    /// The refusal in Docker's words.
    pub fn denied(self, id: &ContainerId, name: &ContainerName) -> Denied {
        Denied::conflict(match self {
            Self::NotModified => format!("container {id} is already as asked"),
            Self::NotRunning => format!("container {id} is not running"),
            Self::CannotKill => {
                format!("cannot kill container: {name}: container {id} is not running")
            }
            Self::AlreadyPaused => format!("container {id} is already paused"),
            Self::NotPaused => format!("Container {id} is not paused"),
            Self::Restarting => {
                format!("Container {id} is restarting, wait until the container is running")
            }
            Self::Paused => "cannot start a paused container, try unpause instead".to_owned(),
            Self::Starting => format!("container {id} is being started"),
            Self::MarkedForRemoval => {
                "container is marked for removal and cannot be started".to_owned()
            }
            Self::RemovalInProgress => {
                format!("removal of container {id} is already in progress")
            }
            Self::RemoveRunning("paused") => format!(
                "cannot remove container \"{name}\": container is paused and must be unpaused \
                 first"
            ),
            Self::RemoveRunning(status) => format!(
                "cannot remove container \"{name}\": container is {status}: stop the container \
                 before removing or force remove"
            ),
        })
    }
}

/// A phase and what is to be done to get there.
pub type Stepped = Result<(Phase, Vec<Effect>), Refusal>;

/// Decides. A refused input leaves the phase as it is.
pub fn step(phase: &Phase, input: Input, facts: &Facts) -> Stepped {
    match input {
        Input::Start => start(phase),
        Input::Started(run) => started(phase, run),
        Input::Failed(exit) => failed(phase, exit, facts),
        Input::Stop => stop(phase, facts),
        Input::Kill(signal) => kill(phase, signal, facts),
        Input::Pause => pause(phase),
        Input::Unpause => unpause(phase),
        Input::Exited(exit) => exited(phase, exit, facts),
        Input::Due => due(phase),
        Input::Remove { force } => remove(phase, force),
        Input::RemoveFailed { error } => match phase {
            Phase::Removing => Ok((Phase::Dead { error }, vec![Effect::Record])),
            _ => Err(Refusal::NotModified),
        },
    }
}

fn start(phase: &Phase) -> Stepped {
    match phase {
        Phase::Created | Phase::Exited(_) | Phase::Restarting { .. } => {
            Ok((Phase::Starting, vec![Effect::Record, Effect::Launch]))
        }
        Phase::Running(_) | Phase::Stopping(_) => Err(Refusal::NotModified),
        Phase::Starting => Err(Refusal::Starting),
        Phase::Paused(_) => Err(Refusal::Paused),
        Phase::Removing | Phase::Dead { .. } => Err(Refusal::MarkedForRemoval),
    }
}

fn started(phase: &Phase, run: Run) -> Stepped {
    match phase {
        Phase::Starting => {
            Ok((Phase::Running(run), vec![Effect::Record, Effect::Emit(Action::Start)]))
        }
        _ => Err(Refusal::NotModified),
    }
}

fn failed(phase: &Phase, exit: Exit, facts: &Facts) -> Stepped {
    let Phase::Starting = phase else { return Err(Refusal::NotModified) };
    // A program that cannot be started by hand is not tried again; one that the policy started
    // may only be missing something that comes back.
    if facts.restart_count > 0 && facts.policy.wants_restart(exit.code, facts.restart_count, false)
    {
        return Ok(restarting(exit, facts));
    }
    if facts.auto_remove {
        let effects = vec![Effect::Release, Effect::Record, Effect::AnswerExit, Effect::Remove];
        return Ok((Phase::Removing, effects));
    }
    let effects = vec![Effect::Release, Effect::Record, Effect::AnswerExit];
    Ok((Phase::Exited(exit), effects))
}

fn stop(phase: &Phase, facts: &Facts) -> Stepped {
    match phase {
        Phase::Running(run) => Ok((
            Phase::Stopping(*run),
            vec![
                Effect::Record,
                Effect::Emit(Action::Kill(facts.stop_signal)),
                Effect::Signal(facts.stop_signal),
                Effect::Deadline,
            ],
        )),
        // The signal first: it is there when the processes thaw.
        Phase::Paused(run) => Ok((
            Phase::Stopping(*run),
            vec![
                Effect::Record,
                Effect::Emit(Action::Kill(facts.stop_signal)),
                Effect::Signal(facts.stop_signal),
                Effect::Thaw,
                Effect::Deadline,
            ],
        )),
        Phase::Stopping(run) => Ok((Phase::Stopping(*run), vec![Effect::Deadline])),
        Phase::Restarting { last, .. } => {
            Ok((Phase::Exited(last.clone()), vec![Effect::Record, Effect::Emit(Action::Stop)]))
        }
        Phase::Starting => Err(Refusal::Starting),
        Phase::Created | Phase::Exited(_) | Phase::Removing | Phase::Dead { .. } => {
            Err(Refusal::NotModified)
        }
    }
}

fn kill(phase: &Phase, signal: Signal, facts: &Facts) -> Stepped {
    let Some(run) = phase.run() else { return Err(Refusal::CannotKill) };
    let mut effects = vec![Effect::Signal(signal), Effect::Emit(Action::Kill(signal))];
    let ends = signal == Signal::KILL || signal == facts.stop_signal;
    let next = match phase {
        // Signals wait until the processes thaw, except for SIGKILL on some kernels; and what was
        // told to end should.
        Phase::Paused(_) if ends => {
            effects.push(Effect::Thaw);
            Phase::Running(run)
        }
        other => other.clone(),
    };
    if &next != phase {
        effects.push(Effect::Record);
    }
    Ok((next, effects))
}

fn pause(phase: &Phase) -> Stepped {
    match phase {
        Phase::Running(run) => Ok((
            Phase::Paused(*run),
            vec![Effect::Freeze, Effect::Record, Effect::Emit(Action::Pause)],
        )),
        Phase::Paused(_) => Err(Refusal::AlreadyPaused),
        Phase::Restarting { .. } => Err(Refusal::Restarting),
        _ => Err(Refusal::NotRunning),
    }
}

fn unpause(phase: &Phase) -> Stepped {
    match phase {
        Phase::Paused(run) => Ok((
            Phase::Running(*run),
            vec![Effect::Thaw, Effect::Record, Effect::Emit(Action::Unpause)],
        )),
        _ => Err(Refusal::NotPaused),
    }
}

fn exited(phase: &Phase, exit: Exit, facts: &Facts) -> Stepped {
    let asked = match phase {
        Phase::Running(_) | Phase::Paused(_) => facts.stop_asked,
        Phase::Stopping(_) => true,
        // The daemon was killed between spawning and recording.
        Phase::Starting => facts.stop_asked,
        _ => return Err(Refusal::NotModified),
    };
    if facts.heal || facts.policy.wants_restart(exit.code, facts.restart_count, asked) {
        let (next, mut effects) = restarting(exit, facts);
        effects.insert(0, Effect::Emit(Action::Die));
        return Ok((next, effects));
    }
    let mut effects = vec![Effect::Emit(Action::Die)];
    if matches!(phase, Phase::Stopping(_)) {
        effects.push(Effect::Emit(Action::Stop));
    }
    if facts.auto_remove {
        effects.extend([Effect::AnswerExit, Effect::Release, Effect::Record, Effect::Remove]);
        return Ok((Phase::Removing, effects));
    }
    effects.extend([Effect::AnswerExit, Effect::Release, Effect::Record]);
    Ok((Phase::Exited(exit), effects))
}

fn restarting(last: Exit, facts: &Facts) -> (Phase, Vec<Effect>) {
    // However long it took to be found unhealthy: a run that was never of use resets nothing.
    let began = if facts.proven { last.started } else { last.finished };
    let delay_ns = next_delay_ns(facts.last_delay_ns, began, last.finished);
    let after = i64::try_from(delay_ns).unwrap_or(i64::MAX);
    let due = Timestamp(last.finished.0.saturating_add(after));
    let effects = vec![Effect::AnswerExit, Effect::Release, Effect::Record, Effect::Wake(due)];
    (Phase::Restarting { last, due, delay_ns }, effects)
}

fn due(phase: &Phase) -> Stepped {
    match phase {
        Phase::Restarting { .. } => Ok((Phase::Starting, vec![Effect::Record, Effect::Launch])),
        _ => Err(Refusal::NotModified),
    }
}

fn remove(phase: &Phase, force: bool) -> Stepped {
    let removing = || Ok((Phase::Removing, vec![Effect::Record, Effect::Remove]));
    match phase {
        Phase::Created | Phase::Exited(_) | Phase::Dead { .. } => removing(),
        Phase::Restarting { .. } if force => removing(),
        Phase::Restarting { .. } => Err(Refusal::RemoveRunning("restarting")),
        Phase::Paused(_) if !force => Err(Refusal::RemoveRunning("paused")),
        Phase::Running(_) | Phase::Stopping(_) | Phase::Starting if !force => {
            Err(Refusal::RemoveRunning("running"))
        }
        // Killed first; the removal follows the exit.
        Phase::Running(run) | Phase::Stopping(run) | Phase::Paused(run) => {
            let mut effects =
                vec![Effect::Emit(Action::Kill(Signal::KILL)), Effect::Signal(Signal::KILL)];
            if matches!(phase, Phase::Paused(_)) {
                effects.push(Effect::Thaw);
            }
            Ok((Phase::Stopping(*run), effects))
        }
        Phase::Starting => Err(Refusal::Starting),
        Phase::Removing => Err(Refusal::RemovalInProgress),
    }
}

#[cfg(test)]
mod tests;
