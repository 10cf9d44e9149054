//! The daemon is not the containers' parent: what goes on, and what is found again, when it is
//! killed at any moment.

use lab::{Lab, Setup, eventually};

#[test]
fn containers_and_logs_go_on_while_the_daemon_is_dead() {
    let mut lab = Lab::new();
    let count = "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done; sleep 0.5; exit 5";
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "ww",
        "busybox",
        "sh",
        "-c",
        &format!("sleep 0.2; {count}"),
    ])
    .ok();
    lab.estiba(&["run", "-d", "--name", "ss", "busybox", "sleep", "1000"]).ok();
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "ss"]).ok().to_owned();
    lab.kill_daemon();
    eventually("it wrote and ended without a daemon", || {
        let logs = glob(&lab.data_root().join("containers"));
        logs.iter()
            .any(|log| std::fs::read_to_string(log).unwrap_or_default().contains("line-2999"))
    });
    std::thread::sleep(std::time::Duration::from_millis(900));
    lab.start_daemon();
    let logs = lab.estiba(&["logs", "ww"]).ok().to_owned();
    let want: Vec<String> = (0..3000).map(|n| format!("line-{n}")).collect();
    assert!(logs.lines().eq(want.iter().map(String::as_str)), "a line was lost or doubled");
    let state = lab.estiba(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ww"]);
    assert_eq!(state.ok(), "exited 5");
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "ss"]).ok(), pid);
    assert_eq!(lab.estiba(&["exec", "ss", "echo", "still here"]).ok(), "still here");
    lab.estiba(&["stop", "-t", "0", "ss"]).ok();
}

fn glob(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let inside = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = inside.flat_map(|c| std::fs::read_dir(c.path()).into_iter().flatten().flatten());
    files.map(|f| f.path()).filter(|p| p.to_string_lossy().ends_with("-json.log")).collect()
}

#[test]
fn an_attached_client_does_not_notice() {
    let mut lab = Lab::new();
    let talk = "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.1; done";
    let client = lab.session(&["run", "--name", "aa", "busybox", "sh", "-c", talk]);
    eventually("it talks", || client.so_far().contains('3'));
    lab.kill_daemon();
    eventually("it goes on talking", || client.so_far().contains("10"));
    lab.start_daemon();
    drop(client);
    assert_eq!(lab.estiba(&["wait", "aa"]).ok(), "0");
}

#[test]
fn published_ports_and_restart_policies_survive() {
    let mut lab = Lab::new();
    let serve = ["run", "-d", "--name", "web", "-p", "18081:80", "busybox"];
    let httpd = ["sh", "-c", "echo page > /index.html; exec httpd -f -p 80 -h /"];
    lab.estiba(&[&serve[..], &httpd].concat()).ok();
    let page = || lab_page(&lab);
    eventually("it serves", || page() == "page");
    lab.estiba(&["run", "-d", "--name", "rr", "--restart", "always", "busybox", "sleep", "0.6"])
        .ok();
    lab.kill_daemon();
    assert_eq!(lab_page(&lab), "page", "served without a daemon");
    std::thread::sleep(std::time::Duration::from_secs(1));
    lab.start_daemon();
    assert_eq!(lab_page(&lab), "page");
    eventually("the policy is applied", || {
        lab.estiba(&["inspect", "-f", "{{.State.Running}}", "rr"]).stdout.trim() == "true"
    });
    let ports = "80/tcp -> 0.0.0.0:18081\n80/tcp -> [::]:18081";
    assert_eq!(lab.estiba(&["port", "web"]).ok(), ports);
    lab.estiba(&["rm", "-f", "web"]).ok();
    assert_ne!(lab_page(&lab), "page");
}

fn lab_page(lab: &Lab) -> String {
    let curl = ["curl", "-s", "-m", "2", "http://127.0.0.1:18081/index.html"];
    lab.in_network(&curl).stdout.trim().to_owned()
}

#[test]
fn killed_in_the_middle_of_many_operations_it_finishes_or_undoes() {
    let mut lab = Lab::new();
    for round in 0..4u64 {
        let names: Vec<String> = (0..6).map(|n| format!("k{round}-{n}")).collect();
        let started: Vec<_> = names
            .iter()
            .map(|name| lab.session(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]))
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(15 + 30 * round));
        lab.kill_daemon();
        drop(started.into_iter().map(lab::Session::finish).collect::<Vec<_>>());
        lab.start_daemon();
        let format = "{{.Names}} {{.State}}";
        let all = lab.estiba(&["ps", "-a", "--format", format]).ok().to_owned();
        for line in all.lines() {
            let (name, state) = line.split_once(' ').unwrap();
            assert!(["running", "created", "exited"].contains(&state), "{line}");
            if state == "running" {
                assert_eq!(lab.estiba(&["exec", name, "echo", "ok"]).ok(), "ok");
            }
        }
        let ids = lab.estiba(&["ps", "-aq"]).ok().to_owned();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            lab.estiba(&[&["rm", "-f"], &*ids].concat()).ok();
        }
        assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
    }
    // Links go after the answer.
    let has_links = || lab.in_network(&["ip", "-o", "link"]).ok().contains("veth");
    eventually("no link is left", || !has_links());
    let snapshots = std::fs::read_dir(lab.data_root().join("snapshots")).into_iter().flatten();
    assert_eq!(snapshots.count(), 0, "snapshots were left");
}

/// Where containers are not to outlive their daemon, they end with it, or with the next one when it
/// was killed; and a restart policy holds as if nobody had stopped them.
#[test]
fn without_live_restore_nothing_outlives_the_daemon() {
    let arguments = vec!["--live-restore=false".to_owned()];
    let mut lab = Lab::with(Setup { arguments, ..Setup::default() });
    let kinds = [("plain", "no"), ("unless", "unless-stopped"), ("always", "always")];
    for (name, policy) in kinds {
        let words = ["run", "-d", "--name", name, "--restart", policy, "--stop-signal", "KILL"];
        lab.estiba(&[&words[..], &["busybox", "sleep", "1000"]].concat()).ok();
    }
    let state = |lab: &Lab, name: &str| {
        let told = lab.estiba(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", name]);
        let (status, pid) = told.ok().split_once(' ').unwrap();
        (status.to_owned(), pid.to_owned())
    };
    for killed in [true, false] {
        let before = kinds.map(|(name, _)| state(&lab, name).1);
        if killed {
            lab.kill_daemon();
        } else {
            lab.stop_daemon();
            for pid in before.iter().filter(|pid| *pid != "0") {
                assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
            }
        }
        lab.start_daemon();
        eventually("nothing is as before", || {
            kinds.iter().zip(&before).all(|((name, policy), before)| {
                let (status, pid) = state(&lab, name);
                let want = if *policy == "no" { "exited" } else { "running" };
                status == want && (pid != *before || pid == "0")
            })
        });
    }
    lab.estiba(&["stop", "unless"]).ok();
    lab.stop_daemon();
    lab.start_daemon();
    // The daemon answers once it has started what starts with it, as Docker's does.
    assert_eq!(state(&lab, "always").0, "running");
    assert_eq!(state(&lab, "unless").0, "exited");
}
