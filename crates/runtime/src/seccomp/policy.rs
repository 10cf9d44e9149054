//! From OCI's rules, with names, to decisions about numbers for each ABI of the machine.
//!
//! How rules combine, where OCI leaves it open: the first rule whose conditions hold decides; a
//! rule without conditions ends the list, and as with libseccomp what is more permissive than it
//! counts for nothing even before it. Several conditions on the same argument are alternatives,
//! as every runtime reads them; conditions on different arguments must all hold. Names that the
//! machine does not have are skipped.
//!
//! Calls newer than the newest one that the profile speaks of fail with ENOSYS when the default is
//! an error, so that libc falls back to what it knows instead of giving up.
//!
//! Source: OCI runtime specification, `config-linux.md#seccomp`; seccomp(2).

use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

use super::assemble::{Compare, Condition, Decision, Section};
use super::program::Arch;
use super::table::{Abi, Call, X32_BIT};

/// The most names in all rules together; Docker's profile has about 450.
const MAX_NAMES: usize = 32_768;

/// The most conditions in all rules together.
const MAX_CONDITIONS: usize = 4096;

/// The largest error number (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

/// The part of a filter's answer that names the action.
const ACTION_FULL: u32 = 0xffff_0000;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;

/// A filter that cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    /// No such action.
    #[error("seccomp: unknown action {0:?}")]
    UnknownAction(String),
    /// The action cannot be what happens by default.
    #[error("seccomp: {0} cannot be the default action")]
    BadDefault(String),
    /// No such comparison.
    #[error("seccomp: unknown operator {0:?}")]
    UnknownOperator(String),
    /// No such architecture.
    #[error("seccomp: unknown architecture {0:?}")]
    UnknownArchitecture(String),
    /// No such flag.
    #[error("seccomp: unknown flag {0:?}")]
    UnknownFlag(String),
    /// Calls have six arguments, 0 to 5.
    #[error("seccomp: argument index {0} is more than 5")]
    BadArgument(u32),
    /// Error numbers end at 4095.
    #[error("seccomp: error number {0} is more than 4095")]
    BadErrno(u32),
    /// The profile is larger than any meaningful one.
    #[error("seccomp: {count} {what} are more than {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// At most.
        limit: usize,
    },
}

/// The `SECCOMP_FILTER_FLAG_*` bits of seccomp(2) that a profile asks for.
///
/// # Errors
/// [`SeccompError::UnknownFlag`].
pub fn filter_flags(profile: &Seccomp) -> Result<u32, SeccompError> {
    profile.flags.iter().try_fold(0, |bits, flag| {
        let bit = match flag.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => 1,
            "SECCOMP_FILTER_FLAG_LOG" => 1 << 1,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 1 << 2,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 1 << 5,
            _ => return Err(SeccompError::UnknownFlag(flag.clone())),
        };
        Ok(bits | bit)
    })
}

/// The answer for calls under an architecture that the profile does not list.
pub(super) const FOREIGN: u32 = KILL_PROCESS;

/// The decisions for every ABI of `arch` that the profile lists; the native one always counts.
pub(super) fn decide(profile: &Seccomp, arch: Arch) -> Result<Vec<Section>, SeccompError> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    if default & ACTION_FULL == NOTIFY {
        return Err(SeccompError::BadDefault(profile.default_action.clone()));
    }
    let rules = parse_rules(profile)?;
    let listed = |name: &str| profile.architectures.iter().any(|listed| listed == name);
    profile.architectures.iter().try_for_each(|name| check_architecture(name))?;
    let spans = |abi| abi_spans(&rules, abi, default);
    Ok(match arch {
        Arch::Aarch64 => {
            vec![Section { audit_arch: AUDIT_ARCH_AARCH64, spans: spans(Abi::Aarch64) }]
        }
        Arch::X86_64 => {
            let mut native = spans(Abi::X86_64);
            // x32 calls arrive under the same architecture, with a bit in the number. Not listed,
            // they fail as on a kernel without x32.
            match listed("SCMP_ARCH_X32") {
                true => native.extend(spans(Abi::X32)),
                false => native.push((X32_BIT, Decision::always(ERRNO | ENOSYS))),
            }
            let mut sections = vec![Section { audit_arch: AUDIT_ARCH_X86_64, spans: native }];
            if listed("SCMP_ARCH_X86") {
                sections.push(Section { audit_arch: AUDIT_ARCH_I386, spans: spans(Abi::X86) });
            }
            sections
        }
    })
}

/// A rule with its words understood.
struct Rule {
    calls: Vec<Call>,
    action: u32,
    /// Each alternative's conditions; one without conditions always holds.
    alternatives: Vec<Vec<Condition>>,
}

fn parse_rules(profile: &Seccomp) -> Result<Vec<Rule>, SeccompError> {
    let limited = |what, count, limit| match count > limit {
        true => Err(SeccompError::TooMany { what, count, limit }),
        false => Ok(()),
    };
    limited("rules", profile.syscalls.len(), MAX_NAMES)?;
    let names = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    limited("names", names, MAX_NAMES)?;
    let conditions = profile.syscalls.iter().map(|rule| rule.args.len()).sum();
    limited("conditions", conditions, MAX_CONDITIONS)?;
    profile.syscalls.iter().map(parse_rule).collect()
}

fn parse_rule(rule: &Syscall) -> Result<Rule, SeccompError> {
    let conditions: Vec<Condition> = rule.args.iter().map(condition).collect::<Result<_, _>>()?;
    let repeats = |condition: &Condition| {
        conditions.iter().filter(|other| other.argument == condition.argument).count() > 1
    };
    let alternatives = match conditions.iter().any(repeats) {
        true => conditions.into_iter().map(|condition| vec![condition]).collect(),
        false => vec![conditions],
    };
    let action = action(&rule.action, rule.errno_ret)?;
    let calls = rule.names.iter().filter_map(|name| Call::named(name)).collect();
    Ok(Rule { calls, action, alternatives })
}

fn condition(arg: &SyscallArg) -> Result<Condition, SeccompError> {
    let argument = match u8::try_from(arg.index) {
        Ok(index @ 0..=5) => index,
        _ => return Err(SeccompError::BadArgument(arg.index)),
    };
    let (compare, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Compare::NotEqual, arg.value),
        "SCMP_CMP_LT" => (Compare::Less, arg.value),
        "SCMP_CMP_LE" => (Compare::LessOrEqual, arg.value),
        "SCMP_CMP_EQ" => (Compare::Equal, arg.value),
        "SCMP_CMP_GE" => (Compare::GreaterOrEqual, arg.value),
        "SCMP_CMP_GT" => (Compare::Greater, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Compare::MaskedEqual { mask: arg.value }, arg.value_two),
        other => return Err(SeccompError::UnknownOperator(other.to_owned())),
    };
    Ok(Condition { argument, compare, value })
}

fn action(name: &str, errno: Option<u32>) -> Result<u32, SeccompError> {
    let with_number = |action: u32| match errno.unwrap_or(EPERM) {
        number @ 0..=MAX_ERRNO => Ok(action | number),
        number => Err(SeccompError::BadErrno(number)),
    };
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(KILL_PROCESS),
        "SCMP_ACT_TRAP" => Ok(TRAP),
        "SCMP_ACT_ERRNO" => with_number(ERRNO),
        "SCMP_ACT_TRACE" => with_number(TRACE),
        "SCMP_ACT_LOG" => Ok(LOG),
        "SCMP_ACT_ALLOW" => Ok(ALLOW),
        "SCMP_ACT_NOTIFY" => Ok(NOTIFY),
        other => Err(SeccompError::UnknownAction(other.to_owned())),
    }
}

/// The kernel's order of actions: the smaller one wins over the larger one.
fn permissiveness(answer: u32) -> i32 {
    (answer & ACTION_FULL).cast_signed()
}

/// Every architecture that a profile may list. Those of other machines mean nothing here.
fn check_architecture(name: &str) -> Result<(), SeccompError> {
    #[rustfmt::skip]
    const KNOWN: [&str; 24] = [
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL",
        "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64",
        "RISCV64", "LOONGARCH64", "M68K", "SH", "SHEB", "NATIVE",
    ];
    match name.strip_prefix("SCMP_ARCH_").is_some_and(|name| KNOWN.contains(&name)) {
        true => Ok(()),
        false => Err(SeccompError::UnknownArchitecture(name.to_owned())),
    }
}

/// The decisions of one ABI in the order of the numbers, neighbours with the same one merged.
fn abi_spans(rules: &[Rule], abi: Abi, default: u32) -> Vec<(u32, Decision)> {
    let named = rules.iter().flat_map(|rule| rule.calls.iter().map(move |call| (*call, rule)));
    let mut calls: Vec<(u32, &Rule)> =
        named.filter_map(|(call, rule)| Some((abi.number_of(call)?, rule))).collect();
    // Stable: the rules about one call stay in their order.
    calls.sort_by_key(|(number, _)| *number);

    let first = if abi == Abi::X32 { X32_BIT } else { 0 };
    let mut spans = Spans { spans: vec![(first, Decision::always(default))], end: first };
    for group in calls.chunk_by(|a, b| a.0 == b.0) {
        let rules = group.iter().map(|(_, rule)| *rule);
        spans.put(group[0].0, decision(rules, default), default);
    }
    let newer = match default & ACTION_FULL {
        ERRNO if !calls.is_empty() => ERRNO | ENOSYS,
        _ => default,
    };
    spans.rest(newer);
    spans.spans
}

struct Spans {
    spans: Vec<(u32, Decision)>,
    /// The first number that is not decided by a rule yet.
    end: u32,
}

impl Spans {
    /// `number` is not below `end`; what lies between gets the default.
    fn put(&mut self, number: u32, decision: Decision, default: u32) {
        if number > self.end {
            self.begin(self.end, Decision::always(default));
        }
        self.begin(number, decision);
        self.end = number + 1;
    }

    fn rest(&mut self, answer: u32) {
        self.begin(self.end, Decision::always(answer));
    }

    fn begin(&mut self, number: u32, decision: Decision) {
        match self.spans.last_mut() {
            Some((start, last)) if *start == number => *last = decision,
            Some((_, last)) if *last == decision => return,
            _ => self.spans.push((number, decision)),
        }
        // Overwriting the first span may have made it equal to the one before.
        if let [.., (_, before), (_, last)] = self.spans.as_slice()
            && before == last
        {
            self.spans.pop();
        }
    }
}

fn decision<'a>(rules: impl Iterator<Item = &'a Rule>, default: u32) -> Decision {
    let mut alternatives = Vec::new();
    let mut otherwise = None;
    'rules: for rule in rules {
        for conditions in &rule.alternatives {
            if conditions.is_empty() {
                otherwise = Some(rule.action);
                break 'rules;
            }
            alternatives.push((conditions.clone(), rule.action));
        }
    }
    if let Some(last) = otherwise {
        alternatives.retain(|(_, action)| permissiveness(*action) <= permissiveness(last));
    }
    let otherwise = otherwise.unwrap_or(default);
    while alternatives.pop_if(|(_, action)| *action == otherwise).is_some() {}
    Decision { alternatives, otherwise }
}
