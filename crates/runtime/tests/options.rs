//! What a document asks of mounts that have others below them, and what `events` tells.

mod lab;

use lab::bundle::Bundle;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Runs a bundle's container where `shared` has another file system at `shared/below`.
fn run_with_one_below(bundle: &Bundle) -> String {
    const WAY: &str = "mount -t tmpfs below shared/below && : >shared/below/file && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", WAY, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_estiba-runtime")).arg("--root").arg(bundle.path("state"));
    let out = command.args(["run", &bundle.id]).current_dir(bundle.dir.path()).output();
    let out = out.expect("unshare(1) is installed");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

fn bundle(name: &str, args: &[&str]) -> Bundle {
    let bundle = Bundle::new(name, args);
    fs::create_dir_all(bundle.path("shared/below")).expect("directory");
    fs::write(bundle.path("shared/file"), "").expect("file");
    bundle
}

fn bind(options: &[&str]) -> Value {
    json!({"destination": "/m", "type": "bind", "source": "shared", "options": options})
}

fn mount(bundle: &Bundle, mount: &Value) {
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/m");
        mounts.push(mount.clone());
    });
}

/// The options of the mounts at `/m` and `/m/below`, as the container's own table has them.
fn options(table: &str) -> [Vec<&str>; 2] {
    ["/m", "/m/below"].map(|at| {
        let line = table.lines().find(|line| line.split(' ').nth(4) == Some(at));
        let line = line.unwrap_or_default();
        assert!(!line.is_empty(), "nothing is at {at}: {table}");
        line.split(' ').nth(5).expect("options").split(',').collect()
    })
}

#[test]
fn recursive_options_reach_what_is_mounted_below() {
    let bundle = bundle("recursive", &["cat", "/proc/self/mountinfo"]);
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"] {
        for (option, reaches) in [(flag.to_owned(), false), (format!("r{flag}"), true)] {
            mount(&bundle, &bind(&["rbind", &option]));
            let table = run_with_one_below(&bundle);
            let [at, below] = options(&table);
            assert!(at.contains(&flag), "{option}: {at:?}");
            assert_eq!(below.contains(&flag), reaches, "{option}: {below:?}");
        }
    }
    // What is taken back is taken back everywhere.
    mount(&bundle, &bind(&["rbind", "rro", "rrw"]));
    let table = run_with_one_below(&bundle);
    let [at, below] = options(&table);
    assert!(at.contains(&"rw") && below.contains(&"rw"), "{at:?} {below:?}");
}

#[test]
fn ids_are_mapped_below_too_when_that_is_asked_for() {
    let bundle = bundle("ridmap", &["stat", "-c", "%u:%g", "/m/file", "/m/below/file"]);
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 10}]);
    for (option, wanted) in [("idmap", "5000:6000\n0:0\n"), ("ridmap", "5000:6000\n5000:6000\n")] {
        let asked = json!({"destination": "/m", "type": "bind", "source": "shared",
            "options": ["rbind", option], "uidMappings": map(5000), "gidMappings": map(6000)});
        mount(&bundle, &asked);
        assert_eq!(run_with_one_below(&bundle), wanted, "{option}");
    }
}

#[test]
fn running_out_of_memory_is_an_event() {
    // It waits for the watcher, fails, and stays.
    let script = "until [ -e /go ]; do sleep 0.05; done; \
        sh -c 'x=a; while :; do x=$x$x; done'; sleep 1000";
    let bundle = Bundle::new("events", &["sh", "-c", script]);
    bundle.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
        config["root"]["readonly"] = json!(false);
    });
    bundle.create();
    bundle.ok(&["start", &bundle.id]);
    let mut events = bundle.command(&["events", "--interval", "1s", &bundle.id]);
    let mut events = events.stdout(Stdio::piped()).spawn().expect("events");
    let lines = BufReader::new(events.stdout.take().expect("output")).lines();
    let mut lines =
        lines.map(|line| -> Value { serde_json::from_str(&line.expect("a line")).expect("JSON") });
    let first = lines.next().expect("figures");
    assert_eq!(first["type"], "stats");
    assert_eq!(first["data"]["memory"]["usage"]["limit"], 16 << 20);
    assert!(first["data"]["pids"]["current"].as_u64().is_some_and(|count| count > 0), "{first}");
    fs::write(bundle.path("rootfs/go"), "").expect("go");
    let oom = lines.find(|event| event["type"] == "oom").expect("an event");
    assert_eq!(oom["id"], bundle.id);
    // The figures go on; it ends with the container.
    assert!(lines.any(|event| event["type"] == "stats"));
    bundle.ok(&["delete", "--force", &bundle.id]);
    assert!(events.wait().expect("ended").success());
    drop(lines);
}
