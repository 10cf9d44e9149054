//! What a container is denied and why, and the profile of what it needs.

use lab::{Lab, Output};

fn advice(output: &Output) -> Vec<(String, String)> {
    let lines = output.ok().lines().map(|line| line.split_once('\t').expect("two columns"));
    lines.map(|(what, option)| (what.to_owned(), option.to_owned())).collect()
}

const FORMAT: &str = "{{.Denied}}\t{{.Option}}";

#[test]
fn a_denied_action_says_which_option_would_allow_it() {
    let lab = Lab::new();
    let line = "hostname other; mount -t tmpfs none /mnt; echo x > /etc/new; sleep 1";
    lab.estiba(&["create", "--name", "denied", "--read-only", "busybox", "sh", "-c", line]).ok();
    let said = advice(&lab.estiba(&["diagnose", "--start", "--format", FORMAT, "denied"]));
    let option = |what: &str| {
        let found = said.iter().find(|(denied, _)| denied == what);
        found.unwrap_or_else(|| panic!("{what}: {said:?}")).1.as_str()
    };
    assert_eq!(option("sethostname"), "--cap-add SYS_ADMIN");
    assert_eq!(option("mount"), "--cap-add SYS_ADMIN");
    assert!(option("openat").contains("--tmpfs"), "{said:?}");
    // What was said is remembered, and asked for again without a watch.
    let again = lab.estiba(&["diagnose", "--for", "0", "--format", FORMAT, "denied"]);
    assert_eq!(advice(&again), said);
}

#[test]
fn a_start_that_fails_leaves_the_next_one_watched() {
    let lab = Lab::new();
    let port = ["-p", "127.0.0.1:7000:7000"];
    lab.estiba(&["run", "-d", "--name", "holder", port[0], port[1], "busybox", "sleep", "1000"])
        .ok();
    let command = ["busybox", "sh", "-c", "hostname other; sleep 1"];
    let create = ["create", "--name", "denied", port[0], port[1]];
    lab.estiba(&[&create[..], &command].concat()).ok();
    lab.estiba(&["diagnose", "--start", "denied"]).fails(1, "7000");
    lab.estiba(&["rm", "-f", "holder"]).ok();
    lab.estiba(&["start", "-a", "denied"]);
    let said = advice(&lab.estiba(&["diagnose", "--for", "0", "--format", FORMAT, "denied"]));
    assert!(said.iter().any(|(denied, _)| denied == "sethostname"), "{said:?}");
}

#[test]
fn ends_and_limits_are_explained_without_a_watch() {
    let lab = Lab::new();
    lab.estiba(&["run", "--name", "gone", "busybox", "/nowhere"]).fails(127, "no such file");
    let said = advice(&lab.estiba(&["diagnose", "--format", FORMAT, "gone"]));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].1.contains("--entrypoint"), "{said:?}");
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "few",
        "--pids-limit",
        "4",
        "busybox",
        "sh",
        "-c",
        "sh -c 'for i in 1 2 3 4 5 6; do sleep 1000 & done'; sleep 1000",
    ])
    .ok();
    lab::eventually("the limit is met and told", || {
        let said = lab.estiba(&["diagnose", "--for", "0", "--format", FORMAT, "few"]);
        advice(&said).iter().any(|(_, option)| option.contains("--pids-limit"))
    });
    lab.estiba(&["diagnose", "nobody"]).fails(1, "No such container: nobody");
}

#[test]
fn a_learned_profile_lets_the_same_through_and_nothing_else() {
    let lab = Lab::new();
    let line = "cat /etc/passwd > /tmp/a; chown 5 /tmp/a; ls -l /tmp/a";
    lab.estiba(&["create", "--name", "learned", "busybox", "sh", "-c", line]).ok();
    let file = lab.dir().join("profile.json");
    let file = file.to_str().expect("utf-8");
    let told = lab.estiba(&["profile", "learn", "-o", file, "learned"]);
    assert!(told.stderr.contains("system calls"), "{told:?}");
    let text = std::fs::read_to_string(file).expect("profile");
    let profile: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(profile["observed"]["syscalls"].as_u64().is_some_and(|n| n < 110), "{profile}");
    assert_eq!(profile["observed"]["lost"], 0);
    let files = profile["observed"]["files"].to_string();
    assert!(files.contains("/etc/passwd"), "{files}");
    if profile["observed"]["capabilities"] == true {
        let caps = profile["capabilities"].to_string();
        assert!(caps.contains("CAP_CHOWN") && !caps.contains("CAP_KILL"), "{caps}");
    }
    let option = format!("profile={file}");
    lab.estiba(&["run", "--rm", "--security-opt", &option, "busybox", "sh", "-c", line]).ok();
    // A call that was not made is refused now, to an exec and to a health check as well.
    let health = ["--health-cmd", "mkfifo /tmp/f", "--health-interval", "1s"];
    let health = [&health[..], &["--health-retries", "1"]].concat();
    let run = ["run", "--rm", "--security-opt", &option, "busybox", "mkfifo", "/tmp/f"];
    lab.estiba(&run).fails(1, "Operation not permitted");
    let run = ["run", "-di", "--name", "narrow", "--security-opt", &option];
    lab.estiba(&[&run[..], &health, &["busybox", "sh", "-c", "cat; :"]].concat()).ok();
    lab.estiba(&["exec", "narrow", "cat", "/etc/passwd"]).ok();
    lab.estiba(&["exec", "narrow", "mkfifo", "/tmp/f"]).fails(1, "Operation not permitted");
    lab::eventually("the health check is refused too", || {
        let state = lab.estiba(&["inspect", "-f", "{{.State.Health.Status}}", "narrow"]);
        state.ok().trim() == "unhealthy"
    });
}

#[test]
fn what_is_no_profile_is_refused() {
    let lab = Lab::new();
    let file = lab.dir().join("bad.json");
    std::fs::write(
        &file,
        r#"{"version":1,"capabilities":["NOPE"],"seccomp":{"defaultAction":"x"}}"#,
    )
    .expect("file");
    let option = format!("profile={}", file.display());
    lab.estiba(&["run", "--security-opt", &option, "busybox", "true"]).fails(125, "NOPE");
    let option = "profile=/nowhere.json";
    let missing = lab.estiba(&["run", "--security-opt", option, "busybox", "true"]);
    missing.fails(125, "opening security profile (/nowhere.json) failed");
    lab.estiba(&["create", "--name", "unseen", "busybox", "true"]).ok();
    lab.estiba(&["profile", "learn", "--for", "x", "unseen"]).fails(125, "invalid argument");
}
