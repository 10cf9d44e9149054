//! Operations on containers.

use crate::matrix::{Operation, matrix};
use lab::{Lab, eventually};

/// Of a name that is gone the beginning of an id may be left: the bystander's, once in 256 times.
pub(crate) fn state(lab: &Lab, name: &str) -> Option<String> {
    assert!(name.contains(|c: char| !c.is_ascii_hexdigit()), "{name} may be how an id begins");
    let out = lab.estiba(&["inspect", "--type", "container", "-f", "{{.State.Status}}", name]);
    match out.status {
        0 => Some(out.ok().to_owned()),
        _ => {
            assert!(out.stderr.to_lowercase().contains("no such"), "{out:?}");
            None
        }
    }
}

pub(crate) fn is_running(lab: &Lab, name: &str) -> bool {
    let state = state(lab, name);
    let state = state.as_deref().expect("it is there");
    if state == "running" {
        // Its monitor may just have been killed, which is not known yet.
        if lab.estiba(&["exec", name, "true"]).status != 0 {
            eventually("its end is known", || self::state(lab, name).as_deref() == Some("exited"));
            return false;
        }
    } else {
        assert!(["created", "exited"].contains(&state), "{state}");
    }
    state == "running"
}

pub(crate) fn remove(lab: &Lab) {
    lab.estiba(&["rm", "-fv", "one"]).ok();
}

pub(crate) const CREATE: [&str; 8] =
    ["create", "--name", "one", "--stop-signal", "KILL", "-p", "9998:9", "busybox"];

pub(crate) fn create(lab: &Lab) {
    lab.estiba(&[&CREATE[..], &["sleep", "1000"]].concat()).ok();
}

pub(crate) fn running(lab: &Lab) {
    create(lab);
    lab.estiba(&["start", "one"]).ok();
}

pub(crate) const CREATING: Operation = Operation {
    prepare: |_| {},
    act: |lab| {
        lab.estiba(&["create", "--name", "one", "-v", "/etc", "-v", "/data", "busybox", "true"])
    },
    done: |lab| state(lab, "one").is_some_and(|state| state == "created"),
    clean: remove,
};

pub(crate) const STARTING: Operation = Operation {
    prepare: create,
    act: |lab| lab.estiba(&["start", "one"]),
    done: |lab| is_running(lab, "one"),
    clean: remove,
};

pub(crate) const STOPPING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["stop", "one"]),
    done: |lab| !is_running(lab, "one"),
    clean: remove,
};

const RESTARTING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["restart", "one"]),
    // Neither side is told apart from the other: it runs.
    done: |lab| is_running(lab, "one"),
    clean: remove,
};

const REMOVING: Operation = Operation {
    prepare: |lab| drop((CREATING.act)(lab)),
    act: |lab| lab.estiba(&["rm", "-v", "one"]),
    done: |lab| state(lab, "one").is_none(),
    clean: |_| {},
};

pub(crate) const REMOVING_RUNNING: Operation =
    Operation { prepare: running, act: |lab| lab.estiba(&["rm", "-f", "one"]), ..REMOVING };

pub(crate) const EXECUTING: Operation = Operation {
    prepare: running,
    act: |lab| {
        // Its monitor's end is its own: then it is started again first.
        if state(lab, "one").as_deref() == Some("exited") {
            lab.estiba(&["start", "one"]).ok();
        }
        lab.estiba(&["exec", "one", "touch", "/done"])
    },
    done: |lab| is_running(lab, "one") && lab.estiba(&["exec", "one", "ls", "/done"]).status == 0,
    clean: remove,
};

const RUNNING_ONCE: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["run", "--rm", "--name", "one", "busybox", "true"]),
    // Killed in between, it is told to nobody and gone.
    done: |lab| {
        eventually("it is gone", || {
            let there = state(lab, "one");
            if there.as_deref() == Some("created") {
                remove(lab);
            }
            there.is_none()
        });
        true
    },
    clean: |_| {},
};

const PAUSING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["pause", "one"]),
    done: |lab| match state(lab, "one").as_deref() {
        Some("paused") => true,
        Some("running") => false,
        other => panic!("{other:?}"),
    },
    clean: remove,
};

const RENAMING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["rename", "one", "two"]),
    done: |lab| match (state(lab, "one"), state(lab, "two")) {
        (Some(_), None) => false,
        (None, Some(_)) => is_running(lab, "two"),
        other => panic!("{other:?}"),
    },
    clean: |lab| drop(lab.estiba(&["rm", "-f", "two"]).ok().to_owned()),
};

const UPDATING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["update", "--pids-limit", "77", "--restart", "no", "one"]),
    done: |lab| {
        let limit = lab.estiba(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", "one"]);
        is_running(lab, "one") && limit.ok() == "77"
    },
    clean: remove,
};

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_made() {
    matrix(&[("create", &CREATING)], 25);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_stopped() {
    matrix(&[("stop", &STOPPING)], 15);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_started_and_executed_in() {
    matrix(&[("start", &STARTING), ("exec", &EXECUTING)], 45);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_restarted_and_removed() {
    let removing = [("rm", &REMOVING), ("rm -f", &REMOVING_RUNNING)];
    matrix(&[&[("restart", &RESTARTING)], &removing[..]].concat(), 50);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_run_paused_renamed_and_updated() {
    let changing = [("pause", &PAUSING), ("rename", &RENAMING), ("update", &UPDATING)];
    matrix(&[&[("run --rm", &RUNNING_ONCE)], &changing[..]].concat(), 50);
}
