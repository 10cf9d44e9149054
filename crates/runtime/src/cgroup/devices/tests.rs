//! Rules reduced, and the program that they become run by an interpreter of the test's own.

use super::*;
use sys::bpf::Instruction;

fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
    DeviceRule {
        allow,
        kind: kind.into(),
        major: Some(major),
        minor: Some(minor),
        access: access.into(),
    }
}

fn everything(allow: bool) -> DeviceRule {
    DeviceRule { allow, kind: "a".into(), access: "rwm".into(), ..DeviceRule::default() }
}

/// The instructions that `filter` emits, on `struct bpf_cgroup_dev_ctx`.
fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
    let mut registers = [0u32; 11];
    let mut at = 0;
    loop {
        let it = program[at];
        let (to, from) = (usize::from(it.registers & 15), usize::from(it.registers >> 4));
        let constant = it.immediate.cast_unsigned();
        at += 1;
        match it.code {
            0x61 => {
                assert_eq!(from, 1, "only the context is read");
                registers[to] = context[usize::try_from(it.offset).unwrap() / 4];
            }
            0x54 => registers[to] &= constant,
            0x74 => registers[to] >>= constant,
            0xb4 => registers[to] = constant,
            0xbc => registers[to] = registers[from],
            0x16 if registers[to] == constant => at += usize::try_from(it.offset).unwrap(),
            0x56 if registers[to] != constant => at += usize::try_from(it.offset).unwrap(),
            0x16 | 0x56 => {}
            0x95 => return registers[0],
            code => panic!("unknown instruction {code:#x}"),
        }
    }
}

fn allows(policy: &Policy, kind: Kind, major: u32, minor: u32, access: u8) -> bool {
    let kind_bits = if kind == Kind::Block { 1 } else { 2 };
    let context = [u32::from(access) << 16 | kind_bits, major, minor];
    run(&filter::compile(policy), context) == 1
}

#[test]
fn no_rules_mean_the_defaults_and_nothing_else() {
    let policy = Policy::of(&[]).unwrap();
    for major in 0..256 {
        for minor in 0..16 {
            for kind in [Kind::Char, Kind::Block] {
                let opened = allows(&policy, kind, major, minor, READ);
                let default = kind == Kind::Char
                    && (matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0 | 2))
                        || major == 136);
                assert_eq!(opened, default, "{kind:?} {major}:{minor}");
            }
        }
    }
    // Making a node is no access.
    assert!(allows(&policy, Kind::Block, 8, 0, MKNOD));
    assert!(!allows(&policy, Kind::Block, 8, 0, MKNOD | READ));
}

#[test]
fn rules_follow_each_other() {
    let policy = Policy::of(&[
        everything(false),
        rule(true, "c", 10, 200, "rw"),
        rule(true, "b", 8, -1, "r"),
        rule(true, "c", 10, 229, "rwm"),
        rule(false, "c", 10, 229, "w"),
    ])
    .unwrap();
    assert!(allows(&policy, Kind::Char, 10, 200, READ | WRITE));
    assert!(!allows(&policy, Kind::Char, 10, 201, READ));
    assert!(!allows(&policy, Kind::Block, 10, 200, READ));
    assert!(allows(&policy, Kind::Block, 8, 77, READ));
    assert!(!allows(&policy, Kind::Block, 8, 77, READ | WRITE));
    assert!(allows(&policy, Kind::Char, 10, 229, READ));
    assert!(!allows(&policy, Kind::Char, 10, 229, WRITE));
}

#[test]
fn privileged_means_everything_but_what_is_denied_after() {
    assert_eq!(Policy::of(&[everything(true)]).unwrap(), Policy::everything());
    let policy = Policy::of(&[everything(true), rule(false, "b", 8, 0, "w")]).unwrap();
    assert!(allows(&policy, Kind::Block, 8, 0, READ));
    assert!(!allows(&policy, Kind::Block, 8, 0, READ | WRITE));
    assert!(allows(&policy, Kind::Block, 8, 1, READ | WRITE));
    assert_eq!(policy.lines(), ["b 8:0 w"]);
}

#[test]
fn numbers_at_their_bounds() {
    let top = i64::from(u32::MAX);
    let policy = Policy::of(&[rule(true, "c", top, top, "r")]).unwrap();
    assert!(allows(&policy, Kind::Char, u32::MAX, u32::MAX, READ));
    assert!(!allows(&policy, Kind::Char, u32::MAX, u32::MAX - 1, READ));
    for bad in [
        rule(true, "c", top + 1, 0, "r"),
        rule(true, "c", 1, -2, "r"),
        rule(true, "x", 1, 1, "r"),
        rule(true, "c", 1, 1, "rx"),
    ] {
        assert!(Policy::of(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
    }
    assert!(Policy::of(&vec![everything(false); 4097]).is_err());
}

#[test]
fn holes_in_wider_rules_are_refused() {
    let rules = [rule(true, "c", 10, -1, "rw"), rule(false, "c", 10, 200, "w")];
    let error = Policy::of(&rules).unwrap_err().to_string();
    assert!(error.ends_with("it denies a part of what a wider rule allows"), "{error}");
}

#[test]
fn lines_are_the_kernel_s_form() {
    for text in ["c 1:3 rwm", "b *:* m", "c 136:* rw", "b 8:0 r"] {
        let (device, access) = parse_line(text).unwrap();
        assert_eq!(line(&device, access), text);
    }
    for text in ["a *:* rwm", "", "c", "c 1 rwm", "c 1:x r"] {
        assert_eq!(parse_line(text), None, "{text:?}");
    }
    let policy = Policy::of(&[rule(true, "c", 10, 1, "r")]).unwrap();
    assert_eq!(policy.lost("c 10:1 rw"), Some("c 10:1 w".into()));
    assert_eq!(policy.lost("c 10:1 r"), None);
    assert_eq!(policy.lost("c 10:2 rm"), Some("c 10:2 rm".into()));
}
