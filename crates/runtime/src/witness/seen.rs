//! What was seen of a container, from event to event. Pure, and bounded whatever it does.

use super::line::{Event, Kind};
use crate::seccomp::Abi;
use std::collections::{BTreeMap, BTreeSet};

/// Most threads that are between two events.
const MAX_THREADS: usize = 16_384;
/// Most denials of different kinds.
const MAX_DENIALS: usize = 512;
/// Most files.
const MAX_FILES: usize = 8192;

const EPERM: i64 = 1;
const EAGAIN: i64 = 11;
const EACCES: i64 = 13;
const EMFILE: i64 = 24;
const EROFS: i64 = 30;
const ENOSYS: i64 = 38;

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Name of the call.
    pub call: String,
    /// Error number.
    pub errno: i64,
    /// The capability that was asked for last in the call, and was not held.
    pub capability: Option<u8>,
    /// Whether the call never came to the kernel: the filter answered.
    pub filtered: bool,
    /// Domain of a socket, of `socket` alone.
    pub domain: Option<u64>,
}

/// What one thread is doing.
#[derive(Debug, Clone, Copy, Default)]
struct Doing {
    entered: Option<u32>,
    domain: Option<u64>,
    missing: Option<u8>,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Names of the calls that passed the filter.
    pub calls: BTreeSet<&'static str>,
    /// Numbers of the capabilities that were asked for and held.
    pub capabilities: BTreeSet<u8>,
    /// Whether capabilities can be seen on this kernel.
    pub sees_capabilities: bool,
    /// Domains and types of sockets.
    pub sockets: BTreeSet<(u64, u64)>,
    /// Files that were opened.
    pub files: BTreeSet<String>,
    /// What did not work, and how often.
    pub denials: BTreeMap<Denial, u64>,
    /// Events that the kernel had no room for.
    pub lost: u64,
    /// The watch is over and everything was read.
    pub done: bool,
    /// Why nothing could be seen.
    pub failure: Option<String>,
    threads: BTreeMap<i32, Doing>,
    /// The process whose events do not count before it has become the command.
    waiting: Option<i32>,
}

impl Seen {
    /// Nothing yet; `waiting` does not count before it executes a program.
    pub(super) fn new(waiting: Option<i32>, sees_capabilities: bool) -> Self {
        Self { waiting, sees_capabilities, ..Self::default() }
    }

    /// Nothing, and never anything.
    pub fn failed(why: String) -> Self {
        Self { failure: Some(why), done: true, ..Self::default() }
    }

    /// Whether the command runs, so that everything counts.
    pub(super) fn counting(&self) -> bool {
        self.waiting.is_none()
    }

    /// Takes note of an event. `pairs` are the calls of which both ends are seen.
    pub(super) fn note(&mut self, event: &Event, pairs: impl Fn(&str) -> bool) {
        if self.waiting == Some(event.pid) {
            if let Kind::Exit { call, result: 0 } = event.kind
                && matches!(Abi::NATIVE.name(call), Some("execve" | "execveat"))
            {
                self.waiting = None;
                self.calls.insert("execve");
            }
            return;
        }
        if self.threads.len() >= MAX_THREADS {
            self.threads.clear();
        }
        let doing = self.threads.entry(event.pid).or_default();
        match event.kind {
            Kind::Enter { call, arguments } => {
                *doing = Doing { entered: Some(call), ..Doing::default() };
                let Some(name) = Abi::NATIVE.name(call) else { return };
                self.calls.insert(name);
                if name == "socket" {
                    doing.domain = Some(arguments[0]);
                    self.sockets.insert((arguments[0], arguments[1] & 0xf));
                }
            }
            Kind::Capability { capability, held: true } => {
                self.capabilities.insert(capability);
            }
            Kind::Capability { capability, held: false } => doing.missing = Some(capability),
            Kind::Exit { call, result } => {
                let was = self.threads.remove(&event.pid).unwrap_or_default();
                let Some(name) = Abi::NATIVE.name(call) else { return };
                let filtered = pairs(name) && was.entered != Some(call);
                self.ended(name, result, was, filtered);
            }
        }
    }

    fn ended(&mut self, name: &str, result: i64, was: Doing, filtered: bool) {
        let errno = -result;
        let tells = match errno {
            EPERM | EACCES | EROFS | EMFILE => true,
            EAGAIN => matches!(name, "clone" | "clone3" | "fork" | "vfork"),
            ENOSYS => filtered,
            _ => false,
        };
        if !tells {
            return;
        }
        let capability = was.missing.filter(|_| matches!(errno, EPERM | EACCES));
        let domain = was.domain;
        let denial = Denial { call: name.to_owned(), errno, capability, filtered, domain };
        if self.denials.len() < MAX_DENIALS || self.denials.contains_key(&denial) {
            *self.denials.entry(denial).or_default() += 1;
        }
    }

    /// Takes note of a file.
    pub(super) fn opened(&mut self, path: String) {
        if self.files.len() < MAX_FILES {
            self.files.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(pid: i32, name: &str) -> Event {
        let call = Abi::NATIVE.number(name).unwrap();
        Event { pid, kind: Kind::Enter { call, arguments: [2, 0x80001] } }
    }

    fn exit(pid: i32, name: &str, result: i64) -> Event {
        let call = Abi::NATIVE.number(name).unwrap();
        Event { pid, kind: Kind::Exit { call, result } }
    }

    fn asked(pid: i32, capability: u8, held: bool) -> Event {
        Event { pid, kind: Kind::Capability { capability, held } }
    }

    fn seen(waiting: Option<i32>, events: &[Event]) -> Seen {
        let mut seen = Seen::new(waiting, true);
        events.iter().for_each(|event| seen.note(event, |_| true));
        seen
    }

    #[test]
    fn the_runtimes_own_calls_do_not_count() {
        let all = seen(
            Some(7),
            &[
                enter(7, "setgroups"),
                asked(7, 6, true),
                exit(7, "setgroups", 0),
                exit(7, "execve", -2),
                exit(7, "execve", 0),
                enter(7, "brk"),
                exit(7, "brk", 4096),
            ],
        );
        assert_eq!(all.calls, ["brk", "execve"].into());
        assert!(all.capabilities.is_empty() && all.denials.is_empty());
    }

    #[test]
    fn a_call_that_never_entered_was_filtered() {
        let all = seen(
            None,
            &[
                exit(1, "mount", -1),
                enter(1, "chown"),
                asked(1, 0, false),
                exit(1, "chown", -1),
                enter(2, "socket"),
                exit(2, "socket", 3),
            ],
        );
        let denials: Vec<_> = all.denials.keys().collect();
        assert_eq!(denials.len(), 2);
        assert!(!denials[0].filtered && denials[0].capability == Some(0), "{denials:?}");
        assert!(denials[1].filtered && denials[1].call == "mount", "{denials:?}");
        assert_eq!(all.calls, ["chown", "socket"].into());
        assert_eq!(all.sockets, [(2, 1)].into());
    }

    #[test]
    fn what_worked_all_the_same_is_no_denial() {
        let all = seen(
            None,
            &[
                enter(1, "openat"),
                asked(1, 1, false),
                asked(1, 2, true),
                exit(1, "openat", 3),
                enter(1, "read"),
                exit(1, "read", -11),
                enter(1, "openat"),
                exit(1, "openat", -2),
            ],
        );
        assert!(all.denials.is_empty());
        assert_eq!(all.capabilities, [2].into());
    }

    #[test]
    fn whatever_a_container_does_it_is_bounded() {
        let mut all = Seen::new(None, true);
        for pid in 0..40_000 {
            all.note(&enter(pid, "read"), |_| true);
            all.opened(pid.to_string());
        }
        assert!(all.threads.len() <= MAX_THREADS && all.files.len() == MAX_FILES);
    }
}
