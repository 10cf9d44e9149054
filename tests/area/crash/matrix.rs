//! The matrix itself: one daemon, one container that must not notice, and an operation at a time
//! that is killed at each of its places. It knows no operation.

use lab::{Footprint, Lab, Output, Setup, eventually};
use rustix::fs::{FlockOperation, flock};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An operation, by what it takes to do it again and again.
pub(crate) struct Operation {
    /// Makes what it works on.
    pub(crate) prepare: fn(&Lab),
    /// Does it; called again after a crash that left things as before.
    pub(crate) act: fn(&Lab) -> Output,
    /// Whether it is done. Whatever state it finds that is neither before nor after is a panic.
    pub(crate) done: fn(&Lab) -> bool,
    /// Removes everything.
    pub(crate) clean: fn(&Lab),
}

pub(crate) struct Matrix {
    /// The longest that a daemon took from its start to its first answer.
    slowest: Duration,
    pub(crate) lab: Lab,
    dir: PathBuf,
    /// Process id of the container that must not notice.
    bystander: String,
    baseline: Footprint,
}

impl Matrix {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn run(&mut self, name: &str, operation: &Operation) -> usize {
        self.some(name, operation, |count| (0..count).collect())
    }

    /// Tries an operation at those of its places, by number, that `choose` takes of so many.
    pub(crate) fn some(
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
    pub(crate) fn finish(self) {
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

/// Some operations, each at every place; fails when there were fewer places than there have to be.
pub(crate) fn matrix(operations: &[(&str, &Operation)], least: usize) {
    let mut matrix = Matrix::new();
    let met: usize = operations.iter().map(|(name, operation)| matrix.run(name, operation)).sum();
    assert!(met >= least, "only {met} places");
    matrix.finish();
}
