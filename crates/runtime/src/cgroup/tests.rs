//! Against this host's kernel, in cgroups of the test's own that are gone afterwards.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wire::oci::runtime::{Cpu, DeviceRule, Memory, Pids};

use super::*;

/// A parent cgroup that nobody else has, removed with everything below it.
struct Parent {
    hierarchy: Hierarchy,
    path: String,
}

impl Parent {
    fn new() -> Parent {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/estiba-test-{}-{number}", std::process::id());
        Parent { hierarchy: Hierarchy::detect().unwrap(), path }
    }

    /// One on the host as it is, and one as if it had no v2 tree, where that leaves anything.
    fn with_and_without_v2() -> Vec<Parent> {
        let mut parents = vec![Parent::new()];
        if parents[0].hierarchy.layout() == Layout::Hybrid {
            let mut legacy = Parent::new();
            legacy.hierarchy.v2 = None;
            parents.push(legacy);
        }
        parents
    }

    fn create(&self, name: &str, resources: &Resources) -> Result<Cgroup, CgroupError> {
        Cgroup::create(&self.hierarchy, &format!("{}/{name}", self.path), resources)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.hierarchy, &self.path) {
            let removed = cgroup.delete();
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }
}

/// A shell that waits for a line before it does what it is told; killed when dropped.
struct Shell(Child);

impl Shell {
    fn new(script: &str) -> Shell {
        let command = format!("read _; {script}");
        let child = Command::new("/bin/sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Shell(child.unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn begin(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Everything that it prints until it ends.
    fn output(&mut self) -> String {
        let mut output = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.0.wait().unwrap();
        output
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn limits() -> Resources {
    Resources {
        memory: Some(Memory {
            limit: Some(64 << 20),
            reservation: Some(32 << 20),
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(100_000),
            cpus: "0".into(),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: Some(33) }),
        ..Resources::default()
    }
}

fn text(cgroup: &Cgroup, controller: &str, v1: &str, v2: &str) -> String {
    let (dir, file) = match cgroup.home(controller).unwrap() {
        Home::V1(dir) => (dir, v1),
        Home::V2(dir) => (dir, v2),
    };
    dir.read(file).unwrap().trim().to_owned()
}

#[test]
fn limits_are_set_and_changed() {
    let parent = Parent::new();
    let cgroup = parent.create("limits", &limits()).unwrap();
    let memory = |c: &Cgroup| text(c, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(&cgroup), (64 << 20).to_string());
    assert_eq!(text(&cgroup, "pids", "pids.max", "pids.max"), "33");
    assert_eq!(text(&cgroup, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let quota = text(&cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota.starts_with("50000"), "{quota}");
    let weight = text(&cgroup, "cpu", "cpu.shares", "cpu.weight");
    assert!(weight == "512" || weight == "59", "{weight}");

    // Down and up again, with and without swap: the order of writes must be right each time.
    for megabytes in [32, 128, 16, 256] {
        let memory_limits = Memory {
            limit: Some(megabytes << 20),
            swap: Some(2 * (megabytes << 20)),
            ..Memory::default()
        };
        let change = Resources { memory: Some(memory_limits), ..Resources::default() };
        cgroup.update(&change).unwrap();
        assert_eq!(memory(&cgroup), (megabytes << 20).to_string());
        assert_eq!(text(&cgroup, "pids", "pids.max", "pids.max"), "33", "unnamed limits stay");
    }
    let none = Memory { limit: Some(-1), swap: Some(-1), ..Memory::default() };
    cgroup.update(&Resources { memory: Some(none), ..Resources::default() }).unwrap();
    assert_ne!(memory(&cgroup), (256 << 20).to_string());
    cgroup.delete().unwrap();
    assert!(matches!(
        Cgroup::open(&parent.hierarchy, cgroup.path()),
        Err(CgroupError::NotFound { .. })
    ));
    cgroup.delete().unwrap();
}

#[test]
fn processes_join_everywhere_and_are_killed() {
    for parent in Parent::with_and_without_v2() {
        join_and_kill(&parent);
    }
}

fn join_and_kill(parent: &Parent) {
    let cgroup = parent.create("join", &Resources::default()).unwrap();
    let mut shell = Shell::new("sleep 600 & sleep 600 & wait");
    cgroup.join(shell.pid()).unwrap();
    let listed = std::fs::read_to_string(format!("/proc/{}/cgroup", shell.pid())).unwrap();
    for line in listed.lines().filter(|line| cgroup.v2.is_some() || !line.starts_with("0::")) {
        assert!(line.ends_with(cgroup.path()), "{line}");
    }
    shell.begin();
    until("three processes", || cgroup.processes().unwrap().len() == 3);
    let stats = cgroup.stats().unwrap();
    assert_eq!(stats.pids.current, 3);
    assert!(stats.memory.usage_bytes > 0 && stats.memory.stat.len() > 5, "{stats:?}");
    assert!(stats.cpu.total_ns > 0 && stats.cpu.system_ns > stats.cpu.total_ns, "{stats:?}");
    assert!(stats.cpu.online > 0, "{stats:?}");

    let busy = parent.create("join", &Resources::default());
    assert!(matches!(busy, Err(CgroupError::Busy { .. })), "{busy:?}");
    assert_eq!(cgroup.processes().unwrap().len(), 3, "the refused create harmed nothing");

    cgroup.kill_all(Signal::KILL).unwrap();
    assert_eq!(shell.output(), "");
    until("no process", || cgroup.processes().unwrap().is_empty());
    cgroup.delete().unwrap();
}

#[test]
fn frozen_processes_stand_still_and_can_be_killed() {
    for parent in Parent::with_and_without_v2() {
        freeze_and_kill(&parent);
    }
}

fn freeze_and_kill(parent: &Parent) {
    let cgroup = parent.create("freeze", &Resources::default()).unwrap();
    let mut shell = Shell::new("while :; do :; done");
    cgroup.join(shell.pid()).unwrap();
    shell.begin();
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let used = || cgroup.stats().unwrap().cpu.total_ns;
    let before = used();
    std::thread::sleep(Duration::from_millis(50));
    assert!(used() - before < 5_000_000, "a frozen loop went on");
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    let before = used();
    until("the loop goes on", || used() - before > 5_000_000);
    cgroup.freeze().unwrap();
    cgroup.kill_all(Signal::KILL).unwrap();
    shell.output();
    cgroup.delete().unwrap();
}

#[test]
fn other_signals_reach_every_process() {
    let parent = Parent::new();
    let cgroup = parent.create("signal", &Resources::default()).unwrap();
    let mut shell =
        Shell::new("trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.01; done");
    cgroup.join(shell.pid()).unwrap();
    shell.begin();
    let mut ready = [0; 6];
    shell.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    cgroup.kill_all(Signal::TERM).unwrap();
    assert_eq!(shell.output(), "term\n");
}

#[test]
fn fork_bombs_end_at_the_limit() {
    let parent = Parent::new();
    let resources = Resources { pids: Some(Pids { limit: Some(4) }), ..Resources::default() };
    let cgroup = parent.create("pids", &resources).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; wait";
    let mut shell = Shell::new(script);
    cgroup.join(shell.pid()).unwrap();
    shell.begin();
    until("the limit", || cgroup.stats().unwrap().pids.current == 4);
    std::thread::sleep(Duration::from_millis(20));
    let pids = cgroup.stats().unwrap().pids;
    assert_eq!((pids.current, pids.limit), (4, 4));
    cgroup.kill_all(Signal::KILL).unwrap();
    shell.output();
}

#[test]
fn running_out_of_memory_is_noticed() {
    let parent = Parent::new();
    let memory = Memory { limit: Some(8 << 20), swap: Some(8 << 20), ..Memory::default() };
    let resources = Resources { memory: Some(memory), ..Resources::default() };
    let cgroup = parent.create("oom", &resources).unwrap();
    let watch = cgroup.watch_oom().unwrap().expect("this host has a memory controller");
    let signalled = |milliseconds| {
        use rustix::event::{PollFd, Timespec, poll};
        let mut waited = [PollFd::new(&watch, watch.interest())];
        let limit = Timespec::try_from(Duration::from_millis(milliseconds)).unwrap();
        poll(&mut waited, Some(&limit)).unwrap() == 1
    };
    assert!(!signalled(0));
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    // A string of 64 MiB, in a child of the shell so that the shell can tell.
    let mut shell =
        Shell::new("head -c 67108864 /dev/zero | tail -c 67108863 >/dev/null; echo end");
    cgroup.join(shell.pid()).unwrap();
    shell.begin();
    assert!(signalled(10_000), "no event");
    shell.output();
    let signs = watch.drain();
    let tells = watch.interest() == rustix::event::PollFlags::IN;
    assert_eq!((signs.events > 0, signs.gone), (tells, false));
    assert!(!signalled(0));
    assert!(cgroup.oom_kills().unwrap() >= 1);
    assert!(cgroup.stats().unwrap().memory.oom_kills >= 1);
}

#[test]
fn a_group_that_is_gone_did_not_run_out_of_memory() {
    let parent = Parent::new();
    let memory = Memory { limit: Some(8 << 20), ..Memory::default() };
    let resources = Resources { memory: Some(memory), ..Resources::default() };
    let cgroup = parent.create("gone", &resources).unwrap();
    let watch = cgroup.watch_oom().unwrap().expect("this host has a memory controller");
    assert_eq!(watch.drain(), OomSigns::default());
    cgroup.delete().unwrap();
    assert_eq!(watch.drain(), OomSigns { events: 0, gone: true });
}

#[test]
fn devices_are_denied_unless_listed() {
    let parent = Parent::new();
    let fuse = DeviceRule {
        allow: true,
        kind: "c".into(),
        major: Some(10),
        minor: Some(229),
        access: "rwm".into(),
    };
    let script = "for d in null zero urandom; do head -c1 /dev/$d >/dev/null && echo $d; done; \
                  for n in kmsg mem; do (: </dev/$n) && echo $n; done; echo end";
    let output = |name: &str, resources: &Resources| {
        let cgroup = parent.create(name, resources).unwrap();
        let mut shell = Shell::new(script);
        cgroup.join(shell.pid()).unwrap();
        shell.begin();
        shell.output()
    };
    let base = "null\nzero\nurandom\nend\n";
    assert_eq!(output("none", &Resources::default()), base, "no rule never means all");
    let resources = Resources { devices: vec![fuse.clone()], ..Resources::default() };
    assert_eq!(output("one", &resources), base);
    let kmsg = DeviceRule { major: Some(1), minor: Some(11), ..fuse };
    let resources = Resources { devices: vec![kmsg], ..Resources::default() };
    assert_eq!(output("kmsg", &resources), "null\nzero\nurandom\nkmsg\nend\n");
    let all = DeviceRule { allow: true, kind: "a".into(), ..DeviceRule::default() };
    let resources = Resources { devices: vec![all], ..Resources::default() };
    assert!(output("all", &resources).contains("kmsg\n"));
}

#[test]
fn device_rules_change_under_a_running_process() {
    let parent = Parent::new();
    let cgroup = parent.create("change", &Resources::default()).unwrap();
    let kmsg = |allow| Resources {
        devices: vec![DeviceRule {
            allow,
            kind: "c".into(),
            major: Some(1),
            minor: Some(11),
            access: "r".into(),
        }],
        ..Resources::default()
    };
    let script = "for i in 1 2 3; do (: </dev/null) || echo lost; \
                  (: </dev/kmsg) && echo yes || echo no; read _; done";
    let mut shell = Shell::new(script);
    cgroup.join(shell.pid()).unwrap();
    let line = |shell: &mut Shell| {
        shell.begin();
        let mut byte = [0];
        let mut line = String::new();
        while byte != *b"\n" {
            shell.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        line
    };
    assert_eq!(line(&mut shell), "no\n");
    cgroup.update(&kmsg(true)).unwrap();
    assert_eq!(line(&mut shell), "yes\n");
    cgroup.update(&kmsg(false)).unwrap();
    assert_eq!(line(&mut shell), "no\n");
}

#[test]
fn the_v2_tree_filters_devices_by_program() {
    let parent = Parent::new();
    let cgroup = parent.create("bpf", &Resources::default()).unwrap();
    let Some(v2) = &cgroup.v2 else { return };
    let rules = |allow| {
        vec![DeviceRule {
            allow,
            kind: "c".into(),
            major: Some(1),
            minor: Some(11),
            access: "r".into(),
        }]
    };
    let reads_kmsg = || {
        let mut shell = Shell::new("(: </dev/null) && (: </dev/kmsg) && echo yes || echo no");
        v2.dir.join(shell.pid()).unwrap();
        shell.begin();
        shell.output()
    };
    devices::attach_for_test(&v2.dir, &rules(false)).unwrap();
    assert_eq!(reads_kmsg(), "no\n");
    devices::attach_for_test(&v2.dir, &rules(true)).unwrap();
    assert_eq!(reads_kmsg(), "yes\n");
    devices::attach_for_test(&v2.dir, &[]).unwrap();
    assert_eq!(reads_kmsg(), "no\n");
    let dir = cgroup.clone_into_fd().unwrap().unwrap();
    let attached = sys::bpf::device_programs(rustix::fd::AsFd::as_fd(&dir)).unwrap();
    assert_eq!(attached.len(), 1, "each program replaced the one before");
}

#[test]
fn a_process_enters_by_itself() {
    for parent in Parent::with_and_without_v2() {
        let cgroup = parent.create("doors", &Resources::default()).unwrap();
        let into = cgroup.clone_into_fd().unwrap();
        let doors = cgroup.doors().unwrap();
        let (said, say) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let into = into.as_ref().map(rustix::fd::AsFd::as_fd);
        let child = sys::clone::clone3_into(0, into, || {
            let entered = doors.iter().all(|door| rustix::io::write(door, b"0") == Ok(1));
            let _ = rustix::io::write(&say, if entered { b"y" } else { b"n" });
            loop {
                std::thread::park();
            }
        })
        .unwrap();
        let mut word = [0];
        rustix::io::read(&said, &mut word).unwrap();
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", child.pid)).unwrap();
        let process = sys::Pidfd::from(child.pidfd);
        process.send_signal(Signal::KILL.as_raw()).unwrap();
        process.wait().unwrap();
        assert_eq!(&word, b"y");
        assert_eq!(child.entered, parent.hierarchy.v2.is_some());
        let inside = groups.lines().filter(|line| line.ends_with(cgroup.path())).count();
        assert_eq!(inside, cgroup.v1.len() + usize::from(cgroup.v2.is_some()), "{groups}");
        cgroup.delete().unwrap();
    }
}

#[test]
fn failed_creation_leaves_nothing() {
    let parent = Parent::new();
    let bad = [
        Resources {
            cpu: Some(Cpu { cpus: "4000".into(), ..Cpu::default() }),
            ..Resources::default()
        },
        Resources {
            devices: vec![DeviceRule { kind: "x".into(), ..DeviceRule::default() }],
            ..Resources::default()
        },
    ];
    for resources in bad {
        assert!(parent.create("bad", &resources).is_err());
        let path = format!("{}/bad", parent.path);
        let opened = Cgroup::open(&parent.hierarchy, &path);
        assert!(matches!(opened, Err(CgroupError::NotFound { .. })), "{opened:?}");
    }
    let hugetlb = wire::oci::runtime::HugepageLimit { page_size: "2MB".into(), limit: 0 };
    let resources = Resources { hugepage_limits: vec![hugetlb], ..Resources::default() };
    if !parent.hierarchy.controllers().contains("hugetlb") {
        let error = parent.create("bad", &resources).unwrap_err();
        let expected = "set hugepageLimits \"2MB\": this host has no hugetlb cgroup controller";
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn left_overs_are_replaced_and_nested_cgroups_removed() {
    let parent = Parent::new();
    let resources = Resources { pids: Some(Pids { limit: Some(7) }), ..Resources::default() };
    let first = parent.create("again", &resources).unwrap();
    for dir in first.v1.iter().map(|tree| &tree.dir).chain(first.v2.iter().map(|v2| &v2.dir)) {
        Dir::new(dir.path().join("inner")).make().unwrap();
        Dir::new(dir.path().join("inner/most")).make().unwrap();
    }
    let second = parent.create("again", &Resources::default()).unwrap();
    assert_eq!(second.stats().unwrap().pids.limit, u64::MAX, "limits of the left-over stayed");
    second.delete().unwrap();
}

#[test]
fn parents_without_cpus_are_filled_when_needed() {
    let parent = Parent::new();
    let Some(tree) = parent.hierarchy.legacy("cpuset") else { return };
    // As another program leaves it: neither filled nor passing on.
    Dir::new(tree.dir.join(&parent.path[1..])).make().unwrap();
    let cgroup = parent.create("late", &Resources::default()).unwrap();
    let mut shell = Shell::new("echo here");
    cgroup.join(shell.pid()).unwrap();
    shell.begin();
    assert_eq!(shell.output(), "here\n");
    let other = Parent::new();
    Dir::new(tree.dir.join(&other.path[1..])).make().unwrap();
    other.create("limits", &limits()).unwrap();
}
