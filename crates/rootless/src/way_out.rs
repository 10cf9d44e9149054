//! The program that connects the user's network namespace with the host's network: pasta, or else
//! slirp4netns. Which one and with which words is decided here; the keeper starts it.
//!
//! Source: pasta(1), slirp4netns(1).

use crate::error::{Error, Result};
use crate::needs::find_program;
use serde::{Deserialize, Serialize};
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

/// Where the namespace's programs ask for names: the host's resolver, reached through the way out.
/// Link-local, and so nobody's elsewhere.
const PASTA_RESOLVER: &str = "169.254.1.1";
/// slirp4netns' own.
const SLIRP_RESOLVER: &str = "10.0.2.3";

impl WayOut {
    pub(crate) fn find(choice: Choice) -> Result<Self> {
        let hint = "install the package passt, or choose ESTIBA_ROOTLESS_NET=slirp4netns";
        let pasta = || find_program("pasta").map(Self::Pasta);
        let slirp = || find_program("slirp4netns").map(Self::Slirp);
        match choice {
            Choice::None => Ok(Self::None),
            Choice::Pasta => pasta().ok_or(Error::NoProgram { program: "pasta", hint }),
            Choice::Slirp => slirp().ok_or(Error::NoProgram {
                program: "slirp4netns",
                hint: "install the package slirp4netns",
            }),
            Choice::Any => pasta().or_else(slirp).ok_or(Error::NoWayOut),
        }
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
                     --dns-forward {PASTA_RESOLVER} -t none -u none -T none -U none \
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

    /// What the namespace's resolv.conf(5) says, from the host's; `None` leaves the host's.
    pub(crate) fn resolv_conf(&self, host: &str) -> Option<String> {
        let resolver = match self {
            Self::Pasta(_) => PASTA_RESOLVER,
            Self::Slirp(_) => SLIRP_RESOLVER,
            Self::None => return None,
        };
        let kept =
            |line: &&str| ["search", "domain", "options"].iter().any(|it| line.starts_with(it));
        let rest: String = host.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        Some(format!("nameserver {resolver}\n{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_through_the_way_out() {
        let host = "# made by hand\nnameserver 127.0.0.53\nsearch a.example\noptions edns0\n";
        let pasta = WayOut::Pasta("/usr/bin/pasta".into());
        let text = pasta.resolv_conf(host).unwrap();
        assert_eq!(text, "nameserver 169.254.1.1\nsearch a.example\noptions edns0\n");
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
}
