//! One line of the container list.

use std::collections::BTreeMap;

use model::Timestamp;
use model::phase::Phase;
use model::view::ContainerView;
use wire::docker::ApiVersion;
use wire::docker::container::{
    ContainerSummary, SummaryHealth, SummaryHostConfig, SummaryNetworkSettings,
};
use wire::docker::endpoint::EndpointSettings;

use super::{inspect, mount, namespace, port, signed};
use crate::moment::human;

/// One line of the list.
pub(crate) fn to_wire(view: &ContainerView, now: Timestamp, v: ApiVersion) -> ContainerSummary {
    let running = view.phase.run().is_some();
    let exposed = if running { view.spec.exposed_ports.as_slice() } else { &[] };
    ContainerSummary {
        id: view.id.to_string(),
        names: vec![format!("/{}", view.name)],
        image: view.draft.image.clone(),
        image_id: view.image.to_string(),
        command: command_line(&view.spec.command),
        created: view.created.seconds(),
        ports: port::listed(exposed, &view.ports),
        size_rw: view.size.map(|(own, _)| signed(own)).filter(|own| *own != 0),
        size_root_fs: view.size.map(|(_, all)| signed(all)),
        labels: view.spec.labels.clone(),
        state: state_word(view).to_owned(),
        status: status(view, now),
        host_config: SummaryHostConfig {
            network_mode: namespace::network_text(&view.draft.host.network),
            annotations: if v.at_least(46) {
                view.draft.host.annotations.clone()
            } else {
                BTreeMap::new()
            },
        },
        network_settings: SummaryNetworkSettings { networks: networks(view) },
        mounts: mount::points(view),
        health: v.at_least(52).then(|| SummaryHealth {
            status: view.health.as_ref().map_or("none", |health| health.status).to_owned(),
            failing_streak: view.health.as_ref().map_or(0, |h| i64::from(h.failing_streak)),
        }),
        ..ContainerSummary::default()
    }
}

/// Names are told of one container, not in the list.
fn networks(view: &ContainerView) -> BTreeMap<String, EndpointSettings> {
    let mut networks = inspect::networks(view);
    for endpoint in networks.values_mut() {
        (endpoint.aliases, endpoint.dns_names) = (None, None);
    }
    networks
}

/// The words with a space between, quoted where they have one themselves, as Docker does.
fn command_line(words: &[String]) -> String {
    let quoted = |word: &String| {
        if word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// `State.Status`. A container whose only start failed never ran; Docker goes on calling it
/// created.
pub(crate) fn state_word(view: &ContainerView) -> &'static str {
    match &view.phase {
        Phase::Exited(exit) if exit.started.is_zero() => "created",
        phase => phase.status(),
    }
}

/// The state for a person: `Up 3 minutes (healthy)`.
pub(crate) fn status(view: &ContainerView, now: Timestamp) -> String {
    let since = |time: Timestamp| human(now.since(time) / 1_000_000_000);
    match &view.phase {
        Phase::Created | Phase::Starting => "Created".to_owned(),
        Phase::Running(run) | Phase::Stopping(run) => match &view.health {
            Some(health) if health.status == "starting" => {
                format!("Up {} (health: starting)", since(run.started))
            }
            Some(health) => format!("Up {} ({})", since(run.started), health.status),
            None => format!("Up {}", since(run.started)),
        },
        Phase::Paused(run) => format!("Up {} (Paused)", since(run.started)),
        Phase::Exited(exit) if exit.started.is_zero() => "Created".to_owned(),
        Phase::Exited(exit) => format!("Exited ({}) {} ago", exit.code, since(exit.finished)),
        Phase::Restarting { last, .. } => {
            format!("Restarting ({}) {} ago", last.code, since(last.finished))
        }
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Dead { .. } => "Dead".to_owned(),
    }
}
