//! A changed configuration: what of the rules that are laid follows it while containers run. It
//! makes no network and joins nobody.

use crate::error::Result;
use crate::nft::{Element, Firewall, Policy};
use crate::options::Options;
use crate::service::{Net, watch};
use crate::sysctl::{self, Sysctl};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard};

/// The part of the rules' policy that the options say; `forwarding_is_ours`: that the host
/// forwards at all is our doing.
pub(crate) fn policy(options: &Options, forwarding_is_ours: bool) -> Policy {
    Policy {
        drop_foreign: forwarding_is_ours && options.drop_foreign,
        link_local_egress: options.link_local_egress,
        accept_mark: options.accept_mark.map(|mark| (mark.value, mark.mask)),
        round_link: None,
    }
}

/// Whether forwarding has to be turned on.
pub(crate) fn wants_forwarding(options: &Options) -> bool {
    options.ip_forward && sysctl::read("ipv4/ip_forward").as_deref() != Some("1")
}

/// Turns forwarding on. After the rules are laid: the host is never a router without them.
pub(crate) fn turn_forwarding_on() -> Result<()> {
    Sysctl::new("ipv4/ip_forward", "1").apply()
}

impl Net {
    /// Puts changed options in force: the rules' at once, also for ports that are published, the
    /// others for networks and endpoints made from now on. Forwarding is turned on and never off.
    /// Rules are laid or taken away altogether (`--iptables`) while nobody is on a network: ports
    /// that are published are so by the one way or the other. Drivers outside and the resolver's
    /// place stay as they were opened.
    ///
    /// # Errors
    /// The kernel refuses the rules; nothing has changed then.
    pub fn reload(&self, options: Options) -> Result<()> {
        let first = self.options();
        let rules = options.firewall;
        let mut options = Options {
            firewall: first.firewall,
            iptables: first.iptables.clone(),
            remote: first.remote.clone(),
            outside: first.outside.clone(),
            route_news: first.route_news.clone(),
            resolver: first.resolver.clone(),
            own_rules: first.own_rules,
            ..options
        };
        // Whoever publishes has published by one of the two.
        let _alone = self.publishing.write().unwrap_or_else(PoisonError::into_inner);
        if rules != first.firewall {
            options.firewall = self.switch(&options, rules)?;
        }
        let turn_on = wants_forwarding(&options);
        let was_ours = self.forwarding_is_ours.load(Ordering::Relaxed);
        if let Some(firewall) = self.firewall() {
            firewall.follow(policy(&options, was_ours || turn_on))?;
            sys::failpoint::hit("net.reload.policy");
            if let Err(error) = self.redirect(&firewall, [&first, &options]) {
                firewall.follow(policy(&first, was_ours))?;
                return Err(error);
            }
        }
        self.dns.follow(options.resolv_conf.clone());
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
        if turn_on {
            turn_forwarding_on()?;
            self.forwarding_is_ours.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Has rules laid, or none; not while anybody is on a network. Returns how it is now.
    fn switch(&self, options: &Options, rules: bool) -> Result<bool> {
        let switched = match rules {
            true => self.lay_rules(options)?,
            false => self.take_rules_away()?,
        };
        if !switched {
            tracing::warn!(
                "iptables: it changes when the daemon starts or is reloaded while no container is \
                 on a network"
            );
        }
        Ok(rules == switched)
    }

    fn lay_rules(&self, options: &Options) -> Result<bool> {
        if !self.lock().endpoints.is_empty() {
            return Ok(false);
        }
        self.alone.claim_rules()?;
        let ours = self.forwarding_is_ours.load(Ordering::Relaxed);
        let laid = Firewall::open(policy(options, ours), options.own_rules).and_then(|firewall| {
            let firewall = Arc::new(firewall);
            Ok((watch(&firewall, options, &self.zones)?, firewall))
        });
        let (watch, firewall) = laid.inspect_err(|_| self.alone.leave_rules())?;
        sys::failpoint::hit("net.reload.rules");
        let outcome = self.go_by(&firewall);
        if !matches!(outcome, Ok(true)) {
            drop(watch);
            self.alone.leave_rules();
            return firewall.remove().and(outcome);
        }
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        // Who is woken already need not be woken again.
        let _ = self.zones.try_send(());
        Ok(true)
    }

    /// Has a fresh firewall know every network, and everybody know it, unless somebody has joined.
    fn go_by(&self, firewall: &Arc<Firewall>) -> Result<bool> {
        // Who joins from now on finds the rules; who made a network has it in here.
        let state = self.lock();
        if !state.endpoints.is_empty() {
            return Ok(false);
        }
        let zones = state.networks.values().filter_map(|it| it.options.zone(&it.spec));
        firewall.change(zones.flat_map(|zone| zone.elements()).collect(), &[])?;
        firewall.lay()?;
        let mut current = self.firewall.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(firewall));
        Ok(true)
    }

    fn take_rules_away(&self) -> Result<bool> {
        let state = self.lock();
        if !state.endpoints.is_empty() {
            return Ok(false);
        }
        if let Some(firewall) = self.firewall() {
            firewall.remove()?;
        }
        *self.firewall.write().unwrap_or_else(PoisonError::into_inner) = None;
        drop(state);
        sys::failpoint::hit("net.reload.no-rules");
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It ends before anybody else may lay rules.
        drop(watch);
        self.alone.leave_rules();
        Ok(true)
    }

    /// Opens containers' own addresses for what they publish, or closes them.
    fn redirect(&self, firewall: &Firewall, [before, after]: [&Options; 2]) -> Result<()> {
        if before.direct_routing == after.direct_routing {
            return Ok(());
        }
        let state = self.lock();
        let ports: Vec<_> = state.endpoints.keys().flat_map(|id| state.ports.of(id)).collect();
        drop(state);
        let elements = |options: &Options| -> BTreeSet<Element> {
            self.elements(&ports, options.direct_routing).into_iter().collect()
        };
        let (before, after) = (elements(before), elements(after));
        let add = after.difference(&before).cloned().collect();
        let remove: Vec<Element> = before.difference(&after).cloned().collect();
        firewall.change(add, &remove)
    }

    /// As long as this is kept, the options for publishing stay. Not to be asked for twice by one
    /// thread.
    pub(crate) fn publishing(&self) -> RwLockReadGuard<'_, ()> {
        self.publishing.read().unwrap_or_else(PoisonError::into_inner)
    }
}
