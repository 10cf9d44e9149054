//! The crash matrix: the daemon, or a monitor, dies at every place that an operation passes. After
//! the daemon's next start what the operation was about is as before or as after, what runs goes
//! on untouched, nothing is left behind, and the same operation succeeds.
//!
//! ```text
//! trace:  prepare ─▶ act ─▶ clean                    which places there are, and how many
//! place:  prepare ─▶ arm k ─▶ act ✝ ─▶ start ─▶ done? else act ─▶ done ─▶ clean ─▶ footprint
//! ```
//! None of the places is listed here: see `sys::failpoint`. What takes minutes is for `make crash`;
//! with `CRASH_TELL` in the environment each place is said before it is tried.

use lab::{Footprint, Lab, Output, Session, Setup, binaries, eventually};
use rustix::fs::{FlockOperation, flock};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An operation, by what it takes to do it again and again.
struct Operation {
    /// Makes what it works on.
    prepare: fn(&Lab),
    /// Does it; called again after a crash that left things as before.
    act: fn(&Lab) -> Output,
    /// Whether it is done. Whatever state it finds that is neither before nor after is a panic.
    done: fn(&Lab) -> bool,
    /// Removes everything.
    clean: fn(&Lab),
}

struct Matrix {
    /// The longest that a daemon took from its start to its first answer.
    slowest: Duration,
    lab: Lab,
    dir: PathBuf,
    /// Process id of the container that must not notice.
    bystander: String,
    baseline: Footprint,
}

impl Matrix {
    fn new() -> Self {
        let setup = Setup { failpoints: true, ..Setup::default() };
        let lab = Lab::with(setup);
        let dir = lab.dir().join("failpoints");
        let count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";
        lab.estiba(&["run", "-d", "--name", "by", "-p", "9999:9", "busybox", "sh", "-c", count])
            .ok();
        let bystander = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]).ok().to_owned();
        let slowest = Duration::ZERO;
        Self { slowest, lab, dir, bystander, baseline: Footprint::new() }
    }

    /// Tries an operation at every place it passes; gives how many there were.
    fn run(&mut self, name: &str, operation: &Operation) -> usize {
        self.some(name, operation, |count| (0..count).collect())
    }

    /// Tries an operation at those of its places, by number, that `choose` takes of so many.
    fn some(
        &mut self,
        name: &str,
        operation: &Operation,
        choose: impl FnOnce(usize) -> Vec<usize>,
    ) -> usize {
        // Once for what stays from the first time: directories, filters, caches.
        for _ in 0..2 {
            (operation.prepare)(&self.lab);
            let trace = self.dir.join("trace");
            std::fs::write(&trace, "").unwrap();
            (operation.act)(&self.lab).ok();
            self.rest(&trace);
            std::fs::rename(&trace, self.dir.join("places")).unwrap();
            assert!((operation.done)(&self.lab), "{name}: it is not done");
            (operation.clean)(&self.lab);
            self.rest(&trace);
            self.baseline = self.lab.footprint();
            let _ = std::fs::remove_file(&trace);
        }
        let places = std::fs::read_to_string(self.dir.join("places")).unwrap();
        let places: Vec<&str> = places.lines().collect();
        let mut met = 0;
        for count in choose(places.len()) {
            let place = places[count];
            let what = format!("{name}, place {count} ({place})");
            if std::env::var_os("CRASH_TELL").is_some() {
                eprintln!("{what}");
            }
            met += usize::from(self.place(&what, count, operation));
        }
        eprintln!("{name}: {met} of {} places: {}", places.len(), places.join(" "));
        met
    }

    /// Waits until nothing passes any place.
    fn rest(&self, trace: &Path) {
        std::fs::OpenOptions::new().create(true).append(true).open(trace).unwrap();
        let mut seen = (usize::MAX, 0);
        eventually("it comes to rest", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = std::fs::read(trace).unwrap_or_default().len();
            seen = if seen.0 == now { (now, seen.1 + 1) } else { (now, 0) };
            seen.1 >= 2
        });
    }

    /// One crash. Whether the operation came that far.
    fn place(&mut self, what: &str, count: usize, operation: &Operation) -> bool {
        (operation.prepare)(&self.lab);
        let (arm, fired) = (self.dir.join("arm"), self.dir.join("fired"));
        let _ = std::fs::remove_file(&fired);
        std::fs::write(&arm, format!("{count} ")).unwrap();
        let said = (operation.act)(&self.lab);
        // What is done after the answer, if that is what it dies of.
        for _ in 0..20 {
            if fired.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        disarm(&arm);
        let met = match std::fs::read_to_string(&fired) {
            Ok(told) => {
                self.bury(&told);
                true
            }
            // Another order of things than the first time: it came to its end.
            Err(_) => {
                said.ok();
                false
            }
        };
        let told = std::fs::read_to_string(&fired);
        let ended = self.lab.daemon_ended();
        assert_eq!(ended, None, "{what}: the daemon is gone; fired: {told:?}; said: {said:?}");
        if !(operation.done)(&self.lab) {
            let again = (operation.act)(&self.lab);
            assert_eq!(again.status, 0, "{what}: again: {again:?}; first: {said:?}");
        }
        eventually(&format!("{what}: it is done"), || (operation.done)(&self.lab));
        self.untouched(what);
        (operation.clean)(&self.lab);
        self.same(what);
        met
    }

    /// Waits for the death that `told` announces; a daemon is started again.
    fn bury(&mut self, told: &str) {
        let (_, pid) = told.split_once(' ').unwrap();
        if pid == self.lab.daemon_pid().as_raw_nonzero().to_string() {
            self.lab.kill_daemon();
            let begun = Instant::now();
            self.lab.start_daemon();
            self.slowest = self.slowest.max(begun.elapsed());
        } else {
            eventually("the monitor is gone", || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.map_or(true, |stat| stat.contains(") Z "))
            });
        }
    }

    /// The container that has nothing to do with it runs as before and goes on writing.
    fn untouched(&self, what: &str) {
        let pid = self.lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]);
        assert_eq!(pid.ok(), self.bystander, "{what}: the bystander was touched");
        let last = || {
            let logs = self.lab.estiba(&["logs", "--tail", "1", "by"]);
            logs.ok().parse::<u64>().unwrap()
        };
        let before = last();
        eventually(&format!("{what}: the bystander goes on"), || last() > before);
    }

    /// Nothing came that was not there before, and nothing went.
    fn same(&self, what: &str) {
        let mut found = Footprint::new();
        for _ in 0..200 {
            found = self.lab.footprint();
            if found == self.baseline {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let more: Vec<_> =
            found.iter().filter(|(it, n)| self.baseline.get(*it) != Some(n)).collect();
        let less: Vec<_> =
            self.baseline.iter().filter(|(it, n)| found.get(*it) != Some(n)).collect();
        panic!("{what}: not as before: found {more:?}, wanted {less:?}");
    }

    /// No line of the bystander's was lost or came twice in all this time.
    fn finish(self) {
        eprintln!("the slowest daemon was back after {:?}", self.slowest);
        self.lab.estiba(&["stop", "-t", "0", "by"]).ok();
        let logs = self.lab.estiba(&["logs", "by"]).ok().to_owned();
        let wrong = logs.lines().enumerate().find(|(n, line)| n.to_string() != **line);
        assert_eq!(wrong, None, "the bystander's log is not whole");
    }
}

/// From here on nobody dies: who has the file open already waits for the lock, and finds nothing.
fn disarm(arm: &Path) {
    let Ok(file) = std::fs::OpenOptions::new().write(true).open(arm) else { return };
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file.set_len(0).unwrap();
    let _ = std::fs::remove_file(arm);
}

/// Of a name that is gone the beginning of an id may be left: the bystander's, once in 256 times.
fn state(lab: &Lab, name: &str) -> Option<String> {
    assert!(name.contains(|c: char| !c.is_ascii_hexdigit()), "{name} may be how an id begins");
    let out = lab.estiba(&["inspect", "--type", "container", "-f", "{{.State.Status}}", name]);
    match out.status {
        0 => Some(out.ok().to_owned()),
        _ => {
            assert!(out.stderr.to_lowercase().contains("no such"), "{out:?}");
            None
        }
    }
}

fn is_running(lab: &Lab, name: &str) -> bool {
    let state = state(lab, name);
    let state = state.as_deref().expect("it is there");
    if state == "running" {
        // Its monitor may just have been killed, which is not known yet.
        if lab.estiba(&["exec", name, "true"]).status != 0 {
            eventually("its end is known", || self::state(lab, name).as_deref() == Some("exited"));
            return false;
        }
    } else {
        assert!(["created", "exited"].contains(&state), "{state}");
    }
    state == "running"
}

fn remove(lab: &Lab) {
    lab.estiba(&["rm", "-fv", "one"]).ok();
}

const CREATE: [&str; 8] =
    ["create", "--name", "one", "--stop-signal", "KILL", "-p", "9998:9", "busybox"];

fn create(lab: &Lab) {
    lab.estiba(&[&CREATE[..], &["sleep", "1000"]].concat()).ok();
}

fn running(lab: &Lab) {
    create(lab);
    lab.estiba(&["start", "one"]).ok();
}

const CREATING: Operation = Operation {
    prepare: |_| {},
    act: |lab| {
        lab.estiba(&["create", "--name", "one", "-v", "/etc", "-v", "/data", "busybox", "true"])
    },
    done: |lab| state(lab, "one").is_some_and(|state| state == "created"),
    clean: remove,
};

const STARTING: Operation = Operation {
    prepare: create,
    act: |lab| lab.estiba(&["start", "one"]),
    done: |lab| is_running(lab, "one"),
    clean: remove,
};

const STOPPING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["stop", "one"]),
    done: |lab| !is_running(lab, "one"),
    clean: remove,
};

const RESTARTING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["restart", "one"]),
    // Neither side is told apart from the other: it runs.
    done: |lab| is_running(lab, "one"),
    clean: remove,
};

const REMOVING: Operation = Operation {
    prepare: |lab| drop((CREATING.act)(lab)),
    act: |lab| lab.estiba(&["rm", "-v", "one"]),
    done: |lab| state(lab, "one").is_none(),
    clean: |_| {},
};

const REMOVING_RUNNING: Operation =
    Operation { prepare: running, act: |lab| lab.estiba(&["rm", "-f", "one"]), ..REMOVING };

const EXECUTING: Operation = Operation {
    prepare: running,
    act: |lab| {
        // Its monitor's end is its own: then it is started again first.
        if state(lab, "one").as_deref() == Some("exited") {
            lab.estiba(&["start", "one"]).ok();
        }
        lab.estiba(&["exec", "one", "touch", "/done"])
    },
    done: |lab| is_running(lab, "one") && lab.estiba(&["exec", "one", "ls", "/done"]).status == 0,
    clean: remove,
};

const RUNNING_ONCE: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["run", "--rm", "--name", "one", "busybox", "true"]),
    // Killed in between, it is told to nobody and gone.
    done: |lab| {
        eventually("it is gone", || {
            let there = state(lab, "one");
            if there.as_deref() == Some("created") {
                remove(lab);
            }
            there.is_none()
        });
        true
    },
    clean: |_| {},
};

const PAUSING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["pause", "one"]),
    done: |lab| match state(lab, "one").as_deref() {
        Some("paused") => true,
        Some("running") => false,
        other => panic!("{other:?}"),
    },
    clean: remove,
};

const RENAMING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["rename", "one", "two"]),
    done: |lab| match (state(lab, "one"), state(lab, "two")) {
        (Some(_), None) => false,
        (None, Some(_)) => is_running(lab, "two"),
        other => panic!("{other:?}"),
    },
    clean: |lab| drop(lab.estiba(&["rm", "-f", "two"]).ok().to_owned()),
};

const UPDATING: Operation = Operation {
    prepare: running,
    act: |lab| lab.estiba(&["update", "--pids-limit", "77", "--restart", "no", "one"]),
    done: |lab| {
        let limit = lab.estiba(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", "one"]);
        is_running(lab, "one") && limit.ok() == "77"
    },
    clean: remove,
};

/// A few places of many operations, others with another `CRASH_SEED`; `make crash` has them all.
#[test]
fn a_sample_of_places_is_survived() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let mut random: u64 = seed.unwrap_or(6);
    // Knuth's multiplier; the low bits of such a row are poor.
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut matrix = Matrix::new();
    let met: usize = [
        ("create", &CREATING, 3),
        ("start", &STARTING, 5),
        ("exec", &EXECUTING, 2),
        ("stop", &STOPPING, 2),
        ("rm -f", &REMOVING_RUNNING, 3),
        ("commit", &COMMITTING, 3),
        ("network connect", &CONNECTING, 2),
        ("volume rm", &REMOVING_VOLUME, 2),
    ]
    .into_iter()
    .map(|(name, operation, wanted)| {
        let choose = |count| (0..wanted).map(|_| draw(count)).collect();
        matrix.some(name, operation, choose)
    })
    .sum();
    // A place may be passed in another order than the first time.
    assert!(met >= 15, "only {met} places");
    matrix.finish();
}

/// Some operations, each at every place; fails when there were fewer places than there have to be.
fn matrix(operations: &[(&str, &Operation)], least: usize) {
    let mut matrix = Matrix::new();
    let met: usize = operations.iter().map(|(name, operation)| matrix.run(name, operation)).sum();
    assert!(met >= least, "only {met} places");
    matrix.finish();
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_made() {
    matrix(&[("create", &CREATING)], 25);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_stopped() {
    matrix(&[("stop", &STOPPING)], 15);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn networks_and_volumes_are_made() {
    matrix(&[("network create", &NETWORKING), ("volume create", &VOLUME)], 10);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_started_and_executed_in() {
    matrix(&[("start", &STARTING), ("exec", &EXECUTING)], 45);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_restarted_and_removed() {
    let removing = [("rm", &REMOVING), ("rm -f", &REMOVING_RUNNING)];
    matrix(&[&[("restart", &RESTARTING)], &removing[..]].concat(), 50);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn containers_are_run_paused_renamed_and_updated() {
    let changing = [("pause", &PAUSING), ("rename", &RENAMING), ("update", &UPDATING)];
    matrix(&[&[("run --rm", &RUNNING_ONCE)], &changing[..]].concat(), 50);
}

const LOADING: Operation = Operation {
    prepare: |lab| {
        let path = lab.dir().join("saved.tar");
        if !path.exists() {
            lab.estiba(&["commit", "-c", "LABEL of=saved", "by", "saved"]).ok();
            lab.estiba(&["save", "-o", path.to_str().unwrap(), "saved"]).ok();
            lab.estiba(&["rmi", "saved"]).ok();
        }
    },
    act: |lab| lab.estiba(&["load", "-q", "-i", lab.dir().join("saved.tar").to_str().unwrap()]),
    done: |lab| image(lab, "saved"),
    clean: |lab| drop(lab.estiba(&["rmi", "saved"]).ok().to_owned()),
};

/// Whether an image is there, and then whether it is whole.
fn image(lab: &Lab, name: &str) -> bool {
    let there = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", name]);
    if there.status == 0 {
        assert_eq!(lab.estiba(&["run", "--rm", name, "echo", "whole"]).ok(), "whole");
    }
    there.status == 0
}

const COMMITTING: Operation = Operation {
    prepare: |lab| {
        running(lab);
        lab.estiba(&["exec", "one", "sh", "-c", "echo new > /new"]).ok();
    },
    act: |lab| lab.estiba(&["commit", "one", "made"]),
    done: |lab| is_running(lab, "one") && image(lab, "made"),
    clean: |lab| {
        lab.estiba(&["rmi", "made"]).ok();
        remove(lab);
        lab.estiba(&["image", "prune", "-f"]).ok();
    },
};

const TAGGING: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["tag", "busybox", "other:tag"]),
    done: |lab| image(lab, "busybox") && image(lab, "other:tag"),
    clean: |lab| drop(lab.estiba(&["rmi", "other:tag"]).ok().to_owned()),
};

const REMOVING_IMAGE: Operation = Operation {
    prepare: |lab| {
        (LOADING.prepare)(lab);
        (LOADING.act)(lab).ok();
    },
    act: |lab| lab.estiba(&["rmi", "saved"]),
    done: |lab| !image(lab, "saved"),
    clean: |lab| drop(lab.estiba(&["image", "prune", "-f"]).ok().to_owned()),
};

const PRUNING_IMAGES: Operation = Operation {
    act: |lab| lab.estiba(&["image", "prune", "-af", "--filter", "label=of=saved"]),
    ..REMOVING_IMAGE
};

const BUILDING: Operation = Operation {
    prepare: |lab| {
        let dir = lab.dir().join("context");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("Dockerfile"), "FROM busybox\nCOPY a /a\nRUN cp /a /b\n").unwrap();
        std::fs::write(dir.join("a"), "content").unwrap();
    },
    act: |lab| {
        lab.estiba(&["build", "-q", "-t", "built", lab.dir().join("context").to_str().unwrap()])
    },
    done: |lab| image(lab, "built"),
    clean: |lab| {
        lab.estiba(&["rmi", "built"]).ok();
        lab.estiba(&["builder", "prune", "-af"]).ok();
    },
};

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_loaded_committed_tagged_and_removed() {
    let making = [("load", &LOADING), ("commit", &COMMITTING), ("tag", &TAGGING)];
    let removing = [("rmi", &REMOVING_IMAGE), ("image prune", &PRUNING_IMAGES)];
    matrix(&[&making[..], &removing[..]].concat(), 40);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_built() {
    matrix(&[("build", &BUILDING)], 40);
}

const PULLED: &str = "127.0.0.1:5999/some/image";

/// A registry in the lab's network, with an image.
fn registry(lab: &Lab) -> Session {
    let program = binaries().join("estiba");
    let (program, root) = (program.to_string_lossy(), lab.dir().join("registry"));
    let words = ["registry", "serve", "--listen", "127.0.0.1:5999", "--root"];
    let session =
        lab.start_in_network(&[&[&*program], &words[..], &[&root.to_string_lossy()]].concat());
    let probe = ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:5999/healthz"];
    eventually("the registry answers", || lab.in_network(&probe).status == 0);
    lab.estiba(&["commit", "by", PULLED]).ok();
    lab.estiba(&["push", "-q", PULLED]).ok();
    lab.estiba(&["rmi", PULLED]).ok();
    session
}

const PULLING: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["pull", "-q", PULLED]),
    done: |lab| image(lab, PULLED),
    clean: |lab| {
        lab.estiba(&["rmi", PULLED]).ok();
        lab.estiba(&["image", "prune", "-f"]).ok();
    },
};

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_pulled() {
    let mut matrix = Matrix::new();
    let registry = registry(&matrix.lab);
    let met = matrix.run("pull", &PULLING);
    assert!(met >= 20, "only {met} places");
    registry.signal(rustix::process::Signal::KILL);
    registry.finish();
    matrix.finish();
}

/// Whether a network is there; one that is has its bridge and takes containers.
fn network(lab: &Lab) -> bool {
    let there = lab.estiba(&["network", "inspect", "-f", "{{slice .Id 0 12}}", "nn"]);
    if there.status == 0 {
        lab.in_network(&["ip", "link", "show", &format!("br-{}", there.ok())]).ok();
        lab.estiba(&["run", "--rm", "--network", "nn", "busybox", "true"]).ok();
    }
    there.status == 0
}

const NETWORKING: Operation = Operation {
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

const CONNECTING: Operation = Operation {
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

fn volume(lab: &Lab, name: &str) -> bool {
    lab.estiba(&["volume", "inspect", name]).status == 0
}

const VOLUME: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["volume", "create", "--label", "a=b", "vv"]),
    done: |lab| volume(lab, "vv"),
    clean: |lab| drop(lab.estiba(&["volume", "rm", "vv"]).ok().to_owned()),
};

fn filled(lab: &Lab) {
    (VOLUME.act)(lab).ok();
    lab.estiba(&["run", "--rm", "-v", "vv:/v", "busybox", "sh", "-c", "echo kept > /v/file"]).ok();
}

fn content(lab: &Lab, name: &str) {
    let read =
        lab.estiba(&["run", "--rm", "-v", &format!("{name}:/v"), "busybox", "cat", "/v/file"]);
    assert_eq!(read.ok(), "kept");
}

const REMOVING_VOLUME: Operation = Operation {
    prepare: filled,
    act: |lab| lab.estiba(&["volume", "rm", "vv"]),
    done: |lab| {
        let there = volume(lab, "vv");
        if there {
            content(lab, "vv");
        }
        !there
    },
    clean: |_| {},
};

const RENAMING_VOLUME: Operation = Operation {
    prepare: filled,
    act: |lab| lab.estiba(&["volume", "rename", "vv", "ww"]),
    done: |lab| {
        let renamed = volume(lab, "ww");
        assert_ne!(renamed, volume(lab, "vv"));
        content(lab, if renamed { "ww" } else { "vv" });
        renamed
    },
    clean: |lab| drop(lab.estiba(&["volume", "rm", "ww"]).ok().to_owned()),
};

const COPYING_VOLUME: Operation = Operation {
    act: |lab| lab.estiba(&["volume", "cp", "vv", "ww"]),
    done: |lab| {
        content(lab, "vv");
        let copied = volume(lab, "ww");
        if copied {
            content(lab, "ww");
        }
        copied
    },
    clean: |lab| drop(lab.estiba(&["volume", "rm", "vv", "ww"]).ok().to_owned()),
    ..RENAMING_VOLUME
};

const PRUNING: Operation = Operation {
    prepare: |lab| {
        filled(lab);
        (NETWORKING.act)(lab).ok();
        (CREATING.act)(lab).ok();
    },
    act: |lab| lab.estiba(&["system", "prune", "-af", "--volumes", "--filter", "label!=keep"]),
    done: |lab| {
        lab.estiba(&["volume", "rm", "-f", "vv"]).ok();
        state(lab, "one").is_none() && !network(lab)
    },
    clean: |lab| {
        lab.estiba(&["volume", "prune", "-af"]).ok();
    },
};

#[test]
#[ignore = "takes minutes: make crash"]
fn volumes_are_copied_renamed_and_removed() {
    let changing = [("volume cp", &COPYING_VOLUME), ("volume rename", &RENAMING_VOLUME)];
    let removing = [("volume rm", &REMOVING_VOLUME), ("system prune", &PRUNING)];
    matrix(&[&changing[..], &removing[..]].concat(), 40);
}

/// A container with a volume that has to be mounted.
const MOUNTING: Operation = Operation {
    prepare: |lab| {
        let memory = "type=volume,dst=/m,volume-opt=type=tmpfs,volume-opt=device=tmpfs";
        let words = [&CREATE[..7], &["--mount", memory, "busybox", "sleep", "1000"]].concat();
        lab.estiba(&words).ok();
    },
    ..STARTING
};

const TAKING_OFF: Operation = Operation {
    prepare: |lab| {
        (MOUNTING.prepare)(lab);
        (MOUNTING.act)(lab).ok();
    },
    ..STOPPING
};

#[test]
#[ignore = "takes minutes: make crash"]
fn volumes_are_mounted_and_taken_off() {
    matrix(&[("start with memory", &MOUNTING), ("stop with memory", &TAKING_OFF)], 40);
}
