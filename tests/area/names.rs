//! Names of containers, for as long as the containers are there: with a daemon, without one, with
//! the next one.

use lab::{Lab, eventually};
use std::path::Path;

/// A container that sleeps on the network `app`, and its process.
fn start(lab: &Lab, name: &str, options: &[&str]) -> String {
    let words = [&["run", "-d", "--name", name, "--network", "app"], options].concat();
    let program = ["busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];
    lab.estiba(&[&words[..], &program].concat()).ok();
    lab.estiba(&["inspect", "-f", "{{.State.Pid}}", name]).ok().to_owned()
}

fn address(lab: &Lab, name: &str) -> String {
    let path = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    lab.estiba(&["inspect", "-f", path, name]).ok().to_owned()
}

/// Whether the process hears `address` when it asks for `name`. Needs no daemon.
fn hears(lab: &Lab, pid: &str, name: &str, address: &str) -> bool {
    let ask = ["nsenter", "-t", pid, "-n", "busybox", "nslookup", name, "127.0.0.11"];
    let told = lab.in_network(&ask).stdout;
    let mut lines = told.lines().skip_while(|line| !line.starts_with("Name:"));
    lines.any(|line| line.starts_with("Address") && line.split(' ').any(|word| word == address))
}

/// The process that answers names for a lab.
fn resolver(lab: &Lab) -> Option<String> {
    resolvers(lab).into_iter().next()
}

fn resolvers(lab: &Lab) -> Vec<String> {
    let dir = lab.dir().to_string_lossy().into_owned();
    let all = std::fs::read_dir("/proc").expect("procfs").flatten();
    let found = all.filter(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with("estiba-resolver\0") && line.contains(&dir)
    });
    found.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

fn kill(pid: &str) {
    let status = std::process::Command::new("kill").args(["-KILL", pid]).status();
    assert!(status.expect("kill(1)").success(), "kill {pid}");
}

fn network() -> Lab {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--subnet", "10.77.0.0/24", "app"]).ok();
    lab
}

#[test]
fn names_go_on_while_the_daemon_is_down_and_with_the_next_one() {
    let mut lab = network();
    let web = start(&lab, "web", &[]);
    start(&lab, "db", &["--network-alias", "sql"]);
    let gone = start(&lab, "gone", &[]);
    let (db, left) = (address(&lab, "db"), address(&lab, "gone"));
    assert!(hears(&lab, &web, "db", &db));
    let before = resolver(&lab).expect("a resolver runs");
    lab.kill_daemon();
    for name in ["db", "sql", "db.app"] {
        assert!(hears(&lab, &web, name, &db), "{name}, without a daemon");
    }
    assert!(hears(&lab, &web, "gone", &left));
    kill(&gone);
    eventually("who has ended is not answered", || !hears(&lab, &web, "gone", &left));
    lab.start_daemon();
    assert_eq!(resolver(&lab), Some(before), "taken over, not started again");
    assert!(hears(&lab, &web, "db", &db));
    lab.estiba(&["rename", "db", "postgres"]).ok();
    assert!(hears(&lab, &web, "postgres", &db));
    assert!(!hears(&lab, &web, "db", &db), "the daemon's word counts");
    let new = start(&lab, "new", &[]);
    assert!(hears(&lab, &web, "new", &address(&lab, "new")));
    assert!(hears(&lab, &new, "web", &address(&lab, "web")));
    lab.estiba(&["network", "disconnect", "app", "new"]).ok();
    assert!(!hears(&lab, &web, "new", "10.77.0.5"));
}

#[test]
fn a_resolver_that_dies_is_replaced_and_loses_nothing() {
    let lab = network();
    let web = start(&lab, "web", &[]);
    start(&lab, "db", &[]);
    let db = address(&lab, "db");
    for _ in 0..3 {
        let first = resolver(&lab).expect("a resolver runs");
        kill(&first);
        // No name is ever said not to exist: what is asked now waits for the next one.
        assert!(hears(&lab, &web, "db", &db));
        eventually("another one", || resolver(&lab).is_some_and(|next| next != first));
    }
    let late = start(&lab, "late", &[]);
    assert!(hears(&lab, &late, "db", &db));
    assert!(hears(&lab, &web, "late", &address(&lab, "late")));
}

#[test]
fn the_resolver_ends_with_the_last_container_and_the_daemon() {
    let mut lab = network();
    assert_eq!(resolver(&lab), None, "nobody needs one");
    let (one, two) = (start(&lab, "one", &[]), start(&lab, "two", &[]));
    let pid = resolver(&lab).expect("a resolver runs");
    let status = std::fs::read_to_string(Path::new("/proc").join(&pid).join("status")).unwrap();
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    lab.stop_daemon();
    kill(&one);
    assert!(hears(&lab, &two, "two", "10.77.0.3"));
    kill(&two);
    eventually("it is gone", || resolver(&lab).is_none());
    lab.start_daemon();
    lab.estiba(&["start", "one"]).ok();
    let again = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "one"]).ok().to_owned();
    assert!(hears(&lab, &again, "one", &address(&lab, "one")));
}

#[test]
fn links_are_names_for_one_container_alone() {
    let lab = network();
    start(&lab, "db", &[]);
    let db = address(&lab, "db");
    let web = start(&lab, "web", &["--link", "db:bar"]);
    let other = start(&lab, "other", &[]);
    assert!(hears(&lab, &web, "bar", &db));
    assert!(!hears(&lab, &other, "bar", &db));
    lab.estiba(&["network", "create", "back"]).ok();
    lab.estiba(&["network", "connect", "back", "db"]).ok();
    lab.estiba(&["network", "connect", "--link", "db:sql", "back", "other"]).ok();
    let path = "{{(index .NetworkSettings.Networks \"back\").IPAddress}}";
    let there = lab.estiba(&["inspect", "-f", path, "db"]).ok().to_owned();
    assert!(hears(&lab, &other, "sql", &there));
    assert!(!hears(&lab, &web, "sql", &there));
    lab.estiba(&["stop", "-t", "0", "db"]).ok();
    eventually("nobody is behind it", || !hears(&lab, &web, "bar", &db));
    lab.estiba(&["start", "db"]).ok();
    assert!(hears(&lab, &web, "bar", &address_on(&lab, "app", "db")));
}

fn address_on(lab: &Lab, network: &str, name: &str) -> String {
    let path = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    lab.estiba(&["inspect", "-f", &path, name]).ok().to_owned()
}

#[test]
fn odd_names_are_answered_or_refused() {
    let lab = network();
    let names = ["a.b.example", "müller", "UPPER"];
    let aliases: Vec<&str> = names.iter().flat_map(|it| ["--network-alias", it]).collect();
    let web = start(&lab, "web", &aliases);
    let at = address(&lab, "web");
    for name in ["a.b.example", "xn--mller-kva", "upper", "Upper.app"] {
        assert!(hears(&lab, &web, name, &at), "{name}");
    }
    let long = "n".repeat(64);
    for bad in ["two words", "a..b", long.as_str(), ".", "tab\there"] {
        let words = ["run", "--rm", "--network", "app", "--network-alias", bad, "busybox", "true"];
        lab.estiba(&words).fails(125, "invalid network alias");
    }
}

#[test]
fn a_daemon_that_dies_while_it_tells_names_leaves_none_and_loses_none() {
    let setup = lab::Setup { failpoints: true, ..lab::Setup::default() };
    let mut lab = Lab::with(setup);
    lab.estiba(&["network", "create", "--subnet", "10.77.0.0/24", "app"]).ok();
    let armed = lab.dir().join("failpoints");
    // The first container starts a resolver, the second is told to the one that runs.
    for place in ["net.dns.started", "net.dns.opened"] {
        std::fs::write(armed.join("arm"), format!("0 {place}")).unwrap();
        let cut = lab.estiba(&["run", "-d", "--name", "cut", "--network", "app", "busybox", "cat"]);
        assert_ne!(cut.status, 0, "{place}: its daemon died: {cut:?}");
        let fired = std::fs::read_to_string(armed.join("fired")).unwrap();
        assert!(fired.starts_with(place), "{fired}");
        std::fs::remove_file(armed.join("fired")).unwrap();
        lab.kill_daemon();
        lab.start_daemon();
        let state = lab.estiba(&["inspect", "-f", "{{.State.Status}}", "cut"]);
        assert_ne!(state.stdout.trim(), "running", "{place}: it was not started");
        if place == "net.dns.started" {
            start(&lab, "web", &[]);
        }
        let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "web"]).ok().to_owned();
        let web = address(&lab, "web");
        assert!(hears(&lab, &pid, "web", &web), "{place}");
        assert!(!hears(&lab, &pid, "cut", "10.77.0.3"), "{place}: it never was");
        eventually("there is one resolver", || resolvers(&lab).len() == 1);
        lab.estiba(&["rm", "-f", "cut"]).ok();
        let late = start(&lab, "late", &[]);
        assert!(
            hears(&lab, &late, "web", &web) && hears(&lab, &pid, "late", &address(&lab, "late"))
        );
        lab.estiba(&["rm", "-f", "late"]).ok();
    }
}
