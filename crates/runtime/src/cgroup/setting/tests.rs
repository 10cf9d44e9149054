//! Plans as data: what goes where, in which order, on both versions.

use super::*;
use wire::oci::runtime::{HugepageLimit, Pids, Rdma, WeightDevice};

fn v1(_: &str) -> Option<Version> {
    Some(Version::V1)
}

fn v2(_: &str) -> Option<Version> {
    Some(Version::V2)
}

fn facts(version: &dyn Fn(&str) -> Option<Version>) -> Facts<'_> {
    Facts { version, memory_limit: None, memory_usage: None }
}

/// The plan as `file=value` lines; alternatives after `|`, what may be missing in brackets.
fn lines(resources: &Resources, facts: &Facts) -> Vec<String> {
    let show = |setting: &Setting| {
        let pairs = setting.candidates.iter().map(|(file, value)| format!("{file}={value}"));
        let line = pairs.collect::<Vec<_>>().join(" | ");
        if setting.optional { format!("[{line}]") } else { line }
    };
    plan(resources, facts).unwrap().iter().map(show).collect()
}

fn check(resources: &Resources, on_v1: &[&str], on_v2: &[&str]) {
    assert_eq!(lines(resources, &facts(&v1)), on_v1, "v1");
    assert_eq!(lines(resources, &facts(&v2)), on_v2, "v2");
}

fn memory(limit: Option<i64>, swap: Option<i64>, reservation: Option<i64>) -> Resources {
    let memory = Memory { limit, swap, reservation, ..Memory::default() };
    Resources { memory: Some(memory), ..Resources::default() }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources { cpu: Some(cpu), ..Resources::default() }
}

fn error(resources: &Resources, version: &dyn Fn(&str) -> Option<Version>) -> String {
    plan(resources, &facts(version)).unwrap_err().to_string()
}

#[test]
fn nothing_asked_nothing_written() {
    check(&Resources::default(), &[], &[]);
    let empty = Resources {
        memory: Some(Memory { limit: Some(0), kernel: Some(0), ..Memory::default() }),
        cpu: Some(Cpu { shares: Some(0), quota: Some(0), ..Cpu::default() }),
        pids: Some(Pids { limit: Some(0) }),
        block_io: Some(BlockIo { weight: Some(0), ..BlockIo::default() }),
        ..Resources::default()
    };
    check(&empty, &[], &[]);
    // Not even the controllers are needed then.
    assert!(plan(&empty, &facts(&|_| None)).unwrap().is_empty());
}

#[test]
fn memory_limits() {
    check(
        &memory(Some(1 << 20), Some(3 << 20), Some(1 << 19)),
        &[
            "memory.limit_in_bytes=1048576",
            "memory.memsw.limit_in_bytes=3145728",
            "memory.soft_limit_in_bytes=524288",
        ],
        &["memory.swap.max=2097152", "memory.max=1048576", "memory.low=524288"],
    );
    check(
        &memory(Some(4096), Some(-1), None),
        &["memory.limit_in_bytes=4096", "[memory.memsw.limit_in_bytes=-1]"],
        &["[memory.swap.max=max]", "memory.max=4096"],
    );
    check(
        &memory(Some(4096), Some(4096), None),
        &["memory.limit_in_bytes=4096", "memory.memsw.limit_in_bytes=4096"],
        &["[memory.swap.max=0]", "memory.max=4096"],
    );
    check(
        &memory(Some(-1), None, None),
        &["[memory.memsw.limit_in_bytes=-1]", "memory.limit_in_bytes=-1"],
        &["memory.max=max"],
    );
}

#[test]
fn raising_memory_moves_the_wider_limit_first() {
    let order = |now: u64, to: i64| {
        let facts = Facts { memory_limit: Some(now), ..facts(&v1) };
        let lines = lines(&memory(Some(to), Some(2 * to), None), &facts);
        lines.iter().map(|line| line.contains("memsw")).collect::<Vec<_>>()
    };
    assert_eq!(order(1000, 2000), [true, false]);
    assert_eq!(order(2000, 1000), [false, true]);
    assert_eq!(order(u64::MAX, 1000), [false, true]);
}

#[test]
fn contradictory_memory_is_refused() {
    for (limit, swap) in [(2000, 1000), (-1, 1000)] {
        for version in [v1, v2] {
            let error = error(&memory(Some(limit), Some(swap), None), &version);
            assert!(error.starts_with("set memory.swap: 1000"), "{error}");
        }
    }
    assert!(error(&memory(None, Some(1000), None), &v2).starts_with("set memory.swap: 1000"));
    let mut checked = memory(Some(1000), None, None);
    checked.memory.as_mut().unwrap().check_before_update = Some(true);
    let below = Facts { memory_usage: Some(1001), ..facts(&v2) };
    assert!(plan(&checked, &below).is_err());
    let above = Facts { memory_usage: Some(999), ..facts(&v2) };
    assert!(plan(&checked, &above).is_ok());
}

#[test]
fn memory_switches_of_v1() {
    let memory = Memory {
        swappiness: Some(60),
        disable_oom_killer: Some(true),
        kernel_tcp: Some(4096),
        ..Memory::default()
    };
    let resources = Resources { memory: Some(memory.clone()), ..Resources::default() };
    let expect =
        ["memory.kmem.tcp.limit_in_bytes=4096", "memory.oom_control=1", "memory.swappiness=60"];
    assert_eq!(lines(&resources, &facts(&v1)), expect);
    let memory = Memory { swappiness: Some(101), ..memory };
    let resources = Resources { memory: Some(memory), ..Resources::default() };
    assert_eq!(error(&resources, &v1), "set memory.swappiness: 101 is more than 100");
}

#[test]
fn what_v2_lacks_is_refused_there() {
    let refused = |memory: Memory, name: &str| {
        let resources = Resources { memory: Some(memory), ..Resources::default() };
        let expect = format!("set memory.{name}: cgroup v2 has no such limit");
        assert_eq!(error(&resources, &v2), expect);
        assert!(plan(&resources, &facts(&v1)).is_ok(), "{name}");
    };
    refused(Memory { swappiness: Some(1), ..Memory::default() }, "swappiness");
    refused(Memory { disable_oom_killer: Some(true), ..Memory::default() }, "disableOOMKiller");
    refused(Memory { kernel: Some(1), ..Memory::default() }, "kernel");
    refused(Memory { kernel_tcp: Some(1), ..Memory::default() }, "kernelTCP");
    let flat = Memory { use_hierarchy: Some(false), ..Memory::default() };
    let flat = Resources { memory: Some(flat), ..Resources::default() };
    assert!(error(&flat, &v1).contains("useHierarchy"));
    let leaf = BlockIo { leaf_weight: Some(20), ..BlockIo::default() };
    let leaf = Resources { block_io: Some(leaf), ..Resources::default() };
    assert!(error(&leaf, &v2).contains("leafWeight"));
    assert_eq!(plan(&leaf, &facts(&v1)).unwrap().len(), 1);
}

#[test]
fn processor_limits() {
    check(
        &cpu(Cpu {
            shares: Some(1024),
            quota: Some(50_000),
            period: Some(100_000),
            burst: Some(10_000),
            cpus: "0-1".into(),
            mems: "0".into(),
            ..Cpu::default()
        }),
        &[
            "cpu.shares=1024",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=10000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
        &[
            "cpu.weight=100",
            "cpu.max=50000 100000",
            "cpu.max.burst=10000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    check(
        &cpu(Cpu { quota: Some(-1), ..Cpu::default() }),
        &["cpu.cfs_quota_us=-1"],
        &["cpu.max=max 100000"],
    );
    check(
        &cpu(Cpu { idle: Some(1), shares: Some(512), ..Cpu::default() }),
        &["cpu.idle=1"],
        &["cpu.idle=1"],
    );
    let realtime =
        cpu(Cpu { realtime_runtime: Some(5000), realtime_period: Some(10_000), ..Cpu::default() });
    let on_v1 = ["cpu.rt_period_us=10000", "cpu.rt_runtime_us=5000"];
    assert_eq!(lines(&realtime, &facts(&v1)), on_v1);
    assert!(error(&realtime, &v2).contains("no real-time limits"));
}

#[test]
fn block_device_limits() {
    let throttle = |rate| vec![ThrottleDevice { major: 8, minor: 0, rate }];
    let weight = WeightDevice { major: 8, minor: 16, weight: Some(1000), leaf_weight: None };
    let resources = Resources {
        block_io: Some(BlockIo {
            weight: Some(10),
            weight_device: vec![weight],
            throttle_read_bps_device: throttle(1024),
            throttle_write_iops_device: throttle(0),
            ..BlockIo::default()
        }),
        ..Resources::default()
    };
    check(
        &resources,
        &[
            "blkio.bfq.weight=10 | blkio.weight=10",
            "blkio.bfq.weight_device=8:16 1000 | blkio.weight_device=8:16 1000",
            "blkio.throttle.read_bps_device=8:0 1024",
            "blkio.throttle.write_iops_device=8:0 0",
        ],
        &[
            "io.weight=default 1 | io.bfq.weight=10",
            "io.weight=8:16 10000 | io.bfq.weight=8:16 1000",
            "io.max=8:0 rbps=1024",
            "io.max=8:0 wiops=max",
        ],
    );
    for weight in [9, 1001] {
        let block_io = BlockIo { weight: Some(weight), ..BlockIo::default() };
        let resources = Resources { block_io: Some(block_io), ..Resources::default() };
        assert!(error(&resources, &v2).contains("is not between 10 and 1000"));
    }
}

#[test]
fn the_other_limits() {
    let resources = Resources {
        pids: Some(Pids { limit: Some(100) }),
        hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 4096 }],
        rdma: [("mlx5_1".to_owned(), Rdma { hca_handles: Some(3), hca_objects: Some(7) })].into(),
        ..Resources::default()
    };
    check(
        &resources,
        &[
            "pids.max=100",
            "[hugetlb.2MB.rsvd.limit_in_bytes=4096]",
            "hugetlb.2MB.limit_in_bytes=4096",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=7",
        ],
        &[
            "pids.max=100",
            "[hugetlb.2MB.rsvd.max=4096]",
            "hugetlb.2MB.max=4096",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=7",
        ],
    );
    let unlimited = Resources { pids: Some(Pids { limit: Some(-1) }), ..Resources::default() };
    check(&unlimited, &["pids.max=max"], &["pids.max=max"]);
}

#[test]
fn missing_controllers_are_named() {
    let without = |missing: &'static str| {
        move |controller: &str| (controller != missing).then_some(Version::V2)
    };
    let pids = Resources { pids: Some(Pids { limit: Some(5) }), ..Resources::default() };
    let expected = "set pids.limit: this host has no pids cgroup controller";
    assert_eq!(error(&pids, &without("pids")), expected);
    for (resources, controller) in [
        (memory(Some(4096), None, None), "memory"),
        (cpu(Cpu { shares: Some(5), ..Cpu::default() }), "cpu"),
        (cpu(Cpu { cpus: "0".into(), ..Cpu::default() }), "cpuset"),
    ] {
        let error = error(&resources, &without(controller));
        assert!(error.ends_with(&format!("no {controller} cgroup controller")), "{error}");
    }
}

#[test]
fn hostile_words_never_reach_a_file() {
    let unified = |key: &str| Resources {
        unified: [(key.to_owned(), "1".to_owned())].into(),
        ..Resources::default()
    };
    assert_eq!(lines(&unified("memory.high"), &facts(&v2)), ["memory.high=1"]);
    for key in [
        "",
        ".",
        "memory",
        "memory.",
        ".high",
        "../memory.high",
        "a/b.c",
        "cgroup.procs",
        "cgroup.freeze",
        "memory.high\n",
        "memory high.x",
    ] {
        assert!(plan(&unified(key), &facts(&v2)).is_err(), "{key:?}");
    }
    for list in ["0-4294967295", "0\n1", "0;1", "../0"] {
        let resources = cpu(Cpu { cpus: list.into(), ..Cpu::default() });
        assert!(error(&resources, &v1).starts_with("set cpuset.cpus:"), "{list:?}");
    }
    let rdma = |name: &str| Resources {
        rdma: [(name.to_owned(), Rdma::default())].into(),
        ..Resources::default()
    };
    assert!(plan(&rdma("a b"), &facts(&v2)).is_err());
    assert!(plan(&rdma("a\nb"), &facts(&v2)).is_err());
    let page = |size: &str| Resources {
        hugepage_limits: vec![HugepageLimit { page_size: size.into(), limit: 0 }],
        ..Resources::default()
    };
    assert!(plan(&page("2MB/../x"), &facts(&v2)).is_err());
    assert!(plan(&page(""), &facts(&v2)).is_err());
}
