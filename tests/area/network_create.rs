//! What `network create` makes of its flags, and what it refuses; the same through the stock
//! command line where that is installed.

use lab::Lab;

fn field(lab: &Lab, network: &str, path: &str) -> String {
    lab.estiba(&["network", "inspect", "-f", path, network]).ok().to_owned()
}

#[test]
fn networks_are_made_from_configurations() {
    let lab = Lab::new();
    let config = ["network", "create", "--config-only", "--subnet", "10.78.0.0/24"];
    let rest = ["--gateway", "10.78.0.9", "--label", "of=config", "-o"];
    let mtu = ["com.docker.network.driver.mtu=1400", "settings"];
    lab.estiba(&[&config[..], &rest, &mtu].concat()).ok();
    let shown = "{{.ConfigOnly}} {{.Driver}} {{.Scope}} {{.Internal}} {{.ConfigFrom.Network}}";
    assert_eq!(field(&lab, "settings", shown).trim_end(), "true null local false");
    lab.estiba(&["run", "--rm", "--network", "settings", "busybox", "true"])
        .fails(125, "cannot create endpoint on configuration-network");
    lab.estiba(&["network", "create", "--config-from", "settings", "real"]).ok();
    assert_eq!(field(&lab, "real", shown), "false bridge local false settings");
    let pool = "{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}";
    assert_eq!(field(&lab, "real", pool), "10.78.0.0/24 10.78.0.9");
    assert_eq!(field(&lab, "real", "{{.Labels.of}}"), "config");
    let link = ["run", "--rm", "--network", "real", "busybox", "ip", "link", "show", "eth0"];
    assert!(lab.estiba(&link).ok().contains("mtu 1400"));
    lab.estiba(&["network", "rm", "settings"]).fails(1, "is in use");
    for (words, why) in [
        (&["--config-from", "nothing", "xx"][..], "configuration network \"nothing\" not found"),
        (&["--config-from", "real", "xx"], "not found"),
        (&["--config-only", "--internal", "xx"], "can only contain network specific fields"),
        (&["--config-only", "--config-from", "settings", "xx"], "cannot depend on another"),
        (&["--config-from", "settings", "--subnet", "10.79.0.0/24", "xx"], "not supported if"),
        (&["--config-from", "settings", "-o", "a=b", "xx"], "not supported if"),
    ] {
        lab.estiba(&[&["network", "create"], words].concat()).fails(1, why);
    }
    lab.estiba(&["network", "rm", "real"]).ok();
    lab.estiba(&["network", "rm", "settings"]).ok();
}

#[test]
fn configurations_outlive_the_daemon() {
    let mut lab = Lab::new();
    let words = ["network", "create", "--config-only", "--subnet", "10.78.0.0/24", "settings"];
    lab.estiba(&words).ok();
    lab.kill_daemon();
    lab.start_daemon();
    // The configuration itself occupies nothing.
    lab.estiba(&["network", "create", "--subnet", "10.78.0.0/24", "other"]).ok();
    lab.estiba(&["network", "create", "--config-from", "settings", "real"])
        .fails(1, "Pool overlaps with other one on this address space");
    lab.estiba(&["network", "rm", "other"]).ok();
    lab.estiba(&["network", "create", "--config-from", "settings", "real"]).ok();
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--subnet", "10.80.0.0/24", "taken"]).ok();
    for (words, why) in [
        (&["--scope", "swarm", "xx"][..], "This node is not a swarm manager"),
        (&["--driver", "overlay", "xx"], "This node is not a swarm manager"),
        (&["--ingress", "xx"], "Ingress network can only be global scope network"),
        (&["--scope", "galaxy", "xx"], "invalid network scope"),
        (&["--subnet", "10.80.0.0/16", "xx"], "Pool overlaps"),
        (&["--subnet", "10.81.0.0/33", "xx"], "10.81.0.0/33"),
        (&["--subnet", "10.81.0.7/24", "xx"], "10.81.0.0/24"),
        (&["--subnet", "10.81.0.0/24", "--gateway", "10.82.0.1", "xx"], "10.82.0.1"),
        (&["--subnet", "10.81.0.0/24", "--ip-range", "10.81.1.0/25", "xx"], "10.81.1.0/25"),
        (&["--driver", "nosuch", "xx"], "plugin \"nosuch\" not found"),
        (&["-o", "com.docker.network.driver.mtu=many", "xx"], "many"),
        (&["-o", "com.docker.network.bridge.name=waytoolonginterface", "xx"], "interface name"),
        (&["taken"], "already exists"),
        (&["host"], "predefined"),
    ] {
        lab.estiba(&[&["network", "create"], words].concat()).fails(1, why);
    }
    let there = ["run", "-d", "--name", "aa", "--network", "taken", "--ip", "10.80.0.7"];
    lab.estiba(&[&there[..], &["busybox", "sleep", "1000"]].concat()).ok();
    let twice = ["run", "--rm", "--network", "taken", "--ip", "10.80.0.7", "busybox", "true"];
    lab.estiba(&twice).fails(125, "Address already in use");
    let outside = ["run", "--rm", "--network", "taken", "--ip", "10.90.0.7", "busybox", "true"];
    lab.estiba(&outside).fails(125, "no configured subnet");
    lab.estiba(&["network", "rm", "taken"]).fails(1, "has active endpoints");
}

#[test]
fn addresses_and_pools_run_out_visibly() {
    let arguments = ["--default-address-pool", "base=10.99.0.0/28,size=29"].map(String::from);
    let lab = Lab::with(lab::Setup { arguments: arguments.to_vec(), ..Default::default() });
    // The default bridge has the first of two.
    lab.estiba(&["network", "create", "last"]).ok();
    assert_eq!(field(&lab, "last", "{{(index .IPAM.Config 0).Subnet}}"), "10.99.0.8/29");
    lab.estiba(&["network", "create", "more"]).fails(1, "have been fully subnetted");
    for n in 0..5 {
        let name = format!("c{n}");
        let words = ["run", "-d", "--name", &name, "--network", "last", "busybox", "sleep", "1000"];
        lab.estiba(&words).ok();
    }
    lab.estiba(&["run", "--rm", "--network", "last", "busybox", "true"])
        .fails(125, "no available IPv4 addresses");
    lab.estiba(&["rm", "-f", "c3"]).ok();
    lab.estiba(&["run", "--rm", "--network", "last", "busybox", "true"]).ok();
}

#[test]
fn a_port_in_use_names_the_program() {
    let lab = Lab::new();
    let holder = lab.start_in_network(&["busybox", "nc", "-l", "-p", "18099"]);
    lab::eventually("it listens", || lab.in_network(&["ss", "-tln"]).stdout.contains(":18099"));
    lab.estiba(&["run", "--rm", "-p", "18099:80", "busybox", "true"])
        .fails(125, "held by busybox (process ");
    drop(holder);
}
