//! Filters judged call by call: through the interpreter for every number of every ABI, against a
//! naive reading of the rules, and installed for real.

mod interpret;
mod oracle;

use std::collections::BTreeSet;

use interpret::{Call, run};
use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

use super::*;
use crate::caps::{self, Cap, CapSet};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_PROCESS: u32 = 0x8000_0000;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;

fn audit_arch(abi: Abi) -> u32 {
    match abi {
        Abi::X86_64 | Abi::X32 => X86_64,
        Abi::X86 => I386,
        Abi::Aarch64 => AARCH64,
    }
}

fn machine(abi: Abi) -> Arch {
    if abi == Abi::Aarch64 { Arch::Aarch64 } else { Arch::X86_64 }
}

/// What a compiled profile answers to calls by name.
struct Filter(Program);

impl Filter {
    fn new(profile: &Seccomp) -> Filter {
        Filter(compile(profile, Arch::X86_64).unwrap())
    }

    fn call(&self, abi: Abi, name: &str, args: [u64; 6]) -> u32 {
        let number = abi.number(name).unwrap_or_else(|| panic!("{name} is unknown"));
        run(self.0.instructions(), &Call { number, arch: audit_arch(abi), args }).0
    }

    fn native(&self, name: &str) -> u32 {
        self.call(Abi::X86_64, name, [0; 6])
    }

    /// The names of the calls that are allowed when all arguments are zero.
    fn allowed(&self, abi: Abi) -> BTreeSet<&'static str> {
        let allowed = |(name, _): &(&'static str, u32)| self.call(abi, name, [0; 6]) == ALLOW;
        abi.syscalls().filter(allowed).map(|(name, _)| name).collect()
    }
}

fn estiba(caps: CapSet) -> Filter {
    Filter::new(&default_profile(caps, &ProfileOptions::default()))
}

fn families(filter: &Filter) -> Vec<u64> {
    let answer = |family| filter.call(Abi::X86_64, "socket", [family, 1, 0, 0, 0, 0]);
    (0..64).filter(|family| answer(*family) == ALLOW).collect()
}

#[test]
fn posture_of_the_default_profile() {
    let filter = estiba(caps::estiba_default());
    let allowed = filter.allowed(Abi::X86_64);
    assert_eq!(allowed.len(), 259, "{allowed:?}");
    assert_eq!(filter.allowed(Abi::X86).len(), 0);
    assert_eq!(filter.allowed(Abi::X32).len(), 0);
    assert_eq!(families(&filter), [1, 2, 10, 16]);
    assert!(filter.0.instructions().len() < 220, "{}", filter.0.instructions().len());
}

#[test]
fn default_profile_refuses_what_leads_out() {
    let filter = estiba(caps::estiba_default());
    for name in [
        "mount",
        "umount2",
        "pivot_root",
        "setns",
        "unshare",
        "bpf",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
        "init_module",
        "kexec_load",
        "swapon",
        "reboot",
        "acct",
        "syslog",
        "userfaultfd",
        "open_by_handle_at",
        "name_to_handle_at",
        "process_vm_readv",
        "kcmp",
        "mbind",
        "iopl",
        "settimeofday",
        "modify_ldt",
        "ptrace",
    ] {
        assert_eq!(filter.native(name), EPERM, "{name}");
    }
    for name in [
        "clone3",
        "io_uring_setup",
        "io_uring_enter",
        "fsopen",
        "open_tree",
        "move_mount",
        "mount_setattr",
        "statmount",
        "pidfd_getfd",
        "file_setattr",
    ] {
        assert_eq!(filter.native(name), ENOSYS, "{name}");
    }
    // The kernel's future, and x32's bit.
    for number in [470, 600, 5000, 0x4000_0000, 0x4000_0001, u32::MAX] {
        let call = Call { number, arch: X86_64, args: [0; 6] };
        assert_eq!(run(filter.0.instructions(), &call).0, ENOSYS, "{number}");
    }
    for arch in [I386, AARCH64, 0] {
        let call = Call { number: 1, arch, args: [0; 6] };
        assert_eq!(run(filter.0.instructions(), &call).0, KILL_PROCESS, "{arch:#x}");
    }
}

#[test]
fn default_profile_looks_at_arguments() {
    let filter = estiba(caps::estiba_default());
    let native = |name: &str, args: [u64; 6]| filter.call(Abi::X86_64, name, args);
    // A thread, a fork, and each kind of namespace.
    assert_eq!(native("clone", [0x003d_0f00, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(native("clone", [17, 0, 0, 0, 0, 0]), ALLOW);
    for flag in
        [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
    {
        assert_eq!(native("clone", [flag | 17, 0, 0, 0, 0, 0]), EPERM, "{flag:#x}");
    }
    // The kernel reads 32 bits of a command or a family, whatever stands above them.
    for high in [0, 1 << 32, u64::MAX << 32] {
        assert_eq!(native("ioctl", [0, high | 0x5412, 0, 0, 0, 0]), EPERM);
        assert_eq!(native("ioctl", [0, high | 0x541c, 0, 0, 0, 0]), EPERM);
        assert_eq!(native("ioctl", [0, high | 0x5413, 0, 0, 0, 0]), ALLOW);
        assert_eq!(native("socket", [high | 1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(native("socket", [high | 40, 1, 0, 0, 0, 0]), EPERM);
        assert_eq!(native("socket", [high | 17, 1, 0, 0, 0, 0]), EPERM);
    }
    assert_eq!(native("socketpair", [1, 1, 0, 0, 0, 0]), ALLOW);
    assert_eq!(native("socketpair", [30, 1, 0, 0, 0, 0]), EPERM);
    for (persona, answer) in [(0, ALLOW), (8, ALLOW), (0xffff_ffff, ALLOW), (0x0040_0000, EPERM)] {
        assert_eq!(native("personality", [persona, 0, 0, 0, 0, 0]), answer, "{persona:#x}");
    }
}

#[test]
fn capabilities_open_their_groups_and_no_others() {
    let base = estiba(CapSet::EMPTY).allowed(Abi::X86_64);
    let opened = |cap: Cap| -> Vec<&str> {
        let with = estiba(CapSet::of(&[cap])).allowed(Abi::X86_64);
        assert!(with.is_superset(&base), "{cap}");
        with.difference(&base).copied().collect()
    };
    assert_eq!(opened(Cap::SYS_CHROOT), ["chroot"]);
    assert_eq!(opened(Cap::SYS_BOOT), ["reboot"]);
    assert_eq!(opened(Cap::SYS_MODULE), ["delete_module", "finit_module", "init_module"]);
    assert_eq!(
        opened(Cap::SYS_TIME),
        ["adjtimex", "clock_adjtime", "clock_settime", "settimeofday"]
    );
    assert_eq!(opened(Cap::BPF), ["bpf"]);
    assert_eq!(opened(Cap::NET_ADMIN), [] as [&str; 0]);
    let admin = opened(Cap::SYS_ADMIN);
    for name in ["mount", "clone3", "setns", "unshare", "fsopen", "bpf", "pivot_root"] {
        assert!(admin.contains(&name), "{name}");
    }
    let admin = estiba(CapSet::of(&[Cap::SYS_ADMIN]));
    assert_eq!(admin.call(Abi::X86_64, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(families(&estiba(CapSet::of(&[Cap::NET_RAW]))), [1, 2, 10, 16, 17]);
}

fn ping() -> Seccomp {
    let options = ProfileOptions { ping_only: true, ..ProfileOptions::default() };
    default_profile(caps::estiba_ping(), &options)
}

#[test]
fn raw_sockets_for_ping_are_for_nothing_else() {
    let filter = Filter::new(&ping());
    assert_eq!(filter.allowed(Abi::X86_64).len(), 259);
    assert_eq!(families(&filter), [1, 2, 10, 16]);
    let socket = |family, kind, protocol| {
        filter.call(Abi::X86_64, "socket", [family, kind, protocol, 0, 0, 0])
    };
    // Whatever stands where the kernel does not look, and with both flags.
    for high in [0, 0x0008_0800, 1 << 32, u64::MAX << 32] {
        for (family, own, other) in [(2, 1, 58), (10, 58, 1)] {
            for kind in [1, 2, 5] {
                for protocol in [0, 6, 17, 132, 255] {
                    assert_eq!(socket(family, high | kind, protocol), ALLOW);
                }
            }
            assert_eq!(socket(family, high | 3, own), ALLOW);
            for protocol in [0, 2, 6, 17, 132, 255, other] {
                assert_eq!(socket(family, high | 3, protocol), EPERM, "{family} {protocol}");
            }
            for kind in [0, 4, 6, 10, 15] {
                assert_eq!(socket(family, high | kind, own), EPERM, "{family} type {kind}");
            }
        }
        assert_eq!(socket(17, high | 3, 0x0300), EPERM);
    }
    let option =
        |level, option| filter.call(Abi::X86_64, "setsockopt", [3, level, option, 0, 0, 0]);
    for high in [0, 1 << 32, u64::MAX << 32] {
        for (level, name) in [(0, 3), (0, 19), (41, 36), (255, 36), (41, 75)] {
            assert_eq!(option(high | level, high | name), EPERM, "{level} {name}");
        }
        // What ping sets: time to live, filters of types, times of arrival, room.
        for (level, name) in [(0, 2), (0, 10), (255, 1), (58, 1), (41, 16), (1, 29), (1, 8)] {
            assert_eq!(option(high | level, name), ALLOW, "{level} {name}");
        }
    }
    // Who was given the capability itself has all of it.
    let given = estiba(caps::estiba_ping());
    assert_eq!(given.call(Abi::X86_64, "socket", [17, 3, 0, 0, 0, 0]), ALLOW);
    assert_eq!(given.call(Abi::X86_64, "socket", [2, 3, 255, 0, 0, 0]), ALLOW);
    assert_eq!(given.call(Abi::X86_64, "setsockopt", [3, 0, 3, 0, 0, 0]), ALLOW);
}

#[test]
fn options_open_families_and_abis() {
    let options = ProfileOptions {
        extra_socket_families: vec![40, 1, 40],
        i386: true,
        x32: true,
        ping_only: false,
    };
    let filter = Filter::new(&default_profile(caps::estiba_default(), &options));
    assert_eq!(families(&filter), [1, 2, 10, 16, 40]);
    let i386 = filter.allowed(Abi::X86);
    for name in ["mmap2", "waitpid", "clock_gettime64", "read"] {
        assert!(i386.contains(name), "{name}");
    }
    assert!(!i386.contains("mount") && !i386.contains("socketcall"));
    let x32 = filter.allowed(Abi::X32);
    assert!(x32.contains("read") && x32.contains("ioctl") && !x32.contains("mount"));
    let clone = filter.call(Abi::X86, "clone", [0x1000_0000, 0, 0, 0, 0, 0]);
    assert_eq!(clone, EPERM);
}

#[test]
fn docker_profile_is_docker_s() {
    let filter = Filter::new(&docker_profile(caps::docker_default()));
    let allowed = filter.allowed(Abi::X86_64);
    assert!(allowed.is_superset(&estiba(caps::docker_default()).allowed(Abi::X86_64)));
    for name in ["process_vm_readv", "modify_ldt", "name_to_handle_at", "ptrace", "socket"] {
        assert!(allowed.contains(name), "{name}");
    }
    assert_eq!(allowed.len(), 307, "{allowed:?}");
    assert_eq!(families(&filter).len(), 62);
    assert_eq!(filter.native("clone3"), ENOSYS);
    assert_eq!(filter.native("mount"), EPERM);
    assert_eq!(filter.native("io_uring_setup"), EPERM);
    assert!(filter.allowed(Abi::X86).contains("mmap2"));
    assert!(filter.allowed(Abi::X32).contains("read"));
    let ioctl = filter.call(Abi::X86_64, "ioctl", [0, 0x5412, 0, 0, 0, 0]);
    assert_eq!(ioctl, ALLOW);
}

/// A small deterministic generator (xorshift64*), so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 1,
    5 << 32,
    (5 << 32) + 2,
    u64::MAX - 1,
    u64::MAX,
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

const ACTIONS: [(&str, u32); 7] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", EPERM),
    ("SCMP_ACT_KILL", 0),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_TRAP", 0x0003_0000),
    ("SCMP_ACT_TRACE", 0x7ff0_0001),
    ("SCMP_ACT_LOG", 0x7ffc_0000),
];

const CALLS: [&str; 9] =
    ["read", "write", "ioctl", "clone", "openat", "socket", "mmap2", "statx", "futex_wait"];

fn random_profile(random: &mut Random, rules: usize) -> Seccomp {
    let names: Vec<&str> = Abi::X86_64.syscalls().map(|(name, _)| name).collect();
    let syscalls = (0..rules).map(|_| {
        let args = (0..random.below(4)).map(|_| SyscallArg {
            index: u32::try_from(random.below(3)).unwrap(),
            value: random.pick(&VALUES),
            value_two: random.pick(&VALUES),
            op: random.pick(&OPERATORS).to_owned(),
        });
        let args = args.collect();
        let mut names: Vec<String> =
            (0..random.below(40)).map(|_| random.pick(&names).to_owned()).collect();
        names.extend((0..random.below(5)).map(|_| random.pick(&CALLS).to_owned()));
        let action = random.pick(&ACTIONS).0.to_owned();
        Syscall { names, action, errno_ret: None, args }
    });
    let syscalls = syscalls.collect();
    Seccomp {
        default_action: random.pick(&ACTIONS).0.to_owned(),
        architectures: vec!["SCMP_ARCH_X86".into(), "SCMP_ARCH_X32".into()],
        syscalls,
        ..Seccomp::default()
    }
}

fn holds(arg: &SyscallArg, args: &[u64; 6]) -> bool {
    let given = args[usize::try_from(arg.index).unwrap()];
    match arg.op.as_str() {
        "SCMP_CMP_NE" => given != arg.value,
        "SCMP_CMP_LT" => given < arg.value,
        "SCMP_CMP_LE" => given <= arg.value,
        "SCMP_CMP_EQ" => given == arg.value,
        "SCMP_CMP_GE" => given >= arg.value,
        "SCMP_CMP_GT" => given > arg.value,
        _ => given & arg.value == arg.value_two & arg.value,
    }
}

fn value_of(action: &str) -> u32 {
    ACTIONS.iter().find(|(name, _)| *name == action).unwrap().1
}

/// The rules as their documentation reads, one after the other.
fn expected(profile: &Seccomp, about: &[BTreeSet<u32>], number: u32, args: &[u64; 6]) -> u32 {
    let rules = profile.syscalls.iter().zip(about).filter(|(_, about)| about.contains(&number));
    let rules: Vec<&Syscall> = rules.map(|(rule, _)| rule).collect();
    let default = value_of(&profile.default_action);
    let newest = about.iter().flatten().copied().max();
    if newest.is_some_and(|newest| number > newest) && default == EPERM {
        return ENOSYS;
    }
    let last = rules.iter().position(|rule| rule.args.is_empty());
    let floor = last.map(|at| value_of(&rules[at].action).cast_signed());
    for rule in &rules[..last.unwrap_or(rules.len())] {
        let answer = value_of(&rule.action);
        let indices: BTreeSet<u32> = rule.args.iter().map(|arg| arg.index).collect();
        let mut conditions = rule.args.iter().map(|arg| holds(arg, args));
        let matches = match indices.len() < rule.args.len() {
            true => conditions.any(|holds| holds),
            false => conditions.all(|holds| holds),
        };
        let action = |value: i32| value & 0xffff_0000_u32.cast_signed();
        let permitted = floor.is_none_or(|floor| action(answer.cast_signed()) <= action(floor));
        if matches && permitted {
            return answer;
        }
    }
    last.map_or(default, |at| value_of(&rules[at].action))
}

#[test]
fn compiled_programs_answer_as_the_rules_read() {
    let mut random = Random(0x5eed_0001);
    let mut judged = 0;
    for round in 0..60 {
        let rules = [0, 1, 5, 20, 60][round % 5];
        let profile = random_profile(&mut random, rules);
        let program = match compile(&profile, Arch::X86_64) {
            Ok(program) => program,
            // The kernel's bound is kept, and the program was as long as it had to be.
            Err(SeccompError::TooMany { what: "instructions", .. }) if rules == 60 => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        judged += 1;
        for abi in [Abi::X86_64, Abi::X86, Abi::X32] {
            let numbers = |r: &Syscall| r.names.iter().filter_map(|n| abi.number(n)).collect();
            let about: Vec<BTreeSet<u32>> = profile.syscalls.iter().map(numbers).collect();
            let base = if abi == Abi::X32 { 0x4000_0000 } else { 0 };
            for number in (0..560).map(|number| base + number) {
                let args = [(); 6].map(|()| random.pick(&VALUES));
                let call = Call { number, arch: audit_arch(abi), args };
                let (answer, _) = run(program.instructions(), &call);
                let expected = expected(&profile, &about, number, &args);
                assert_eq!(answer, expected, "round {round} {abi:?} {number:#x} {args:x?}");
            }
        }
    }
    assert!(judged >= 48, "{judged} of 60 profiles compiled");
}

#[test]
fn every_comparison_at_its_edges() {
    for (op, value, value_two) in OPERATORS
        .iter()
        .flat_map(|op| VALUES.iter().flat_map(move |v| VALUES.iter().map(move |w| (*op, *v, *w))))
    {
        let arg = SyscallArg { index: 5, value, value_two, op: op.to_owned() };
        let rule = Syscall {
            names: vec!["read".into()],
            action: "SCMP_ACT_ALLOW".into(),
            errno_ret: None,
            args: vec![arg.clone()],
        };
        let profile = Seccomp {
            default_action: "SCMP_ACT_ERRNO".into(),
            syscalls: vec![rule],
            ..Seccomp::default()
        };
        let filter = Filter::new(&profile);
        for given in VALUES {
            let args = [7, 7, 7, 7, 7, given];
            let expected = if holds(&arg, &args) { ALLOW } else { EPERM };
            let answer = filter.call(Abi::X86_64, "read", args);
            assert_eq!(answer, expected, "{given:#x} {op} {value:#x} {value_two:#x}");
        }
    }
}

#[test]
fn lookups_are_few_steps() {
    let program =
        compile(&default_profile(caps::estiba_default(), &ProfileOptions::default()), Arch::X86_64)
            .unwrap();
    let steps = |number| {
        let call = Call { number, arch: X86_64, args: [0; 6] };
        run(program.instructions(), &call).1
    };
    let worst = (0..480).map(steps).max().unwrap();
    assert!(worst <= 24, "{worst} instructions");
}

#[test]
fn aarch64_has_its_own_numbers() {
    let profile = default_profile(caps::estiba_default(), &ProfileOptions::default());
    let program = compile(&profile, machine(Abi::Aarch64)).unwrap();
    let answer = |name: &str| {
        let number = Abi::Aarch64.number(name).unwrap();
        run(program.instructions(), &Call { number, arch: AARCH64, args: [0; 6] }).0
    };
    assert_eq!((answer("openat"), answer("mount"), answer("clone3")), (ALLOW, EPERM, ENOSYS));
    let native = Call { number: 1, arch: X86_64, args: [0; 6] };
    assert_eq!(run(program.instructions(), &native).0, KILL_PROCESS);
}

#[test]
fn bytes_lead_back_to_the_program() {
    let program = compile(&docker_profile(CapSet::EMPTY), Arch::X86_64).unwrap();
    let bytes = program.to_bytes();
    assert_eq!(Program::from_bytes(&bytes), Ok(program.clone()));
    assert!(!program.notifies());
    assert_ne!(program.hash(), compile(&docker_profile(CapSet::ALL), Arch::X86_64).unwrap().hash());
    for wrong in [&[][..], &bytes[..7], &bytes[1..], &[0; 8 * 4097]] {
        assert!(Program::from_bytes(wrong).is_err(), "{} bytes", wrong.len());
    }
}

fn compile_error(profile: &Seccomp) -> String {
    compile(profile, Arch::X86_64).unwrap_err().to_string()
}

#[test]
fn what_is_not_understood_is_named() {
    let good = Seccomp { default_action: "SCMP_ACT_ERRNO".into(), ..Seccomp::default() };
    let with = |change: &dyn Fn(&mut Syscall)| {
        let mut rule = Syscall {
            names: vec!["read".into()],
            action: "SCMP_ACT_ALLOW".into(),
            args: vec![SyscallArg { op: "SCMP_CMP_EQ".into(), ..SyscallArg::default() }],
            ..Syscall::default()
        };
        change(&mut rule);
        compile_error(&Seccomp { syscalls: vec![rule], ..good.clone() })
    };
    for (message, expected) in [
        (with(&|r| r.action = "ALLOW".into()), "seccomp: unknown action \"ALLOW\""),
        (with(&|r| r.args[0].op = "EQ".into()), "seccomp: unknown operator \"EQ\""),
        (with(&|r| r.args[0].index = 6), "seccomp: argument index 6 is more than 5"),
        (
            with(&|r| {
                r.action = "SCMP_ACT_ERRNO".into();
                r.errno_ret = Some(4096);
            }),
            "seccomp: error number 4096 is more than 4095",
        ),
        (
            compile_error(&Seccomp { architectures: vec!["amd64".into()], ..good.clone() }),
            "seccomp: unknown architecture \"amd64\"",
        ),
        (
            compile_error(&Seccomp { default_action: "SCMP_ACT_NOTIFY".into(), ..good.clone() }),
            "seccomp: SCMP_ACT_NOTIFY cannot be the default action",
        ),
    ] {
        assert_eq!(message, expected);
    }
    let flags = Seccomp { flags: vec!["SECCOMP_FILTER_FLAG_LOG".into()], ..good.clone() };
    assert_eq!(filter_flags(&flags), Ok(2));
    let flags = Seccomp { flags: vec!["LOG".into()], ..good };
    assert_eq!(filter_flags(&flags), Err(SeccompError::UnknownFlag("LOG".into())));
}

#[test]
fn hostile_sizes_are_refused() {
    let rule = |names: usize, args: usize| Syscall {
        names: vec!["read".into(); names],
        action: "SCMP_ACT_ALLOW".into(),
        args: vec![SyscallArg { op: "SCMP_CMP_EQ".into(), ..SyscallArg::default() }; args],
        ..Syscall::default()
    };
    let profile = |rules| Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        syscalls: rules,
        ..Seccomp::default()
    };
    for rules in [
        vec![rule(40_000, 0)],
        vec![rule(1, 5000)],
        vec![rule(0, 0); 40_000],
        // Few words that multiply: each of many calls with many conditions of its own.
        (0..400)
            .map(|at| {
                let mut rule = rule(1, 10);
                rule.names = vec![Abi::X86_64.syscalls().nth(at % 380).unwrap().0.to_owned()];
                rule.args.iter_mut().zip(0..).for_each(|(arg, n)| arg.value = 7 + n);
                rule.args[0].value = u64::try_from(at).unwrap() << 32;
                rule
            })
            .collect(),
    ] {
        let error = compile(&profile(rules), Arch::X86_64).unwrap_err();
        assert!(matches!(error, SeccompError::TooMany { .. }), "{error}");
    }
}

const FACTS: ProfileFacts =
    ProfileFacts { caps: CapSet::EMPTY, arch: Arch::X86_64, kernel: (6, 1) };

#[test]
fn profile_files_are_resolved() {
    let json = br#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
        ],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "",
             "includes": {}, "excludes": {}},
            {"name": "write", "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW",
             "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "excludes": {"caps": ["CAP_SYS_ADMIN"]},
             "args": [{"index": 0, "value": 2114060288, "valueTwo": 0,
                       "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["statx"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.10"}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW",
             "includes": {"arches": ["amd64"]}},
            {"names": ["set_tls"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        ]
    }"#;
    let names = |facts: &ProfileFacts| -> Vec<String> {
        let profile = parse_profile(json, facts).unwrap();
        assert_eq!(profile.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        profile.syscalls.iter().flat_map(|rule| rule.names.clone()).collect()
    };
    assert_eq!(names(&FACTS), ["read", "write", "clone", "ptrace", "arch_prctl", "clone3"]);
    let admin = ProfileFacts { caps: CapSet::of(&[Cap::SYS_ADMIN]), kernel: (6, 10), ..FACTS };
    let expected = ["read", "write", "mount", "ptrace", "statx", "arch_prctl", "clone3"];
    assert_eq!(names(&admin), expected);

    let filter = Filter::new(&parse_profile(json, &FACTS).unwrap());
    assert_eq!(filter.native("clone3"), ENOSYS);
    assert_eq!(filter.native("mount"), EPERM);
    assert_eq!(filter.call(Abi::X86, "read", [0; 6]), ALLOW);
}

#[test]
fn bad_profile_files_are_refused() {
    let error = |json: &str| parse_profile(json.as_bytes(), &FACTS).unwrap_err().to_string();
    let rule = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
    assert_eq!(error("{}"), "parse the seccomp profile");
    assert_eq!(error("[1,2"), "parse the seccomp profile");
    let both = rule(r#"{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}"#);
    assert_eq!(error(&both), "seccomp profile: use either \"name\" or \"names\"");
    let both = r#"{"defaultAction":"x","architectures":["SCMP_ARCH_X86"],
        "archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#;
    assert_eq!(error(both), "seccomp profile: use either \"architectures\" or \"archMap\"");
    let kernel = rule(r#"{"name":"a","action":"x","includes":{"minKernel":"six"}}"#);
    assert_eq!(error(&kernel), "seccomp profile: \"six\" is no kernel version");
    let cap = rule(r#"{"name":"a","action":"x","includes":{"caps":["CAP_NONE"]}}"#);
    assert!(parse_profile(cap.as_bytes(), &FACTS).is_err());
    assert!(error(&" ".repeat(1 << 21)).contains("larger than"));
}

/// Runs `body` in a thread of its own under the filter: a filter holds for the thread that loads it
/// and for what that starts.
fn under<T: Send>(program: &Program, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            assert!(sys::seccomp::load(program.instructions(), 0).unwrap().is_none());
            body()
        });
        confined.join().unwrap()
    })
}

#[test]
fn kernel_takes_the_default_profile_and_refuses_by_it() {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};
    let profile = default_profile(caps::estiba_default(), &ProfileOptions::default());
    let program = compile(&profile, Arch::NATIVE).unwrap();
    under(&program, || {
        let open = |family| socket(family, SocketType::DGRAM, None).map(|_| ());
        assert_eq!(open(AddressFamily::INET), Ok(()));
        assert_eq!(open(AddressFamily::UNIX), Ok(()));
        assert_eq!(open(AddressFamily::VSOCK), Err(Errno::PERM));
        assert_eq!(open(AddressFamily::PACKET), Err(Errno::PERM));
        let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        assert!(root.is_ok());
        let flags = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("none", "/nowhere", "tmpfs", flags, None);
        assert_eq!(mounted, Err(Errno::PERM));
        let tree = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::empty());
        assert_eq!(tree.map(|_| ()), Err(Errno::NOSYS));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
    });
}

#[test]
fn ordinary_programs_run_under_the_default_profile() {
    let profile = default_profile(caps::estiba_default(), &ProfileOptions::default());
    let program = compile(&profile, Arch::NATIVE).unwrap();
    let run = |command: &[&str]| {
        under(&program, || std::process::Command::new(command[0]).args(&command[1..]).output())
    };
    for command in [
        &["sh", "-c", "for i in 1 2 3; do (echo $i) | cat; done"][..],
        &["busybox", "sh", "-c", "busybox find /etc -maxdepth 1 | busybox sort | busybox wc -l"],
        &["bash", "-c", "cat <(echo a) <(echo b); ulimit -n; wait"],
        &["tar", "-cf", "/dev/null", "/etc/hostname"],
        &["dpkg", "-l", "dpkg"],
        &["apt-cache", "policy", "dpkg"],
    ] {
        match run(command) {
            Ok(output) => assert!(output.status.success(), "{command:?}: {output:?}"),
            // What this host does not have cannot be tried.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
}
