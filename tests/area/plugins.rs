//! Volume plugins: a driver of our own outside the daemon, which minds who uses what.

use lab::{Lab, Session, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A driver called `shelf`, and where it keeps things.
struct Shelf {
    dir: tempfile::TempDir,
    session: Option<Session>,
}

impl Shelf {
    fn new(lab: &Lab) -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-shelf-").tempdir().unwrap();
        let mut shelf = Self { dir, session: None };
        let script = format!(
            "mount -t tmpfs lab /run && mkdir -p /run/docker/plugins && \
             ln -s {} /run/docker/plugins/shelf.sock",
            shelf.socket().display()
        );
        lab.in_network(&["sh", "-c", &script]).ok();
        shelf.start(lab);
        shelf
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("shelf.sock")
    }

    fn start(&mut self, lab: &Lab) {
        let _ = std::fs::remove_file(self.socket());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/data/volumes.py");
        let socket = self.socket();
        let place = self.dir.path().to_string_lossy();
        let words = ["python3", script, &socket.to_string_lossy(), &place];
        self.session = Some(lab.start_in_network(&words));
        eventually("the driver listens", || socket.exists());
    }

    fn stop(&mut self) {
        let session = self.session.take().expect("the driver runs");
        session.signal(Signal::KILL);
        session.finish();
    }

    /// Who uses a volume, by the driver's own account.
    fn users(&self, name: &str) -> usize {
        let text = std::fs::read_to_string(self.dir.path().join("state")).unwrap_or_default();
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        state[name]["users"].as_array().map_or(0, Vec::len)
    }

    fn has(&self, name: &str) -> bool {
        let text = std::fs::read_to_string(self.dir.path().join("state")).unwrap_or_default();
        serde_json::from_str::<Value>(&text).unwrap_or_default().get(name).is_some()
    }

    fn content(&self, name: &str) -> PathBuf {
        self.dir.path().join("content").join(name)
    }

    /// Questions that the driver answered with an error.
    fn refusals(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.socket().with_extension("sock.log")).unwrap();
        log.lines().filter(|line| line.contains("\"Err\"")).map(str::to_owned).collect()
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn a_driver_makes_mounts_and_removes() {
    let lab = Lab::new();
    let shelf = Shelf::new(&lab);
    assert_eq!(lab.estiba(&["volume", "create", "-d", "shelf", "books"]).ok(), "books");
    lab.estiba(&["volume", "create", "own"]).ok();
    let list = lab.estiba(&["volume", "ls", "--format", "{{.Driver}} {{.Name}}"]);
    assert_eq!(list.ok(), "shelf books\nlocal own");
    let list = lab.estiba(&["volume", "ls", "-q", "--filter", "driver=shelf"]);
    assert_eq!(list.ok(), "books");
    let format = "{{.Driver}} {{.Scope}} {{.Mountpoint}}|";
    assert_eq!(lab.estiba(&["volume", "inspect", "-f", format, "books"]).ok(), "shelf global |");
    write(&shelf.content("books"), "title", "Walden");
    let run =
        ["run", "--rm", "-v", "books:/b", "busybox", "sh", "-c", "cat /b/title; echo x >/b/y"];
    assert_eq!(lab.estiba(&run).ok(), "Walden");
    assert!(shelf.content("books").join("y").exists());
    eventually("the driver is told of the end", || shelf.users("books") == 0);
    // Two users, of which each is told of by itself.
    for name in ["c1", "c2"] {
        lab.estiba(&["run", "-d", "--name", name, "-v", "books:/b:ro", "busybox", "sleep", "1h"])
            .ok();
    }
    assert_eq!(shelf.users("books"), 2);
    let place = lab.estiba(&["volume", "inspect", "-f", "{{.Mountpoint}}", "books"]);
    assert!(place.ok().ends_with("/mounted/books"), "{place:?}");
    lab.estiba(&["volume", "rm", "books"]).fails(1, "volume is in use");
    lab.estiba(&["rm", "-f", "c1"]).ok();
    eventually("one user is gone", || shelf.users("books") == 1);
    assert_eq!(lab.estiba(&["exec", "c2", "cat", "/b/title"]).ok(), "Walden");
    lab.estiba(&["stop", "-t", "0", "c2"]).ok();
    eventually("nobody uses it", || shelf.users("books") == 0);
    lab.estiba(&["start", "c2"]).ok();
    assert_eq!(shelf.users("books"), 1);
    lab.estiba(&["rm", "-f", "c2"]).ok();
    lab.estiba(&["volume", "prune", "-af"]).ok();
    assert!(shelf.has("books"), "prune is for local volumes");
    eventually("nobody uses it", || shelf.users("books") == 0);
    lab.estiba(&["volume", "rm", "books"]).ok();
    assert!(!shelf.has("books"));
    lab.estiba(&["volume", "inspect", "books"]).fails(1, "no such volume");
    assert_eq!(shelf.refusals(), Vec::<String>::new());
}

#[test]
fn containers_ask_for_drivers_in_every_way() {
    let lab = Lab::new();
    let shelf = Shelf::new(&lab);
    let run = |options: &[&str]| {
        lab.estiba(&[&["run", "--rm"], options, &["busybox", "touch", "/m/here"]].concat()).ok();
    };
    run(&["--mount", "type=volume,src=one,dst=/m,volume-driver=shelf"]);
    run(&["--volume-driver", "shelf", "-v", "two:/m"]);
    run(&["-v", "two:/m"]);
    for name in ["one", "two"] {
        assert!(shelf.content(name).join("here").exists(), "{name}");
    }
    run(&["--volume-driver", "shelf", "-v", "/m"]);
    eventually("the anonymous one went", || lab.estiba(&["volume", "ls", "-q"]).ok() == "one\ntwo");
    std::fs::create_dir(shelf.content("one").join("sub")).unwrap();
    run(&["--mount", "type=volume,src=one,dst=/m,volume-subpath=sub"]);
    assert!(shelf.content("one").join("sub/here").exists());
    for (arguments, why) in [
        (&["volume", "create", "-d", "nonesuch", "vv"][..], "plugin \"nonesuch\" not found"),
        (&["volume", "create", "-d", "shelf", "-o", "refuse=1", "vv"], "the disks are full"),
        (&["volume", "create", "-d", "local", "one"], "already exists with the shelf driver"),
        (&["volume", "snapshot", "one", "three"], "its driver shelf"),
    ] {
        let refused = lab.estiba(arguments);
        assert_ne!(refused.status, 0, "{arguments:?}");
        assert!(refused.stderr.contains(why), "{arguments:?}: {}", refused.stderr);
    }
    let refused = lab.estiba(&[
        "run",
        "--rm",
        "--volume-driver",
        "shelf",
        "-v",
        "four:/m",
        "busybox",
        "nonesuch",
    ]);
    assert_eq!(refused.status, 127);
    eventually("a start that failed is no user", || shelf.users("four") == 0);
    lab.estiba(&["volume", "rm", "one", "two", "four"]).ok();
}

/// As Docker does it: an empty volume gets what the image has there, whoever keeps it, and copies
/// reach it when no container runs that has it mounted.
#[test]
fn a_drivers_volumes_are_filled_and_reached_while_nothing_runs() {
    let lab = Lab::new();
    let shelf = Shelf::new(&lab);
    let create = |name: &str, volume: &str| {
        let words = ["create", "--name", name, "--volume-driver", "shelf", "-v", volume, "busybox"];
        lab.estiba(&words).ok();
    };
    create("full", "data:/etc");
    assert!(shelf.content("data").join("passwd").exists());
    create("bare", "none:/etc:nocopy");
    assert_eq!(std::fs::read_dir(shelf.content("none")).unwrap().count(), 0);
    write(&shelf.content("data"), "passwd", "kept");
    create("again", "data:/etc");
    let out = lab.dir().join("out");
    lab.estiba(&["cp", "full:/etc/passwd", &out.to_string_lossy()]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "kept", "what is there stays");
    lab.estiba(&["cp", &out.to_string_lossy(), "full:/etc/added"]).ok();
    assert!(shelf.content("data").join("added").exists());
    eventually("nobody uses it any more", || shelf.users("data") + shelf.users("none") == 0);
    lab.estiba(&["rm", "full", "bare", "again"]).ok();
    lab.estiba(&["volume", "rm", "data", "none"]).ok();
    assert_eq!(shelf.refusals(), Vec::<String>::new());
}

#[test]
fn nobody_waits_for_a_driver_that_hangs() {
    let lab = Lab::new();
    let shelf = Shelf::new(&lab);
    lab.estiba(&["volume", "create", "-d", "shelf", "books"]).ok();
    lab.estiba(&["run", "-d", "--name", "fine", "busybox", "sleep", "1h"]).ok();
    let driver = shelf.session.as_ref().expect("the driver runs");
    driver.signal(Signal::STOP);
    let waiting = lab.session(&["run", "--rm", "-v", "books:/b", "busybox", "true"]);
    eventually("it waits", || lab.estiba(&["ps", "-aq"]).ok().lines().count() == 2);
    assert_eq!(lab.estiba(&["ps", "--format", "{{.Names}}"]).ok(), "fine");
    assert_eq!(lab.estiba(&["info", "-f", "{{.ContainersRunning}}"]).ok(), "1");
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "new"]).ok(), "new");
    assert_eq!(lab.estiba(&["exec", "fine", "echo", "here"]).ok(), "here");
    // A list says what is known, after a moment.
    assert_eq!(lab.estiba(&["volume", "ls", "-q"]).ok(), "books");
    driver.signal(Signal::CONT);
    assert_eq!(waiting.finish().status, 0);
    eventually("nobody uses it", || shelf.users("books") == 0);
    lab.estiba(&["rm", "-f", "fine"]).ok();
    lab.estiba(&["volume", "rm", "books"]).ok();
}

#[test]
fn what_a_driver_was_told_survives_the_daemon_and_the_driver() {
    let mut lab = Lab::new();
    let mut shelf = Shelf::new(&lab);
    lab.estiba(&["volume", "create", "-d", "shelf", "--label", "a=b", "data"]).ok();
    for name in ["stays", "ends"] {
        let words = ["run", "-d", "--name", name, "-v", "data:/d", "busybox", "sleep", "1h"];
        lab.estiba(&words).ok();
    }
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "ends"]).ok().to_owned();
    lab.kill_daemon();
    // One ends while nobody looks.
    lab.in_network(&["kill", "-KILL", &pid]).ok();
    lab.start_daemon();
    eventually("the driver hears of it", || shelf.users("data") == 1);
    let format = "{{.Driver}} {{index .Labels \"a\"}}";
    assert_eq!(lab.estiba(&["volume", "inspect", "-f", format, "data"]).ok(), "shelf b");
    lab.estiba(&["exec", "stays", "touch", "/d/kept"]).ok();
    shelf.stop();
    let list = lab.estiba(&["volume", "ls", "--format", "{{.Driver}} {{.Name}}"]);
    assert_eq!(list.ok(), "shelf data", "a list needs no driver");
    lab.estiba(&["exec", "stays", "test", "-e", "/d/kept"]).ok();
    let refused = lab.estiba(&["run", "--rm", "-v", "data:/d", "busybox", "true"]);
    assert_ne!(refused.status, 0, "{refused:?}");
    shelf.start(&lab);
    lab.estiba(&["run", "--rm", "-v", "data:/d", "busybox", "test", "-e", "/d/kept"]).ok();
    lab.estiba(&["rm", "-f", "stays", "ends"]).ok();
    eventually("nobody uses it", || shelf.users("data") == 0);
    lab.estiba(&["volume", "rm", "data"]).ok();
}
