//! Watching containers: what one needs, and what it was denied.

use super::Query;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::{self, Reply};
use std::time::Duration;
use wire::profile::{Denied, Observed, ProfileFile, VERSION};

/// The longest watch that a request waits for.
const MAX_SECONDS: u64 = 3600;

/// `POST /estiba/containers/{id}/watch`: from its next start on, or from now when it runs.
pub(crate) async fn watch(call: Call) -> Reply {
    call.engine.containers.watch(&call.target).await?;
    reply::no_content()
}

/// `GET /estiba/containers/{id}/profile`: what a container that was watched needs.
pub(crate) async fn profile(call: Call) -> Reply {
    let learned = call.engine.containers.learned(&call.target).await?;
    let socket = |(domain, kind): &(u64, u64)| format!("{} {}", family(*domain), of_kind(*kind));
    reply::json(&ProfileFile {
        version: VERSION,
        capabilities: learned.capabilities,
        observed: Observed {
            syscalls: learned.calls,
            capabilities: learned.capabilities_seen,
            sockets: learned.sockets.iter().map(socket).collect(),
            files: learned.files,
            lost: learned.lost,
        },
        seccomp: learned.seccomp,
    })
}

/// `GET /estiba/containers/{id}/denials?seconds=N`: what was denied, and what would allow it; a
/// container that runs is watched for so long.
pub(crate) async fn denials(call: Call) -> Reply {
    let during = Duration::from_secs(seconds(&call.query)?);
    let advice = call.engine.containers.denials(&call.target, during).await?;
    let denied = advice.into_iter().map(|it| Denied {
        denied: it.denied,
        reason: it.reason,
        option: it.option,
    });
    reply::json(&denied.collect::<Vec<_>>())
}

fn seconds(query: &Query) -> Result<u64, Failure> {
    let text = query.text("seconds").unwrap_or("0");
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS);
    seconds.ok_or_else(|| Failure::invalid(format!("invalid number of seconds {text:?}")))
}

/// Names of `linux/socket.h` and `linux/net.h`.
fn family(number: u64) -> String {
    match number {
        1 => "AF_UNIX".to_owned(),
        2 => "AF_INET".to_owned(),
        10 => "AF_INET6".to_owned(),
        16 => "AF_NETLINK".to_owned(),
        17 => "AF_PACKET".to_owned(),
        number => format!("AF_{number}"),
    }
}

fn of_kind(number: u64) -> String {
    let names = ["", "SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"];
    match usize::try_from(number).ok().and_then(|number| names.get(number)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => format!("SOCK_{number}"),
    }
}
