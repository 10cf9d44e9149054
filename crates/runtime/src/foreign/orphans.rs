//! Helpers that another runtime leaves to us beside the process that we want. One that has ended in
//! the container's pid namespace and is not waited for would keep that namespace, and with it the
//! container's first process, from going.

use rustix::event::{PollFd, PollFlags, Timespec};
use sys::Pidfd;

/// How long a helper may take to go by itself after its runtime has succeeded.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The process ids of our children, proc_pid_task_children(5); none where the kernel does not tell.
pub(super) fn children() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Waits for the children that came since `before`, all but `wanted`. Without one that is wanted
/// the call has failed, and what it left is killed.
pub(super) fn reap(before: &[i32], wanted: Option<i32>) {
    let new = children().into_iter().filter(|pid| !before.contains(pid) && Some(*pid) != wanted);
    for pid in new {
        // Its number is its own until it is waited for.
        let Ok(process) = Pidfd::open(pid) else { continue };
        if wanted.is_none() {
            let _ = process.send_signal(rustix::process::Signal::KILL.as_raw());
        }
        let mut wait = [PollFd::new(&process, PollFlags::IN)];
        if matches!(rustix::event::poll(&mut wait, Some(&PATIENCE)), Ok(1..)) {
            let _ = process.wait();
        }
    }
}
