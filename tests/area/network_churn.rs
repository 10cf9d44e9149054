//! Containers that join, leave and die hundreds of times, several at once: nothing of it stays.

use lab::{Lab, eventually};

const CONTAINERS: usize = 4;
/// Five hundred, all together.
const CYCLES: usize = 125;
/// Every so many cycles the container is killed while it is on the network, and started again.
const KILLED: usize = 5;

fn run(lab: &Lab, name: &str, options: &[&str]) {
    let words = [&["run", "-d", "--name", name], options, &["busybox", "sleep", "100000"]].concat();
    lab.estiba(&words).ok();
}

/// Joins and leaves `side` again and again.
fn churn(lab: &Lab, name: &str) {
    for cycle in 0..CYCLES {
        lab.estiba(&["network", "connect", "side", name]).ok();
        if cycle % KILLED == 0 {
            lab.estiba(&["kill", name]).ok();
            lab.estiba(&["wait", name]).ok();
            lab.estiba(&["start", name]).ok();
        }
        lab.estiba(&["network", "disconnect", "side", name]).ok();
    }
}

/// Descriptors of the daemon: of namespaces and sockets there are none that nobody needs.
fn descriptors(lab: &Lab) -> usize {
    let dir = format!("/proc/{}/fd", lab.daemon_pid().as_raw_nonzero());
    std::fs::read_dir(dir).expect("the daemon runs").count()
}

#[test]
fn five_hundred_cycles_leave_no_link_rule_address_or_namespace() {
    let lab = Lab::new();
    let names: Vec<String> = (0..CONTAINERS).map(|n| format!("c{n}")).collect();
    lab.estiba(&["network", "create", "--subnet", "10.77.0.0/24", "app"]).ok();
    // With room for five, so that an address that is lost is missed soon.
    lab.estiba(&["network", "create", "--subnet", "10.78.0.0/29", "side"]).ok();
    let start_all = || {
        for (n, name) in names.iter().enumerate() {
            run(&lab, name, &["--network", "app", "-p", &format!("{}:80", 18_100 + n)]);
        }
    };
    let remove_all = || lab.estiba(&[&["rm", "-f"][..], &texts(&names)].concat()).ok().to_owned();
    // What is kept once anything was started is there from now on.
    start_all();
    remove_all();
    // Teardown goes on after the answer.
    let has_links = || lab.footprint().keys().any(|found| found.contains("veth"));
    eventually("the first ones are gone", || !has_links());
    let before = (lab.footprint(), descriptors(&lab));
    start_all();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| churn(&lab, name));
        }
    });
    remove_all();
    eventually("nothing is left", || lab.footprint() == before.0);
    eventually("no descriptor is left", || descriptors(&lab) <= before.1);
    for n in 0..5 {
        run(&lab, &format!("last{n}"), &["--network", "side"]);
    }
    let words = ["run", "--rm", "--network", "side", "busybox", "true"];
    lab.estiba(&words).fails(125, "no available IPv4 addresses");
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
