//! Control groups whose place is systemd's to give: a container is a scope, systemd.scope(5), in a
//! slice, and its group lies in there. The scope is delegated (`Delegate=yes`), so everything below
//! it is ours: limits are written as without systemd, and no reload of its takes them back.
//!
//! ```text
//!  /machine.slice/machine-a.slice / estiba-ID.scope / container
//!  └── the slice, as its name says ┘└── systemd's ──┘└─ ours ──┘
//! ```
//!
//! Source: org.freedesktop.systemd1(5), "Control Group APIs and Delegation". Knows no limit.

use super::error::CgroupError;
use bus::{Answer, Bus, Method, Value};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The group in the scope.
const GROUP: &str = "container";
/// Where containers go when nothing is said.
const DEFAULT_SLICE: &str = "system.slice";
/// What scopes are called by when nothing is said.
const DEFAULT_PREFIX: &str = "estiba";
/// How long systemd may take to move a process.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a scope may be there after its last process: systemd has to notice, and may be busy.
const LINGERING: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Where the system's bus listens, unless the environment says otherwise.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// Where systemd listens itself, on hosts that have no bus.
const PRIVATE: &str = "/run/systemd/private";

/// Where a container is among systemd's units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    slice: String,
    unit: String,
    path: String,
}

impl Scope {
    /// Reads `cgroupsPath` as runc's drivers write it, `slice:prefix:name`; each may be empty, and
    /// all of it.
    ///
    /// # Errors
    /// [`CgroupError::BadPath`].
    pub fn parse(text: &str, id: &str) -> Result<Self, CgroupError> {
        if text.is_empty() {
            return Self::new("", DEFAULT_PREFIX, id);
        }
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [slice, prefix, name] => Self::new(slice, prefix, name),
            _ => Err(bad(text, "with systemd's control groups it has the form slice:prefix:name")),
        }
    }

    /// The scope `prefix-name.scope` in a slice.
    ///
    /// # Errors
    /// [`CgroupError::BadPath`] for what is no name of a unit.
    pub fn new(slice: &str, prefix: &str, name: &str) -> Result<Self, CgroupError> {
        let slice = if slice.is_empty() { DEFAULT_SLICE } else { slice };
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        if name.is_empty() || !is_unit(&unit) {
            return Err(bad(&unit, "it is no name of a unit"));
        }
        let path = format!("{}/{unit}/{GROUP}", slice_path(slice)?);
        Ok(Self { slice: slice.to_owned(), unit, path })
    }

    /// The container's group, from the root of each tree.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Has systemd make the scope, with process `pid` in it. It is gone by itself when nobody is in
    /// it any more.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`] with what systemd says, or why it cannot be asked.
    pub fn start(&self, pid: i32) -> Result<(), CgroupError> {
        self.ask(pid).and_then(|()| self.await_arrival(pid)).map_err(|source| {
            CgroupError::Systemd { unit: self.unit.clone(), slice: self.slice.clone(), source }
        })
    }

    fn ask(&self, pid: i32) -> io::Result<()> {
        let mut systemd = connect()?;
        let begun = Instant::now();
        loop {
            let why = match self.start_unit(&mut systemd, pid)? {
                Answer::Body(_) => return Ok(()),
                Answer::Refused(why) => why,
            };
            if !why.contains("UnitExists") || begun.elapsed() > LINGERING {
                return Err(io::Error::other(why));
            }
            // The last one of this name: it has failed, and systemd remembers it, or systemd has
            // not noticed yet that nobody is in it any more.
            call(&mut systemd, "ResetFailedUnit", &[Value::Text(&self.unit)])?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn start_unit(&self, systemd: &mut Bus, pid: i32) -> io::Result<Answer> {
        let pids = [pid.unsigned_abs()];
        let description = format!("container {}", self.unit.trim_end_matches(".scope"));
        let properties = [
            ("Description", Value::Text(&description)),
            ("Slice", Value::Text(&self.slice)),
            ("Delegate", Value::Truth(true)),
            ("PIDs", Value::Numbers(&pids)),
            ("DefaultDependencies", Value::Truth(false)),
            ("CollectMode", Value::Text("inactive-or-failed")),
        ];
        let arguments = [
            Value::Text(&self.unit),
            Value::Text("fail"),
            Value::Pairs(&properties),
            Value::NoUnits,
        ];
        call(systemd, "StartTransientUnit", &arguments)
    }

    /// Until the process is in the scope: the answer only says that systemd has a job of it.
    fn await_arrival(&self, pid: i32) -> io::Result<()> {
        let begun = Instant::now();
        let groups = format!("/proc/{pid}/cgroup");
        let scope = self.path.trim_end_matches(GROUP).trim_end_matches('/');
        loop {
            let text = std::fs::read_to_string(&groups)?;
            if text.lines().any(|line| is_in(line, scope)) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let why = "systemd has not moved the process within 20 seconds";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether systemd is there to be asked.
///
/// # Errors
/// Why it is not.
pub fn check() -> io::Result<()> {
    connect().map(drop)
}

/// The scope that a container's group lies in.
pub(super) fn scope_of(group: &Path) -> Option<&Path> {
    let scope = group.parent().filter(|_| group.ends_with(GROUP))?;
    scope.extension().is_some_and(|it| it == "scope").then_some(scope)
}

/// Whether systemd keeps its units in the v1 tree of these controllers, or in v2's if there are
/// none: it is itself in a scope there.
pub(super) fn watches(controllers: &[String]) -> bool {
    let groups = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    groups.lines().any(|line| has_systemd(line, controllers))
}

/// Whether a line of the first process's /proc/PID/cgroup is of the tree of these controllers, and
/// says that it is systemd.
fn has_systemd(line: &str, controllers: &[String]) -> bool {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(tree), Some(path)) = (parts.next(), parts.next()) else { return false };
    let same = match controllers {
        [] => tree.is_empty(),
        some => tree.split(',').any(|name| some.iter().any(|it| it == name)),
    };
    same && path.ends_with("/init.scope")
}

/// Whether a line of /proc/PID/cgroup is that of systemd's own tree and names the scope.
fn is_in(line: &str, scope: &str) -> bool {
    let mut parts = line.splitn(3, ':').skip(1);
    let (tree, path) = (parts.next(), parts.next());
    matches!(tree, Some("" | "name=systemd")) && path == Some(scope)
}

/// The directory of a slice: each dash of its name is a slice above, systemd.slice(5).
fn slice_path(slice: &str) -> Result<String, CgroupError> {
    let name = slice.strip_suffix(".slice");
    let name = name.filter(|_| is_unit(slice)).ok_or_else(|| bad(slice, "it is no slice"))?;
    if name == "-" {
        return Ok(String::new());
    }
    if name.split('-').any(str::is_empty) {
        return Err(bad(slice, "it is no slice"));
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &name[..end])).collect())
}

/// Whether a text may be the name of a unit, systemd.unit(5).
fn is_unit(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('.')
}

fn bad(path: &str, reason: &'static str) -> CgroupError {
    CgroupError::BadPath { path: path.chars().take(256).collect(), reason }
}

fn call(systemd: &mut Bus, name: &str, arguments: &[Value<'_>]) -> io::Result<Answer> {
    let method = Method {
        service: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        name,
    };
    systemd.call(method, arguments)
}

/// A connection to the system's systemd: by the bus, or its own door where there is no bus.
fn connect() -> io::Result<Bus> {
    if !sys::userns::is_first() {
        let why = "an ordinary user's containers are not systemd's to place: delegate a control \
                   group and leave --systemd-cgroup out";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let told = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    let told = told.as_deref().and_then(|address| address.strip_prefix("unix:path="));
    let told = told.and_then(|path| path.split(',').next());
    let socket = PathBuf::from(told.unwrap_or(SYSTEM_BUS));
    if socket.exists() {
        return Bus::connect(&socket);
    }
    if Path::new(PRIVATE).exists() {
        return Bus::connect_peer(Path::new(PRIVATE));
    }
    let why = format!("this host does not run systemd: there is no {}", socket.display());
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_own_trees_are_those_that_it_is_in() {
        let named = ["name=systemd".to_owned()];
        let cpu = ["cpu".to_owned(), "cpuacct".to_owned()];
        for (line, controllers, watched) in [
            ("0::/init.scope", &[][..], true),
            ("0::/", &[], false),
            ("0::/init.scope", &named, false),
            ("1:name=systemd:/init.scope", &named, true),
            ("1:name=systemd:/init.scope", &[], false),
            ("5:cpuacct,cpu:/", &cpu, false),
            ("5:cpuacct,cpu:/init.scope", &cpu, true),
            ("0::/a.slice/init.scope", &[], true),
            ("", &[], false),
        ] {
            assert_eq!(has_systemd(line, controllers), watched, "{line} {controllers:?}");
        }
    }

    #[test]
    fn places_are_read_as_drivers_write_them() {
        for (text, slice, unit, path) in [
            ("", "system.slice", "estiba-id.scope", "/system.slice/estiba-id.scope"),
            ("a.slice:docker:x", "a.slice", "docker-x.scope", "/a.slice/docker-x.scope"),
            (":p:x", "system.slice", "p-x.scope", "/system.slice/p-x.scope"),
            ("a-b-c.slice::x", "a-b-c.slice", "x.scope", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
            ("-.slice:p:x", "-.slice", "p-x.scope", "/p-x.scope"),
        ] {
            let scope = Scope::parse(text, "id").unwrap();
            assert_eq!((&*scope.slice, &*scope.unit), (slice, unit), "{text}");
            assert_eq!(scope.path(), format!("{path}/container"), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long = format!("a.slice:p:{}", "x".repeat(256));
        for text in [
            "/a/b",
            "a:b",
            "a.slice:b:c:d",
            "a:p:x",
            "a.slice:p:",
            "a--b.slice:p:x",
            "-a.slice:p:x",
            "../a.slice:p:x",
            "a.slice:p:../x",
            "a.slice:p:x\n",
            ".slice:p:x",
            &long,
        ] {
            assert!(Scope::parse(text, "id").is_err(), "{text:?}");
        }
    }

    #[test]
    fn arrival_is_seen_in_systemds_own_tree() {
        let scope = "/system.slice/p-x.scope";
        assert!(is_in("0::/system.slice/p-x.scope", scope));
        assert!(is_in("1:name=systemd:/system.slice/p-x.scope", scope));
        assert!(!is_in("4:memory:/system.slice/p-x.scope", scope));
        assert!(!is_in("0::/system.slice/p-x.scope/container", scope));
        assert!(!is_in("0::/system.slice", scope));
    }
}
