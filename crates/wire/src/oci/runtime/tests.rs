//! Documents in, the same documents out, and nothing invented.

use super::*;

fn roundtrip(text: &str) -> serde_json::Value {
    let spec: Spec = serde_json::from_str(text).expect("parse");
    serde_json::to_value(&spec).expect("write")
}

#[test]
fn nothing_is_injected_into_a_minimal_document() {
    let out = roundtrip(r#"{"ociVersion":"1.2.0"}"#);
    assert_eq!(out, serde_json::json!({"ociVersion": "1.2.0"}));
}

#[test]
fn a_full_document_survives() {
    let text = serde_json::json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": true,
            "consoleSize": {"height": 24, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]},
            "args": ["sh"], "env": ["A=b"], "cwd": "/",
            "capabilities": {"bounding": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 9}],
            "noNewPrivileges": true, "oomScoreAdj": 100,
            "scheduler": {"policy": "SCHED_BATCH", "nice": 3},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "execCPUAffinity": {"initial": "0", "final": "1"}
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h", "domainname": "d",
        "mounts": [{"destination": "/m", "type": "bind", "source": "/s", "options": ["rbind"],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}]}],
        "hooks": {"createRuntime": [{"path": "/h", "args": ["h"], "timeout": 5}]},
        "annotations": {"a": "b"},
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 1, "kernelTCP": 2, "disableOOMKiller": true},
                "cpu": {"shares": 2, "quota": -1, "cpus": "0"},
                "pids": {"limit": 3},
                "blockIO": {"weight": 10, "throttleReadIOPSDevice": [
                    {"major": 8, "minor": 0, "rate": 5}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 6}],
                "unified": {"memory.high": "max"}
            },
            "cgroupsPath": "/x", "namespaces": [{"type": "network", "path": "/n"}],
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]},
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "personality": {"domain": "LINUX32"},
            "timeOffsets": {"monotonic": {"secs": 5, "nanosecs": 6}}
        }
    });
    assert_eq!(roundtrip(&text.to_string()), text);
}

#[test]
fn null_lists_of_go_are_empty_lists() {
    let spec: Spec = serde_json::from_str(
        r#"{"process":{"args":null,"env":null,"cwd":"/"},"linux":{"namespaces":null}}"#,
    )
    .expect("parse");
    assert!(spec.process.expect("process").args.is_empty());
    assert!(spec.linux.expect("linux").namespaces.is_empty());
}
