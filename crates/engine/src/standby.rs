//! A monitor kept ready, and the zygote that it was forked from: starting a program costs a good
//! part of starting a container, and the next container need not wait for it. Both are started when
//! a monitor was used, so a node on which nothing is started keeps none.

use runtime::launch::Launch;
use runtime::monitor::client::{self, ClientError, Connection, Standby};
use runtime::monitor::zygote::Zygote;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most one monitor without a container, and where others come from.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    monitor: Option<Standby>,
    zygote: Option<Zygote>,
}

impl Ready {
    /// Has a container made: by the monitor that is ready, or by a new one when there is none or
    /// it has died meanwhile. Blocking.
    pub(crate) fn launch(
        &self,
        program: BorrowedFd<'_>,
        launch: &Launch,
    ) -> Result<(Connection, i32), ClientError> {
        let ready = {
            let mut kept = self.kept();
            kept.monitor.take().or_else(|| kept.fork())
        };
        if let Some(ready) = ready {
            let pid = ready.pid();
            match ready.launch(launch) {
                Ok(launched) => return Ok(launched),
                Err(error) => {
                    tracing::warn!(%error, "the monitor that was ready is not");
                    reap(pid);
                }
            }
        }
        client::spawn(program, launch)
    }

    /// Makes the next one ready, unless one is. Blocking.
    pub(crate) fn refill(&self, program: BorrowedFd<'_>) {
        let mut kept = self.kept();
        if kept.monitor.is_some() {
            return;
        }
        if kept.zygote.is_none() {
            match Zygote::spawn(program) {
                Ok(zygote) => kept.zygote = Some(zygote),
                Err(error) => tracing::warn!(%error, "no monitor is kept ready"),
            }
        }
        kept.monitor = kept.fork();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A monitor from the zygote, if there is one; a zygote that cannot is given up.
    fn fork(&mut self) -> Option<Standby> {
        let zygote = self.zygote.take()?;
        match zygote.fork() {
            Ok(monitor) => {
                self.zygote = Some(zygote);
                Some(monitor)
            }
            Err(error) => {
                tracing::warn!(%error, "fork a monitor");
                let pid = zygote.pid();
                drop(zygote);
                reap(pid);
                None
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut *self.kept());
        let pids = [kept.monitor.as_ref().map(Standby::pid), kept.zygote.as_ref().map(Zygote::pid)];
        // They end when they hear that there will be no order.
        drop(kept);
        pids.into_iter().flatten().for_each(reap);
    }
}

/// Takes leave of a process that has ended, or is about to.
fn reap(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let options = rustix::process::WaitOptions::empty();
        // Somebody may have been faster; then there is nothing to take leave of.
        let _ = rustix::process::waitpid(Some(pid), options);
    }
}
