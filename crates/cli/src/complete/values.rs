//! Values that flags are known to take, by the flag's name.

use super::Objects;
use crate::flags::{Flag, Kind};

/// What a flag's value can be.
pub(super) struct Known {
    pub(super) words: &'static [&'static str],
    pub(super) objects: &'static [Objects],
    pub(super) files: bool,
}

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGCHLD",
    "SIGCONT",
    "SIGHUP",
    "SIGINT",
    "SIGIO",
    "SIGKILL",
    "SIGPIPE",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSTOP",
    "SIGTERM",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

const LOG_DRIVERS: &[&str] =
    &["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"];

const SECURITY: &[&str] = &[
    "apparmor=",
    "label=",
    "no-new-privileges",
    "profile=docker",
    "profile=estiba",
    "seccomp=",
    "seccomp=unconfined",
    "systempaths=unconfined",
    "landlock=unconfined",
    "writable-cgroups=true",
];

const PLATFORMS: &[&str] = &[
    "linux/386",
    "linux/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
];

/// What is known of a flag's value.
pub(super) fn of(flag: &Flag) -> Known {
    let objects: &[Objects] = match flag.long {
        "network" | "net" => &[Objects::Networks],
        "volumes-from" | "link" => &[Objects::Containers],
        "volume" => &[Objects::Volumes],
        "context" => &[Objects::Contexts],
        _ => &[],
    };
    let files = matches!(
        flag.long,
        "cidfile"
            | "config"
            | "env-file"
            | "file"
            | "iidfile"
            | "input"
            | "label-file"
            | "output"
            | "tlscacert"
            | "tlscert"
            | "tlskey"
            | "volume"
            | "workdir"
    );
    Known { words: words(flag), objects, files }
}

fn words(flag: &Flag) -> &'static [&'static str] {
    match flag.long {
        "cap-add" | "cap-drop" => CAPABILITIES,
        "cgroupns" => &["host", "private"],
        "driver" => &["bridge", "host", "ipvlan", "local", "macvlan", "none", "overlay"],
        "format" => &["json", "table"],
        "health-on-failure" => &["kill", "none", "restart", "stop"],
        "ipc" => &["container:", "host", "none", "private", "shareable"],
        "log-driver" => LOG_DRIVERS,
        "log-level" => &["debug", "error", "fatal", "info", "warn"],
        "mount" => &["type=bind", "type=image", "type=tmpfs", "type=volume"],
        "pid" => &["container:", "host"],
        "platform" => PLATFORMS,
        "progress" => &["auto", "plain", "quiet", "rawjson", "tty"],
        "pull" if flag.kind != Kind::Bool => &["always", "missing", "never"],
        "restart" => &["always", "no", "on-failure", "unless-stopped"],
        "security-opt" => SECURITY,
        "signal" | "stop-signal" => SIGNALS,
        "type" => &["container", "image", "network", "volume"],
        "userns" | "uts" => &["host"],
        _ => &[],
    }
}
