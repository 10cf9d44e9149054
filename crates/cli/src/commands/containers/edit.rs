//! `rename`, `update` and `commit`.

use wire::docker::host_config::{ContainerUpdateBody, Resources, RestartPolicy};

use super::super::{Failures, images};
use crate::command::Outcome;
use crate::create::{port, restart_policy};
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::print;
use crate::units;

/// `rename`.
pub(crate) async fn rename(invocation: &Invocation) -> Outcome {
    let (old, new) = (invocation.arg(0).trim(), invocation.arg(1).trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    match invocation.client()?.container_rename(old, new).await {
        Ok(()) => Ok(0),
        Err(error) => {
            Err(Failure::new(format!("{error}\nError: failed to rename container named {old}")))
        }
    }
}

/// `update`.
pub(crate) async fn update(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    if !matches.any_changed() {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let restart = match matches.text("restart") {
        "" => RestartPolicy::default(),
        text => restart_policy(text)?,
    };
    let int = |flag: &str| matches.int(flag).unwrap_or_default();
    let weight = matches.text("blkio-weight").parse().unwrap_or_default();
    let resources = Resources {
        blkio_weight: weight,
        cpuset_cpus: matches.text("cpuset-cpus").to_owned(),
        cpuset_mems: matches.text("cpuset-mems").to_owned(),
        cpu_shares: int("cpu-shares"),
        memory: matches.bytes("memory"),
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: matches.bytes("memory-swap"),
        cpu_period: int("cpu-period"),
        cpu_quota: int("cpu-quota"),
        cpu_realtime_period: int("cpu-rt-period"),
        cpu_realtime_runtime: int("cpu-rt-runtime"),
        nano_cpus: units::parse_nano(matches.text("cpus")).unwrap_or_default(),
        pids_limit: matches.int("pids-limit"),
        ..Resources::default()
    };
    let remove = matches.list("publish-rm").into_iter().map(str::to_owned).collect();
    let body = ContainerUpdateBody {
        resources,
        restart_policy: restart,
        publish_add: port::bindings(matches.list("publish-add"))?,
        publish_remove: remove,
    };
    let client = invocation.client()?;
    let (mut failures, mut warnings) = (Failures::default(), Vec::new());
    for name in matches.args() {
        if let Some(answer) = failures.note(client.container_update(name, &body).await) {
            print(format!("{name}\n"))?;
            warnings.extend(answer.warnings.unwrap_or_default());
        }
    }
    if !warnings.is_empty() {
        print(format!("{}\n", warnings.join("\n")))?;
    }
    failures.outcome()
}

/// `commit`.
pub(crate) async fn commit(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (container, reference) = (invocation.arg(0), matches.arg(1).unwrap_or_default());
    let (repository, tag) = match reference {
        "" => ("", ""),
        reference => {
            images::check_reference(reference)?;
            images::split_tag(reference)
        }
    };
    let mut query = vec![
        ("container", container),
        ("repo", repository),
        ("tag", tag),
        ("comment", matches.text("message")),
        ("author", matches.text("author")),
    ];
    query.extend(matches.list("change").into_iter().map(|change| ("changes", change)));
    if !matches.bool_or("pause", true) {
        query.push(("pause", "0"));
    }
    let id = invocation.client()?.image_commit(&query, None).await?;
    print(format!("{id}\n"))?;
    Ok(0)
}
