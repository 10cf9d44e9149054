//! Transitions, by data.

use super::*;

const AT: fn(i64) -> Timestamp = |seconds| Timestamp(seconds * 1_000_000_000);

fn facts() -> Facts {
    Facts {
        policy: RestartPolicy::No,
        auto_remove: false,
        restart_count: 0,
        last_delay_ns: 0,
        stop_asked: false,
        stop_signal: Signal::TERM,
        heal: false,
        proven: true,
    }
}

fn run() -> Run {
    Run { pid: 7, started: AT(1) }
}

fn exit(code: i32) -> Exit {
    Exit { code, started: AT(1), finished: AT(2), ..Exit::default() }
}

fn phases() -> Vec<Phase> {
    vec![
        Phase::Created,
        Phase::Starting,
        Phase::Running(run()),
        Phase::Paused(run()),
        Phase::Stopping(run()),
        Phase::Exited(exit(0)),
        Phase::Restarting { last: exit(1), due: AT(9), delay_ns: 5 },
        Phase::Removing,
        Phase::Dead { error: "busy".to_owned() },
    ]
}

fn inputs() -> Vec<(&'static str, Input)> {
    vec![
        ("start", Input::Start),
        ("started", Input::Started(run())),
        ("failed", Input::Failed(exit(127))),
        ("stop", Input::Stop),
        ("kill hup", Input::Kill(Signal::parse("HUP").unwrap())),
        ("kill", Input::Kill(Signal::KILL)),
        ("pause", Input::Pause),
        ("unpause", Input::Unpause),
        ("exited", Input::Exited(exit(3))),
        ("due", Input::Due),
        ("remove", Input::Remove { force: false }),
        ("remove force", Input::Remove { force: true }),
        ("remove failed", Input::RemoveFailed { error: "busy".to_owned() }),
    ]
}

fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Starting => "starting",
        Phase::Running(_) => "running",
        Phase::Paused(_) => "paused",
        Phase::Stopping(_) => "stopping",
        Phase::Exited(_) => "exited",
        Phase::Restarting { .. } => "restarting",
        Phase::Removing => "removing",
        Phase::Dead { .. } => "dead",
    }
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Emit(action) => format!("emit {}", word_of_action(*action)),
        Effect::Signal(signal) => format!("signal {}", signal.number()),
        Effect::Wake(at) => format!("wake {} ms", at.0 / 1_000_000),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn word_of_action(action: Action) -> String {
    match action {
        Action::Kill(signal) => format!("kill {}", signal.number()),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn line(phase: &Phase, (input_name, input): &(&str, Input), facts: &Facts) -> String {
    let outcome = match step(phase, input.clone(), facts) {
        Ok((next, effects)) => {
            let effects: Vec<String> = effects.iter().map(word).collect();
            format!("{}: {}", name(&next), effects.join(", "))
        }
        Err(refusal) => format!("refused: {refusal:?}"),
    };
    format!("{} + {input_name} = {outcome}", name(phase))
}

/// Every input in every phase that does not refuse it as nothing to do.
const TABLE: &str = include_str!("table.txt");

#[test]
fn every_input_in_every_phase() {
    let mut lines = Vec::new();
    for phase in phases() {
        for input in inputs() {
            let line = line(&phase, &input, &facts());
            if !line.ends_with("refused: NotModified") {
                lines.push(line);
            }
        }
    }
    let have = lines.join("\n");
    assert_eq!(have.trim(), TABLE.trim(), "the whole table now:\n{have}");
}

#[test]
fn an_exit_follows_the_policy() {
    let running = Phase::Running(run());
    let check = |facts: Facts, phase: &Phase, code: i32, want: &str| {
        let input = ("exited", Input::Exited(exit(code)));
        assert_eq!(line(phase, &input, &facts), want);
    };
    let always = Facts { policy: RestartPolicy::Always, ..facts() };
    check(
        always,
        &running,
        0,
        "running + exited = restarting: emit die, answerexit, release, record, wake 2100 ms",
    );
    check(
        Facts { last_delay_ns: 400_000_000, ..always },
        &running,
        0,
        "running + exited = restarting: emit die, answerexit, release, record, wake 2800 ms",
    );
    check(
        Facts { stop_asked: true, ..always },
        &running,
        0,
        "running + exited = exited: emit die, answerexit, release, record",
    );
    check(
        always,
        &Phase::Stopping(run()),
        0,
        "stopping + exited = exited: emit die, emit stop, answerexit, release, record",
    );
    check(
        Facts { auto_remove: true, ..facts() },
        &running,
        3,
        "running + exited = removing: emit die, answerexit, release, record, remove",
    );
    let limited = Facts { policy: RestartPolicy::OnFailure(2), restart_count: 2, ..facts() };
    check(limited, &running, 1, "running + exited = exited: emit die, answerexit, release, record");
}

#[test]
fn what_cannot_be_started_by_hand_is_not_tried_again() {
    let failed = ("failed", Input::Failed(exit(127)));
    let always = Facts { policy: RestartPolicy::Always, ..facts() };
    assert_eq!(
        line(&Phase::Starting, &failed, &always),
        "starting + failed = exited: release, record, answerexit"
    );
    let restarted = Facts { restart_count: 1, ..always };
    assert!(
        line(&Phase::Starting, &failed, &restarted).starts_with("starting + failed = restarting")
    );
    let brief = Facts { auto_remove: true, ..facts() };
    assert_eq!(
        line(&Phase::Starting, &failed, &brief),
        "starting + failed = removing: release, record, answerexit, remove"
    );
}

#[test]
fn a_refusal_says_what_users_search_for() {
    let id = ContainerId::from_bytes([0xab; 32]);
    let name = ContainerName::parse("web").unwrap();
    for (refusal, want) in [
        (Refusal::NotRunning, "is not running"),
        (Refusal::RemoveRunning("running"), "stop the container before removing or force remove"),
        (Refusal::RemoveRunning("paused"), "must be unpaused first"),
        (Refusal::AlreadyPaused, "is already paused"),
        (Refusal::Paused, "try unpause instead"),
    ] {
        let text = refusal.denied(&id, &name).message;
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn an_unhealthy_container_runs_again_after_growing_pauses() {
    let mut facts = Facts { heal: true, proven: false, stop_asked: true, ..facts() };
    let mut pauses = Vec::new();
    for _ in 0..3 {
        // Each run lasts longer than what resets the pause of one that only crashed.
        let exit = Exit { started: AT(1), finished: AT(60), ..Exit::default() };
        let stepped = step(&Phase::Stopping(run()), Input::Exited(exit), &facts);
        let (Phase::Restarting { delay_ns, .. }, _) = stepped.unwrap() else {
            panic!("not restarting");
        };
        pauses.push(delay_ns / 1_000_000);
        facts.last_delay_ns = delay_ns;
    }
    assert_eq!(pauses, [100, 200, 400]);
    facts.proven = true;
    let exit = Exit { started: AT(1), finished: AT(60), ..Exit::default() };
    let (next, _) = step(&Phase::Stopping(run()), Input::Exited(exit), &facts).unwrap();
    assert!(matches!(next, Phase::Restarting { delay_ns: 100_000_000, .. }), "{next:?}");
}
