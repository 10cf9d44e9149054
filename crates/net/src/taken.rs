//! Which host ports are taken, by whom. Ports that follow one upon another are one run, so that
//! a range of ten thousand costs no more than one of them. Pure: knows no sockets.

use crate::nft::Publication;
use crate::ports::Owner;
use model::network::PortSpec;
use std::sync::Arc;

/// Publications in runs.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    runs: Vec<Run>,
}

/// Publications of one owner that differ by their ports alone, host's and container's going up
/// together.
#[derive(Clone, Debug)]
struct Run {
    first: Publication,
    /// How many more there are.
    more: u16,
    owner: Arc<Owner>,
}

impl Run {
    /// How far into the run a publication is.
    fn position(&self, it: &Publication) -> Option<u16> {
        let at = self.at_port(it.port)?;
        (self.nth(at) == *it).then_some(at)
    }

    /// How far into the run a host port is.
    fn at_port(&self, port: PortSpec) -> Option<u16> {
        let first = self.first.port;
        let at = port.port.checked_sub(first.port).filter(|at| *at <= self.more)?;
        (port.protocol == first.protocol).then_some(at)
    }

    fn nth(&self, n: u16) -> Publication {
        let first = self.first;
        let port = PortSpec { port: first.port.port + n, ..first.port };
        Publication { port, target: first.target + n, ..first }
    }

    /// What a publication right behind the run looks like.
    fn next(&self) -> Option<Publication> {
        let n = self.more.checked_add(1)?;
        let first = self.first;
        let port = PortSpec { port: first.port.port.checked_add(n)?, ..first.port };
        Some(Publication { port, target: first.target.checked_add(n)?, ..first })
    }
}

impl Taken {
    /// Adds a publication.
    pub(crate) fn insert(&mut self, it: Publication, owner: &Arc<Owner>) {
        let extended = self.runs.last_mut().filter(|run| {
            Arc::ptr_eq(&run.owner, owner) && run.next().is_some_and(|next| next == it)
        });
        match extended {
            Some(run) => run.more += 1,
            None => self.runs.push(Run { first: it, more: 0, owner: Arc::clone(owner) }),
        }
    }

    /// Takes a publication out; nothing where it is not.
    pub(crate) fn remove(&mut self, it: &Publication) {
        let found = self.runs.iter().enumerate().find_map(|(n, run)| Some((n, run.position(it)?)));
        let Some((n, at)) = found else { return };
        let run = self.runs[n].clone();
        let rest = run.more - at;
        let behind =
            (rest > 0).then(|| Run { first: run.nth(at + 1), more: rest - 1, ..run.clone() });
        let before = (at > 0).then(|| Run { more: at - 1, ..run });
        self.runs.splice(n..=n, before.into_iter().chain(behind));
    }

    /// Those at a host port, with who has them.
    pub(crate) fn at(&self, port: PortSpec) -> impl Iterator<Item = (Publication, &Owner)> {
        let here = move |run: &Run| run.at_port(port).map(|at| run.nth(at));
        self.runs.iter().filter_map(move |run| Some((here(run)?, &*run.owner)))
    }

    /// Everything an endpoint publishes.
    pub(crate) fn of(&self, endpoint: &str) -> Vec<Publication> {
        let runs = self.runs.iter().filter(|run| run.owner.endpoint == endpoint);
        runs.flat_map(|run| (0..=run.more).map(|n| run.nth(n))).collect()
    }

    /// Whether an endpoint publishes anything.
    pub(crate) fn has(&self, endpoint: &str) -> bool {
        self.runs.iter().any(|run| run.owner.endpoint == endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::Way;
    use model::network::Protocol;
    use std::collections::BTreeSet;

    fn publication(host: &str, port: u16, target: u16) -> Publication {
        Publication {
            host: host.parse().unwrap(),
            port: PortSpec { port, protocol: Protocol::Tcp },
            addr: "172.17.0.2".parse().unwrap(),
            target,
            way: Way::Translated,
        }
    }

    fn owner(endpoint: &str) -> Arc<Owner> {
        Arc::new(Owner { endpoint: endpoint.to_owned(), container: String::new() })
    }

    #[test]
    fn a_range_is_one_run_until_it_has_a_hole() {
        let mut taken = Taken::default();
        let a = owner("a");
        for n in 0..10_000 {
            taken.insert(publication("0.0.0.0", 20_000 + n, 20_000 + n), &a);
        }
        assert_eq!(taken.runs.len(), 1);
        taken.remove(&publication("0.0.0.0", 25_000, 25_000));
        taken.remove(&publication("0.0.0.0", 20_000, 20_000));
        taken.remove(&publication("0.0.0.0", 29_999, 29_999));
        taken.remove(&publication("0.0.0.0", 29_998, 1));
        assert_eq!((taken.runs.len(), taken.of("a").len()), (2, 9_997));
        let at = |port| taken.at(PortSpec { port, protocol: Protocol::Tcp }).count();
        assert_eq!((at(25_000), at(25_001), at(29_999), at(19_999)), (0, 1, 0, 0));
        assert!(taken.has("a") && !taken.has("b"));
    }

    /// The last port has none behind it.
    #[test]
    fn runs_end_where_ports_do() {
        let mut taken = Taken::default();
        let a = owner("a");
        taken.insert(publication("0.0.0.0", 65_535, 80), &a);
        taken.insert(publication("0.0.0.0", 0, 81), &a);
        taken.insert(publication("0.0.0.0", 1, 65_535), &a);
        taken.insert(publication("0.0.0.0", 2, 0), &a);
        assert_eq!((taken.runs.len(), taken.of("a").len()), (4, 4));
    }

    /// Whatever comes and goes, what is there is what came and did not go.
    #[test]
    fn nothing_is_lost_and_nothing_invented_under_any_history() {
        let mut state = 0x9e37_79b9_u32;
        let mut draw = |n: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            u16::try_from(state % n).unwrap()
        };
        let owners = [owner("a"), owner("b")];
        let mut taken = Taken::default();
        let mut known: BTreeSet<(Publication, usize)> = BTreeSet::new();
        for _ in 0..3000 {
            let host = ["0.0.0.0", "127.0.0.1"][usize::from(draw(2))];
            let port = draw(60);
            let it = publication(host, port, port + draw(2) * 7);
            match known.iter().find(|(known, _)| *known == it).copied() {
                Some(pair) => {
                    taken.remove(&it);
                    known.remove(&pair);
                }
                None => {
                    let whose = usize::from(draw(2));
                    taken.insert(it, &owners[whose]);
                    known.insert((it, whose));
                }
            }
            let whose = usize::from(draw(2));
            let mut seen = taken.of(&owners[whose].endpoint);
            seen.sort();
            let wanted: Vec<_> =
                known.iter().filter(|(_, of)| *of == whose).map(|(it, _)| *it).collect();
            assert_eq!(seen, wanted);
        }
    }
}
