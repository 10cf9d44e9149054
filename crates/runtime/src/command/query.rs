//! `state`, `list`, `ps`, `features` and `spec`: what is asked for and not changed.

use super::args::{Args, Usage};
use super::record::Record;
use super::{Failed, Global, say, say_json};
use crate::caps::CapSet;
use crate::cgroup::{Hierarchy, Layout};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use wire::oci::runtime::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LATEST, LinuxFeatures,
    MemoryPolicyFeatures, MountExtensions, SeccompFeatures,
};

pub(super) fn state(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let id = args.only_id()?;
    let record = Record::load(global, &id)?;
    say_json(&extended(&record)?)?;
    Ok(0)
}

/// The state document with runc's additions.
fn extended(record: &Record) -> Result<Value, Failed> {
    let mut value =
        serde_json::to_value(record.state()).map_err(|e| Failed::said(e.to_string()))?;
    value["pid"] = json!(record.state().pid);
    value["created"] = json!(record.created);
    if let crate::launch::Rootfs::Directory(path) = &record.launch.rootfs {
        value["rootfs"] = json!(path);
    }
    value["owner"] = json!("");
    Ok(value)
}

pub(super) fn list(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let (mut json, mut quiet) = (false, false);
    while let Some(option) = args.option() {
        match option.as_str() {
            "--format" | "-f" => json = args.value(&option)? == "json",
            "--quiet" | "-q" => quiet = args.switch(&option)?,
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    args.end()?;
    let records = all(global)?;
    if quiet {
        records.iter().for_each(|record| say(&format!("{}\n", record.launch.id)));
    } else if json {
        let values = records.iter().map(extended).collect::<Result<Vec<_>, _>>()?;
        say_json(&values)?;
    } else {
        table(&records);
    }
    Ok(0)
}

fn all(global: &Global) -> Result<Vec<Record>, Failed> {
    let entries = match fs::read_dir(&global.root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failed::io(format!("read {}", global.root.display()), &error));
        }
    };
    // A container that is being created or deleted has no record.
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut records: Vec<Record> =
        names.filter_map(|name| Record::load(global, &name).ok()).collect();
    records.sort_by(|a, b| a.launch.id.cmp(&b.launch.id));
    Ok(records)
}

fn table(records: &[Record]) {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(records.iter().map(|record| {
        let state = record.state();
        [state.id, state.pid.to_string(), state.status, state.bundle, record.created.clone()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 3;
    let widths = [0, 1, 2, 3].map(width);
    for [id, pid, status, bundle, created] in &rows {
        let [a, b, c, d] = widths;
        say(&format!("{id:a$}{pid:b$}{status:c$}{bundle:d$}{created}\n"));
    }
}

pub(super) fn ps(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let mut json = false;
    while let Some(option) = args.option() {
        match option.as_str() {
            "--format" | "-f" => json = args.value(&option)? == "json",
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    let id = args.required("the container's id")?;
    let mut pids = Record::load(global, &id)?.cgroup()?.processes()?;
    pids.sort_unstable();
    if json {
        say_json(&pids)?;
        return Ok(0);
    }
    say(&format!("{:>7}  {}\n", "PID", "CMD"));
    for pid in pids {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        say(&format!("{pid:>7}  {}\n", line.trim_end()));
    }
    Ok(0)
}

pub(super) fn features(mut args: Args) -> Result<i32, Failed> {
    args.end()?;
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let layout = Hierarchy::detect().map(|hierarchy| hierarchy.layout()).ok();
    let v1 = layout.map(|layout| !matches!(layout, Layout::Unified));
    let v2 = layout.map(|layout| matches!(layout, Layout::Unified | Layout::Hybrid));
    let on = |enabled| Some(Enabled { enabled: Some(enabled) });
    let hooks =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let features = Features {
        oci_version_min: "1.0.0".to_owned(),
        oci_version_max: LATEST.to_owned(),
        hooks: names(&hooks),
        mount_options: names(&crate::plan::MOUNT_OPTIONS),
        linux: Some(LinuxFeatures {
            namespaces: names(&["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]),
            capabilities: CapSet::ALL.names(),
            cgroup: Some(CgroupFeatures {
                v1,
                v2,
                systemd: Some(true),
                systemd_user: Some(false),
                rdma: Some(true),
            }),
            seccomp: Some(seccomp_features()),
            apparmor: on(true),
            selinux: on(true),
            intel_rdt: Some(IntelRdtFeatures {
                enabled: Some(true),
                schemata: Some(true),
                monitoring: Some(true),
            }),
            memory_policy: Some(MemoryPolicyFeatures {
                modes: names(&crate::plan::MEMORY_MODES),
                flags: names(&crate::plan::MEMORY_FLAGS),
            }),
            net_devices: on(true),
            mount_extensions: Some(MountExtensions { idmap: on(true) }),
        }),
        ..Features::default()
    };
    say_json(&features)?;
    Ok(0)
}

/// What the compiler of filters takes.
fn seccomp_features() -> SeccompFeatures {
    let names = |prefix: &str, list: &[&str]| -> Vec<String> {
        list.iter().map(|name| format!("{prefix}{name}")).collect()
    };
    let actions =
        ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW", "NOTIFY"];
    let flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];
    let archs: &[&str] = match crate::seccomp::Arch::NATIVE {
        crate::seccomp::Arch::X86_64 => &["X86_64", "X86", "X32"],
        crate::seccomp::Arch::Aarch64 => &["AARCH64"],
    };
    SeccompFeatures {
        enabled: Some(true),
        actions: names("SCMP_ACT_", &actions),
        operators: names("SCMP_CMP_", &["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]),
        archs: names("SCMP_ARCH_", archs),
        known_flags: names("SECCOMP_FILTER_FLAG_", &flags),
        supported_flags: names("SECCOMP_FILTER_FLAG_", &flags),
    }
}

pub(super) fn spec(mut args: Args) -> Result<i32, Failed> {
    let mut bundle = PathBuf::from(".");
    let mut rootless = false;
    while let Some(option) = args.option() {
        match option.as_str() {
            "--bundle" | "-b" => bundle = args.value(&option)?.into(),
            "--rootless" => rootless = args.switch(&option)?,
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    args.end()?;
    let path = bundle.join("config.json");
    let text = serde_json::to_string_pretty(&template(rootless))
        .map_err(|error| Failed::said(error.to_string()))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| Failed::io(format!("write {}", path.display()), &error))?;
    Ok(0)
}

/// A specification to begin with: a shell under everything that protects the host. A namespace in
/// which an ordinary user is root has no group 5 to own terminals.
fn template(rootless: bool) -> Value {
    let terminals = match rootless {
        true => &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"][..],
        false => &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    };
    let caps = crate::caps::estiba_default().names();
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut mount = json!({"destination": destination, "type": kind, "source": source});
        mount["options"] = json!(options);
        mount
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    json!({
        "ociVersion": LATEST,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "estiba",
        "mounts": [
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", terminals),
            mount("/dev/shm", "tmpfs", "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces.map(|kind| json!({"type": kind})),
            "seccomp": crate::seccomp::default_profile(
                crate::caps::estiba_default(),
                &crate::seccomp::ProfileOptions::default(),
            ),
            "maskedPaths": crate::plan::ALSO_MASKED,
            "readonlyPaths": crate::plan::ALSO_READONLY,
        },
    })
}
