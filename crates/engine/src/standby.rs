//! What the next container will need and can have been made before anybody asks for one: a
//! monitor, with the zygote that it was forked from, and its directories. All is made when the last
//! was used, so a node on which nothing is started keeps none.

use crate::{EngineError, Result, etc};
use runtime::launch::Launch;
use runtime::monitor::client::{self, ClientError, Connection, Standby};
use runtime::monitor::zygote::Zygote;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::snapshot::{Snapshots, Spare};

/// At most one of each without a container.
#[derive(Debug)]
pub(crate) struct Ready {
    kept: Mutex<Kept>,
    root: Mutex<Option<Spare>>,
    /// Where the directory is kept that becomes a container's.
    room: PathBuf,
}

#[derive(Debug)]
struct Kept {
    /// `estiba-runtime`, sealed: what runs is what was there when the daemon was told of it.
    program: Arc<OwnedFd>,
    monitor: Option<Standby>,
    zygote: Option<Zygote>,
}

impl Ready {
    /// Nothing is ready yet but the runtime's program, found at this path. `containers`: where
    /// their directories lie.
    pub(crate) fn new(program: &Path, containers: &Path) -> Result<Self> {
        let program = Arc::new(sealed(program)?);
        let kept = Mutex::new(Kept { program, monitor: None, zygote: None });
        Ok(Self { kept, root: Mutex::default(), room: containers.join(".next") })
    }

    /// Monitors are of another program from now on. Those that run stay what they are.
    pub(crate) fn follow(&self, program: &Path) -> Result<()> {
        let program = Arc::new(sealed(program)?);
        let before = {
            let mut kept = self.kept();
            std::mem::replace(&mut *kept, Kept { program, monitor: None, zygote: None })
        };
        // Outside the lock: it waits for their ends.
        drop(before);
        Ok(())
    }

    /// A writable layer, if one is ready.
    pub(crate) fn root(&self) -> Option<Spare> {
        self.directories().take()
    }

    /// Makes the directory of a container, unless it has been there before; the one that is ready
    /// has its files already.
    pub(crate) fn move_in(&self, dir: &Path) -> std::io::Result<()> {
        let _not_half_made = self.directories();
        if renameat_with(CWD, &self.room, CWD, dir, RenameFlags::NOREPLACE).is_ok() {
            return Ok(());
        }
        make_dir(dir)
    }

    /// Has a container made: by the monitor that is ready, or by a new one when there is none or
    /// it has died meanwhile. Blocking.
    pub(crate) fn launch(
        &self,
        launch: &Launch,
    ) -> std::result::Result<(Connection, i32), ClientError> {
        let (ready, program) = {
            let mut kept = self.kept();
            (kept.monitor.take().or_else(|| kept.fork()), Arc::clone(&kept.program))
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
        client::spawn(program.as_fd(), launch)
    }

    /// Makes the next ones ready, unless they are. Blocking.
    pub(crate) fn refill(&self, snapshots: &Snapshots) {
        self.refill_monitor();
        if let Err(error) = self.refill_directories(snapshots) {
            // Who needs them makes them, and tells what is wrong.
            tracing::warn!(%error, "no directories are kept ready");
        }
    }

    fn refill_directories(&self, snapshots: &Snapshots) -> Result<()> {
        let mut root = self.directories();
        if root.is_none() {
            *root = Some(snapshots.spare()?);
        }
        let failed = |error| EngineError::io(format!("make {}", self.room.display()), error);
        make_dir(&self.room).map_err(failed)?;
        etc::make(&self.room)
    }

    fn refill_monitor(&self) {
        let mut kept = self.kept();
        if kept.monitor.is_some() {
            return;
        }
        if kept.zygote.is_none() {
            match Zygote::spawn(kept.program.as_fd()) {
                Ok(zygote) => kept.zygote = Some(zygote),
                Err(error) => tracing::warn!(%error, "no monitor is kept ready"),
            }
        }
        kept.monitor = kept.fork();
    }

    fn directories(&self) -> MutexGuard<'_, Option<Spare>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Kept {
    fn drop(&mut self) {
        let (monitor, zygote) = (self.monitor.take(), self.zygote.take());
        let pids = [monitor.as_ref().map(Standby::pid), zygote.as_ref().map(Zygote::pid)];
        // They end when they hear that there will be no order.
        drop((monitor, zygote));
        pids.into_iter().flatten().for_each(reap);
    }
}

/// A program in memory that nobody can change: neither a container that finds it through
/// /proc/PID/exe, nor an upgrade under a running daemon.
fn sealed(path: &Path) -> Result<OwnedFd> {
    runtime::sealed_program(c"estiba-runtime", path).map_err(|errno| {
        let failed = format!("load the runtime from {}", path.display());
        EngineError::io(failed, std::io::Error::from(errno))
    })
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes leave of a process that has ended, or is about to.
fn reap(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let options = rustix::process::WaitOptions::empty();
        // Somebody may have been faster; then there is nothing to take leave of.
        let _ = rustix::process::waitpid(Some(pid), options);
    }
}
