//! `logs`, `top`, `port`, `diff` and `container inspect`.

use client::LogQuery;

use super::super::inspect as inspection;
use super::list::host;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::print;
use crate::{number, stream, tabwriter, time};

/// The largest port.
const PORT_MAX: u64 = 65_535;

/// `logs`.
pub(crate) async fn logs(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let moment = |flag: &str| match matches.text(flag) {
        "" => Ok(String::new()),
        text => time::since(text)
            .map_err(|why| Failure::new(format!("invalid value for {}: {why}", quoted(flag)))),
    };
    let wanted = LogQuery {
        follow: matches.bool("follow"),
        since: moment("since")?,
        until: moment("until")?,
        timestamps: matches.bool("timestamps"),
        details: matches.bool("details"),
        tail: matches.string("tail").unwrap_or("all").to_owned(),
    };
    let client = invocation.client()?;
    let inspect = client.container_inspect(invocation.arg(0)).await?;
    let mut answer = client.container_logs(&inspect.id, &wanted).await?;
    stream::copy(&mut answer, inspect.config.tty).await?;
    Ok(0)
}

fn quoted(flag: &str) -> String {
    format!("{flag:?}")
}

/// `top`.
pub(crate) async fn top(invocation: &Invocation) -> Outcome {
    let arguments = invocation.matches.args().get(1..).unwrap_or_default().join(" ");
    let top = invocation.client()?.container_top(invocation.arg(0), &arguments).await?;
    let lines: Vec<String> =
        std::iter::once(&top.titles).chain(&top.processes).map(|cells| cells.join("\t")).collect();
    print(format!("{}\n", tabwriter::align(&lines.join("\n"), 20, 3)))?;
    Ok(0)
}

/// `port`.
pub(crate) async fn port(invocation: &Invocation) -> Outcome {
    let inspect = invocation.client()?.container_inspect(invocation.arg(0)).await?;
    let ports = inspect.network_settings.ports.unwrap_or_default();
    if let Some(wanted) = invocation.matches.arg(1) {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        number::parse_uint(port, PORT_MAX)
            .map_err(|why| Failure::new(format!("Error: invalid port ({port}): {why}")))?;
        let bindings = ports.get(&format!("{port}/{protocol}")).cloned().flatten();
        let Some(bindings) = bindings.filter(|bindings| !bindings.is_empty()) else {
            let name = invocation.arg(0);
            return Err(Failure::new(format!(
                "Error: No public port '{wanted}' published for {name}"
            )));
        };
        for binding in bindings {
            print(format!("{}\n", host(&binding.host_ip, &binding.host_port)))?;
        }
        return Ok(0);
    }
    let mut lines: Vec<((u16, String), String)> = Vec::new();
    for (port, bindings) in &ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        for binding in bindings.iter().flatten() {
            let key = (number.parse().unwrap_or_default(), protocol.to_owned());
            let host = host(&binding.host_ip, &binding.host_port);
            lines.push((key, format!("{port} -> {host}\n")));
        }
    }
    lines.sort();
    print(lines.into_iter().map(|(_, line)| line).collect::<String>())?;
    Ok(0)
}

/// `diff`.
pub(crate) async fn diff(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    if name.is_empty() {
        return Err(Failure::new("Container name cannot be empty"));
    }
    let mut text = String::new();
    for change in invocation.client()?.container_changes(name).await? {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            2 => 'D',
            _ => '?',
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    print(text)?;
    Ok(0)
}

/// `container inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let size = invocation.matches.bool("size");
    inspection::each(invocation, async |name| client.container_inspect_raw(name, size).await).await
}
