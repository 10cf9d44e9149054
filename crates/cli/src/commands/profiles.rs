//! Commands about what containers need and what they are denied.

use std::time::Duration;

use client::Client;
use wire::profile::Denied;

use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::{self, Row, Table};
use crate::invocation::Invocation;
use crate::terminal::{complain, print};

/// How long a running container is watched when nothing is said, seconds.
const WATCH_S: u64 = 5;

/// The list of denials.
pub(crate) const TABLE: Table = Table {
    default: "{{.Denied}}\t{{.Reason}}\t{{.Option}}",
    titles: &[("Denied", "DENIED"), ("Option", "WOULD ALLOW IT"), ("Reason", "REASON")],
    type_name: "*formatter.denialContext",
};

/// `profile learn`.
pub(crate) async fn learn(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let id = invocation.arg(0);
    let output = invocation.matches.text("output");
    let running = watch(&client, id).await?;
    match seconds(invocation)? {
        Some(seconds) => settle(&client, id, seconds).await?,
        None if running => settle(&client, id, WATCH_S).await?,
        None => ended(&client, id).await?,
    }
    let profile = client.container_profile(id).await?;
    if profile.observed.lost > 0 {
        let lost = profile.observed.lost;
        complain(format!("WARNING: {lost} events were lost: the profile may lack calls\n"));
    }
    if !profile.observed.capabilities {
        complain("WARNING: this kernel does not tell which capabilities are used: all are kept\n");
    }
    let text = serde_json::to_string_pretty(&profile)
        .map_err(|error| Failure::new(format!("write the profile: {error}")))?;
    if output.is_empty() {
        print(format!("{text}\n"))?;
        return Ok(0);
    }
    std::fs::write(output, format!("{text}\n"))
        .map_err(|error| Failure::new(format!("write {output}: {error}")))?;
    complain(format!(
        "{output}: {} system calls, {} capabilities\n",
        profile.observed.syscalls,
        profile.capabilities.len()
    ));
    Ok(0)
}

/// `diagnose`.
pub(crate) async fn diagnose(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let id = invocation.arg(0);
    let given = seconds(invocation)?;
    let mut during = given.unwrap_or(WATCH_S);
    if invocation.matches.bool("start") {
        if watch(&client, id).await? {
            return Err(Failure::new(format!("container {id} runs already: leave out --start")));
        }
        settle(&client, id, during).await?;
        during = 0;
    }
    let denials = client.container_denials(id, during).await?;
    let row = |it: Denied| {
        let row = Row::default().with("Denied", it.denied);
        row.with("Reason", it.reason).with("Option", it.option)
    };
    let rows = denials.into_iter().map(row).collect();
    format::list(&TABLE, invocation.matches.text("format"), rows)
}

/// Begins to watch, and starts what does not run; whether it ran before.
async fn watch(client: &Client, id: &str) -> Result<bool, Failure> {
    let running = client.container_inspect(id).await?.state.running;
    client.container_watch(id).await?;
    if !running {
        client.container_start(id, "").await?;
    }
    Ok(running)
}

/// Waits for so long, or for the container's end.
async fn settle(client: &Client, id: &str, seconds: u64) -> Result<(), Failure> {
    let limit = Duration::from_secs(seconds);
    // Time that is up is no failure: that is what it was given for.
    tokio::time::timeout(limit, ended(client, id)).await.unwrap_or(Ok(()))
}

async fn ended(client: &Client, id: &str) -> Result<(), Failure> {
    let waiting = client.container_wait(id, "").await?;
    client.container_waited(waiting).await.map(drop).map_err(Failure::from)
}

fn seconds(invocation: &Invocation) -> Result<Option<u64>, Failure> {
    if !invocation.matches.changed("for") {
        return Ok(None);
    }
    let given = invocation.matches.int("for").and_then(|given| u64::try_from(given).ok());
    given.map(Some).ok_or_else(|| Failure::new("--for takes seconds"))
}
