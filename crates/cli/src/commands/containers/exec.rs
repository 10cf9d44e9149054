//! `exec`: one more process in a running container.

use std::time::Duration;

use wire::docker::exec::{ExecCreateBody, ExecStartBody};

use super::run::detach_keys;
use crate::command::Outcome;
use crate::create::environment;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::stream::keys::Keys;
use crate::stream::signals::{Screen, follow_size};
use crate::stream::{self, End, Plan};
use crate::terminal::is_terminal;

/// How often, and at which interval, the exit of a process whose streams ended is looked for.
const EXIT_LOOKS: u32 = 200;
const EXIT_LOOK: Duration = Duration::from_millis(5);

/// `exec`.
pub(crate) async fn exec(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let detached = matches.bool("detach");
    let (tty, interactive) = (matches.bool("tty"), matches.bool("interactive"));
    let keys = Keys::parse(detach_keys(invocation))
        .map_err(|why| Failure::new(format!("invalid detach keys: {why}")))?;
    if !detached && tty && interactive && !is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let console = tty.then(|| crate::terminal::size(rustix::stdio::stdout())).flatten();
    let console_size = console.map(|(rows, columns)| [u32::from(rows), u32::from(columns)]);
    let variables = environment::variables(matches)?;
    let (container, command) = (invocation.arg(0), matches.args().get(1..).unwrap_or_default());
    let body = ExecCreateBody {
        user: matches.text("user").to_owned(),
        privileged: matches.bool("privileged"),
        tty,
        console_size,
        attach_stdin: !detached && interactive,
        attach_stderr: !detached,
        attach_stdout: !detached,
        detach: detached,
        detach_keys: detach_keys(invocation).to_owned(),
        env: (!variables.is_empty()).then_some(variables),
        working_dir: matches.text("workdir").to_owned(),
        cmd: Some(command.to_vec()),
    };
    let client = invocation.client()?;
    let id = client.exec_create(container, &body).await?;
    if id.is_empty() {
        return Err(Failure::new("exec ID empty"));
    }
    let start = ExecStartBody { detach: detached, tty, console_size };
    if detached {
        client.exec_start(&id, &start).await?;
        return Ok(0);
    }
    let raw = client.exec_attach(&id, &start).await?;
    let plan = Plan { stdin: interactive, output: true, tty, keys, proxied: false };
    let screen = async {
        match tty && is_terminal(rustix::stdio::stdin()) {
            true => follow_size(&client, Screen::Exec(&id)).await,
            false => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = stream::carry(raw, plan) => end?,
        () = screen => End::Closed,
    };
    if end == End::Detached {
        return Err(Failure::new("read escape sequence"));
    }
    let mut state = client.exec_inspect(&id).await?;
    // The stream may end a moment before the exit is known.
    for _ in 0..EXIT_LOOKS {
        if !state.running && state.exit_code.is_some() {
            break;
        }
        tokio::time::sleep(EXIT_LOOK).await;
        state = client.exec_inspect(&id).await?;
    }
    Ok(state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or_default())
}
