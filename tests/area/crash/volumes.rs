//! Operations on volumes, and what makes networks and volumes or removes all there is.

use crate::containers::{CREATE, CREATING, STARTING, STOPPING, state};
use crate::matrix::{Operation, matrix};
use crate::networks::{NETWORKING, network};
use lab::Lab;

fn volume(lab: &Lab, name: &str) -> bool {
    lab.estiba(&["volume", "inspect", name]).status == 0
}

const VOLUME: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["volume", "create", "--label", "a=b", "vv"]),
    done: |lab| volume(lab, "vv"),
    clean: |lab| drop(lab.estiba(&["volume", "rm", "vv"]).ok().to_owned()),
};

fn filled(lab: &Lab) {
    (VOLUME.act)(lab).ok();
    lab.estiba(&["run", "--rm", "-v", "vv:/v", "busybox", "sh", "-c", "echo kept > /v/file"]).ok();
}

fn content(lab: &Lab, name: &str) {
    let read =
        lab.estiba(&["run", "--rm", "-v", &format!("{name}:/v"), "busybox", "cat", "/v/file"]);
    assert_eq!(read.ok(), "kept");
}

pub(crate) const REMOVING_VOLUME: Operation = Operation {
    prepare: filled,
    act: |lab| lab.estiba(&["volume", "rm", "vv"]),
    done: |lab| {
        let there = volume(lab, "vv");
        if there {
            content(lab, "vv");
        }
        !there
    },
    clean: |_| {},
};

const RENAMING_VOLUME: Operation = Operation {
    prepare: filled,
    act: |lab| lab.estiba(&["volume", "rename", "vv", "ww"]),
    done: |lab| {
        let renamed = volume(lab, "ww");
        assert_ne!(renamed, volume(lab, "vv"));
        content(lab, if renamed { "ww" } else { "vv" });
        renamed
    },
    clean: |lab| drop(lab.estiba(&["volume", "rm", "ww"]).ok().to_owned()),
};

const COPYING_VOLUME: Operation = Operation {
    act: |lab| lab.estiba(&["volume", "cp", "vv", "ww"]),
    done: |lab| {
        content(lab, "vv");
        let copied = volume(lab, "ww");
        if copied {
            content(lab, "ww");
        }
        copied
    },
    clean: |lab| drop(lab.estiba(&["volume", "rm", "vv", "ww"]).ok().to_owned()),
    ..RENAMING_VOLUME
};

const PRUNING: Operation = Operation {
    prepare: |lab| {
        filled(lab);
        (NETWORKING.act)(lab).ok();
        (CREATING.act)(lab).ok();
    },
    act: |lab| lab.estiba(&["system", "prune", "-af", "--volumes", "--filter", "label!=keep"]),
    done: |lab| {
        lab.estiba(&["volume", "rm", "-f", "vv"]).ok();
        state(lab, "one").is_none() && !network(lab)
    },
    clean: |lab| {
        lab.estiba(&["volume", "prune", "-af"]).ok();
    },
};

#[test]
#[ignore = "takes minutes: make crash"]
fn volumes_are_copied_renamed_and_removed() {
    let changing = [("volume cp", &COPYING_VOLUME), ("volume rename", &RENAMING_VOLUME)];
    let removing = [("volume rm", &REMOVING_VOLUME), ("system prune", &PRUNING)];
    matrix(&[&changing[..], &removing[..]].concat(), 40);
}

/// A container with a volume that has to be mounted.
const MOUNTING: Operation = Operation {
    prepare: |lab| {
        let memory = "type=volume,dst=/m,volume-opt=type=tmpfs,volume-opt=device=tmpfs";
        let words = [&CREATE[..7], &["--mount", memory, "busybox", "sleep", "1000"]].concat();
        lab.estiba(&words).ok();
    },
    ..STARTING
};

const TAKING_OFF: Operation = Operation {
    prepare: |lab| {
        (MOUNTING.prepare)(lab);
        (MOUNTING.act)(lab).ok();
    },
    ..STOPPING
};

#[test]
#[ignore = "takes minutes: make crash"]
fn volumes_are_mounted_and_taken_off() {
    matrix(&[("start with memory", &MOUNTING), ("stop with memory", &TAKING_OFF)], 40);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn networks_and_volumes_are_made() {
    matrix(&[("network create", &NETWORKING), ("volume create", &VOLUME)], 10);
}
