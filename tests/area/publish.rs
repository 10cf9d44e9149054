//! Ports that are published, moved and taken back while their container goes on running.

use lab::{Lab, Output, eventually};

/// What answers at a port of the host.
fn ask(lab: &Lab, at: &str) -> Output {
    let script = format!("busybox nc -w 2 {} < /dev/null", at.replace(':', " "));
    lab.in_network(&["sh", "-c", &script])
}

fn reaches(lab: &Lab, at: &str) -> bool {
    ask(lab, at).stdout.trim() == "here"
}

fn serve(lab: &Lab, name: &str, options: &[&str]) {
    let script = "while :; do echo here | nc -l -p 80; done";
    let words = [&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", script]];
    lab.estiba(&words.concat()).ok();
}

fn show(lab: &Lab, name: &str, what: &str) -> String {
    lab.estiba(&["inspect", "-f", what, name]).ok().to_owned()
}

#[test]
fn a_running_container_gets_a_port_and_loses_it() {
    let mut lab = Lab::new();
    serve(&lab, "web", &["-p", "18200:80"]);
    let pid = show(&lab, "web", "{{.State.Pid}}");
    eventually("it serves", || reaches(&lab, "127.0.0.1:18200"));
    lab.estiba(&["update", "--publish-add", "18201:80", "web"]).ok();
    eventually("the new port", || reaches(&lab, "127.0.0.1:18201"));
    eventually("the old one stays", || reaches(&lab, "127.0.0.1:18200"));
    assert_eq!(show(&lab, "web", "{{.State.Pid}}"), pid, "nothing was restarted");
    let listed = lab.estiba(&["ps", "--format", "{{.Ports}}"]).ok().to_owned();
    assert!(listed.contains("0.0.0.0:18201->80/tcp"), "{listed}");
    let asked = show(&lab, "web", "{{json .HostConfig.PortBindings}}");
    assert!(asked.contains("18200") && asked.contains("18201"), "{asked}");

    lab.estiba(&["update", "--publish-rm", "18200", "web"]).ok();
    assert!(!reaches(&lab, "127.0.0.1:18200"), "taken back");
    eventually("the new one stays", || reaches(&lab, "127.0.0.1:18201"));
    lab.kill_daemon();
    eventually("without a daemon", || reaches(&lab, "127.0.0.1:18201"));
    lab.start_daemon();
    eventually("with the next daemon", || reaches(&lab, "127.0.0.1:18201"));
    assert!(!reaches(&lab, "127.0.0.1:18200"));
    lab.estiba(&["restart", "-t", "0", "web"]).ok();
    eventually("after a restart", || reaches(&lab, "127.0.0.1:18201"));
    assert!(!reaches(&lab, "127.0.0.1:18200"));
    // The port is free for others.
    lab.estiba(&["run", "--rm", "-p", "18200:80", "busybox", "true"]).ok();
}

#[test]
fn what_was_chosen_is_named_by_what_was_chosen() {
    let lab = Lab::new();
    serve(&lab, "web", &["-p", "80", "-p", "127.0.0.1:18210-18215:80"]);
    let all = lab.estiba(&["port", "web", "80"]).ok().to_owned();
    let chosen = all.lines().find(|line| line.starts_with("0.0.0.0:")).unwrap();
    let chosen = chosen.rsplit(':').next().unwrap().to_owned();
    eventually("it serves", || reaches(&lab, &format!("127.0.0.1:{chosen}")));
    lab.estiba(&["update", "--publish-rm", &chosen, "web"]).ok();
    assert!(!reaches(&lab, &format!("127.0.0.1:{chosen}")));
    let rest = lab.estiba(&["port", "web", "80"]).ok().to_owned();
    assert!(rest.starts_with("127.0.0.1:1821") && rest.lines().count() == 1, "{rest}");
    lab.estiba(&["update", "--publish-rm", "127.0.0.1:18210-18215:80", "web"]).ok();
    assert_eq!(lab.estiba(&["port", "web"]).ok(), "");
    // One goes and another comes in one step; what leads nowhere else is given again.
    lab.estiba(&["update", "--publish-add", "18216:80", "web"]).ok();
    let moved = ["update", "--publish-rm", "18216", "--publish-add", "127.0.0.1:18216:80", "web"];
    lab.estiba(&moved).ok();
    assert_eq!(lab.estiba(&["port", "web", "80"]).ok(), "127.0.0.1:18216");
    eventually("on loopback", || reaches(&lab, "127.0.0.1:18216"));
}

#[test]
fn a_container_that_does_not_run_publishes_when_it_starts() {
    let lab = Lab::new();
    serve(&lab, "web", &["-p", "18220:80"]);
    lab.estiba(&["stop", "-t", "0", "web"]).ok();
    let words = ["update", "--publish-add", "18221:80", "--publish-rm", "18220", "web"];
    lab.estiba(&words).ok();
    lab.estiba(&["start", "web"]).ok();
    eventually("the new port", || reaches(&lab, "127.0.0.1:18221"));
    assert!(!reaches(&lab, "127.0.0.1:18220"));
}

#[test]
fn a_port_that_cannot_be_had_changes_nothing_and_says_whose_it_is() {
    let lab = Lab::new();
    serve(&lab, "one", &["-p", "18230:80"]);
    serve(&lab, "two", &["-p", "18231:80"]);
    let id = show(&lab, "one", "{{.Id}}");
    let update = |words: &[&str]| lab.estiba(&[&["update"], words].concat());
    let taken = update(&["--publish-rm", "18231", "--publish-add", "18230:80", "two"]);
    taken.fails(1, "port is already allocated");
    assert!(taken.stderr.contains(id.get(..12).unwrap()), "by whom: {taken:?}");
    eventually("what was to go is there again", || reaches(&lab, "127.0.0.1:18231"));
    assert_eq!(lab.estiba(&["port", "two"]).ok().lines().next(), Some("80/tcp -> 0.0.0.0:18231"));

    let holder = lab.start_in_network(&["busybox", "nc", "-l", "-p", "18232"]);
    eventually("it listens", || lab.in_network(&["ss", "-tln"]).stdout.contains(":18232"));
    update(&["--publish-add", "18232:80", "two"]).fails(1, "held by busybox (process ");
    holder.signal(rustix::process::Signal::KILL);
    drop(holder);

    lab.estiba(&["network", "create", "--internal", "inner"]).ok();
    serve(&lab, "shut", &["--network", "inner"]);
    let internal = update(&["--publish-add", "18233:80", "shut"]);
    assert!(internal.ok().contains("network inner publishes no ports"), "{internal:?}");
    lab.estiba(&["run", "-d", "--name", "all", "--network", "host", "busybox", "sleep", "1000"])
        .ok();
    for (words, why) in [
        (&["--publish-rm", "18299", "one"][..], "container one does not publish 18299/tcp"),
        (&["--publish-rm", "18230/udp", "one"], "does not publish 18230/udp"),
        (&["--publish-rm", "nonsense", "one"], "invalid published port \"nonsense\""),
        (&["--publish-add", "18230:80", "one"], "publishes port 80/tcp there already"),
        (&["--publish-add", "x:80", "one"], "invalid hostPort: x"),
        (&["--publish-add", "18234:80", "all"], "port publishing and the container type"),
        (&["--publish-add", "18234:80", "--memory", "1k", "one"], "Minimum memory limit"),
    ] {
        update(words).fails(1, why);
    }
    assert!(!reaches(&lab, "127.0.0.1:18234"), "nothing of a refused change stays");
    eventually("it serves", || reaches(&lab, "127.0.0.1:18230"));
}

#[test]
fn every_form_of_publishing() {
    let lab = Lab::new();
    lab.in_network(&["ip", "addr", "add", "10.9.0.1/24", "dev", "lo"]).ok();
    let image = ["import", "-c", "EXPOSE 80 53/udp"];
    let tar = lab::archive("busybox");
    lab.estiba(&[&image[..], &[&tar.to_string_lossy(), "exposing"]].concat()).ok();
    let published = |name: &str, options: &[&str]| {
        let words = [&["run", "-d", "--name", name], options, &["exposing", "sleep", "1000"]];
        lab.estiba(&words.concat()).ok();
        lab.estiba(&["port", name]).ok().to_owned()
    };
    for (name, options, expected) in [
        (
            "range",
            &["-p", "127.0.0.1:18240-18242:80-82"][..],
            &[
                "80/tcp -> 127.0.0.1:18240",
                "81/tcp -> 127.0.0.1:18241",
                "82/tcp -> 127.0.0.1:18242",
            ][..],
        ),
        ("one-of", &["-p", "127.0.0.1:18240-18245:80"], &["80/tcp -> 127.0.0.1:18243"]),
        ("udp", &["-p", "10.9.0.1:18240:53/udp"], &["53/udp -> 10.9.0.1:18240"]),
        ("sctp", &["-p", "10.9.0.1:18240:80/sctp"], &["80/sctp -> 10.9.0.1:18240"]),
        ("same", &["-p", "10.9.0.1:18240:80"], &["80/tcp -> 10.9.0.1:18240"]),
        ("six", &["-p", "[::1]:18246:80"], &["80/tcp -> [::1]:18246"]),
        ("both", &["-p", "18247:80"], &["80/tcp -> 0.0.0.0:18247", "80/tcp -> [::]:18247"]),
        ("long", &["-p", "target=80,published=18248,protocol=udp"], &["80/udp -> 0.0.0.0:18248"]),
    ] {
        let said = published(name, options);
        for line in expected {
            assert!(said.lines().any(|it| it == *line), "{name}: {line} in {said}");
        }
    }
    let all = published("all", &["-P"]);
    for port in ["80/tcp -> 0.0.0.0:", "53/udp -> 0.0.0.0:"] {
        let line = all.lines().find_map(|line| line.strip_prefix(port));
        assert!(line.is_some_and(|port| port.parse::<u16>().unwrap() >= 32_768), "{all}");
    }
    lab.estiba(&["run", "--rm", "-p", "10.7.7.7:18249:80", "exposing", "true"])
        .fails(125, "10.7.7.7:18249");
}

#[test]
fn a_start_executes_no_tools() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--ipv6", "app"]).ok();
    // What is laid once, and the monitor that is kept ready.
    lab.estiba(&["run", "--rm", "--network", "app", "busybox", "true"]).ok();
    let pid = lab.daemon_pid().as_raw_nonzero().to_string();
    let trace = lab.dir().join("trace");
    let zygote = lab.zygote().to_string();
    let words = ["-f", "-qq", "-e", "trace=execve", "-o", &trace.to_string_lossy()];
    let followed = ["-p", &pid, "-p", &zygote];
    let tracer = lab.background(&[&["strace"], &words[..], &followed].concat());
    let attached = || {
        [&pid, &zygote].iter().all(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        })
    };
    eventually("strace follows the daemon and its zygote", attached);
    let run = ["run", "--rm", "--network", "app", "-p", "18250:80", "busybox", "echo", "out"];
    // Twice: the first has a monitor that was kept ready, and was not followed.
    for _ in 0..2 {
        assert_eq!(lab.estiba(&run).ok(), "out");
    }
    // Killed, it lets go of everything; asked to end, it may wait for what it follows.
    tracer.signal(rustix::process::Signal::KILL);
    tracer.finish();
    let seen = std::fs::read_to_string(&trace).unwrap();
    let executed: Vec<&str> = seen.lines().filter(|line| line.contains("execve(")).collect();
    let words =
        |line: &&&str| ["\"echo\"", "monitor", "estiba-resolver"].iter().any(|w| line.contains(w));
    assert!(executed.iter().any(|line| line.contains("\"echo\"")), "it saw the start: {seen}");
    let others: Vec<_> = executed.iter().filter(|line| !words(line)).collect();
    assert!(others.is_empty(), "{others:?}");
}
