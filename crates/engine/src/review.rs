//! What is shown to whoever judges a container before it is made or started: the value that will
//! be executed, and everything of others that it would reach. This module never judges.

use crate::containers::asked_volume;
use crate::node::Node;
use crate::{Result, images, volumes};
use model::draft::{Draft, SharedNamespace};
use model::mount::MountSource;
use model::network::NetworkMode;
use model::policy::{Baseline, Candidate, Reference};
use model::view::ContainerView;
use model::{ContainerSpec, Denied, ImageRef, VolumeName};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::image::ImageRecord;

/// Judges a container that was decided, before anything of it is made. It may tie mounts of the
/// host to directories.
pub type Review = Arc<dyn Fn(&mut Candidate<'_>) -> std::result::Result<(), Denied> + Send + Sync>;

/// Asks about a container that is about to be made.
pub(crate) fn fresh(
    node: &Node,
    asked: &Draft,
    decided: &mut ContainerSpec,
    image: &ImageRecord,
    review: &Review,
) -> Result<()> {
    let mut references = joined(node, asked, decided);
    networks(node, decided, &mut references);
    let volumes = mounted(node, asked, decided, &mut references);
    let mut shown = vec![names(image)];
    for mount in &decided.mounts {
        if let MountSource::Image { source, .. } = &mount.source {
            shown.push(names(&*images::find(node, source)?));
        }
    }
    let baseline = baseline(node);
    review(&mut Candidate {
        asked,
        decided,
        baseline: &baseline,
        images: shown,
        references,
        volumes,
        fresh: true,
    })?;
    Ok(())
}

/// Asks about a container that was made before. What it names was judged then, and was pinned.
pub(crate) fn known(node: &Node, view: &ContainerView, review: &Review) -> Result<()> {
    let mut decided = view.spec.clone();
    let baseline = baseline(node);
    review(&mut Candidate {
        asked: &view.draft,
        decided: &mut decided,
        baseline: &baseline,
        images: Vec::new(),
        references: Vec::new(),
        volumes: Vec::new(),
        fresh: false,
    })?;
    Ok(())
}

/// What a container gets that asks for nothing.
fn baseline(node: &Node) -> Baseline {
    use model::draft::SecurityProfile::{Docker, Estiba};
    let live = node.live();
    let (defaults, facts) = (&live.defaults, &node.facts.capabilities);
    Baseline {
        capabilities: match defaults.profile {
            Docker => facts.docker.clone(),
            Estiba => facts.estiba.clone(),
        },
        profile: defaults.profile,
        no_new_privileges: defaults.no_new_privileges || defaults.profile == Estiba,
        userns: defaults.userns,
        runtime: defaults.runtime.clone(),
        cgroup_parent: defaults.cgroup_parent.clone(),
    }
}

/// Every name of an image.
fn names(image: &ImageRecord) -> Vec<String> {
    image.refs.iter().chain(&image.digests).map(ImageRef::to_string).collect()
}

/// Containers whose namespaces, volumes or names it uses. One that is not there is refused later,
/// in its own words.
fn joined(node: &Node, asked: &Draft, decided: &ContainerSpec) -> Vec<Reference> {
    let mut queries = Vec::new();
    if let NetworkMode::Container(query) = &decided.network {
        queries.push(query.as_str());
    }
    for namespace in [&decided.isolation.ipc, &decided.isolation.pid] {
        if let SharedNamespace::Container(query) = namespace {
            queries.push(query);
        }
    }
    let before_colon = |text: &'_ String| text.split(':').next().map(str::len).unwrap_or(0);
    for text in asked.host.volumes_from.iter().chain(&asked.host.links) {
        queries.push(&text[..before_colon(text)]);
    }
    let endpoints = decided.endpoints.values().flat_map(|endpoint| &endpoint.links);
    for text in endpoints {
        queries.push(&text[..before_colon(text)]);
    }
    let found = queries.into_iter().filter_map(|query| {
        let view = node.registry.find(query).ok()?.view();
        let name = format!("container {query}");
        Some(Reference { name, labels: view.spec.labels.clone() })
    });
    found.collect()
}

/// Networks that it starts on. Those that always are belong to nobody and are everybody's.
fn networks(node: &Node, decided: &ContainerSpec, references: &mut Vec<Reference>) {
    const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];
    let first = match &decided.network {
        NetworkMode::Named(name) => Some(name),
        _ => None,
    };
    for name in decided.endpoints.keys().chain(first) {
        let Ok(network) = node.networks.find(name) else { continue };
        if !PREDEFINED.contains(&network.name.as_str()) {
            let name = format!("network {name}");
            references.push(Reference { name, labels: network.labels.clone() });
        }
    }
}

/// Volumes that it mounts: those that are there as they are, others as they would be made.
fn mounted(
    node: &Node,
    asked: &Draft,
    decided: &ContainerSpec,
    references: &mut Vec<Reference>,
) -> Vec<(String, BTreeMap<String, String>)> {
    let mut out = Vec::new();
    for mount in &decided.mounts {
        let MountSource::Volume { name, driver, .. } = &mount.source else { continue };
        let known = VolumeName::parse(name).ok();
        match known.and_then(|name| volumes::known(node, &name)) {
            Some((driver, options, labels)) => {
                references.push(Reference { name: format!("volume {name}"), labels });
                out.push((driver, options));
            }
            None => {
                let wanted = asked_volume(asked, &mount.target);
                let driver = match wanted.driver.as_str() {
                    "" => driver.clone(),
                    asked => asked.to_owned(),
                };
                out.push((driver, wanted.options));
            }
        }
    }
    out
}
