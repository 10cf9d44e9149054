//! Every flag of `run`, `exec` and `update` does what it says: it is seen from inside a container,
//! or it is refused with a reason, or another test is named that sees it. A flag that is new in
//! `tests/data/cli/flags.tsv` has to be put into one of these tables.

use lab::{Lab, Output};
use std::collections::BTreeSet;
use std::path::Path;

/// The words of a flag; what is run inside; and a text that is seen then and not without it. An
/// empty text: it only has to be another than without.
type Acts = (&'static [&'static str], &'static str, &'static str);

/// Of both versions of control groups.
macro_rules! group {
    ($v1:literal, $v2:literal) => {
        concat!("cat /sys/fs/cgroup/", $v1, " /sys/fs/cgroup/", $v2, " 2>/dev/null; true")
    };
}

const CAPABILITIES: &str = "grep CapEff /proc/self/status";
const LINKS: &str = "ls /sys/class/net";
const RESOLVER: &str = "cat /etc/resolv.conf";
const MOUNTS: &str = "cat /proc/mounts";
const NAMES: &str = "cat /etc/hosts";

/// Flags of `run`, with which a container runs and looks at itself. There are a container `other`
/// with a volume at `/kept`, a network `nn` of 10.99.0.0/24 and fd00:99::/64, and in `@` the files
/// `env` and `dir/inner`.
const RUN: &[Acts] = &[
    (&["--add-host", "gw:192.0.2.7"], NAMES, "192.0.2.7\tgw"),
    (&["--attach", "stdout"], "echo out; echo err >&2", ""),
    (&["--cap-add", "SYS_TIME"], CAPABILITIES, ""),
    (&["--cap-drop", "ALL"], CAPABILITIES, "0000000000000000"),
    (&["--cgroupns", "host"], "cat /proc/self/cgroup", ""),
    (&["--cidfile", "@/cid"], "echo", ""),
    (&["--cpu-period", "50000"], group!("cpu/cpu.cfs_period_us", "cpu.max"), "50000"),
    (&["--cpu-quota", "40000"], group!("cpu/cpu.cfs_quota_us", "cpu.max"), "40000"),
    (&["--cpu-shares", "512"], group!("cpu/cpu.shares", "cpu.weight"), ""),
    (&["--cpus", "0.5"], group!("cpu/cpu.cfs_quota_us", "cpu.max"), "50000"),
    (&["--cpuset-cpus", "0"], "grep Cpus_allowed_list /proc/self/status", "\t0\n"),
    (&["--device", "/dev/null:/dev/mine"], "ls /dev", "mine"),
    (&["--dns", "192.0.2.1"], RESOLVER, "192.0.2.1"),
    (&["--dns-option", "ndots:9"], RESOLVER, "ndots:9"),
    (&["--dns-search", "a.test"], RESOLVER, "a.test"),
    (&["--domainname", "dom.test"], "cat /proc/sys/kernel/domainname", "dom.test"),
    (&["--entrypoint", "echo"], "true", "-c"),
    (&["--env", "MINE=yes"], "env", "MINE=yes"),
    (&["--env-file", "@/env"], "env", "FILED=yes"),
    (&["--group-add", "12345"], "id -G", "12345"),
    (&["--hostname", "myname"], "hostname", "myname"),
    (&["--init"], "[ $$ = 1 ] || echo has a parent", "has a parent"),
    (&["--interactive"], "readlink /proc/self/fd/0", ""),
    (&["--network", "nn", "--ip", "10.99.0.77"], "ip -o addr", "10.99.0.77/"),
    (&["--network", "nn", "--ip6", "fd00:99::77"], "ip -o addr", "fd00:99::77/"),
    (&["--ipc", "host"], "readlink /proc/self/ns/ipc", ""),
    (&["--link", "other:beside"], NAMES, "beside"),
    (&["--network", "nn", "--link-local-ip", "169.254.9.9"], "ip -o addr", "169.254.9.9"),
    (
        &["--mac-address", "02:42:0a:01:02:03"],
        "cat /sys/class/net/eth0/address",
        "02:42:0a:01:02:03",
    ),
    (&["--memory", "64m"], group!("memory/memory.limit_in_bytes", "memory.max"), "67108864"),
    (
        &["--memory", "64m", "--memory-reservation", "32m"],
        group!("memory/memory.soft_limit_in_bytes", "memory.low"),
        "33554432",
    ),
    (
        &["--memory", "64m", "--memory-swap", "128m"],
        group!("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
        "",
    ),
    (&["--mount", "type=tmpfs,dst=/mine,tmpfs-size=1m"], MOUNTS, " /mine tmpfs "),
    (&["--network", "none"], LINKS, ""),
    (&["--network", "nn", "--network-alias", "also"], "nslookup also 127.0.0.11", "10.99.0."),
    (&["--oom-score-adj", "77"], "cat /proc/self/oom_score_adj", "77"),
    (&["--pid", "host"], "readlink /proc/self/ns/pid", ""),
    (&["--pids-limit", "55"], group!("pids/pids.max", "pids.max"), "55"),
    (&["--privileged"], CAPABILITIES, "000001ff"),
    (&["--read-only"], "touch /mine", "Read-only file system"),
    (&["--security-opt", "no-new-privileges=false"], "grep NoNewPrivs /proc/self/status", "0"),
    (&["--shm-size", "3m"], "df -k /dev/shm", " 3072 "),
    (&["--sysctl", "net.core.somaxconn=77"], "cat /proc/sys/net/core/somaxconn", "77"),
    (&["--tmpfs", "/mine:size=1m"], MOUNTS, " /mine tmpfs "),
    (&["--tty"], "[ -t 1 ] && echo a terminal", "a terminal"),
    (&["--ulimit", "nofile=64:128"], "ulimit -n", "64"),
    (&["--use-api-socket"], MOUNTS, "docker.sock"),
    (&["--user", "77:88"], "id -u; id -g", "77\n88"),
    (&["--userns", "host"], "cat /proc/self/uid_map", "4294967295"),
    (&["--uts", "host"], "readlink /proc/self/ns/uts", ""),
    (&["--volume", "@/dir:/mine"], "ls /mine", "inner"),
    (&["--volumes-from", "other"], MOUNTS, " /kept "),
    (&["--workdir", "/tmp"], "pwd", "/tmp"),
];

/// Flags of `create` whose value is seen in a field of `inspect`.
const SHOWN: &[(&[&str], &str, &str)] = &[
    (&["--annotation", "a=b"], "{{.HostConfig.Annotations}}", "a:b"),
    (&["--cpuset-mems", "0"], "{{.HostConfig.CpusetMems}}", "0"),
    (&["--expose", "81/udp"], "{{.Config.ExposedPorts}}", "81/udp"),
    (&["--health-cmd", "true"], "{{.Config.Healthcheck}}", "CMD-SHELL true"),
    (&["--health-interval", "7s"], "{{.Config.Healthcheck.Interval}}", "7s"),
    (&["--health-retries", "7"], "{{.Config.Healthcheck.Retries}}", "7"),
    (&["--health-start-interval", "7s"], "{{.Config.Healthcheck.StartInterval}}", "7s"),
    (&["--health-start-period", "7s"], "{{.Config.Healthcheck.StartPeriod}}", "7s"),
    (&["--health-timeout", "7s"], "{{.Config.Healthcheck.Timeout}}", "7s"),
    (&["--label", "a=b"], "{{.Config.Labels}}", "a:b"),
    (&["--label-file", "@/env"], "{{.Config.Labels}}", "FILED:yes"),
    (&["--log-driver", "local"], "{{.HostConfig.LogConfig.Type}}", "local"),
    (&["--log-opt", "max-size=1m"], "{{.HostConfig.LogConfig.Config}}", "max-size:1m"),
    (&["--name", "mine"], "{{.Name}}", "/mine"),
    (&["--no-healthcheck"], "{{.Config.Healthcheck}}", "NONE"),
    (&["--platform", "linux/amd64"], "{{.Platform}}", "linux"),
    (&["--restart", "always"], "{{.HostConfig.RestartPolicy.Name}}", "always"),
    (&["--rm"], "{{.HostConfig.AutoRemove}}", "true"),
    (&["--runtime", "io.containerd.runc.v2"], "{{.HostConfig.Runtime}}", "runc.v2"),
    (&["--stop-signal", "INT"], "{{.Config.StopSignal}}", "INT"),
    (&["--stop-timeout", "7"], "{{.Config.StopTimeout}}", "7"),
];

/// Flags that are refused, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (&["--cpu-count", "1"], "only supported on a Docker daemon running on windows"),
    (&["--cpu-percent", "1"], "only supported on a Docker daemon running on windows"),
    (&["--io-maxbandwidth", "1m"], "only supported on a Docker daemon running on windows"),
    (&["--io-maxiops", "1"], "only supported on a Docker daemon running on windows"),
    (&["--isolation", "hyperv"], "invalid isolation 'hyperv' on linux"),
    (&["--gpus", "all"], "could not select device driver"),
    (
        &["--pull", "never", "--volume-driver", "none-such", "-v", "data:/mine"],
        "plugin \"none-such\" not found",
    ),
];

/// Flags that other tests see, or that only some machines have.
const ELSEWHERE: &[(&str, &str)] = &[
    ("blkio-weight", "runtime: cgroup tests; few kernels have a scheduler with weights"),
    ("blkio-weight-device", "runtime: cgroup tests"),
    ("cgroup-parent", "reload: new_containers_are_below_another_control_group"),
    ("cpu-rt-period", "runtime: cgroup tests; few kernels have it"),
    ("cpu-rt-runtime", "runtime: cgroup tests; few kernels have it"),
    ("detach", "life: stop_sends_the_stop_signal_first"),
    ("detach-keys", "terminal: detach_and_attach_again"),
    ("device-cgroup-rule", "runtime: cgroup tests"),
    ("device-read-bps", "runtime: cgroup tests"),
    ("device-read-iops", "runtime: cgroup tests"),
    ("device-write-bps", "runtime: cgroup tests"),
    ("device-write-iops", "runtime: cgroup tests"),
    ("disable-content-trust", "as with Docker: true changes nothing, there is no Notary"),
    ("kernel-memory", "deprecated, and without effect since Docker 23: the daemon warns"),
    ("memory-swappiness", "runtime: cgroup tests; control groups of version 2 have none"),
    ("oom-kill-disable", "runtime: cgroup tests; control groups of version 2 have none"),
    ("publish", "publish: its tests"),
    ("publish-all", "network: its tests"),
    ("pull", "registry: push_pull_and_push_on_keep_every_digest"),
    ("quiet", "registry"),
    ("sig-proxy", "terminal: signals_to_the_client_reach_the_container"),
    ("storage-opt", "quotas"),
];

/// Flags of `exec`, as [`RUN`].
const EXEC: &[Acts] = &[
    (&["--env", "MINE=yes"], "env", "MINE=yes"),
    (&["--env-file", "@/env"], "env", "FILED=yes"),
    (&["--interactive"], "readlink /proc/self/fd/0", ""),
    (&["--privileged"], CAPABILITIES, "000001ff"),
    (&["--tty"], "[ -t 1 ] && echo a terminal", "a terminal"),
    (&["--user", "77:88"], "id -u; id -g", "77\n88"),
    (&["--workdir", "/tmp"], "pwd", "/tmp"),
];

/// Flags of `update` with which a container that runs is changed, and what it sees.
const UPDATE: &[Acts] = &[
    (&["--cpu-period", "50000"], group!("cpu/cpu.cfs_period_us", "cpu.max"), "50000"),
    (&["--cpu-quota", "40000"], group!("cpu/cpu.cfs_quota_us", "cpu.max"), "40000"),
    (&["--cpu-shares", "512"], group!("cpu/cpu.shares", "cpu.weight"), ""),
    (&["--cpus", "0.5"], group!("cpu/cpu.cfs_quota_us", "cpu.max"), "50000"),
    (&["--cpuset-cpus", "0"], "grep Cpus_allowed_list /proc/self/status", "\t0\n"),
    (
        &["--memory", "64m", "--memory-swap", "128m"],
        group!("memory/memory.limit_in_bytes", "memory.max"),
        "67108864",
    ),
    (
        &["--memory-reservation", "32m"],
        group!("memory/memory.soft_limit_in_bytes", "memory.low"),
        "33554432",
    ),
    (&["--pids-limit", "55"], group!("pids/pids.max", "pids.max"), "55"),
];

/// Of `exec` and `update`, as in [`ELSEWHERE`].
const OF_THE_RUNNING_ELSEWHERE: &[(&str, &str)] = &[
    ("blkio-weight", "as of run"),
    ("cpu-rt-period", "as of run"),
    ("cpu-rt-runtime", "as of run"),
    ("cpuset-mems", "as of run: a machine of one node"),
    ("detach", "terminal: exec_detaches_and_goes_on"),
    ("detach-keys", "terminal: exec_detaches_and_goes_on"),
    ("kernel-memory", "as of run"),
    ("memory-swap", "with the memory"),
    ("restart", "life: top_stats_port_diff_update"),
];

/// The words with the lab's directory for `@`.
fn placed(lab: &Lab, words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.replace('@', &lab.dir().display().to_string())).collect()
}

fn asked(lab: &Lab, words: &[&[&str]]) -> Output {
    let words: Vec<String> = words.iter().flat_map(|words| placed(lab, words)).collect();
    lab.estiba(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn both(out: &Output) -> String {
    format!("{}{}", out.stdout, out.stderr)
}

/// Whether a row is seen to act: `without` and `with` are what is said inside.
fn judge(row: &Acts, without: &Output, with: &Output) -> Option<String> {
    let (words, look, want) = row;
    let (before, after) = (both(without), both(with));
    // A kernel without this control says nothing either way.
    let nothing = before.is_empty() && after.is_empty() && look.contains("/sys/fs/cgroup/");
    let acts = match *want {
        "" => before != after,
        want => after.contains(want) && !before.contains(want),
    };
    (!acts && !nothing).then(|| format!("{words:?}: {look}: {before:?}, and with it {after:?}"))
}

/// A lab with what the tables speak of.
fn furnished() -> Lab {
    let lab = Lab::new();
    std::fs::write(lab.dir().join("env"), "FILED=yes\n").unwrap();
    std::fs::create_dir(lab.dir().join("dir")).unwrap();
    std::fs::write(lab.dir().join("dir/inner"), "").unwrap();
    let network = ["network", "create", "--ipv6", "--subnet", "10.99.0.0/24"];
    lab.estiba(&[&network[..], &["--subnet", "fd00:99::/64", "nn"]].concat()).ok();
    let other = ["run", "-d", "--name", "other", "-v", "/kept", "busybox", "sleep", "1000"];
    lab.estiba(&other).ok();
    lab
}

#[test]
fn flags_of_run_are_seen_inside() {
    let lab = furnished();
    let mut wrong = Vec::new();
    for row in RUN {
        let (words, look, _) = row;
        let inside = ["busybox", "sh", "-c", look];
        let without = asked(&lab, &[&["run", "--rm"], &inside]);
        let with = match words[0] {
            "--entrypoint" => asked(&lab, &[&["run", "--rm"], words, &["busybox", "-c", look]]),
            _ => asked(&lab, &[&["run", "--rm"], words, &inside]),
        };
        if words[0] == "--cidfile" {
            let id = std::fs::read_to_string(lab.dir().join("cid")).unwrap_or_default();
            wrong.extend((id.len() != 64).then(|| format!("{words:?}: {id:?}; {with:?}")));
            continue;
        }
        wrong.extend(judge(row, &without, &with));
    }
    lab.estiba(&["rm", "-fv", "other"]).ok();
    lab.estiba(&["network", "rm", "nn"]).ok();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flags_of_create_are_shown_or_refused() {
    let lab = furnished();
    for (words, format, want) in SHOWN {
        let id = asked(&lab, &[&["create"], words, &["busybox", "true"]]);
        let id = id.ok();
        let shown = lab.estiba(&["inspect", "-f", format, id]);
        assert!(shown.ok().contains(want), "{words:?}: {shown:?}");
        lab.estiba(&["rm", id]).ok();
    }
    for (words, why) in REFUSED {
        let refused = asked(&lab, &[&["run", "--rm"], words, &["busybox", "true"]]);
        assert_ne!(refused.status, 0, "{words:?}");
        assert!(refused.stderr.contains(why), "{words:?}: {}", refused.stderr);
    }
}

#[test]
fn flags_of_exec_and_update_are_seen_inside() {
    let lab = furnished();
    let mut wrong = Vec::new();
    for row in EXEC {
        let (words, look, _) = row;
        let inside = ["other", "sh", "-c", look];
        let without = asked(&lab, &[&["exec"], &inside]);
        wrong.extend(judge(row, &without, &asked(&lab, &[&["exec"], words, &inside])));
    }
    for row in UPDATE {
        let (words, look, _) = row;
        lab.estiba(&["run", "-d", "--name", "live", "busybox", "sleep", "1000"]).ok();
        let seen = || lab.estiba(&["exec", "live", "sh", "-c", look]);
        let without = seen();
        asked(&lab, &[&["update"], words, &["live"]]).ok();
        wrong.extend(judge(row, &without, &seen()));
        lab.estiba(&["rm", "-f", "live"]).ok();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A flag that nobody has looked at is not there.
#[test]
fn of_every_flag_it_is_known_what_it_does() {
    let named = |rows: &[&'static [&'static str]]| -> BTreeSet<&'static str> {
        rows.iter().flat_map(|words| words.iter().filter_map(|it| it.strip_prefix("--"))).collect()
    };
    let acts = |rows: &[Acts]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
    let mut of_run = named(&acts(RUN));
    of_run.extend(named(&SHOWN.iter().map(|row| row.0).collect::<Vec<_>>()));
    of_run.extend(named(&REFUSED.iter().map(|row| row.0).collect::<Vec<_>>()));
    of_run.extend(ELSEWHERE.iter().map(|(flag, _)| *flag));
    let mut of_the_running = named(&acts(EXEC));
    of_the_running.extend(named(&acts(UPDATE)));
    of_the_running.extend(OF_THE_RUNNING_ELSEWHERE.iter().map(|(flag, _)| *flag));
    for line in include_str!("../data/cli/flags.tsv").lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [command, _, flag, _] = columns[..] else { panic!("{line}") };
        let known = match command {
            "docker run" | "docker create" => &of_run,
            "docker exec" | "docker update" => &of_the_running,
            _ => continue,
        };
        assert!(known.contains(flag), "{command} --{flag}");
    }
    let area = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/area"));
    for (flag, place) in ELSEWHERE.iter().chain(OF_THE_RUNNING_ELSEWHERE) {
        let Some((file, test)) = place.split_once(": ").filter(|(_, it)| it.contains('_')) else {
            continue;
        };
        let text = std::fs::read_to_string(area.join(file).with_extension("rs")).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{flag}: {place}");
    }
}
