//! Which device nodes a cgroup may use: rules reduced to a default and its exceptions, then given
//! to v1's files or to a program on the v2 tree. An empty list of rules never means "all"
//! (law C3).
//!
//! Source: `cgroup-v1/devices.rst`, the OCI runtime specification ("Allowed Device list",
//! "Default Devices").

mod filter;

use std::collections::{BTreeMap, BTreeSet};

use wire::oci::runtime::DeviceRule;

use super::error::CgroupError;
use super::file::Dir;
use super::hierarchy::DEVICES;
use super::{Cgroup, Home};

/// The most rules that are accepted: containers have tens.
const MAX_RULES: usize = 4096;

/// `r`, `w` and `m` as the kernel's `BPF_DEVCG_ACC_*` bits.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block,
    Char,
}

/// Device numbers; `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Device {
    fn covers(&self, other: &Device) -> bool {
        let covers = |mine: Option<u32>, other| mine.is_none() || mine == other;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }
}

/// The outcome of a list of rules: what holds for all devices, and for which it does not.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Policy {
    allow_all: bool,
    /// Denied accesses when all is allowed, else the allowed ones; never empty sets.
    exceptions: BTreeMap<Device, u8>,
}

/// What every container may use (specification: "Default Devices"), and making any node, which
/// still needs the capability and gives no access: null, zero, full, tty, random, urandom, ptmx
/// and the terminals of devpts.
const DEFAULTS: [(Kind, Option<u32>, Option<u32>, u8); 10] = [
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL),
    (Kind::Char, Some(1), Some(5), ALL),
    (Kind::Char, Some(1), Some(7), ALL),
    (Kind::Char, Some(1), Some(8), ALL),
    (Kind::Char, Some(1), Some(9), ALL),
    (Kind::Char, Some(5), Some(0), ALL),
    (Kind::Char, Some(5), Some(2), ALL),
    (Kind::Char, Some(136), None, ALL),
];

/// The decision in words.
#[cfg(test)]
pub(super) fn decided(rules: &[DeviceRule]) -> String {
    format!("{:?}", Policy::of(rules).map_err(|error| error.to_string()))
}

/// Decides for a new cgroup.
pub(super) fn install(cgroup: &Cgroup, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let policy = Policy::of(rules)?;
    if !sys::userns::is_first() {
        // Who is not root in the first user namespace can neither make a device node nor load a
        // program that judges them: a container has the nodes that were mounted for it.
        return Ok(());
    }
    match cgroup.home(DEVICES) {
        Some(Home::V1(dir)) if policy == Policy::everything() => {
            // What a new cgroup inherits; written only where a parent narrowed it.
            match dir.read("devices.list")?.starts_with('a') {
                true => Ok(()),
                false => dir.write("devices.allow", "a"),
            }
        }
        Some(Home::V1(dir)) => install_v1(dir, &policy),
        _ => attach(cgroup, &policy),
    }
}

/// Decides anew for a cgroup in use. What stays allowed is allowed at every moment between.
pub(super) fn update(cgroup: &Cgroup, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let policy = Policy::of(rules)?;
    if !sys::userns::is_first() {
        return Ok(());
    }
    let Some(Home::V1(dir)) = cgroup.home(DEVICES) else { return attach(cgroup, &policy) };
    let present: BTreeSet<String> = dir.read("devices.list")?.lines().map(str::to_owned).collect();
    let all_now = present.iter().any(|line| line.starts_with('a'));
    if all_now || policy.allow_all {
        return install_v1(dir, &policy);
    }
    let wanted: BTreeSet<String> = policy.lines().into_iter().collect();
    let added: Vec<String> = wanted.difference(&present).cloned().collect();
    dir.write_each("devices.allow", &added)?;
    let gone = present.difference(&wanted);
    // Widening `c 1:3 r` to `c 1:3 rw` replaced the line: only whole devices are taken away here,
    // narrowed ones by the accesses that they lose.
    let lost = gone.filter_map(|line| policy.lost(line)).collect::<Vec<_>>();
    dir.write_each("devices.deny", &lost)
}

/// Writes the whole policy: all at once is denied or allowed first, then the exceptions.
fn install_v1(dir: &Dir, policy: &Policy) -> Result<(), CgroupError> {
    let (base, file) = match policy.allow_all {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    dir.write(base, "a")?;
    dir.write_each(file, &policy.lines())
}

fn attach(cgroup: &Cgroup, policy: &Policy) -> Result<(), CgroupError> {
    let Some(v2) = &cgroup.v2 else {
        let limit = "the device rules".to_owned();
        return Err(CgroupError::NoController { controller: DEVICES, limit });
    };
    filter::attach(v2.dir.path(), policy)
        .map_err(|source| CgroupError::DeviceFilter { path: v2.dir.path().to_owned(), source })
}

#[cfg(test)]
pub(super) fn attach_for_test(dir: &Dir, rules: &[DeviceRule]) -> std::io::Result<()> {
    filter::attach(dir.path(), &Policy::of(rules).map_err(std::io::Error::other)?)
}

impl Policy {
    fn everything() -> Policy {
        Policy { allow_all: true, exceptions: BTreeMap::new() }
    }

    /// Starts with nothing allowed, follows the rules in order, then allows the defaults.
    fn of(rules: &[DeviceRule]) -> Result<Policy, CgroupError> {
        if rules.len() > MAX_RULES {
            let reason = format!("{} rules are more than {MAX_RULES}", rules.len());
            return Err(CgroupError::BadLimit { limit: "devices".to_owned(), reason });
        }
        let mut policy = Policy::default();
        for rule in rules {
            policy.follow(rule).map_err(|reason| CgroupError::BadLimit {
                limit: format!(
                    "device rule {} {:?} {:?}:{:?} {:?}",
                    if rule.allow { "allow" } else { "deny" },
                    rule.kind,
                    rule.major,
                    rule.minor,
                    rule.access
                ),
                reason: reason.to_owned(),
            })?;
        }
        for (kind, major, minor, access) in DEFAULTS {
            policy.set(true, Device { kind, major, minor }, access)?;
        }
        Ok(policy)
    }

    fn follow(&mut self, rule: &DeviceRule) -> Result<(), &'static str> {
        let access = parse_access(&rule.access)?;
        let major = parse_number(rule.major)?;
        let minor = parse_number(rule.minor)?;
        let kinds: &[Kind] = match rule.kind.as_str() {
            "" | "a" if (major, minor, access) == (None, None, ALL) => {
                *self = Policy { allow_all: rule.allow, exceptions: BTreeMap::new() };
                return Ok(());
            }
            "" | "a" => &[Kind::Block, Kind::Char],
            "b" => &[Kind::Block],
            "c" | "u" => &[Kind::Char],
            _ => return Err("the type is none of a, b and c"),
        };
        for &kind in kinds {
            let device = Device { kind, major, minor };
            self.set(rule.allow, device, access).map_err(|Hole| HOLE)?;
        }
        Ok(())
    }

    fn set(&mut self, allow: bool, device: Device, access: u8) -> Result<(), Hole> {
        if allow != self.allow_all {
            *self.exceptions.entry(device).or_insert(0) |= access;
            return Ok(());
        }
        // Back to the default for this device: exceptions that it covers shrink; a wider one
        // cannot have a hole, neither in v1's files nor in the meaning of a list of exceptions.
        for (known, excepted) in &mut self.exceptions {
            if device.covers(known) {
                *excepted &= !access;
            } else if known.covers(&device) && *excepted & access != 0 && !allow {
                return Err(Hole);
            }
        }
        self.exceptions.retain(|_, excepted| *excepted != 0);
        Ok(())
    }

    /// The exceptions as v1's files take and show them: `c 1:3 rwm`.
    fn lines(&self) -> Vec<String> {
        self.exceptions.iter().map(|(device, access)| line(device, *access)).collect()
    }

    /// What of a line of `devices.list` this policy does not allow any more.
    fn lost(&self, shown: &str) -> Option<String> {
        let (device, access) = parse_line(shown)?;
        let kept = self.exceptions.get(&device).copied().unwrap_or(0);
        let lost = access & !kept;
        (lost != 0).then(|| line(&device, lost))
    }
}

/// A rule would except something from an exception.
struct Hole;

const HOLE: &str = "it denies a part of what a wider rule allows";

impl From<Hole> for CgroupError {
    fn from(_: Hole) -> CgroupError {
        CgroupError::BadLimit { limit: "devices".to_owned(), reason: HOLE.to_owned() }
    }
}

fn parse_access(access: &str) -> Result<u8, &'static str> {
    let mut bits = 0;
    for letter in access.bytes() {
        bits |= match letter {
            b'r' => READ,
            b'w' => WRITE,
            b'm' => MKNOD,
            _ => return Err("the access is not made of r, w and m"),
        };
    }
    Ok(if bits == 0 { ALL } else { bits })
}

fn parse_number(number: Option<i64>) -> Result<Option<u32>, &'static str> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => {
            u32::try_from(number).map(Some).map_err(|_| "a device number is out of range")
        }
    }
}

fn line(device: &Device, access: u8) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
    let kind = if device.kind == Kind::Block { 'b' } else { 'c' };
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access: String = letters.iter().filter(|(bit, _)| access & bit != 0).map(|l| l.1).collect();
    format!("{kind} {}:{} {access}", number(device.major), number(device.minor))
}

fn parse_line(line: &str) -> Option<(Device, u8)> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let device = Device { kind, major: number(major)?, minor: number(minor)? };
    Some((device, parse_access(words.next()?).ok()?))
}

#[cfg(test)]
mod tests;
