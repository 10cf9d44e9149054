//! The snapshot of a container that everybody sees. Pure, but for the node's directories.

use crate::node::Node;
use crate::record::{Definition, State};
use model::network::{Endpoint, NetworkMode};
use model::view::{ContainerPaths, ContainerView, HealthView};
use store::snapshot::Snapshot;

pub(super) fn of(
    node: &Node,
    definition: &Definition,
    state: &State,
    health: Option<HealthView>,
    paths: &ContainerPaths,
) -> ContainerView {
    ContainerView {
        id: definition.id,
        name: definition.name.clone(),
        created: definition.created,
        draft: definition.draft.clone(),
        spec: definition.spec.clone(),
        image: definition.spec.image,
        phase: state.phase.clone(),
        last_exit: state.last_exit.clone(),
        restart_count: state.restart_count,
        endpoints: endpoints(node, definition, state),
        ports: state.ports.clone(),
        execs: node.execs.of(&definition.id),
        health,
        paths: paths.clone(),
        size: None,
        warnings: definition.warnings.clone(),
    }
}

/// Those in force; or what there will be when it starts.
fn endpoints(node: &Node, definition: &Definition, state: &State) -> Vec<Endpoint> {
    if !state.endpoints.is_empty() {
        return state.endpoints.clone();
    }
    if matches!(definition.spec.network, NetworkMode::Container(_)) {
        return Vec::new();
    }
    let planned = node.networks.planned(&definition.spec);
    let planned = planned.into_iter().map(|(network, draft)| Endpoint {
        id: String::new(),
        network: network.id,
        network_name: network.name.clone(),
        container: definition.id,
        draft,
        ipv4: None,
        ipv6: None,
        gateway: None,
        gateway6: None,
        mac: None,
        dns_names: Vec::new(),
        host_interface: None,
        interface: None,
    });
    planned.collect()
}

/// The container's files; they never move.
pub(super) fn paths(
    node: &Node,
    definition: &Definition,
    snapshot: Option<&Snapshot>,
) -> ContainerPaths {
    let dir = node.container_dir(&definition.id);
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let log = match definition.spec.log.file() {
        None => String::new(),
        Some(_) => file(&log_name(definition)),
    };
    let text = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut volumes = Vec::new();
    for mount in &definition.spec.mounts {
        if let model::mount::MountSource::Volume { name, driver, .. } = &mount.source
            && driver == "local"
        {
            let data = node.store.root().join("volumes").join(name).join("_data");
            volumes.push((mount.target.clone(), data.to_string_lossy().into_owned()));
        }
    }
    ContainerPaths {
        log,
        resolv_conf: file("resolv.conf"),
        hostname: file("hostname"),
        hosts: file("hosts"),
        lower: snapshot.iter().flat_map(|it| &it.lower).map(text).collect(),
        upper: snapshot.map(|it| text(&it.upper)).unwrap_or_default(),
        work: snapshot.map(|it| text(&it.work)).unwrap_or_default(),
        volumes,
    }
}

/// Name of the log file in the container's directory; Docker's.
pub(super) fn log_name(definition: &Definition) -> String {
    format!("{}-json.log", definition.id)
}
