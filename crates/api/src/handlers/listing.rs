//! Which containers `GET /containers/json` lists: the filters of `ps`.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Engine;
use model::mount::MountSource;
use model::network::{PortSpec, Protocol};
use model::phase::Phase;
use model::view::ContainerView;
use model::{ContainerId, Digest, Timestamp};

use crate::call::Call;
use crate::convert::{namespace, summary};
use crate::failure::Failure;
use crate::filters::{Filters, name_pattern};

const FILTERS: [&str; 17] = [
    "ancestor",
    "before",
    "since",
    "exited",
    "status",
    "label",
    "label!",
    "name",
    "id",
    "network",
    "volume",
    "publish",
    "expose",
    "health",
    "is-task",
    "isolation",
    "created",
];
const STATUSES: [&str; 7] =
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// The containers to list, newest first.
pub(super) async fn containers(call: &Call) -> Result<Vec<Arc<ContainerView>>, Failure> {
    let filters = Filters::parse(&call.query, &FILTERS)?;
    let limit: Option<i64> = call.query.number("limit")?;
    let limit = limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let all = call.query.flag("all") || limit.is_some();
    let selection = Selection::new(&call.engine, filters, all).await?;
    let views = call.engine.containers.list();
    let seen = views.into_iter().filter(|view| call.guard.sees(&view.spec.labels));
    let chosen = seen.filter(|view| selection.wants(view));
    Ok(chosen.take(limit.unwrap_or(usize::MAX)).collect())
}

/// The names that links give containers, by container: `/one/alias`.
pub(super) fn linked_names(engine: &Engine) -> BTreeMap<ContainerId, Vec<String>> {
    let mut names: BTreeMap<ContainerId, Vec<String>> = BTreeMap::new();
    for view in engine.containers.list() {
        for link in &view.draft.host.links {
            let (other, alias) = engine::link_parts(link);
            if let Ok(other) = engine.containers.view(other) {
                names.entry(other.id).or_default().push(format!("/{}/{alias}", view.name));
            }
        }
    }
    names
}

/// A container's links as they are shown: `/other:/one/alias`. Without those that lead nowhere.
pub(super) fn links(engine: &Engine, view: &ContainerView) -> Vec<String> {
    let shown = |link: &String| {
        let (other, alias) = engine::link_parts(link);
        let other = engine.containers.view(other).ok()?;
        Some(format!("/{}:/{}/{alias}", other.name, view.name))
    };
    view.draft.host.links.iter().filter_map(shown).collect()
}

/// What was asked for, with every reference resolved.
struct Selection {
    filters: Filters,
    all: bool,
    exited: Vec<i32>,
    ports: PortFilters,
    /// Images that count, when `ancestor` was given.
    ancestors: Option<Vec<Digest>>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    task: Option<bool>,
}

struct PortFilters {
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
}

#[derive(Clone, Copy)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl Selection {
    async fn new(engine: &Engine, filters: Filters, all: bool) -> Result<Self, Failure> {
        for (name, known) in [("status", STATUSES.as_slice()), ("health", HEALTHS.as_slice())] {
            let strange = filters.values(name).iter().find(|v| !known.contains(&v.as_str()));
            if let Some(value) = strange {
                return Err(Failure::invalid(format!("invalid filter '{name}={value}'")));
            }
        }
        let code = |text: &String| {
            let invalid = |_| Failure::invalid(format!("invalid filter 'exited={text}'"));
            text.parse::<i32>().map_err(invalid)
        };
        let ranges = |name: &str| {
            filters.values(name).iter().map(|text| port_range(text)).collect::<Result<_, _>>()
        };
        let created = |name: &str| match filters.values(name) {
            [] => Ok(None),
            [query] => engine.containers.view(query).map(|view| Some(view.created)),
            [.., query] => engine.containers.view(query).map(|view| Some(view.created)),
        };
        Ok(Self {
            exited: filters.values("exited").iter().map(code).collect::<Result<_, _>>()?,
            ports: PortFilters { publish: ranges("publish")?, expose: ranges("expose")? },
            ancestors: ancestors(engine, filters.values("ancestor")).await?,
            before: created("before")?,
            since: created("since")?,
            task: filters.flag("is-task")?,
            all: all || !filters.values("status").is_empty(),
            filters,
        })
    }

    fn wants(&self, view: &ContainerView) -> bool {
        let f = &self.filters;
        let id = view.id.to_string();
        let slashed = format!("/{}", view.name);
        let status = summary::state_word(view);
        let health = view.health.as_ref().map_or("none", |health| health.status);
        self.wants_state(view)
            && f.any("id", |wanted| id.starts_with(wanted))
            && f.any("name", |wanted| {
                name_pattern(wanted, view.name.as_str()) || name_pattern(wanted, &slashed)
            })
            && f.any("status", |wanted| wanted == status)
            && f.any("health", |wanted| wanted == health)
            && f.labels(&view.spec.labels)
            && f.any("network", |wanted| on_network(view, wanted))
            && f.any("volume", |wanted| has_volume(view, wanted))
            && self.wants_ports(view)
            && self.ancestors.as_ref().is_none_or(|ids| ids.contains(&view.image))
            && self.before.is_none_or(|limit| view.created < limit)
            && self.since.is_none_or(|limit| view.created > limit)
            && self.task != Some(true)
    }

    fn wants_state(&self, view: &ContainerView) -> bool {
        let restarting = matches!(view.phase, Phase::Restarting { .. });
        if !self.exited.is_empty() {
            let code = match &view.phase {
                Phase::Exited(exit) if !exit.started.is_zero() => exit.code,
                _ => return false,
            };
            return self.exited.contains(&code);
        }
        self.all || view.phase.run().is_some() || restarting
    }

    fn wants_ports(&self, view: &ContainerView) -> bool {
        let within = |ranges: &[PortRange], port: PortSpec| {
            ranges.iter().any(|range| {
                range.protocol == port.protocol && (range.first..=range.last).contains(&port.port)
            })
        };
        let (publish, expose) = (&self.ports.publish, &self.ports.expose);
        let published = || view.ports.iter().any(|port| within(publish, port.container));
        let exposed = || view.spec.exposed_ports.iter().any(|port| within(expose, *port));
        (publish.is_empty() || published()) && (expose.is_empty() || exposed())
    }
}

/// `80`, `80/udp` or `8000-8010/tcp`.
fn port_range(text: &str) -> Result<PortRange, Failure> {
    let invalid = || Failure::invalid(format!("invalid port: {text}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    if first > last {
        return Err(invalid());
    }
    Ok(PortRange { first, last, protocol: Protocol::parse(protocol)? })
}

fn on_network(view: &ContainerView, wanted: &str) -> bool {
    let mode = namespace::network_text(&view.draft.host.network);
    mode == wanted
        || view.endpoints.iter().any(|endpoint| {
            endpoint.network_name == wanted || endpoint.network.to_string().starts_with(wanted)
        })
}

fn has_volume(view: &ContainerView, wanted: &str) -> bool {
    view.spec.mounts.iter().any(|mount| {
        mount.target == wanted
            || match &mount.source {
                MountSource::Volume { name, .. } => name == wanted,
                MountSource::Bind { path, .. } => path == wanted,
                MountSource::Tmpfs { .. }
                | MountSource::Image { .. }
                | MountSource::Layers { .. } => false,
            }
    })
}

/// The images named by `ancestor`, and those made on top of them.
async fn ancestors(engine: &Engine, queries: &[String]) -> Result<Option<Vec<Digest>>, Failure> {
    if queries.is_empty() {
        return Ok(None);
    }
    let images = engine.images.list().await?;
    let by_id: BTreeMap<Digest, &Vec<Digest>> =
        images.iter().map(|image| (image.id, &image.layers)).collect();
    let mut found = Vec::new();
    for query in queries {
        // A name that no image has simply matches nothing, as in Docker.
        let Ok(ancestor) = engine.images.view(query).await else { continue };
        let above = |(_, layers): &(&Digest, &&Vec<Digest>)| {
            !ancestor.layers.is_empty() && layers.starts_with(&ancestor.layers)
        };
        found.push(ancestor.id);
        found.extend(by_id.iter().filter(above).map(|(id, _)| *id));
    }
    Ok(Some(found))
}
