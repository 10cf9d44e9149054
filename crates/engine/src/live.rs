//! What of the configuration may change while the daemon runs: a value that is read whole and
//! replaced whole, so that nobody sees half a change. What containers were made with stays theirs.

use crate::node::{Node, blocking};
use crate::system::System;
use crate::{EngineError, Options, Result, clock, host, random, record};
use model::NetworkId;
use model::event::EventKind;
use model::network::{NetworkDraft, NetworkSpec};
use model::resolve::Defaults;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long containers that have ended may take to leave the default network.
const LEAVING: Duration = Duration::from_secs(5);

/// The configuration in force, and what is made of it.
pub(crate) struct Live {
    pub(crate) options: Options,
    /// For containers that do not say.
    pub(crate) defaults: Defaults,
    /// The way to registries of images.
    pub(crate) remote: ::registry::Client,
}

impl Live {
    /// Checks what can be wrong before anything is replaced.
    pub(crate) fn new(options: Options, store: &store::Store) -> Result<Self> {
        Ok(Self {
            defaults: host::defaults(&options),
            remote: ::registry::Client::new(store.clone(), options.registry.clone())?,
            options,
        })
    }
}

impl Node {
    /// The configuration in force. What was read with one call fits together.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl System {
    /// Puts a changed configuration in force, for whatever begins from now on. Directories and the
    /// id pool stay as they were at the start. `told` goes into the event, beside the name of the
    /// host.
    ///
    /// # Errors
    /// Settings that cannot be; nothing has changed then.
    pub async fn reload(&self, options: Options, told: BTreeMap<String, String>) -> Result<()> {
        let node = Arc::clone(&self.node);
        let changed = blocking(move || {
            let first = &node.options;
            let mut options = options;
            options.data_root.clone_from(&first.data_root);
            options.exec_root.clone_from(&first.exec_root);
            options.plugin_places.clone_from(&first.plugin_places);
            (options.id_pool_base, options.id_pool_ranges) =
                (first.id_pool_base, first.id_pool_ranges);
            crate::selinux::tell(&options, &node.facts);
            let net = options.net.clone();
            host::check_realtime(&options, &node.hierarchy)?;
            if options.runtime_exe != node.live().options.runtime_exe {
                node.ready.follow(&options.runtime_exe)?;
            }
            let live = Arc::new(Live::new(options, &node.store)?);
            node.net.reload(net)?;
            *node.live.write().unwrap_or_else(PoisonError::into_inner) = live;
            Ok(())
        })
        .await;
        let changed = match changed {
            Ok(()) => self.renew_network().await,
            refused => refused,
        };
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut attributes = told;
        attributes.insert("name".to_owned(), name);
        self.node.emit(EventKind::Daemon, "reload", self.node.id.clone(), attributes);
        changed
    }
}

impl System {
    /// [`renew_default_network`], once the containers that just ended have left it.
    async fn renew_network(&self) -> Result<()> {
        let node = Arc::clone(&self.node);
        // One that hangs is on it.
        let _ = tokio::time::timeout(LEAVING, node.teardowns.idle()).await;
        blocking(move || renew_default_network(&node)).await
    }
}

/// Makes the default network anew when it is not what the configuration says and no container is
/// on it; otherwise says that it waits.
pub(crate) fn renew_default_network(node: &Node) -> Result<()> {
    let [draft, ..] = node.net.predefined()?;
    let Some(outdated) = outdated(node, &draft) else { return Ok(()) };
    if !is_used(node, &outdated) {
        // Those who are joining it have joined then; who comes now waits, and joins the new one.
        let _alone = node.networks.replacing();
        match self::outdated(node, &draft) {
            Some(old) if !replace(node, &old, &draft)? => {}
            _ => return Ok(()),
        }
    }
    tracing::warn!(
        "the default network changes when the daemon starts or is reloaded while no container is \
         on it"
    );
    Ok(())
}

/// The default network, if it is not as `draft` says.
fn outdated(node: &Node, draft: &NetworkDraft) -> Option<NetworkSpec> {
    let spec = node.networks.find(&draft.name).ok()?;
    let wanted = node.net.resolved_options(draft);
    let same_pools =
        draft.pools.iter().filter_map(|pool| Some((pool.subnet?, pool))).all(|(subnet, asked)| {
            spec.pools.iter().any(|pool| {
                let range = asked.range.is_none_or(|range| pool.range == Some(range));
                let gateway = asked.gateway.is_none_or(|it| pool.gateway == Some(it));
                pool.subnet == subnet && range && gateway
            })
        });
    let ipv6 = draft.enable_ipv6.unwrap_or(false);
    let same = wanted == spec.options && same_pools && ipv6 == spec.enable_ipv6;
    (!same).then_some(spec)
}

/// Whether a container that runs is on it.
fn is_used(node: &Node, network: &NetworkSpec) -> bool {
    node.registry.all().iter().map(|handle| handle.view()).any(|view| {
        view.phase.run().is_some() && view.endpoints.iter().any(|it| it.network == network.id)
    })
}

/// Whether it was replaced; not while somebody is on it, be it one who does not run yet.
fn replace(node: &Node, old: &NetworkSpec, draft: &NetworkDraft) -> Result<bool> {
    match node.net.delete_network(&old.id) {
        Err(net::Error::InUse { .. }) => return Ok(false),
        deleted => deleted?,
    }
    store::failpoint::hit("engine.reload.network");
    let id = NetworkId::from_bytes(random::id_bytes()?);
    let made = node.net.resolve(draft, id, clock::now()).map_err(EngineError::from);
    let made = made.and_then(|spec| {
        node.net.create_network(&spec)?;
        Ok(spec)
    });
    match made {
        Ok(spec) => {
            record::forget_network(node.store.records(), &old.id)?;
            record::save_network(node.store.records(), &spec)?;
            node.networks.replace(&old.id, spec);
            Ok(true)
        }
        Err(error) => {
            node.net.delete_network(&id)?;
            // As it was: better than none.
            node.net.create_network(old)?;
            Err(error)
        }
    }
}
