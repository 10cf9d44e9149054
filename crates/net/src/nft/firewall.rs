//! The firewall as an object: what should be, what is, and one transaction between the two.

use super::conntrack;
use super::dump;
use super::encode::{GETGEN, TABLE_OWNER, TABLE_PERSIST, Transaction, fixed, kind};
use super::rules::{FOREIGN, Policy, chains};
use super::sets::{Element, Family, Packed, Publication, Set};
use crate::error::{Error, Result};
use crate::netlink::{self, Batch, Socket, field};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The table of each family, and the elements they should hold.
#[derive(Debug)]
pub(crate) struct Firewall {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: Socket,
    families: Vec<Family>,
    policy: Policy,
    /// Flags our tables are made with.
    flags: u32,
    /// Whether the kernel's tables are ours yet; before that, changes are only collected, so that
    /// the rules of a former daemon stay in force until everything is restored.
    laid: bool,
    wanted: BTreeSet<Packed>,
    /// As last laid, by family.
    fingerprints: Vec<Option<u64>>,
    /// The ruleset's generation after our last transaction.
    generation: Option<u32>,
}

impl Firewall {
    /// Takes charge of the tables. Where a former daemon left one, it stays as it is until
    /// [`Firewall::lay`]; otherwise the base rules are laid now. `own` asks the kernel to refuse
    /// changes by others.
    pub(crate) fn open(mut policy: Policy, own: bool) -> Result<Self> {
        let mut socket = Socket::open(netlink::Family::Netfilter, 0)?;
        let v6 = crate::sysctl::has_ipv6();
        let mut families: Vec<Family> =
            Family::IP.into_iter().filter(|f| *f == Family::V4 || v6).collect();
        families.push(Family::Bridge);
        let restored = dump::has_table(&mut socket, Family::V4)?;
        if restored {
            policy.drop_foreign |= dump::has_chain(&mut socket, Family::V4, FOREIGN)?;
        }
        let mut inner = Inner {
            socket,
            fingerprints: vec![None; families.len()],
            families,
            policy,
            flags: if own { TABLE_OWNER | TABLE_PERSIST } else { 0 },
            laid: false,
            wanted: BTreeSet::new(),
            generation: None,
        };
        if !restored {
            inner.lay()?;
        }
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The inner state is only replaced after the kernel agreed: a panic leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The netlink port of our changes.
    pub(crate) fn port(&self) -> u32 {
        self.lock().socket.port()
    }

    /// Replaces whatever the kernel has by what should be, in one transaction.
    pub(crate) fn lay(&self) -> Result<()> {
        self.lock().lay()
    }

    /// Removes the tables. What is changed afterwards is only collected, as before the first
    /// [`Firewall::lay`].
    pub(crate) fn remove(&self) -> Result<()> {
        self.lock().remove()
    }

    /// Adds and removes elements in one transaction; adding what is there and removing what is
    /// not changes nothing.
    pub(crate) fn change(&self, add: Vec<Element>, remove: &[Element]) -> Result<()> {
        self.lock().change(add, remove)
    }

    /// Lays the rules again if they are not as they should be. Returns whether that was so.
    pub(crate) fn reconcile(&self) -> Result<bool> {
        let mut inner = self.lock();
        if !inner.laid || inner.intact()? {
            return Ok(false);
        }
        // Not repaired is not looked at: the next period tries again.
        inner.lay().inspect_err(|_| inner.generation = None)?;
        Ok(true)
    }

    /// What the rules are made by now.
    pub(crate) fn policy(&self) -> Policy {
        self.lock().policy
    }

    /// Lays the rules by another policy, if it is another; who goes round goes on.
    pub(crate) fn follow(&self, policy: Policy) -> Result<()> {
        let mut inner = self.lock();
        let policy = Policy { round_link: inner.policy.round_link, ..policy };
        let before = std::mem::replace(&mut inner.policy, policy);
        if !inner.laid || before == policy {
            return Ok(());
        }
        inner.lay().inspect_err(|_| inner.policy = before)
    }

    /// Lets packets that the host's input rules accepted go round by the link of this index.
    pub(crate) fn go_round_by(&self, link: u32) -> Result<()> {
        let mut inner = self.lock();
        if inner.policy.round_link == Some(link) {
            return Ok(());
        }
        let before = inner.policy.round_link.replace(link);
        if !inner.laid {
            return Ok(());
        }
        inner.lay().inspect_err(|_| inner.policy.round_link = before)
    }

    /// Whether anybody changed any rule of the host since our last transaction.
    pub(crate) fn generation_moved(&self) -> bool {
        let mut inner = self.lock();
        inner.laid && inner.read_generation() != inner.generation
    }

    /// Forgets flows that were not, or no longer are, translated as published: UDP has no
    /// connections that would end by themselves.
    pub(crate) fn forget_flows(&self, ports: &[Publication]) -> Result<()> {
        conntrack::forget(ports, false)
    }

    /// The same, and ends connections through these ports.
    pub(crate) fn end_connections(&self, ports: &[Publication]) -> Result<()> {
        conntrack::forget(ports, true)
    }
}

impl Inner {
    fn change(&mut self, mut add: Vec<Element>, remove: &[Element]) -> Result<()> {
        let known = |e: &Element| self.families.contains(&e.family);
        let is_wanted = |e: &Element| self.wanted.contains(&Packed::of(e));
        add.retain(|e| known(e) && !is_wanted(e));
        let mut remove: Vec<Element> = remove.iter().filter(|e| is_wanted(e)).cloned().collect();
        add.sort();
        remove.sort();
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        self.replace(&remove, &add);
        if !self.laid {
            return Ok(());
        }
        let mut transaction = Transaction::new(self.flags);
        transaction.remove(&remove);
        transaction.add(&add);
        if self.socket.exchange(&transaction.finish()).is_ok() {
            self.generation = self.read_generation();
            return Ok(());
        }
        // Somebody has been at our table: put all of it right at once, or nothing.
        let laid = self.lay();
        if laid.is_err() {
            self.replace(&add, &remove);
        }
        laid
    }

    fn replace(&mut self, out: &[Element], in_place: &[Element]) {
        for element in out {
            self.wanted.remove(&Packed::of(element));
        }
        self.wanted.extend(in_place.iter().map(Packed::of));
    }

    fn lay(&mut self) -> Result<()> {
        match self.try_lay() {
            Err(error) if self.flags != 0 && lacks_persistence(&error) => {
                self.flags = 0;
                self.lay()
            }
            Err(error) if self.families.contains(&Family::Bridge) && lacks_family(&error) => {
                tracing::warn!("no nftables for bridges in this kernel: containers may spoof");
                self.families.retain(|family| *family != Family::Bridge);
                let of_frames = |it: &Packed| {
                    Set::of(Family::Bridge).iter().any(|set| it.is_of(Family::Bridge, *set))
                };
                self.wanted.retain(|element| !of_frames(element));
                self.lay()
            }
            other => other,
        }
    }

    fn try_lay(&mut self) -> Result<()> {
        let mut transaction = Transaction::new(self.flags);
        for family in self.families.clone() {
            if dump::has_table(&mut self.socket, family)? {
                transaction.delete_table(family);
            }
            transaction.table(family, &chains(family, self.policy));
        }
        let elements: Vec<Element> = self.wanted.iter().filter_map(Packed::unpack).collect();
        transaction.add(&elements);
        let batch = transaction.finish();
        self.socket.exchange(&batch).map_err(|refused| Error::Kernel {
            act: batch.act(refused.seq).to_owned(),
            errno: refused.errno,
            extack: match refused.errno {
                Errno::PERM => Some("another daemon owns table estiba".to_owned()),
                _ => refused.explanation,
            },
        })?;
        self.laid = true;
        self.generation = self.read_generation();
        for (slot, family) in self.families.clone().into_iter().enumerate() {
            self.fingerprints[slot] = dump::fingerprint(&mut self.socket, family)?;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        let mut transaction = Transaction::new(self.flags);
        for family in self.families.clone() {
            if dump::has_table(&mut self.socket, family)? {
                transaction.delete_table(family);
            }
        }
        let batch = transaction.finish();
        self.socket.exchange(&batch).map_err(|refused| Error::Kernel {
            act: batch.act(refused.seq).to_owned(),
            errno: refused.errno,
            extack: refused.explanation,
        })?;
        self.laid = false;
        Ok(())
    }

    fn intact(&mut self) -> Result<bool> {
        self.generation = self.read_generation();
        for (slot, family) in self.families.clone().into_iter().enumerate() {
            let found = dump::fingerprint(&mut self.socket, family)?;
            if found.is_none() || found != self.fingerprints[slot] {
                return Ok(false);
            }
            for set in Set::of(family).iter().copied() {
                let found = match dump::elements(&mut self.socket, family, set) {
                    Ok(elements) => elements,
                    Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(false),
                    Err(error) => return Err(error),
                };
                let wanted = self.wanted.range(Packed::head(family, set)..);
                if !found.iter().eq(wanted.take_while(|it| it.is_of(family, set))) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn read_generation(&mut self) -> Option<u32> {
        let mut batch = Batch::new();
        batch.message("read the rules' generation", kind(GETGEN), 0, &fixed(0), |_| {});
        let mut generation = None;
        let read = self.socket.query(batch, |answer| {
            let value = field(answer.fields(4), 1).and_then(|v| <[u8; 4]>::try_from(v).ok());
            generation = value.map(u32::from_be_bytes);
        });
        read.ok().and(generation)
    }
}

/// Kernels before 6.9 refuse `NFT_TABLE_F_PERSIST`, and without it an owned table would die with
/// the daemon.
fn lacks_persistence(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::INVAL))
}

/// A kernel without `NF_TABLES_BRIDGE` knows no chains there.
fn lacks_family(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::NOENT))
}

/// Whether a port of this host address can be published by rules: IPv6's loopback cannot.
pub(crate) fn can_translate(host: IpAddr) -> bool {
    !matches!(host, IpAddr::V6(v6) if v6.is_loopback())
}
