//! Builds whose client, daemon or step is killed while they run, over every protocol: nothing stays
//! behind but finished steps, and those are taken up again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Session, Setup, binaries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};

const DOCKER20: &str = "/usr/local/lib/estiba-test/docker20";
const ADDRESS: &str = "tcp://127.0.0.1:2375";

/// The ways to a build: our own client with descriptors and without, and Docker's with BuildKit.
fn ways(lab: &Lab) -> Vec<(String, PathBuf)> {
    let (near, own) = (format!("unix://{}", lab.socket().display()), binaries().join("estiba"));
    let mut ways = vec![(near.clone(), own.clone()), (ADDRESS.to_owned(), own)];
    match Path::new(DOCKER20).exists() {
        true => ways.push((near, DOCKER20.into())),
        false => eprintln!("skipped: no docker command line 20.10 here"),
    }
    ways
}

/// A build with its progress on standard output.
fn begin(lab: &Lab, (host, program): &(String, PathBuf), dir: &Path) -> Session {
    let (host, home) = (format!("DOCKER_HOST={host}"), format!("HOME={}", lab.dir().display()));
    let begin = ["sh", "-c", "exec \"$@\" 2>&1", "-", "env", "DOCKER_BUILDKIT=1", &host, &home];
    let words = [program.to_str().unwrap(), "build", "--progress=plain", dir.to_str().unwrap()];
    lab.start_in_network(&[&begin[..], &words].concat())
}

/// A context whose second step sleeps until somebody ends it, for a time that no other test's
/// does: the digit is the test's.
fn context(lab: &Lab, name: &str, digit: u32) -> (PathBuf, String) {
    let dir = lab.dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let nap = format!("{digit}{:07}", std::process::id());
    let dockerfile = format!(
        "FROM busybox\nRUN echo {name} > /a\nRUN echo runs-$((40+2)); sleep {nap}; exit 9\n"
    );
    std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    (dir, nap)
}

fn until_it_runs(build: &Session) {
    eventually("the second step runs", || build.so_far().contains("runs-42"));
}

fn nothing_runs(lab: &Lab, nap: &str) {
    let left = || {
        let places = ["data/snapshots", "run/containers", "run/builds"];
        let entries = places.map(|place| std::fs::read_dir(lab.dir().join(place)));
        let entries = entries.into_iter().flatten().flatten().flatten();
        let mut left: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        left.extend(lab.half_made().into_iter().map(PathBuf::from));
        left.extend(sleepers(nap).iter().map(|pid| format!("{pid:?}").into()));
        left
    };
    // As long as `eventually` waits; but this tells what stays.
    for _ in 0..600 {
        if left().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(left(), Vec::<PathBuf>::new(), "steps are removed");
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
}

/// The processes of the step that sleeps.
fn sleepers(nap: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let pid = process.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        if line == format!("sleep\0{nap}\0").as_bytes() {
            found.extend(pid);
        }
    }
    found
}

fn lab() -> Lab {
    let arguments = ["--host", ADDRESS, "--allow-plain-tcp"].map(str::to_owned).to_vec();
    Lab::with(Setup { arguments, ..Setup::default() })
}

#[test]
fn a_client_that_is_killed_takes_its_build_with_it() {
    let lab = lab();
    for (number, way) in ways(&lab).iter().enumerate() {
        let (dir, nap) = context(&lab, &format!("client-{number}"), 1);
        for round in 0..2 {
            let build = begin(&lab, way, &dir);
            until_it_runs(&build);
            // What was finished the first time is finished the second.
            assert_eq!(build.so_far().contains("CACHED"), round == 1, "{}", build.so_far());
            build.signal(Signal::KILL);
            build.finish();
            nothing_runs(&lab, &nap);
        }
    }
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_of_its_builds() {
    let mut lab = lab();
    for (number, way) in ways(&lab).iter().enumerate() {
        let (dir, nap) = context(&lab, &format!("daemon-{number}"), 2);
        let build = begin(&lab, way, &dir);
        until_it_runs(&build);
        lab.kill_daemon();
        let ended = build.finish();
        assert_ne!(ended.status, 0, "{ended:?}");
        lab.start_daemon();
        nothing_runs(&lab, &nap);
        let again = begin(&lab, way, &dir);
        until_it_runs(&again);
        assert!(again.so_far().contains("CACHED"), "{}", again.so_far());
        again.signal(Signal::KILL);
        again.finish();
        nothing_runs(&lab, &nap);
    }
}

/// The process of a step is killed: its shell goes on, and says so; the whole step: the build does.
#[test]
fn a_step_that_is_killed_fails_its_build_and_no_other() {
    let lab = lab();
    for (number, way) in ways(&lab).iter().enumerate() {
        let (dir, nap) = context(&lab, &format!("step-{number}"), 3);
        let build = begin(&lab, way, &dir);
        until_it_runs(&build);
        eventually("the step sleeps", || !sleepers(&nap).is_empty());
        for pid in sleepers(&nap) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        let ended = build.finish();
        assert!(ended.status != 0 && ended.stdout.contains("exit code: 9"), "{ended:?}");
        nothing_runs(&lab, &nap);
        let other = lab.dir().join("other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("Dockerfile"), format!("FROM busybox\nRUN echo {number}\n"))
            .unwrap();
        let built = begin(&lab, way, &other).finish();
        assert_eq!(built.status, 0, "{built:?}");
    }
}

/// The client dies at every place that the daemon passes while it builds. Nothing is left of the
/// build, and the next client's comes to its end with what was finished from the cache.
#[test]
#[ignore = "takes minutes: make crash"]
fn a_client_that_is_killed_anywhere_leaves_nothing() {
    let lab = Lab::with(Setup { failpoints: true, ..Setup::default() });
    let dir = lab.dir().join("anywhere");
    std::fs::create_dir_all(&dir).unwrap();
    let places = lab.dir().join("failpoints");
    let number = std::cell::Cell::new(0);
    // Each time a build of which nothing is known, as far as it comes.
    let prepare = || {
        number.set(number.get() + 1);
        let number = number.get();
        let dockerfile = format!("FROM busybox\nCOPY f /f\nRUN echo {number} > /a\nRUN cat /f\n");
        std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(dir.join("f"), format!("{number}")).unwrap();
    };
    let build = || lab.estiba(&["build", "-q", "-t", "anywhere", dir.to_str().unwrap()]);
    let quiet = || nothing_runs(&lab, "none");
    // Twice: what stays from the first time is there the second.
    for _ in 0..2 {
        prepare();
        std::fs::write(places.join("trace"), "").unwrap();
        build().ok();
        quiet();
    }
    let count = std::fs::read_to_string(places.join("trace")).unwrap().lines().count();
    std::fs::remove_file(places.join("trace")).unwrap();
    assert!(count > 20, "{count} places");
    let mut met = 0;
    for place in 0..count {
        prepare();
        let _ = std::fs::remove_file(places.join("fired"));
        let mut client = lab.client(Path::new("sh"));
        client.args([
            "-c",
            "read go; exec \"$@\"",
            "-",
            binaries().join("estiba").to_str().unwrap(),
        ]);
        client.args(["build", "-q", "-t", "anywhere", dir.to_str().unwrap()]);
        let mut client = Session::start(client);
        let victim = client.pid().as_raw_nonzero().to_string();
        std::fs::write(places.join("victim"), victim).unwrap();
        std::fs::write(places.join("arm"), format!("{place} ")).unwrap();
        client.send(b"go\n");
        let ended = client.finish();
        let _ = std::fs::remove_file(places.join("arm"));
        let told = std::fs::read_to_string(places.join("fired")).unwrap_or_default();
        let what = format!("place {place}: {told}");
        // At the last places the client has its answer already.
        met += usize::from(!told.is_empty() && ended.status != 0);
        println!("{what}");
        quiet();
        let again = build();
        assert_eq!(again.status, 0, "{what}: {again:?}");
        let shown = lab.estiba(&["run", "--rm", "anywhere", "cat", "/f", "/a"]);
        assert_eq!(shown.ok(), format!("{0}{0}", number.get()), "{what}");
        assert!(lab.estiba(&["ps", "-aq"]).ok().is_empty(), "{what}");
    }
    assert!(met > 10, "the client died {met} times in {count} places");
    lab.estiba(&["rmi", "anywhere"]).ok();
    lab.estiba(&["builder", "prune", "-af"]).ok();
    lab.estiba(&["image", "prune", "-f"]).ok();
    // Leases went with the builds: what they spared can go.
    eventually("layers and documents of the builds are gone", || {
        lab.estiba(&["builder", "prune", "-af"]).ok();
        std::fs::read_dir(lab.data_root().join("layers")).unwrap().count() <= 1
    });
}
