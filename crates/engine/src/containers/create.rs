//! Making a container: name, decision, root, volumes, record. What was made is undone when a later
//! step fails; a crash leaves a root without a record, which the next start removes.

use super::Created;
use crate::actor::{Actor, links, missing_bind};
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::record::{self, Definition, State};
use crate::selinux::{self, Held};
use crate::{EngineError, Options, Result, Review, review};
use crate::{clock, image_config, images, names, random, shipping, variants, volumes};
use model::draft::{Draft, SharedNamespace};
use model::error::HasKind;
use model::event::EventKind;
use model::log::{LogSpec, SinkKind};
use model::mount::{Mount, MountKind, MountSource, Propagation};
use model::network::NetworkMode;
use model::policy::OWNER_LABEL;
use model::resolve::{Ask, Resolved, resolve, root_limit_bytes};
use model::volume::VolumeDraft;
use model::{ContainerId, ContainerName, ErrorKind, VolumeName};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use store::snapshot::Snapshot;
use tokio::runtime::Handle;

/// How many random names are tried.
const MAX_NAME_ATTEMPTS: u32 = 16;

pub(super) async fn create(
    node: &Arc<Node>,
    name: Option<ContainerName>,
    draft: Draft,
    review: Option<Review>,
) -> Result<Created> {
    let begun = Instant::now();
    let id = ContainerId::from_bytes(random::id_bytes()?);
    let name = reserve(node, name, id)?;
    store::failpoint::hit("engine.create.reserved");
    let made = {
        let (node, name) = (Arc::clone(node), name.clone());
        blocking(move || make(&node, id, name, draft, review)).await
    };
    let Made { definition, snapshot, level } = match made {
        Ok(made) => made,
        Err(error) => {
            node.registry.release(&name, &id);
            return Err(error);
        }
    };
    let warnings = definition.warnings.clone();
    let mut attributes: BTreeMap<String, String> = definition.spec.labels.clone();
    attributes.insert("image".to_owned(), definition.draft.image.clone());
    attributes.insert("name".to_owned(), name.to_string());
    let actor = Actor::new(Arc::clone(node), definition, State::default(), Some(snapshot));
    drop(level);
    node.registry.insert(actor.handle());
    tokio::spawn(actor.run());
    store::failpoint::hit("engine.create.born");
    node.emit(EventKind::Container, "create", id.to_string(), attributes);
    node.metrics.note(Timed::ContainerCreate, begun);
    Ok(Created { id, warnings })
}

fn reserve(node: &Node, name: Option<ContainerName>, id: ContainerId) -> Result<ContainerName> {
    if let Some(name) = name {
        node.registry.reserve(&name, id)?;
        return Ok(name);
    }
    for attempt in 0..MAX_NAME_ATTEMPTS {
        let name = names::random(attempt)?;
        if node.registry.reserve(&name, id).is_ok() {
            return Ok(name);
        }
    }
    Err(EngineError::internal("no random name is free"))
}

/// A container that is written down and has no actor yet.
struct Made {
    definition: Definition,
    snapshot: Snapshot,
    /// Its level of SELinux, until its actor holds it.
    level: Option<Held>,
}

fn make(
    node: &Arc<Node>,
    id: ContainerId,
    name: ContainerName,
    mut draft: Draft,
    review: Option<Review>,
) -> Result<Made> {
    let named = images::find(node, &draft.image)?;
    let image = variants::asked(node, named, draft.platform.as_deref());
    check_platform(&draft, &image.config)?;
    let inherited = inherited(node, &draft).map_err(named_in_request)?;
    let config = image_config::from_wire(&image.config.config);
    let live = node.live();
    let (ground, level) = selinux::ground(node, &draft).map_err(named_in_request)?.unzip();
    let Resolved { mut spec, warnings } = resolve(&Ask {
        id: &id,
        name: name.as_str(),
        draft: &draft,
        image: image.id,
        config: &config,
        defaults: &live.defaults,
        facts: &node.facts,
        inherited: &inherited,
        selinux: ground.as_ref(),
    })?;
    tell_log_options(&live.options, &mut draft);
    check_receivers(node, &spec.log)?;
    pin_containers(node, &mut spec).map_err(named_in_request)?;
    check_links(node, &draft)?;
    pin_images(node, &mut spec.mounts)?;
    if let Some(review) = &review {
        review::fresh(node, &draft, &mut spec, &image, review)?;
    }
    check_sources(&spec.mounts)?;
    show_daemon_root(&live.options.data_root, &draft, &mut spec.mounts)?;
    let fresh = name_anonymous(&mut spec.mounts)?;
    let mut undo = Undo { node, id, snapshot: None, begun: !fresh.is_empty(), volumes: Vec::new() };
    if undo.begun {
        record::begin(node.store.records(), &id, &fresh)?;
    }
    store::failpoint::hit("engine.create.begun");
    let limit = root_limit_bytes(&draft.host.storage_opt)?.or(live.options.root_limit_bytes);
    let snapshots = node.store.snapshots();
    let snapshot = match limit {
        Some(limit) => snapshots.create_within(id, Some(image.id), limit)?,
        None => snapshots.create_from(id, Some(image.id), node.ready.root())?,
    };
    undo.snapshot = Some(id);
    store::failpoint::hit("engine.create.rooted");
    for mount in &mut spec.mounts {
        make_volume(node, id, &draft, mount, &fresh, &mut undo)?;
    }
    store::failpoint::hit("engine.create.filled");
    let definition = Definition { id, name, created: clock::now(), draft, spec, warnings };
    record::create(node.store.records(), &definition, &State::default())?;
    store::failpoint::hit("engine.create.recorded");
    undo.keep();
    Ok(Made { definition, snapshot, level })
}

/// Options that the daemon gives its own log driver are shown as the container's, as by Docker.
fn tell_log_options(options: &Options, draft: &mut Draft) {
    let log = &mut draft.host.log;
    if log.driver.is_empty() || log.driver == options.log_driver {
        for (name, value) in &options.log_options {
            log.options.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// A log driver that is none of ours is a plugin, or a mistake; the time to say so is now.
fn check_receivers(node: &Node, log: &LogSpec) -> Result<()> {
    let LogSpec::Sent { sinks, .. } = log else { return Ok(()) };
    for sink in sinks {
        let SinkKind::Plugin { name, .. } = &sink.kind else { continue };
        let found = node.plugins.find_blocking(&Handle::current(), name, shipping::CAPABILITY);
        found.map_err(|error| {
            EngineError::invalid(format!("error looking up logging plugin {name}: {error}"))
        })?;
    }
    Ok(())
}

/// A container that the request names and that does not exist makes the request invalid: "not
/// found" would mean the image, which clients then try to pull.
fn named_in_request(error: EngineError) -> EngineError {
    match error {
        EngineError::NoSuchContainer(_) => EngineError::invalid(error.to_string()),
        error => error,
    }
}

/// What was made so far; removed unless kept.
struct Undo<'a> {
    node: &'a Node,
    id: ContainerId,
    /// The intent is written down.
    begun: bool,
    snapshot: Option<ContainerId>,
    volumes: Vec<VolumeName>,
}

impl Undo<'_> {
    fn keep(mut self) {
        self.snapshot = None;
        self.begun = false;
        self.volumes.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for volume in &self.volumes {
            if let Err(error) = volumes::undo(self.node, volume) {
                tracing::warn!(%volume, %error, "undo volume");
            }
        }
        if let Some(id) = self.snapshot
            && let Err(error) = self.node.store.snapshots().remove(id)
        {
            tracing::warn!(container = %id, %error, "undo snapshot");
        }
        if self.begun
            && let Err(error) = record::abandon(self.node.store.records(), &self.id.to_string())
        {
            tracing::warn!(container = %self.id, %error, "undo intent");
        }
    }
}

fn check_platform(draft: &Draft, config: &wire::oci::image::ImageConfig) -> Result<()> {
    let Some(platform) = draft.platform.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let mut parts = platform.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next().unwrap_or_default();
    let fits = os == config.os && (architecture.is_empty() || architecture == config.architecture);
    if fits {
        return Ok(());
    }
    Err(EngineError::Denied(model::Denied::not_found(format!(
        "image with reference {} was found but its platform ({}/{}) does not match the specified \
         platform ({platform})",
        draft.image, config.os, config.architecture
    ))))
}

/// Mounts of the containers that `--volumes-from` names.
fn inherited(node: &Node, draft: &Draft) -> Result<Vec<Mount>> {
    let mut out = Vec::new();
    for from in &draft.host.volumes_from {
        let (query, mode) = from.split_once(':').unwrap_or((from, "rw"));
        if !matches!(mode, "rw" | "ro" | "z" | "Z" | "" | "nocopy") {
            return Err(EngineError::invalid(format!("invalid volumes-from mode: {mode}")));
        }
        let view = node.registry.find(query)?.view();
        for mount in &view.spec.mounts {
            if matches!(mount.source, MountSource::Bind { .. } | MountSource::Volume { .. }) {
                let mut mount = mount.clone();
                mount.writable &= mode != "ro";
                out.push(mount);
            }
        }
    }
    Ok(out)
}

/// Names of other containers become ids: a rename does not change what was meant.
fn pin_containers(node: &Node, spec: &mut model::ContainerSpec) -> Result<()> {
    let pin = |query: &mut String| -> Result<()> {
        *query = node.registry.find(query)?.id.to_string();
        Ok(())
    };
    if let NetworkMode::Container(query) = &mut spec.network {
        pin(query)?;
    }
    for namespace in [&mut spec.isolation.ipc, &mut spec.isolation.pid] {
        if let SharedNamespace::Container(query) = namespace {
            pin(query)?;
        }
    }
    Ok(())
}

fn check_links(node: &Node, draft: &Draft) -> Result<()> {
    for link in &draft.host.links {
        let (other, _) = links::parts(link);
        node.registry.find(other).map_err(|error| {
            EngineError::invalid(format!("could not get container for {other}: {error}"))
        })?;
    }
    Ok(())
}

/// Names of images become ids: what is mounted is what was meant when the container was made.
fn pin_images(node: &Node, mounts: &mut [Mount]) -> Result<()> {
    for mount in mounts {
        if let MountSource::Image { source, image, .. } = &mut mount.source {
            *image = Some(images::find(node, source)?.id);
        }
    }
    Ok(())
}

/// What is mounted below the daemon's directory while a container sees it is not held there by the
/// container: such binds get what the host unmounts told, whatever the default is. Docker's rule.
fn show_daemon_root(root: &Path, draft: &Draft, mounts: &mut [Mount]) -> Result<()> {
    for mount in mounts {
        let MountSource::Bind { path, propagation, .. } = &mut mount.source else { continue };
        let source = Path::new(path.as_str());
        if !source.starts_with(root) && !root.starts_with(source) {
            continue;
        }
        let host = &draft.host;
        let asked_of_bind = host.binds.iter().find(|bind| bind.target == mount.target);
        let asked_of_mount = host.mounts.iter().find(|asked| asked.target == mount.target);
        let asked = match (asked_of_bind, asked_of_mount.map(|asked| &asked.kind)) {
            (Some(bind), _) => bind.propagation,
            (None, Some(MountKind::Bind { propagation, .. })) => *propagation,
            _ => None,
        };
        match asked {
            None => *propagation = Propagation::RSlave,
            Some(Propagation::RSlave | Propagation::RShared) => {}
            Some(other) => {
                return Err(EngineError::invalid(format!(
                    "invalid mount config: must use either propagation mode \"rslave\" or \
                     \"rshared\" when mount source is within the daemon root, daemon root: \
                     {root:?}, bind mount source: {path:?}, propagation: {:?}",
                    other.name()
                )));
            }
        }
    }
    Ok(())
}

fn check_sources(mounts: &[Mount]) -> Result<()> {
    for mount in mounts {
        if let MountSource::Bind { path, create: false, .. } = &mount.source
            && !Path::new(path).exists()
        {
            return Err(missing_bind(Path::new(path)));
        }
    }
    Ok(())
}

/// Gives the volumes that are made for this container alone their names, so that these can be
/// written down before.
fn name_anonymous(mounts: &mut [Mount]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for mount in mounts {
        if let MountSource::Volume { name, anonymous: true, .. } = &mut mount.source
            && name.is_empty()
        {
            *name = ContainerId::from_bytes(random::id_bytes()?).to_string();
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// Removes what a crash left of containers that were being made. At the start, when no container
/// is known that could use it.
pub(crate) fn sweep(node: &Node) -> Result<()> {
    for (id, names) in record::unfinished(node.store.records())? {
        for name in names.iter().filter_map(|name| VolumeName::parse(name).ok()) {
            match volumes::undo(node, &name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(volume = %name, %error, "undo volume");
                }
                _ => {}
            }
        }
        record::abandon(node.store.records(), &id)?;
    }
    Ok(())
}

/// Makes the volume of a mount, if it is one, and fills it from the image. Those in `fresh` are
/// this container's alone.
fn make_volume(
    node: &Arc<Node>,
    id: ContainerId,
    draft: &Draft,
    mount: &mut Mount,
    fresh: &[String],
    undo: &mut Undo<'_>,
) -> Result<()> {
    let MountSource::Volume { name, driver, copy_up, subpath, .. } = &mut mount.source else {
        return Ok(());
    };
    let mut wanted = asked_volume(draft, &mount.target);
    wanted.name.clone_from(name);
    wanted.anonymous = fresh.contains(name);
    // What is made on the way belongs to whom the container belongs to.
    if let Some(owner) = draft.labels.get(OWNER_LABEL) {
        wanted.labels.insert(OWNER_LABEL.to_owned(), owner.clone());
    }
    let volume = volumes::create(node, &wanted)?;
    store::failpoint::hit("engine.create.volume");
    if wanted.anonymous {
        undo.volumes.push(volume.name().clone());
    }
    volume.name().as_str().clone_into(name);
    volume.driver().clone_into(driver);
    match copy_up {
        true => volumes::fill(node, &volume, subpath, (id, &mount.target)),
        false => Ok(()),
    }
}

/// Labels and options that a `--mount` gives to a volume made on the way.
pub(crate) fn asked_volume(draft: &Draft, target: &str) -> VolumeDraft {
    let same = |asked: &str| asked.trim_end_matches('/') == target;
    let asked = draft.host.mounts.iter().find(|mount| same(&mount.target));
    match asked.map(|mount| &mount.kind) {
        Some(MountKind::Volume { labels, driver_opts, driver, .. }) => VolumeDraft {
            driver: driver.clone(),
            labels: labels.clone(),
            options: driver_opts.clone(),
            ..VolumeDraft::default()
        },
        _ => VolumeDraft { driver: draft.host.volume_driver.clone(), ..VolumeDraft::default() },
    }
}
