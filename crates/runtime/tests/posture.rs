//! What a process in a container is and may, for its first process and for those that enter.

mod lab;

use lab::{FIRST_ID, Lab, process};
use sys::Ended;

#[test]
fn a_command_runs_and_its_status_comes_back() {
    let outcome = Lab::sh("echo out; echo err >&2; exit 7").run();
    assert_eq!(outcome.ended, Ended::Exited(7), "{outcome:?}");
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}
