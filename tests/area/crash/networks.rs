//! Operations on networks and published ports.

use crate::containers::{is_running, remove, running};
use crate::matrix::{Operation, matrix};
use lab::{Lab, eventually};

/// Whether a network is there; one that is has its bridge and takes containers.
pub(crate) fn network(lab: &Lab) -> bool {
    let there = lab.estiba(&["network", "inspect", "-f", "{{slice .Id 0 12}}", "nn"]);
    if there.status == 0 {
        lab.in_network(&["ip", "link", "show", &format!("br-{}", there.ok())]).ok();
        lab.estiba(&["run", "--rm", "--network", "nn", "busybox", "true"]).ok();
    }
    there.status == 0
}

pub(crate) const NETWORKING: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["network", "create", "nn"]),
    done: network,
    clean: |lab| drop(lab.estiba(&["network", "rm", "nn"]).ok().to_owned()),
};

const REMOVING_NETWORK: Operation = Operation {
    prepare: |lab| drop((NETWORKING.act)(lab).ok().to_owned()),
    act: |lab| lab.estiba(&["network", "rm", "nn"]),
    done: |lab| !network(lab),
    clean: |_| {},
};

fn on_network(lab: &Lab) -> bool {
    let named = lab.estiba(&[
        "inspect",
        "-f",
        "{{range $k, $_ := .NetworkSettings.Networks}}{{$k}} {{end}}",
        "one",
    ]);
    let named = named.ok().contains("nn");
    assert!(is_running(lab, "one"), "it went on running");
    let links = lab.estiba(&["exec", "one", "ls", "/sys/class/net"]);
    assert_eq!(links.ok().contains("eth1"), named, "what it has is what is said");
    named
}

pub(crate) const CONNECTING: Operation = Operation {
    prepare: |lab| {
        (NETWORKING.act)(lab).ok();
        running(lab);
    },
    act: |lab| lab.estiba(&["network", "connect", "nn", "one"]),
    done: on_network,
    clean: |lab| {
        remove(lab);
        lab.estiba(&["network", "rm", "nn"]).ok();
    },
};

const DISCONNECTING: Operation = Operation {
    prepare: |lab| {
        (CONNECTING.prepare)(lab);
        (CONNECTING.act)(lab).ok();
    },
    act: |lab| lab.estiba(&["network", "disconnect", "nn", "one"]),
    done: |lab| !on_network(lab),
    ..CONNECTING
};

/// A container whose ports lead through a network that it leaves.
const LEAVING_WITH_PORTS: Operation = Operation {
    prepare: |lab| {
        (NETWORKING.act)(lab).ok();
        let serve = ["sh", "-c", "while :; do echo here | nc -l -p 80; done"];
        let words = [&["run", "-d", "--name", "one", "-p", "18300:80", "busybox"], &serve[..]];
        lab.estiba(&words.concat()).ok();
        lab.estiba(&["network", "connect", "nn", "one"]).ok();
    },
    act: |lab| lab.estiba(&["network", "disconnect", "bridge", "one"]),
    done: |lab| {
        // Whichever it is, the port leads somewhere.
        reached(lab, "18300");
        let links = lab.estiba(&["exec", "one", "ls", "/sys/class/net"]).ok().to_owned();
        let shown = "{{range $k, $_ := .NetworkSettings.Networks}}{{$k}} {{end}}";
        let named = lab.estiba(&["inspect", "-f", shown, "one"]).ok().contains("bridge");
        assert_eq!(links.contains("eth0"), named, "what it has is what is said");
        let route = lab.estiba(&["exec", "one", "ip", "route"]);
        assert!(route.ok().contains("default"), "{route:?}");
        !named
    },
    clean: |lab| {
        (CONNECTING.clean)(lab);
        // The monitor that is kept ready ends with a daemon that is killed.
        lab.estiba(&["run", "--rm", "busybox", "true"]).ok();
    },
};

fn reached(lab: &Lab, port: &str) {
    let ask = format!("nc -w 2 127.0.0.1 {port} < /dev/null");
    eventually(&format!("port {port} answers"), || {
        lab.in_network(&["busybox", "sh", "-c", &ask]).stdout.trim() == "here"
    });
}

/// Ports that are published and taken back while the container runs.
const PUBLISHING: Operation = Operation {
    prepare: LEAVING_WITH_PORTS.prepare,
    act: |lab| lab.estiba(&["update", "--publish-rm", "18300", "--publish-add", "18301:80", "one"]),
    done: |lab| {
        let said = lab.estiba(&["port", "one"]).ok().to_owned();
        let asked = lab.estiba(&["inspect", "-f", "{{.HostConfig.PortBindings}}", "one"]);
        let moved = said.contains(":18301");
        assert_eq!(asked.ok().contains("18301"), moved, "asked and in force: {said} {asked:?}");
        assert_eq!(said.contains(":18300"), !moved, "one of the two: {said}");
        let (open, shut) = if moved { ("18301", "18300") } else { ("18300", "18301") };
        reached(lab, open);
        let ask = format!("nc -w 2 127.0.0.1 {shut} < /dev/null");
        let closed = lab.in_network(&["busybox", "sh", "-c", &ask]);
        assert_ne!(closed.stdout.trim(), "here", "port {shut} is not published");
        moved
    },
    clean: LEAVING_WITH_PORTS.clean,
};

#[test]
#[ignore = "takes minutes: make crash"]
fn networks_are_joined_left_and_removed() {
    let joining = [("network connect", &CONNECTING), ("network disconnect", &DISCONNECTING)];
    matrix(&[&joining[..], &[("network rm", &REMOVING_NETWORK)]].concat(), 25);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn ports_move_while_a_container_runs() {
    let moving = [("disconnect with ports", &LEAVING_WITH_PORTS), ("publish", &PUBLISHING)];
    matrix(&moving, 12);
}
