//! Lines of `trace_pipe` become events. Pure.
//!
//! A line begins with the task's name, which the task chose: it fills sixteen columns whatever it
//! is, and nothing in them is looked at. A name with a line's end in it makes two lines, neither
//! of which is an event.

/// Columns of the task's name; the longest has fifteen bytes, proc_pid_comm(5).
const NAME: usize = 16;

/// What one line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// The thread.
    pub pid: i32,
    /// What it did.
    pub kind: Kind,
}

/// What a thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A system call passed the filter.
    Enter {
        /// Its number.
        call: u32,
        /// Its first two arguments.
        arguments: [u64; 2],
    },
    /// A system call is over, whether it passed the filter or not.
    Exit {
        /// Its number.
        call: u32,
        /// What it returned.
        result: i64,
    },
    /// The kernel asked for a capability.
    Capability {
        /// Its number.
        capability: u8,
        /// Whether the thread had it.
        held: bool,
    },
}

/// The event of a line, if it is one.
pub(super) fn parse(line: &[u8]) -> Option<Event> {
    let rest = line.get(NAME..)?.strip_prefix(b"-")?;
    // `pid [cpu] flags seconds: event: …`
    let (pid, rest) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    let pid = pid.parse().ok()?;
    let (_, rest) = rest.split_once("] ")?;
    let (_, rest) = rest.split_once(": ")?;
    let (event, rest) = rest.split_once(": ")?;
    let kind = match event {
        "sys_enter" => enter(rest)?,
        "sys_exit" => {
            let (call, result) = rest.strip_prefix("NR ")?.split_once(" = ")?;
            Kind::Exit { call: number(call)?, result: result.trim().parse().ok()? }
        }
        "cap_capable" => {
            let (_, rest) = rest.split_once(", cap ")?;
            let (capability, result) = rest.split_once(", ret ")?;
            Kind::Capability { capability: capability.parse().ok()?, held: result.trim() == "0" }
        }
        _ => return None,
    };
    Some(Event { pid, kind })
}

/// How many events the kernel dropped, if a line says so.
pub(super) fn lost(line: &[u8]) -> Option<u64> {
    let (_, rest) = std::str::from_utf8(line).ok()?.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    rest.split(' ').next()?.parse().ok()
}

fn enter(rest: &str) -> Option<Kind> {
    let (call, arguments) = rest.strip_prefix("NR ")?.split_once(" (")?;
    let mut words = arguments.trim_end().trim_end_matches(')').split(", ");
    let mut next = || u64::from_str_radix(words.next()?, 16).ok();
    Some(Kind::Enter { call: number(call)?, arguments: [next()?, next()?] })
}

/// A negative number is a call that was skipped.
fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &[u8], rest: &str) -> Option<(i32, Kind)> {
        let mut line = vec![b' '; NAME - name.len()];
        line.extend(name);
        line.extend(rest.as_bytes());
        parse(&line).map(|event| (event.pid, event.kind))
    }

    #[test]
    fn lines_of_the_kernel() {
        assert_eq!(
            line(b"sh", "-2041    [000] .....   11.2: sys_enter: NR 41 (2, 80001, 0, 0, 5, 6)"),
            Some((2041, Kind::Enter { call: 41, arguments: [2, 0x80001] }))
        );
        assert_eq!(
            line(b"<...>", "-7       [001] ...1.   11.2: sys_exit: NR 257 = -13"),
            Some((7, Kind::Exit { call: 257, result: -13 }))
        );
        let capability = "-7  [001] ...1.   11.2: cap_capable: cred 00000000f3a1, target_ns \
                          0000000e, capable_ns 00000000, cap 21, ret -1";
        assert_eq!(
            line(b"x", capability),
            Some((7, Kind::Capability { capability: 21, held: false }))
        );
        assert_eq!(lost(b"CPU:1 [LOST 4711 EVENTS]"), Some(4711));
    }

    #[test]
    fn names_of_tasks_forge_nothing() {
        let exit = "-7  [001] .   1.2: sys_exit: NR 1 = 0";
        let expect = Some((7, Kind::Exit { call: 1, result: 0 }));
        for name in [&b"a-1 [0] . 1: s"[..], b"\xff\xfe", b"-1 ] : ", b"012345678901234"] {
            assert_eq!(line(name, exit), expect, "{name:?}");
        }
        // A name with an end of a line in it.
        assert_eq!(parse(b"x-1 ] : sys_ex"), None);
        assert_eq!(parse(b"it: NR-7  [001] .   1.2: sys_exit: NR 1 = 0"), None);
    }

    #[test]
    fn other_lines_are_nothing() {
        for rest in [
            "",
            "#",
            "-x [0] . 1: sys_exit: NR 1 = 0",
            "-1 [0] . 1: sys_exit: NR -1 = 0",
            "-1 [0] . 1: sys_enter: NR 1 (zz, 0)",
            "-1 [0] . 1: other: NR 1 = 0",
            "-1 [0] . 1: cap_capable: cap 1",
        ] {
            assert_eq!(line(b"sh", rest), None, "{rest:?}");
        }
        assert_eq!(lost(b"CPU:x"), None);
    }
}
