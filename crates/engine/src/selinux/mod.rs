//! SELinux in the engine: what the host's policy has for containers, whose categories are whose,
//! and the labels of what is mounted into a container. Which label it is to be is decided by
//! [`model::selinux`]; that a process or a file system has it is the runtime's work.

mod levels;
mod relabel;

pub(crate) use levels::{Held, Levels};
pub(crate) use relabel::label_sources;

use crate::node::Node;
use crate::{Options, Result};
use model::draft::{Draft, SharedNamespace};
use model::resolve::HostFacts;
use model::selinux::{Contexts, Ground};
use std::path::Path;

/// Where packages of container policies leave their labels, whatever policy is loaded.
const CONTEXTS: &str = "/usr/share/containers/selinux/contexts";

/// Where the loaded policy is, and its configuration, selinux_config(5).
const POLICIES: &str = "/etc/selinux";

/// The label of every process while no policy is loaded.
const NO_POLICY: &str = "kernel";

/// What this host's policy has for containers; nothing where there is no SELinux, or where labels
/// are another's to give.
pub(crate) fn contexts() -> Option<Contexts> {
    let possible = is_enabled() && runtime::userns::is_first();
    possible.then(read_contexts).flatten()
}

fn is_enabled() -> bool {
    let label = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    Path::new("/sys/fs/selinux/enforce").exists() && label != NO_POLICY
}

fn read_contexts() -> Option<Contexts> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if let Some(contexts) = Contexts::parse(&read(CONTEXTS)) {
        return Some(contexts);
    }
    let configuration = read(&format!("{POLICIES}/config"));
    let kind = configuration.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE="))?;
    Contexts::parse(&read(&format!("{POLICIES}/{}/contexts/lxc_contexts", kind.trim())))
}

/// Says what the configuration asks for and this host does not have: nothing is silently weaker.
pub(crate) fn tell(options: &Options, facts: &HostFacts) {
    if !options.selinux || facts.selinux.is_some() {
        return;
    }
    let why = if !is_enabled() {
        "SELinux is not enabled on this host"
    } else if !runtime::userns::is_first() {
        "labels are root's to give, and this daemon is an ordinary user's"
    } else {
        "the policy has no labels for containers (lxc_contexts); install container-selinux"
    };
    tracing::warn!("--selinux-enabled: {why}: containers run without SELinux labels");
}

/// Whether containers that are made now are labelled.
pub(crate) fn is_on(node: &Node) -> bool {
    node.live().options.selinux && node.facts.selinux.is_some()
}

/// What the labels of a container are made from, where labels are in use. Its level is its own for
/// as long as what comes with it is kept.
pub(crate) fn ground(node: &Node, draft: &Draft) -> Result<Option<(Ground, Held)>> {
    let Some(contexts) = node.facts.selinux.clone().filter(|_| is_on(node)) else {
        return Ok(None);
    };
    let mut joined = Vec::new();
    for namespace in [&draft.host.ipc, &draft.host.pid] {
        if let SharedNamespace::Container(query) = namespace {
            let other = node.registry.find(query)?.view();
            joined.push(other.spec.isolation.selinux.process.clone());
        }
    }
    let (level, held) = node.levels.draw()?;
    Ok(Some((Ground { contexts, level, joined }, held)))
}
