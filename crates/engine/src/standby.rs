//! A monitor kept ready: starting a program costs a good part of starting a container, and the next
//! container need not wait for it. It is started when one was used, so a node on which nothing is
//! started keeps none.

use runtime::launch::Launch;
use runtime::monitor::client::{self, ClientError, Connection, Standby};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

/// At most one monitor without a container.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    monitor: Mutex<Option<Standby>>,
}

impl Ready {
    /// Has a container made: by the monitor that is ready, or by a new one when there is none or
    /// it has died meanwhile. Blocking.
    pub(crate) fn launch(
        &self,
        program: BorrowedFd<'_>,
        launch: &Launch,
    ) -> Result<(Connection, i32), ClientError> {
        let ready = self.monitor.lock().unwrap_or_else(PoisonError::into_inner).take();
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
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        if monitor.is_none() {
            match Standby::spawn(program) {
                Ok(next) => *monitor = Some(next),
                Err(error) => tracing::warn!(%error, "no monitor is kept ready"),
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(ready) = self.monitor.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let pid = ready.pid();
            // It ends when it hears that there will be no order.
            drop(ready);
            reap(pid);
        }
    }
}

/// Takes leave of a monitor that has ended, or is about to.
fn reap(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let options = rustix::process::WaitOptions::empty();
        // Somebody may have been faster; then there is nothing to take leave of.
        let _ = rustix::process::waitpid(Some(pid), options);
    }
}
