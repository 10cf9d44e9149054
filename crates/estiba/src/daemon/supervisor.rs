//! What a supervisor like systemd hands over and wants to hear: listening sockets
//! (sd_listen_fds(3)) and news of the start and the end (sd_notify(3)). It serves nothing.

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The first descriptor of a socket activation.
const FIRST: i32 = 3;
/// More sockets than anybody activates a daemon with.
const MAX_SOCKETS: i32 = 256;

/// The sockets that were handed over under this name; all of them for an empty one or `*`.
pub(crate) fn sockets(name: &str) -> Result<Vec<OwnedFd>, String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let meant_for_us = variable("LISTEN_PID") == std::process::id().to_string();
    let count = variable("LISTEN_FDS").parse().unwrap_or(0).clamp(0, MAX_SOCKETS);
    if !meant_for_us || count == 0 {
        return Err("no sockets found via socket activation: make sure the service was started \
                    by systemd"
            .into());
    }
    let numbers = chosen(name, count, &variable("LISTEN_FDNAMES"))?;
    numbers.into_iter().map(own).collect()
}

/// Numbers of the descriptors called `name`, which is a name or a number in Docker's `fd://`.
fn chosen(name: &str, count: i32, names: &str) -> Result<Vec<i32>, String> {
    let all = FIRST..FIRST + count;
    if name.is_empty() || name == "*" {
        return Ok(all.collect());
    }
    if let Ok(number) = name.parse::<i32>() {
        return match all.contains(&number) {
            true => Ok(vec![number]),
            false => Err(format!("descriptor {number} is not among those handed over")),
        };
    }
    let named: Vec<i32> =
        all.zip(names.split(':')).filter(|(_, it)| *it == name).map(|(fd, _)| fd).collect();
    match named.is_empty() {
        true => Err(format!("no socket called {name:?} was handed over")),
        false => Ok(named),
    }
}

/// A descriptor of this process by its number, close-on-exec, as the kernel gives it out.
fn own(number: i32) -> Result<OwnedFd, String> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    own.and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()))
        .map_err(|errno| format!("take over descriptor {number} of the socket activation: {errno}"))
}

/// Tells the supervisor that the configuration is being read again (`Type=notify-reload`); it
/// waits for the next `READY=1`.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// How often the supervisor wants to hear that the daemon lives (sd_watchdog_enabled(3)): half of
/// the time after which it would act.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| meant && *micros > 1)?;
    Some(Duration::from_micros(micros / 2))
}

/// Tells the supervisor, if there is one. Nobody depends on its hearing it.
pub(crate) fn notify(state: &str) {
    let Ok(address) = std::env::var("NOTIFY_SOCKET") else { return };
    let to = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&address),
    };
    let told = to.and_then(|to| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to));
    if let Err(error) = told {
        tracing::warn!(%error, address, "tell the supervisor {state:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_by_name_and_by_number() {
        for (name, want) in [
            ("", Ok(vec![3, 4, 5])),
            ("*", Ok(vec![3, 4, 5])),
            ("4", Ok(vec![4])),
            ("api", Ok(vec![3, 5])),
            ("6", Err(())),
            ("nobody", Err(())),
        ] {
            assert_eq!(chosen(name, 3, "api:other:api").map_err(drop), want, "{name}");
        }
    }
}
