//! Links of containers that are over, taken away. The kernel does that under its lock over all
//! links, which it keeps for several grace periods of RCU and which every start of a container
//! needs, too; many links at once take no longer than one. So those that come while others are
//! being taken away go together. Never knows whose links they are.

use crate::apply;
use crate::error::{Error, Result};
use crate::netlink::{self, Batch, Family, Socket};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The group that links are in for the moment before they are taken away together; nobody else's.
const GROUP: u32 = u32::from_be_bytes(*b"estb");

/// Who wants links taken away, and who is at it.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those of the next turn.
    waiting: Vec<String>,
    /// Whether a turn is under way.
    busy: bool,
    /// Turns that were begun.
    begun: u64,
    /// Links that stayed, for who asked.
    failed: BTreeMap<String, Error>,
}

impl Removals {
    /// Takes away a link of this thread's namespace; fine when it is gone.
    pub(crate) fn remove(&self, link: &str) -> Result<()> {
        self.remove_by(link, take_away)
    }

    fn remove_by(
        &self,
        link: &str,
        take_away: impl Fn(&[String]) -> BTreeMap<String, Error>,
    ) -> Result<()> {
        let mut state = self.lock();
        state.waiting.push(link.to_owned());
        let turn = state.begun + 1;
        while state.busy {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Somebody of the same turn may have been faster.
        if state.begun < turn {
            state.begun = turn;
            state.busy = true;
            let links = std::mem::take(&mut state.waiting);
            drop(state);
            let failed = take_away(&links);
            state = self.lock();
            state.failed.extend(failed);
            state.busy = false;
            self.over.notify_all();
        }
        state.failed.remove(link).map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes links away, together where there are several. Gives those that stayed.
fn take_away(links: &[String]) -> BTreeMap<String, Error> {
    let mut failed = BTreeMap::new();
    if links.len() > 1 {
        // Whoever is left is tried alone, and says why.
        let _ = together(links);
    }
    for link in links {
        let removed = Socket::open(Family::Route, 0)
            .and_then(|mut socket| apply::delete_link(&mut socket, link));
        if let Err(error) = removed {
            failed.insert(link.clone(), error);
        }
    }
    failed
}

fn together(links: &[String]) -> Result<()> {
    let mut socket = Socket::open(Family::Route, 0)?;
    for link in links {
        let mut batch = Batch::new();
        netlink::set_group(&mut batch, link, GROUP);
        // One that is gone is in no group.
        let _ = socket.transact(batch);
    }
    let mut batch = Batch::new();
    netlink::delete_group(&mut batch, GROUP);
    socket.transact(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    /// What comes during a turn goes in the next, all at once, and each hears of its own link.
    #[test]
    fn those_that_come_meanwhile_go_together() {
        let removals = Removals::default();
        let (turns, met) = (AtomicUsize::new(0), Barrier::new(2));
        let (seen, sizes) = mpsc::channel();
        let take_away = |links: &[String]| {
            seen.send(links.len()).unwrap();
            if turns.fetch_add(1, Ordering::SeqCst) == 0 {
                met.wait();
                // The others are in line before this turn ends.
                while removals.lock().waiting.len() < 5 {
                    std::thread::yield_now();
                }
            }
            let stays = |link: &&String| *link == "3";
            let error = |link: &String| (link.clone(), Error::Malformed { act: link.clone() });
            links.iter().filter(stays).map(error).collect()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| removals.remove_by("first", take_away));
            met.wait();
            let others: Vec<_> = ["1", "2", "3", "4", "5"]
                .map(|link| (link, scope.spawn(|| removals.remove_by(link, take_away))))
                .into();
            assert!(first.join().unwrap().is_ok());
            for (link, other) in others {
                assert_eq!(other.join().unwrap().is_err(), link == "3", "{link}");
            }
        });
        assert_eq!(sizes.try_iter().collect::<Vec<_>>(), [1, 5]);
        assert!(removals.lock().failed.is_empty());
    }
}
