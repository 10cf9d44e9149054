//! `attach` and `start`.

use client::Client;
use wire::docker::container::ContainerInspect;

use super::super::Failures;
use super::run::detach_keys;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::stream::keys::Keys;
use crate::stream::signals::{Screen, caught, follow_size, forward, redraw};
use crate::stream::{self, End, Plan};
use crate::terminal::{complain, is_terminal, print};

/// `attach`.
pub(crate) async fn attach(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    let client = invocation.client()?;
    let inspect = client.container_inspect(name).await?;
    let state = &inspect.state;
    if !state.running {
        return Err(Failure::new("You cannot attach to a stopped container, start it first"));
    }
    if state.paused {
        return Err(Failure::new("You cannot attach to a paused container, unpause it first"));
    }
    if state.restarting {
        return Err(Failure::new(
            "You cannot attach to a restarting container, wait until it is running",
        ));
    }
    let stdin = !invocation.matches.bool("no-stdin") && inspect.config.open_stdin;
    if inspect.config.tty && stdin && !is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let waiting = client.container_wait(&inspect.id, "").await?;
    let proxied = invocation.matches.bool_or("sig-proxy", true);
    let end = follow(invocation, &client, &inspect, (stdin, false, proxied)).await?;
    if end == End::Detached {
        complain("read escape sequence\n");
        return Ok(1);
    }
    exit_status(&client, waiting).await
}

/// `start`.
pub(crate) async fn start(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let asked = ["checkpoint", "checkpoint-dir"].into_iter().filter(|flag| matches.changed(flag));
    let refused = asked.map(|flag| {
        format!(
            "\"--{flag}\" is only supported on a Docker daemon with experimental features enabled"
        )
    });
    let refused: Vec<String> = refused.collect();
    if !refused.is_empty() {
        return Err(Failure::new(refused.join("\n")));
    }
    let (attach, interactive) = (matches.bool("attach"), matches.bool("interactive"));
    let client = invocation.client()?;
    if !attach && !interactive {
        return start_all(invocation, &client).await;
    }
    if matches.args().len() > 1 {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    }
    let inspect = client.container_inspect(invocation.arg(0)).await?;
    let stdin = interactive && inspect.config.open_stdin;
    if inspect.config.tty && stdin && !is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let removed = inspect.host_config.auto_remove;
    let condition = if removed { "removed" } else { "next-exit" };
    let waiting = client.container_wait(&inspect.id, condition).await?;
    match follow(invocation, &client, &inspect, (stdin, true, true)).await? {
        End::Detached => Ok(0),
        End::Closed => exit_status(&client, waiting).await,
    }
}

async fn start_all(invocation: &Invocation, client: &Client) -> Outcome {
    let (mut failures, mut failed) = (Failures::default(), Vec::new());
    for name in invocation.matches.args() {
        match failures.note(client.container_start(name, "").await) {
            Some(()) => print(format!("{name}\n"))?,
            None => failed.push(name.as_str()),
        }
    }
    failures.outcome().map_err(|failure| {
        let Failure { message, .. } = failure;
        let failed = failed.join(", ");
        Failure::new(format!("{message}\nError: failed to start containers: {failed}"))
    })
}

/// Attaches to a container, starts it if asked, and stays to its end.
async fn follow(
    invocation: &Invocation,
    client: &Client,
    inspect: &ContainerInspect,
    (stdin, start, proxied): (bool, bool, bool),
) -> Result<End, Failure> {
    let (id, tty) = (inspect.id.as_str(), inspect.config.tty);
    let keys = Keys::parse(detach_keys(invocation)).map_err(Failure::new)?;
    let mut query = vec![("stream", "1"), ("stdout", "1"), ("stderr", "1")];
    if stdin {
        query.push(("stdin", "1"));
    }
    let detach = detach_keys(invocation);
    if !detach.is_empty() {
        query.push(("detachKeys", detach));
    }
    let proxied = proxied && !tty;
    let mut signals = proxied.then(caught);
    let raw = client.container_attach(id, &query).await?;
    if start {
        client.container_start(id, "").await?;
    }
    let screen = async {
        match tty && is_terminal(rustix::stdio::stdout()) {
            true => {
                if !start {
                    redraw(client, Screen::Container(id)).await;
                }
                follow_size(client, Screen::Container(id)).await;
            }
            false => std::future::pending().await,
        }
    };
    let proxy = async {
        match &mut signals {
            Some(signals) => forward(client, id, signals).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        end = stream::carry(raw, Plan { stdin, output: true, tty, keys, proxied }) => end,
        () = screen => Ok(End::Closed),
        () = proxy => Ok(End::Closed),
    }
}

async fn exit_status(client: &Client, waiting: client::Response<'_>) -> Outcome {
    let waited = client.container_waited(waiting).await?;
    match waited.error {
        Some(error) => Err(Failure::new(error.message)),
        None => Ok(i32::try_from(waited.status_code).unwrap_or(1)),
    }
}
