//! A container's life through the command line: run, exit codes, logs, exec, stop, remove.

use lab::{Lab, eventually};

#[test]
fn run_prints_and_hands_on_the_exit_code() {
    let lab = Lab::new();
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "hello"]).ok(), "hello");
    let failed = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", "exit 42"]);
    assert_eq!(failed.status, 42);
    lab.estiba(&["run", "--rm", "busybox", "no-such-command"])
        .fails(127, "executable file not found in $PATH");
    lab.estiba(&["run", "--rm", "busybox", "/etc"]).fails(126, "/etc");
    lab.estiba(&["run", "--rm", "busybox", "/etc/passwd"]).fails(126, "permission denied");
    lab.estiba(&["run", "--rm", "no-such-image", "true"]).fails(125, "no-such-image");
    let killed = lab.estiba(&["run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status, 137, "{killed:?}");
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
}

#[test]
fn standard_streams_stay_apart_and_input_ends() {
    let lab = Lab::new();
    let both = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((both.ok(), both.stderr.as_str()), ("out", "err\n"));
    let data = "line of input\n".repeat(100_000);
    let counted = lab.estiba_with(&["run", "-i", "--rm", "busybox", "wc", "-c"], data.as_bytes());
    assert_eq!(counted.ok().trim(), data.len().to_string());
    let echoed = lab.estiba_with(&["run", "-i", "--rm", "busybox", "cat"], data.as_bytes());
    assert_eq!(echoed.stdout.len(), data.len());
    assert!(echoed.stdout == data, "bytes came back changed");
}

#[test]
fn create_start_stop_restart_remove() {
    let lab = Lab::new();
    let id = lab.estiba(&["create", "--name", "one", "busybox", "sleep", "1000"]).ok().to_owned();
    assert_eq!(id.len(), 64);
    let state = |what: &str| {
        let format = format!("{{{{.State.{what}}}}}");
        lab.estiba(&["inspect", "-f", &format, "one"]).ok().to_owned()
    };
    assert_eq!(state("Status"), "created");
    lab.estiba(&["start", "one"]).ok();
    assert_eq!(state("Running"), "true");
    let pid = state("Pid");
    lab.estiba(&["rm", "one"]).fails(1, "container is running");
    lab.estiba(&["restart", "-t", "0", "one"]).ok();
    assert_ne!(state("Pid"), pid);
    lab.estiba(&["stop", "-t", "0", "one"]).ok();
    assert_eq!((state("Status").as_str(), state("ExitCode").as_str()), ("exited", "137"));
    lab.estiba(&["exec", "one", "true"]).fails(1, "is not running");
    lab.estiba(&["rm", "one"]).ok();
    lab.estiba(&["inspect", "one"]).fails(1, "No such object: one");
}

#[test]
fn stop_sends_the_stop_signal_first() {
    let lab = Lab::new();
    let script = "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "tt",
        "--stop-signal",
        "USR1",
        "busybox",
        "sh",
        "-c",
        script,
    ])
    .ok();
    eventually("it traps", || lab.estiba(&["logs", "tt"]).stdout.contains("ready"));
    lab.estiba(&["stop", "tt"]).ok();
    assert!(lab.estiba(&["logs", "tt"]).ok().contains("got it"));
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.ExitCode}}", "tt"]).ok(), "7");
    assert_eq!(lab.estiba(&["wait", "tt"]).ok(), "7");
}

#[test]
fn exec_joins_the_container() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "ee", "-e", "COLOUR=red", "busybox", "sleep", "1000"]).ok();
    assert_eq!(lab.estiba(&["exec", "ee", "sh", "-c", "echo $COLOUR"]).ok(), "red");
    assert_eq!(lab.estiba(&["exec", "ee", "sh", "-c", "exit 3"]).status, 3);
    assert_eq!(lab.estiba(&["exec", "-w", "/tmp", "ee", "pwd"]).ok(), "/tmp");
    assert_eq!(lab.estiba(&["exec", "-u", "www-data", "ee", "id", "-un"]).ok(), "www-data");
    assert_eq!(lab.estiba(&["exec", "-e", "A=b", "ee", "sh", "-c", "echo $A"]).ok(), "b");
    assert_eq!(lab.estiba_with(&["exec", "-i", "ee", "cat"], b"through").ok(), "through");
    // As with Docker, why an exec failed comes through the stream.
    let missing = lab.estiba(&["exec", "ee", "nothing-there"]);
    assert_eq!(missing.status, 127);
    assert!(missing.stdout.contains("executable file not found in $PATH"), "{missing:?}");
    // Who is not there is told before there is one.
    lab.estiba(&["exec", "-u", "nobody-here", "ee", "id"]).fails(1, "nobody-here");
    assert_eq!(lab.estiba(&["exec", "ee", "cat", "/proc/1/comm"]).ok(), "sleep");
    lab.estiba(&["exec", "-d", "ee", "touch", "/tmp/detached"]).ok();
    eventually("the detached one ran", || {
        lab.estiba(&["exec", "ee", "test", "-e", "/tmp/detached"]).status == 0
    });
}

#[test]
fn logs_tail_since_timestamps_follow() {
    let lab = Lab::new();
    lab.estiba(&["run", "--name", "ll", "busybox", "sh", "-c", "seq 1 1000; echo oops >&2"]);
    let all = lab.estiba(&["logs", "ll"]);
    assert_eq!(all.ok().lines().count(), 1000);
    assert_eq!(all.stderr, "oops\n");
    let tail = lab.estiba(&["logs", "--tail", "3", "ll"]);
    assert_eq!(format!("{}{}", tail.stdout, tail.stderr), "999\n1000\noops\n");
    let stamped = lab.estiba(&["logs", "-t", "--tail", "1", "ll"]);
    let line = format!("{}{}", stamped.stdout, stamped.stderr);
    assert!(line.len() > 30 && line.as_bytes()[10] == b'T' && line.ends_with(" oops\n"), "{line}");
    assert_eq!(lab.estiba(&["logs", "--until", "2001-01-01T00:00:00Z", "ll"]).ok(), "");

    let slow = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done";
    lab.estiba(&["run", "-d", "--name", "ff", "busybox", "sh", "-c", slow]).ok();
    assert_eq!(lab.estiba(&["logs", "-f", "ff"]).ok(), "1\n2\n3\n4\n5");
}

#[test]
fn pause_freezes_and_unpause_goes_on() {
    let lab = Lab::new();
    let count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done";
    lab.estiba(&["run", "-d", "--name", "pp", "busybox", "sh", "-c", count]).ok();
    lab.estiba(&["pause", "pp"]).ok();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Status}}", "pp"]).ok(), "paused");
    let before = lab.estiba(&["logs", "pp"]).stdout;
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(lab.estiba(&["logs", "pp"]).stdout, before);
    lab.estiba(&["exec", "pp", "true"]).fails(1, "paused");
    lab.estiba(&["unpause", "pp"]).ok();
    eventually("it goes on", || lab.estiba(&["logs", "pp"]).stdout.len() > before.len());
    lab.estiba(&["unpause", "pp"]).fails(1, "not paused");
}

#[test]
fn restart_policies() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "rr", "--restart", "on-failure:2", "busybox", "false"])
        .ok();
    eventually("it gave up after two restarts", || {
        let format = "{{.RestartCount}} {{.State.Status}}";
        lab.estiba(&["inspect", "-f", format, "rr"]).stdout.trim() == "2 exited"
    });
    lab.estiba(&["run", "-d", "--name", "aa", "--restart", "always", "busybox", "sleep", "0.1"])
        .ok();
    eventually("it restarts", || {
        let count = lab.estiba(&["inspect", "-f", "{{.RestartCount}}", "aa"]);
        count.stdout.trim().parse::<u32>().is_ok_and(|n| n >= 2)
    });
    lab.estiba(&["stop", "aa"]).ok();
    let count = lab.estiba(&["inspect", "-f", "{{.RestartCount}}", "aa"]).ok().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(800));
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.RestartCount}}", "aa"]).ok(), count);
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Running}}", "aa"]).ok(), "false");
}

#[test]
fn names_are_unique_and_can_change() {
    let lab = Lab::new();
    lab.estiba(&["create", "--name", "n1", "busybox"]).ok();
    lab.estiba(&["create", "--name", "n1", "busybox"])
        .fails(1, "The container name \"/n1\" is already in use");
    lab.estiba(&["rename", "n1", "n2"]).ok();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.Name}}", "n2"]).ok(), "/n2");
    lab.estiba(&["create", "--name", "n1", "busybox"]).ok();
    lab.estiba(&["rename", "n1", "n2"]).fails(1, "already in use");
    let id = lab.estiba(&["create", "busybox"]).ok().to_owned();
    let name = lab.estiba(&["inspect", "-f", "{{.Name}}", &id[..12]]).ok().to_owned();
    assert!(name.contains('_'), "a name was made up: {name}");
}

#[test]
fn top_stats_port_diff_update() {
    let lab = Lab::new();
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "xx",
        "-p",
        "127.0.0.1:18080:80",
        "-m",
        "64m",
        "busybox",
        "sh",
        "-c",
        "echo hi > /new; rm /etc/group; echo >> /etc/passwd; sleep 1000",
    ])
    .ok();
    assert!(lab.estiba(&["top", "xx"]).ok().contains("sleep 1000"));
    assert_eq!(lab.estiba(&["port", "xx"]).ok(), "80/tcp -> 127.0.0.1:18080");
    // The last thing that it does.
    eventually("it wrote", || lab.estiba(&["diff", "xx"]).stdout.contains("C /etc/passwd"));
    let diff = lab.estiba(&["diff", "xx"]).ok().to_owned();
    let lines: Vec<&str> = diff.lines().collect();
    for want in ["A /new", "C /etc", "C /etc/passwd", "D /etc/group"] {
        assert!(lines.contains(&want), "{want} in {diff}");
    }
    let stats = lab.estiba(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "xx"]);
    assert!(stats.ok().contains("/ 64MiB"), "{stats:?}");
    lab.estiba(&["update", "-m", "128m", "--memory-swap", "-1", "xx"]).ok();
    let format = "{{.HostConfig.Memory}}";
    assert_eq!(lab.estiba(&["inspect", "-f", format, "xx"]).ok(), (128 << 20).to_string());
    let stats = lab.estiba(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "xx"]);
    assert!(stats.ok().contains("/ 128MiB"), "{stats:?}");
}

#[test]
fn copy_in_and_out() {
    let lab = Lab::new();
    let from = lab.dir().join("from");
    std::fs::create_dir_all(from.join("sub")).unwrap();
    std::fs::write(from.join("a.txt"), "first").unwrap();
    std::fs::write(from.join("sub/b.txt"), "second").unwrap();
    lab.estiba(&["create", "--name", "cc", "busybox", "sh", "-c", "cat /in/sub/b.txt; ls -ln /in"])
        .ok();
    lab.estiba(&["cp", &from.to_string_lossy(), "cc:/in"]).ok();
    let seen = lab.estiba(&["start", "-a", "cc"]);
    assert!(seen.ok().starts_with("second"), "{seen:?}");
    let to = lab.dir().join("to");
    lab.estiba(&["cp", "cc:/in/a.txt", &to.to_string_lossy()]).ok();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "first");
    lab.estiba(&["run", "-d", "--name", "dd", "busybox", "sleep", "1000"]).ok();
    lab.estiba(&["cp", &from.join("a.txt").to_string_lossy(), "dd:/tmp/"]).ok();
    assert_eq!(lab.estiba(&["exec", "dd", "cat", "/tmp/a.txt"]).ok(), "first");
    lab.estiba(&["cp", "dd:/not/there", "."]).fails(1, "Could not find the file /not/there");
}
