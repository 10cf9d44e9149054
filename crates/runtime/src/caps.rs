//! Linux capabilities by name: parsing, the default sets and Docker's add/drop arithmetic.
//!
//! Pure apart from [`CapSet::bounding`]. Never applies a set to a process (that is `sys` and the
//! init plan) and never knows which container asked.
//!
//! Source: capabilities(7), `include/uapi/linux/capability.h`.

use std::fmt;

/// Capability names without the `CAP_` prefix; the index is the kernel's number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability, by its kernel number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cap(u8);

/// The capabilities that this house's code speaks of by name.
#[allow(missing_docs, reason = "each is the capability of that name in capabilities(7)")]
impl Cap {
    pub const CHOWN: Cap = Cap(0);
    pub const DAC_OVERRIDE: Cap = Cap(1);
    pub const DAC_READ_SEARCH: Cap = Cap(2);
    pub const FOWNER: Cap = Cap(3);
    pub const FSETID: Cap = Cap(4);
    pub const KILL: Cap = Cap(5);
    pub const SETGID: Cap = Cap(6);
    pub const SETUID: Cap = Cap(7);
    pub const SETPCAP: Cap = Cap(8);
    pub const NET_BIND_SERVICE: Cap = Cap(10);
    pub const NET_ADMIN: Cap = Cap(12);
    pub const NET_RAW: Cap = Cap(13);
    pub const SYS_MODULE: Cap = Cap(16);
    pub const SYS_RAWIO: Cap = Cap(17);
    pub const SYS_CHROOT: Cap = Cap(18);
    pub const SYS_PTRACE: Cap = Cap(19);
    pub const SYS_PACCT: Cap = Cap(20);
    pub const SYS_ADMIN: Cap = Cap(21);
    pub const SYS_BOOT: Cap = Cap(22);
    pub const SYS_NICE: Cap = Cap(23);
    pub const SYS_RESOURCE: Cap = Cap(24);
    pub const SYS_TIME: Cap = Cap(25);
    pub const SYS_TTY_CONFIG: Cap = Cap(26);
    pub const MKNOD: Cap = Cap(27);
    pub const AUDIT_WRITE: Cap = Cap(29);
    pub const AUDIT_CONTROL: Cap = Cap(30);
    pub const SETFCAP: Cap = Cap(31);
    pub const SYSLOG: Cap = Cap(34);
    pub const PERFMON: Cap = Cap(38);
    pub const BPF: Cap = Cap(39);
    pub const CHECKPOINT_RESTORE: Cap = Cap(40);
}

impl Cap {
    /// The capability called `name`, in any case, with or without `CAP_`.
    pub fn from_name(name: &str) -> Result<Cap, CapError> {
        let bare = match name.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
            _ => name,
        };
        (0..)
            .zip(NAMES)
            .find(|(_, known)| known.eq_ignore_ascii_case(bare))
            .map(|(number, _)| Cap(number))
            .ok_or_else(|| CapError::Unknown(name.to_owned()))
    }

    /// The capability of this kernel number, when it is one that has a name here.
    pub fn from_number(number: u8) -> Option<Cap> {
        (usize::from(number) < NAMES.len()).then_some(Cap(number))
    }

    /// The kernel's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name without the prefix: `SYS_ADMIN`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

/// Prints the full name: `CAP_SYS_ADMIN`.
impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.name())
    }
}

impl fmt::Debug for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of capabilities: bit `n` is capability number `n`, as in `/proc/<pid>/status`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: CapSet = CapSet(0);

    /// Every capability that has a name here (0 to 40, Linux 5.9 and later).
    pub const ALL: CapSet = CapSet((1 << NAMES.len()) - 1);

    /// The set of these bits; bits without a name are kept.
    pub const fn from_bits(bits: u64) -> CapSet {
        CapSet(bits)
    }

    /// The bit mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these capabilities.
    pub const fn of(caps: &[Cap]) -> CapSet {
        let mut bits = 0;
        let mut at = 0;
        while at < caps.len() {
            bits |= 1 << caps[at].0;
            at += 1;
        }
        CapSet(bits)
    }

    /// Parses a list of names as in OCI's `process.capabilities`, where `ALL` is no name.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<CapSet, CapError> {
        names
            .iter()
            .try_fold(CapSet::EMPTY, |set, name| Ok(set.with(Cap::from_name(name.as_ref())?)))
    }

    /// The full names in the order of the kernel's numbers: `["CAP_CHOWN", …]`.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|cap| cap.to_string()).collect()
    }

    /// The named capabilities of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Cap> {
        (0..64u8).filter(move |n| self.0 & (1 << n) != 0).filter_map(Cap::from_number)
    }

    /// True when `cap` is in the set.
    pub const fn contains(self, cap: Cap) -> bool {
        self.0 & (1 << cap.0) != 0
    }

    /// The set with `cap` in it.
    #[must_use]
    pub const fn with(self, cap: Cap) -> CapSet {
        CapSet(self.0 | (1 << cap.0))
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub const fn difference(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    /// The number of capabilities.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// True when nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What this process could ever give to a container: its own bounding set, limited to the
    /// capabilities that both the kernel and this code know.
    pub fn bounding() -> CapSet {
        let held = |cap: &Cap| {
            let flag = rustix::thread::CapabilitySet::from_bits_retain(1 << cap.0);
            rustix::thread::capability_is_in_bounding_set(flag).unwrap_or(false)
        };
        CapSet::ALL.iter().filter(held).fold(CapSet::EMPTY, CapSet::with)
    }

    /// Applies `--cap-add` and `--cap-drop` to this base set as Docker does:
    /// `ALL` added means everything `available` but what is dropped; otherwise `ALL` dropped means
    /// exactly what is added; otherwise drops come first, then additions.
    ///
    /// `available` is what the host can give ([`CapSet::bounding`]): the base set degrades to it
    /// silently, a capability asked for by name must be in it.
    pub fn apply<S: AsRef<str>>(
        self,
        add: &[S],
        drop: &[S],
        available: CapSet,
    ) -> Result<CapSet, CapError> {
        let add = Change::parse(add)?;
        let drop = Change::parse(drop)?;
        if let Some(cap) = add.named.difference(available).iter().next() {
            return Err(CapError::Unavailable(cap));
        }
        let result = match (add.all, drop.all) {
            (true, _) => available.difference(drop.named),
            (false, true) => add.named,
            (false, false) => self.difference(drop.named).union(add.named),
        };
        Ok(result.intersection(available))
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One side of an add/drop request.
struct Change {
    all: bool,
    named: CapSet,
}

impl Change {
    fn parse<S: AsRef<str>>(names: &[S]) -> Result<Change, CapError> {
        let mut change = Change { all: false, named: CapSet::EMPTY };
        for name in names.iter().map(AsRef::as_ref) {
            if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
                change.all = true;
            } else {
                change.named = change.named.with(Cap::from_name(name)?);
            }
        }
        Ok(change)
    }
}

/// This product's default set: what ordinary images need to start as root and drop to a user.
///
/// Docker's MKNOD, NET_RAW, AUDIT_WRITE, SETFCAP and SETPCAP are opt-in here.
pub const fn estiba_default() -> CapSet {
    CapSet::of(&[
        Cap::CHOWN,
        Cap::DAC_OVERRIDE,
        Cap::FOWNER,
        Cap::FSETID,
        Cap::KILL,
        Cap::SETGID,
        Cap::SETUID,
        Cap::NET_BIND_SERVICE,
        Cap::SYS_CHROOT,
    ])
}

/// The same for a container with a network of its own. There the first unprivileged port is 0, so
/// low ports need nothing; what programs like ping need instead is narrowed to just that by
/// [`crate::seccomp::ProfileOptions::ping_only`].
pub const fn estiba_ping() -> CapSet {
    estiba_default().difference(CapSet::of(&[Cap::NET_BIND_SERVICE])).with(Cap::NET_RAW)
}

/// Docker's default set of fourteen, for `--security-opt profile=docker`.
pub const fn docker_default() -> CapSet {
    estiba_default().union(CapSet::of(&[
        Cap::SETPCAP,
        Cap::NET_RAW,
        Cap::MKNOD,
        Cap::AUDIT_WRITE,
        Cap::SETFCAP,
    ]))
}

/// A capability request that cannot be met.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CapError {
    /// No capability of that name is known.
    #[error("unknown capability: {0:?}")]
    Unknown(String),
    /// The capability exists, but this host cannot give it.
    #[error("capability {0} is not available on this host")]
    Unavailable(Cap),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_both_ways() {
        for number in 0..41 {
            let cap = Cap::from_number(number).unwrap();
            assert_eq!(Cap::from_name(cap.name()), Ok(cap));
            assert_eq!(Cap::from_name(&cap.to_string().to_lowercase()), Ok(cap));
        }
        assert_eq!(Cap::from_number(41), None);
        assert_eq!(Cap::SYS_ADMIN.to_string(), "CAP_SYS_ADMIN");
        assert_eq!(Cap::CHECKPOINT_RESTORE.name(), "CHECKPOINT_RESTORE");
        assert_eq!(Cap::SYSLOG.name(), "SYSLOG");
        assert_eq!(Cap::SETFCAP.name(), "SETFCAP");
    }

    #[test]
    fn default_sets_are_the_documented_ones() {
        assert_eq!((estiba_default().len(), estiba_ping().len()), (9, 9));
        // CapBnd of a container with Docker's defaults.
        assert_eq!(docker_default().bits(), 0xa804_25fb);
        for absent in [Cap::MKNOD, Cap::NET_RAW, Cap::AUDIT_WRITE, Cap::SETFCAP, Cap::SETPCAP] {
            assert!(!estiba_default().contains(absent), "{absent}");
        }
    }

    fn check(add: &[&str], drop: &[&str], expected: CapSet) {
        let got = docker_default().apply(add, drop, CapSet::ALL);
        assert_eq!(got, Ok(expected), "add {add:?} drop {drop:?}");
    }

    #[test]
    fn add_and_drop_follow_docker() {
        let base = docker_default();
        let admin = CapSet::of(&[Cap::NET_ADMIN]);
        let chown = CapSet::of(&[Cap::CHOWN]);
        check(&[], &[], base);
        check(&["net_admin"], &[], base.union(admin));
        check(&[], &["CAP_CHOWN"], base.difference(chown));
        check(&["CHOWN"], &["CHOWN"], base);
        check(&["ALL"], &[], CapSet::ALL);
        check(&["all"], &["CHOWN"], CapSet::ALL.difference(chown));
        check(&["NET_ADMIN"], &["ALL"], admin);
        check(&[], &["ALL"], CapSet::EMPTY);
        check(&["ALL"], &["ALL"], CapSet::ALL);
    }

    #[test]
    fn what_cannot_be_given_is_named() {
        let unknown = docker_default().apply(&["NET_ADMIM"], &[], CapSet::ALL);
        assert_eq!(unknown.unwrap_err().to_string(), "unknown capability: \"NET_ADMIM\"");
        let without = CapSet::ALL.difference(CapSet::of(&[Cap::SYS_RESOURCE, Cap::CHOWN]));
        let refused = docker_default().apply(&["SYS_RESOURCE"], &[], without);
        assert_eq!(refused, Err(CapError::Unavailable(Cap::SYS_RESOURCE)));
        // `ALL` and the defaults degrade to what is there.
        assert_eq!(docker_default().apply(&["ALL"], &[], without), Ok(without));
        assert!(!docker_default().apply::<&str>(&[], &[], without).unwrap().contains(Cap::CHOWN));
    }

    #[test]
    fn odd_names_are_unknown_and_never_panic() {
        for name in ["", "CAP_", "cap", "é€é", "CAP_ALL_", "CHOWN "] {
            assert_eq!(Cap::from_name(name), Err(CapError::Unknown(name.to_owned())));
        }
        assert_eq!(CapSet::from_names(&["ALL"]), Err(CapError::Unknown("ALL".to_owned())));
    }

    #[test]
    fn bounding_set_is_the_kernel_s() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
        let bits = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(CapSet::bounding().bits(), bits & CapSet::ALL.bits());
    }
}
