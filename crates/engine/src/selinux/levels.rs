//! Which levels are taken: each container's categories are its own while it exists. The labels
//! themselves are in the containers' records; this is only the memory of them.

use crate::{EngineError, Result, random};
use model::selinux::{CATEGORIES, Level};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often two categories are drawn. There are half a million pairs: who does not find a free one
/// in so many draws finds none.
const DRAWS: usize = 10_000;

/// How many containers are at each level; a level is shared by those who join one another, or who
/// were told to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels(Arc<Mutex<BTreeMap<String, usize>>>);

/// A level that is taken, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Held {
    levels: Levels,
    level: String,
}

impl Levels {
    /// A level that nobody has.
    pub(crate) fn draw(&self) -> Result<(Level, Held)> {
        let category = || random::below(usize::from(CATEGORIES));
        for _ in 0..DRAWS {
            let drawn = [category()?, category()?].map(u16::try_from);
            let [Ok(one), Ok(other)] = drawn else { continue };
            let Some(level) = Level::of(one, other) else { continue };
            let mut taken = self.taken();
            let text = level.to_string();
            if !taken.contains_key(&text) {
                taken.insert(text.clone(), 1);
                return Ok((level, Held { levels: self.clone(), level: text }));
            }
        }
        Err(EngineError::internal("no two categories of SELinux are free"))
    }

    /// Takes the level of a container that has one; `None` for the empty one, which is nobody's.
    pub(crate) fn hold(&self, level: String) -> Option<Held> {
        if level.is_empty() {
            return None;
        }
        *self.taken().entry(level.clone()).or_default() += 1;
        Some(Held { levels: self.clone(), level })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.levels.taken();
        if let Some(count) = taken.get_mut(&self.level) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_have_the_same() {
        let levels = Levels::default();
        let drawn: Vec<(Level, Held)> = (0..3000).map(|_| levels.draw().unwrap()).collect();
        let different: BTreeSet<Level> = drawn.iter().map(|(level, _)| *level).collect();
        assert_eq!(different.len(), 3000);
        assert_eq!(levels.taken().len(), 3000);
        drop(drawn);
        assert!(levels.taken().is_empty());
    }

    #[test]
    fn what_is_held_is_free_when_the_last_is_gone() {
        let levels = Levels::default();
        let (level, first) = levels.draw().unwrap();
        let second = levels.hold(level.to_string()).unwrap();
        drop(first);
        assert_eq!(levels.taken().get(&level.to_string()), Some(&1));
        drop(second);
        assert!(levels.taken().is_empty());
        assert!(levels.hold(String::new()).is_none());
    }
}
