//! SELinux: which labels a container's processes and files have, selinux(8). The policy's own files
//! say of what types they are; what is decided here is what becomes of them by a container's
//! options, and that each container has two categories of its own, by which the policy keeps
//! containers of one type apart. This module never asks the kernel whether a label is one.

use crate::error::Denied;
use crate::mount::Mount;
use std::collections::BTreeMap;
use std::fmt;

/// How many categories there are, and thereby the bound of [`Level::of`].
pub const CATEGORIES: u16 = 1024;

/// The level of files that every container may use, whatever its categories.
const SHARED_LEVEL: &str = "s0";

/// The option of containers that SELinux does not confine.
const DISABLE: &str = "disable";

/// Places of a host whose files are never given to a container: who lost their labels could not be
/// logged in to. The list of Docker and Podman; directories below them may be given.
const NEVER_RELABELLED: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// A label: `user:role:type[:level]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    user: String,
    role: String,
    kind: String,
    /// Sensitivity and categories, `s0:c1,c2`; empty where the policy knows none.
    level: String,
}

impl Context {
    /// Takes a label apart; `None` when it is none, or holds what no label does.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().filter(|part| is_word(part)).map(str::to_owned);
        let (user, role, kind) = (part()?, part()?, part()?);
        let level = parts.next().unwrap_or_default();
        (level.is_empty() || is_word(level)).then(|| Self {
            user,
            role,
            kind,
            level: level.to_owned(),
        })
    }

    /// Sensitivity and categories; empty where the policy knows none.
    pub fn level(&self) -> &str {
        &self.level
    }

    fn at(&self, level: &Level) -> Self {
        // Where the policy has no levels, nothing can have categories.
        let level = if self.level.is_empty() { String::new() } else { level.to_string() };
        Self { level, ..self.clone() }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        if self.level.is_empty() { Ok(()) } else { write!(f, ":{}", self.level) }
    }
}

/// What a part of a label is made of: nothing that an option of a mount, or a line, ends with.
fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:,".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// Two categories, and with them what the containers of a host differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u16, u16);

impl Level {
    /// That of containers which nothing confines: no container that is confined has it, so that
    /// none sees their files.
    const UNCONFINED: Self = Self(CATEGORIES - 2, CATEGORIES - 1);

    /// Of two different categories below [`CATEGORIES`].
    pub fn of(one: u16, other: u16) -> Option<Self> {
        let level = Self(one.min(other), one.max(other));
        let fits = level.0 != level.1 && level.1 < CATEGORIES && level != Self::UNCONFINED;
        fits.then_some(level)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s0:c{},c{}", self.0, self.1)
    }
}

/// What the policy of a host has for containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contexts {
    process: Context,
    file: Context,
}

impl Contexts {
    /// Reads the policy's file `lxc_contexts`: lines `name = "label"`, comments begin with `#` or
    /// `;`. `None` when it does not say what both processes and files of containers are.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.starts_with(['#', ';']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        let named: BTreeMap<&str, &str> =
            pairs.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect();
        let of = |name| named.get(name).and_then(|label| Context::parse(label));
        Some(Self { process: of("process")?, file: of("file")? })
    }
}

/// What the labels of one container are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The host's.
    pub contexts: Contexts,
    /// Its own, if its options say nothing of a level.
    pub level: Level,
    /// Labels of the processes whose message queues or process ids it shares; empty ones of those
    /// that have none.
    pub joined: Vec<String>,
}

/// What a container's processes and files are labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of its processes; empty for who is not confined.
    pub process: String,
    /// Of its files; empty where SELinux is not in use.
    pub mount: String,
}

/// Who may use the files of a mount that is labelled for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relabel {
    /// Every container (`z`).
    Shared,
    /// This container alone (`Z`).
    Private,
}

impl Labels {
    /// The labels that options make of what the host has, each option over those before it.
    ///
    /// # Errors
    /// An option that is none.
    pub fn of(ground: &Ground, options: &[String]) -> Result<Self, Denied> {
        let Contexts { process, file } = &ground.contexts;
        if options.iter().any(|option| option == DISABLE) {
            let mount = file.at(&Level::UNCONFINED).to_string();
            return Ok(Self { process: String::new(), mount });
        }
        let (mut process, mut file) = (process.at(&ground.level), file.at(&ground.level));
        for option in options {
            let Some((name, value)) = option.split_once(':') else {
                return Err(Denied::invalid(format!(
                    "Bad label option {option:?}, valid options 'disable' or \n'user, role, \
                     level, type, filetype' followed by ':' and a value"
                )));
            };
            if !is_word(value) {
                return Err(Denied::invalid(format!("Bad label option {option:?}")));
            }
            let value = value.to_owned();
            match name {
                "user" => (process.user, file.user) = (value.clone(), value),
                "level" => (process.level, file.level) = (value.clone(), value),
                "role" => process.role = value,
                "type" => process.kind = value,
                "filetype" => file.kind = value,
                _ => {
                    return Err(Denied::invalid(format!(
                        "Bad label option {name:?}, valid options 'disable, user, role, level, \
                         type, filetype'"
                    )));
                }
            }
        }
        Ok(Self { process: process.to_string(), mount: file.to_string() })
    }

    /// The level that no other container is to be given while this one is there; empty for none.
    pub fn level(&self) -> String {
        Context::parse(&self.process).map(|label| label.level).unwrap_or_default()
    }

    /// The label of files that are mounted into the container; `None` where there is none.
    pub fn files(&self, whose: Relabel) -> Option<String> {
        let mut label = Context::parse(&self.mount)?;
        if whose == Relabel::Shared && !label.level.is_empty() {
            SHARED_LEVEL.clone_into(&mut label.level);
        }
        Some(label.to_string())
    }
}

/// The options that go without saying: of who shares the host's processes or has all privileges,
/// and of who joins others and has to be what they are.
///
/// # Errors
/// Joined containers that are not alike.
pub fn implied(unconfined: bool, ground: Option<&Ground>) -> Result<Vec<String>, Denied> {
    if unconfined {
        return Ok(vec![DISABLE.to_owned()]);
    }
    let joined = ground.map_or(&[][..], |ground| &ground.joined);
    let labels: Vec<Context> = joined.iter().filter_map(|label| Context::parse(label)).collect();
    match labels.as_slice() {
        [] => Ok(Vec::new()),
        [first, rest @ ..] if rest.iter().all(|label| label == first) => Ok(dup(first)),
        _ => Err(Denied::invalid("--ipc and --pid containers SELinux labels aren't the same")),
    }
}

/// The options that make a label.
fn dup(label: &Context) -> Vec<String> {
    let Context { user, role, kind, level } = label;
    let mut options = vec![format!("user:{user}"), format!("role:{role}"), format!("type:{kind}")];
    options.extend((!level.is_empty()).then(|| format!("level:{level}")));
    options
}

/// Whether an option asks for nothing that a host without SELinux could not give.
pub(crate) fn is_moot(option: &str) -> bool {
    option == DISABLE
}

/// How the files of a mount are to be labelled; `None` to leave them. A volume of the node's own
/// is there to be used by containers, so that goes without saying.
pub fn relabelling(mount: &Mount, own_volume: bool) -> Option<Relabel> {
    mount.relabel.or(own_volume.then_some(Relabel::Shared))
}

/// Whether what lies at an absolute path, without links on the way, may be labelled for containers.
/// `home`: that of whoever runs the daemon.
pub fn may_relabel(path: &str, home: Option<&str>) -> bool {
    let trimmed = path.trim_end_matches('/');
    let path = if trimmed.is_empty() { "/" } else { trimmed };
    let home = home.map(|home| home.trim_end_matches('/'));
    !(NEVER_RELABELLED.contains(&path) || home == Some(path))
}

#[cfg(test)]
mod tests;
