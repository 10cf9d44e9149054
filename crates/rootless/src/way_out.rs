//! The program that connects the user's network namespace with the host's network: pasta, or else
//! slirp4netns. Which one and with which words is decided here; the keeper starts it.
//!
//! Source: pasta(1), slirp4netns(1).

use crate::error::{Error, Result};
use crate::needs::find_program;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best there is.
    #[default]
    Any,
    /// pasta.
    Pasta,
    /// slirp4netns.
    Slirp,
    /// Nothing: containers reach each other, and nothing else.
    None,
}

impl Choice {
    /// What the environment says: `ESTIBA_ROOTLESS_NET`, or Docker's name for it.
    ///
    /// # Errors
    /// [`Error::UnknownChoice`].
    pub fn of_environment() -> Result<Self> {
        let names = ["ESTIBA_ROOTLESS_NET", "DOCKERD_ROOTLESS_ROOTLESSKIT_NET"];
        let given = names.iter().find_map(|name| std::env::var(name).ok());
        match given.as_deref().unwrap_or_default() {
            "" => Ok(Self::Any),
            "pasta" => Ok(Self::Pasta),
            "slirp4netns" => Ok(Self::Slirp),
            "none" => Ok(Self::None),
            other => Err(Error::UnknownChoice(other.to_owned())),
        }
    }
}

/// A way out, found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WayOut {
    Pasta(PathBuf),
    Slirp(PathBuf),
    None,
}

/// Where slirp4netns hands questions for names on to the host's resolver.
const SLIRP_RESOLVER: &str = "10.0.2.3";
/// Where systemd-resolved names the resolvers behind its own, which is on the host's loopback.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

impl WayOut {
    pub(crate) fn find(choice: Choice) -> Result<Self> {
        let hint = "install the package passt, or choose ESTIBA_ROOTLESS_NET=slirp4netns";
        let pasta = || find_program("pasta").map(Self::Pasta);
        let slirp = || find_program("slirp4netns").map(Self::Slirp);
        let found = match choice {
            Choice::None => return Ok(Self::None),
            Choice::Pasta => pasta().ok_or(Error::NoProgram { program: "pasta", hint }),
            Choice::Slirp => slirp().ok_or(Error::NoProgram {
                program: "slirp4netns",
                hint: "install the package slirp4netns",
            }),
            // pasta shows a host's own network, and needs one.
            Choice::Any if has_default_route("self") => {
                pasta().or_else(slirp).ok_or(Error::NoWayOut)
            }
            Choice::Any => slirp().or_else(pasta).ok_or(Error::NoWayOut),
        }?;
        let both = Access::READ_OK | Access::WRITE_OK;
        access("/dev/net/tun", both).map_err(|errno| Error::NoTun(errno.into()))?;
        Ok(found)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pasta(_) => "pasta",
            Self::Slirp(_) => "slirp4netns",
            Self::None => "none",
        }
    }

    /// The program and its words for the namespaces of the process `pid`. It stays in the
    /// foreground, opens no port by itself, and shows nothing of the host's loopback (law F7).
    pub(crate) fn command(&self, pid: i32) -> Option<(PathBuf, Vec<String>)> {
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Pasta(program) => Some((
                program.clone(),
                words(format!(
                    "pasta --foreground --stderr --quiet --config-net --no-map-gw \
                     -t none -u none -T none -U none \
                     --userns /proc/{pid}/ns/user --netns /proc/{pid}/ns/net"
                )),
            )),
            Self::Slirp(program) => Some((
                program.clone(),
                words(format!(
                    "slirp4netns --configure --mtu=65520 --disable-host-loopback --enable-ipv6 \
                     --userns-path=/proc/{pid}/ns/user --netns-type=path /proc/{pid}/ns/net tap0"
                )),
            )),
            Self::None => None,
        }
    }

    /// What the namespace's resolv.conf(5) says, from the host's; `None` leaves the host's. The
    /// host's loopback is out of reach, and so are resolvers on it.
    pub(crate) fn resolv_conf(&self, host: &str) -> Option<String> {
        match self {
            Self::Slirp(_) => Some(with_resolver(host, SLIRP_RESOLVER)),
            Self::Pasta(_) if servers(host).any(|it| !it.is_loopback()) => None,
            Self::Pasta(_) => std::fs::read_to_string(BEHIND_RESOLVED).ok(),
            Self::None => None,
        }
    }
}

fn servers(text: &str) -> impl Iterator<Item = IpAddr> {
    let words = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    words.filter_map(|address| address.trim().parse().ok())
}

/// The same with another resolver.
fn with_resolver(host: &str, resolver: &str) -> String {
    let kept = |line: &&str| ["search", "domain", "options"].iter().any(|it| line.starts_with(it));
    let rest: String = host.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    format!("nameserver {resolver}\n{rest}")
}

/// Whether the network namespace of a process (its directory in /proc) has a way to everywhere, of
/// either family.
pub(crate) fn has_default_route(process: &str) -> bool {
    let read =
        |name| std::fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default();
    is_default_v4(&read("route")) || is_default_v6(&read("ipv6_route"))
}

fn is_default_v4(text: &str) -> bool {
    text.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000")
    })
}

fn is_default_v6(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let everywhere = words.first().is_some_and(|it| it.bytes().all(|byte| byte == b'0'));
        everywhere && words.get(1) == Some(&"00") && words.get(9).is_some_and(|it| *it != "lo")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_of_the_namespace_can_be_reached() {
        let host = "# made by hand\nnameserver 127.0.0.53\nsearch a.example\noptions edns0\n";
        let slirp = WayOut::Slirp("/usr/bin/slirp4netns".into());
        let text = slirp.resolv_conf(host).unwrap();
        assert_eq!(text, "nameserver 10.0.2.3\nsearch a.example\noptions edns0\n");
        let pasta = WayOut::Pasta("/usr/bin/pasta".into());
        assert_eq!(pasta.resolv_conf("nameserver 192.0.2.53\n"), None);
        assert_eq!(WayOut::None.resolv_conf(host), None);
    }

    #[test]
    fn no_port_is_opened_by_the_way_out_itself() {
        let (_, words) = WayOut::Pasta("/usr/bin/pasta".into()).command(7).unwrap();
        let line = words.join(" ");
        assert!(line.contains("-t none -u none -T none -U none"), "{line}");
        assert!(line.contains("--no-map-gw") && line.contains("/proc/7/ns/net"), "{line}");
        let (_, words) = WayOut::Slirp("/usr/bin/slirp4netns".into()).command(7).unwrap();
        assert!(words.contains(&"--disable-host-loopback".to_owned()), "{words:?}");
    }

    #[test]
    fn a_way_to_everywhere_is_found() {
        let head =
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let all = "tap0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let net = "tap0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert!(is_default_v4(&format!("{head}{net}{all}")));
        assert!(!is_default_v4(&format!("{head}{net}")));
        let zero = "0".repeat(32);
        let line = |to: &str| format!("{zero} 00 {zero} 00 {zero} 00000400 0 0 00000003 {to}\n");
        assert!(is_default_v6(&line("tap0")));
        // The route that refuses what has no other.
        assert!(!is_default_v6(&line("lo")));
        assert!(!is_default_v6("") && !is_default_v4(""));
    }
}
