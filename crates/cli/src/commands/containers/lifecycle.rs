//! `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`, `wait` and `container prune`.

use super::super::{Failures, each, prune as pruning};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, print};
use futures_util::stream::{self, StreamExt};

/// How many containers are acted on at the same time.
const AT_ONCE: usize = 32;

/// `stop`.
pub(crate) async fn stop(invocation: &Invocation) -> Outcome {
    end(invocation, "stop").await
}

/// `restart`.
pub(crate) async fn restart(invocation: &Invocation) -> Outcome {
    end(invocation, "restart").await
}

async fn end(invocation: &Invocation, action: &str) -> Outcome {
    let matches = &invocation.matches;
    if matches.changed("timeout") && matches.changed("time") {
        return Err(Failure::new("conflicting options: cannot specify both --timeout and --time"));
    }
    let timeout = matches.int("timeout").or_else(|| matches.int("time"));
    let client = invocation.client()?;
    // Restarts come one after the other: a container may need the one before it.
    let at_once = if action == "restart" { 1 } else { AT_ONCE };
    let act = async |name: &str| {
        client.container_stop(name, action, matches.text("signal"), timeout).await
    };
    each(invocation, at_once, act).await
}

/// `kill`.
pub(crate) async fn kill(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let signal = invocation.matches.text("signal");
    each(invocation, AT_ONCE, async |name: &str| client.container_kill(name, signal).await).await
}

/// `pause`.
pub(crate) async fn pause(invocation: &Invocation) -> Outcome {
    act(invocation, "pause").await
}

/// `unpause`.
pub(crate) async fn unpause(invocation: &Invocation) -> Outcome {
    act(invocation, "unpause").await
}

async fn act(invocation: &Invocation, action: &str) -> Outcome {
    let client = invocation.client()?;
    each(invocation, AT_ONCE, async |name: &str| client.container_act(name, action).await).await
}

/// `rm`. With `--force`, what does not exist counts as removed.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (force, volumes, link) =
        (matches.bool("force"), matches.bool("volumes"), matches.bool("link"));
    let client = invocation.client()?;
    let mut failures = Failures::default();
    let removals = matches.args().iter().map(|name| async {
        let name = name.trim_matches('/');
        if name.is_empty() {
            return (name, Err(Failure::new("container name cannot be empty")));
        }
        match client.container_remove(name, force, volumes, link).await {
            Err(error) if force && error.is_not_found() => {
                complain(format!("{error}\n"));
                (name, Ok(false))
            }
            outcome => (name, outcome.map(|()| true).map_err(Failure::from)),
        }
    });
    let mut removals = stream::iter(removals).buffered(AT_ONCE);
    while let Some((name, removed)) = removals.next().await {
        if failures.note(removed) == Some(true) {
            print(format!("{name}\n"))?;
        }
    }
    failures.outcome()
}

/// `wait`.
pub(crate) async fn wait(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let mut failures = Failures::default();
    for name in invocation.matches.args() {
        let waited = async {
            let waiting = client.container_wait(name, "").await?;
            client.container_waited(waiting).await
        };
        if let Some(waited) = failures.note(waited.await) {
            print(format!("{}\n", waited.status_code))?;
        }
    }
    failures.outcome()
}

/// `container prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    if !pruning::agreed(invocation, "This will remove all stopped containers.")? {
        return Ok(0);
    }
    let client = invocation.client()?;
    let filters = pruning::filters(invocation);
    let report = client.container_prune(&filters).await?;
    let removed = report.containers_deleted.unwrap_or_default();
    print(pruning::section("Deleted Containers:", &removed))?;
    print(pruning::total(report.space_reclaimed))?;
    Ok(0)
}
