//! Containers: everything that answers at once.

use std::collections::HashMap;

use engine::{RemoveOptions, Top};
use hyper::StatusCode;
use model::ContainerName;
use model::draft::SharedNamespace;
use wire::docker::ApiVersion;
use wire::docker::container::{
    ContainerCreateBody, ContainerCreateResponse, ContainerUpdateResponse, ContainersPruneReport,
    FilesystemChange, TopResponse,
};
use wire::docker::host_config::ContainerUpdateBody;

use super::{listing, signal, size, until};
use crate::call::Call;
use crate::clock;
use crate::convert::{
    draft, host, image, inspect as inspect_view, namespace, null_if_empty, summary,
};
use crate::failure::Failure;
use crate::filters::Filters;
use crate::reply::{self, Reply};

/// `GET /containers/json`.
pub(crate) async fn list(call: Call) -> Reply {
    let views = listing::containers(&call).await?;
    let now = clock::now();
    let mut linked = listing::linked_names(&call.engine);
    let mut manifests = HashMap::new();
    let mut lines = Vec::with_capacity(views.len());
    for mut view in views {
        if call.query.flag("size") {
            // A container that went in the meantime has no size.
            if let Ok(sizes) = call.engine.containers.sizes(&view.id.to_string()).await {
                std::sync::Arc::make_mut(&mut view).size = Some(sizes);
            }
        }
        let mut line = summary::to_wire(&view, now, call.version);
        line.names.extend(linked.remove(&view.id).unwrap_or_default());
        if call.version.at_least(48) {
            let described = manifests.entry(view.image).or_insert_with_key(|id| {
                call.engine.images.manifest_of(*id).as_ref().map(image::of_platform)
            });
            line.image_manifest_descriptor.clone_from(described);
        }
        lines.push(line);
    }
    reply::json(&lines)
}

/// `POST /containers/create`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let name = call.query.text("name").map(parse_name).transpose()?;
    let mut body: ContainerCreateBody = call.json().await?;
    suit_version(&mut body, call.version)?;
    fill_namespaces(&mut body, &call.engine, call.version);
    let mut draft = draft::from_wire(body, call.query.text_or_empty("platform"))?;
    call.guard.label(&mut draft.labels)?;
    let containers = &call.engine.containers;
    let object = name.as_ref().map(ContainerName::as_str).unwrap_or(&draft.image);
    let created = match call.guard.review(object) {
        Some(review) => containers.create_reviewed(name, draft, review).await?,
        None => containers.create(name, draft).await?,
    };
    let id = created.id.to_string();
    let warnings = created.warnings;
    reply::json_status(StatusCode::CREATED, &ContainerCreateResponse { id, warnings })
}

/// What older clients could not ask for, and what they mean by saying nothing.
fn suit_version(body: &mut ContainerCreateBody, version: ApiVersion) -> Result<(), Failure> {
    let endpoints = body.networking_config.as_ref().and_then(|it| it.endpoints_config.as_ref());
    if !version.at_least(44) && endpoints.is_some_and(|endpoints| endpoints.len() > 1) {
        let names = endpoints.into_iter().flatten().map(|(name, _)| name.as_str());
        return Err(Failure::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.collect::<Vec<_>>().join(", ")
        )));
    }
    if let Some(host) = body.host_config.as_mut().filter(|_| !version.at_least(40)) {
        // Namespaces could be joined by default.
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
    }
    Ok(())
}

/// What the daemon's configuration says of namespaces becomes the container's own: it keeps them
/// when the configuration changes.
fn fill_namespaces(body: &mut ContainerCreateBody, engine: &engine::Engine, version: ApiVersion) {
    let (ipc, cgroupns) = engine.system.default_namespaces();
    let host = body.host_config.get_or_insert_default();
    if host.ipc_mode.is_empty() && ipc != SharedNamespace::Private {
        host.ipc_mode = namespace::text(&ipc, "private");
    }
    if host.cgroupns_mode.is_empty() && cgroupns != SharedNamespace::Private {
        host.cgroupns_mode = namespace::text(&cgroupns, "private");
    }
    // Who cannot ask for one of its own has the host's, where groups are of the first version.
    let old = host.cgroupns_mode.is_empty() && !version.at_least(41);
    if old && engine.system.view().cgroup_version == "1" {
        host.cgroupns_mode = namespace::text(&SharedNamespace::Host, "private");
    }
}

fn parse_name(text: &str) -> Result<ContainerName, Failure> {
    Ok(ContainerName::parse(text.strip_prefix('/').unwrap_or(text))?)
}

/// `GET /containers/{id}/json`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let mut view = call.engine.containers.view(&call.target)?;
    if call.query.flag("size") {
        let sizes = call.engine.containers.sizes(&call.target).await?;
        std::sync::Arc::make_mut(&mut view).size = Some(sizes);
    }
    let mut shown = inspect_view::to_wire(&view, &call.storage_driver, call.version);
    shown.host_config.links = null_if_empty(listing::links(&call.engine, &view));
    if call.version.at_least(48) {
        let manifest = call.engine.images.manifest_of(view.image);
        shown.image_manifest_descriptor = manifest.as_ref().map(image::of_platform);
    }
    reply::json(&shown)
}

/// `GET /containers/{id}/top`.
pub(crate) async fn top(call: Call) -> Reply {
    let args = call.query.text("ps_args").unwrap_or("-ef");
    let Top { titles, processes } = call.engine.containers.top(&call.target, args).await?;
    reply::json(&TopResponse { processes, titles })
}

/// `GET /containers/{id}/changes`.
pub(crate) async fn changes(call: Call) -> Reply {
    let changes = call.engine.containers.changes(&call.target).await?;
    let change = |c: engine::Change| FilesystemChange { path: c.path, kind: c.kind as u8 };
    reply::json(&null_if_empty(changes.into_iter().map(change).collect()))
}

/// `POST /containers/{id}/resize`.
pub(crate) async fn resize(call: Call) -> Reply {
    let (rows, cols) = size(&call.query)?;
    call.engine.containers.resize(&call.target, rows, cols).await?;
    reply::empty(StatusCode::OK)
}

/// `POST /containers/{id}/start`.
pub(crate) async fn start(call: Call) -> Reply {
    if call.query.text("checkpoint").is_some_and(|name| !name.is_empty()) {
        return super::refused::checkpoint(call).await;
    }
    call.guard.review_known(&call.engine, &call.target)?;
    reply::outcome(call.engine.containers.start(&call.target).await?)
}

/// `POST /containers/{id}/stop`.
pub(crate) async fn stop(call: Call) -> Reply {
    let (signal, timeout) = (signal(&call.query)?, call.query.number("t")?);
    reply::outcome(call.engine.containers.stop(&call.target, signal, timeout).await?)
}

/// `POST /containers/{id}/restart`.
pub(crate) async fn restart(call: Call) -> Reply {
    let (signal, timeout) = (signal(&call.query)?, call.query.number("t")?);
    call.guard.review_known(&call.engine, &call.target)?;
    call.engine.containers.restart(&call.target, signal, timeout).await?;
    reply::no_content()
}

/// `POST /containers/{id}/kill`.
pub(crate) async fn kill(call: Call) -> Reply {
    call.engine.containers.kill(&call.target, signal(&call.query)?).await?;
    reply::no_content()
}

/// `POST /containers/{id}/update`.
pub(crate) async fn update(mut call: Call) -> Reply {
    let mut body: ContainerUpdateBody = call.json().await?;
    if !call.version.at_least(40) {
        body.resources.pids_limit = None;
    }
    let change = host::update_from_wire(body)?;
    call.guard.update(&call.target, &change.resources)?;
    let warnings = call.engine.containers.update(&call.target, change).await?;
    reply::json(&ContainerUpdateResponse { warnings: Some(warnings) })
}

/// `POST /containers/{id}/rename`.
pub(crate) async fn rename(call: Call) -> Reply {
    let name = call
        .query
        .text("name")
        .ok_or_else(|| Failure::invalid("Neither old nor new names may be empty"))?;
    call.engine.containers.rename(&call.target, parse_name(name)?).await?;
    reply::no_content()
}

/// `POST /containers/{id}/pause`.
pub(crate) async fn pause(call: Call) -> Reply {
    call.engine.containers.pause(&call.target).await?;
    reply::no_content()
}

/// `POST /containers/{id}/unpause`.
pub(crate) async fn unpause(call: Call) -> Reply {
    call.engine.containers.unpause(&call.target).await?;
    reply::no_content()
}

/// `DELETE /containers/{id}`.
pub(crate) async fn remove(call: Call) -> Reply {
    let options = RemoveOptions { force: call.query.flag("force"), volumes: call.query.flag("v") };
    if call.query.flag("link") {
        let message = format!(
            "Conflict, cannot remove the default link name of the container: /{}",
            call.target
        );
        return Err(Failure::new(StatusCode::CONFLICT, message));
    }
    match call.engine.containers.remove(&call.target, options).await {
        Ok(()) => reply::no_content(),
        Err(error) => {
            let failure = Failure::from(error);
            let old = failure.status == StatusCode::CONFLICT && !call.version.at_least(44);
            Err(if old { old_refusal(&call).unwrap_or(failure) } else { failure })
        }
    }
}

/// Why a container cannot be removed, as clients of that age know it: some look for these words.
fn old_refusal(call: &Call) -> Option<Failure> {
    let view = call.engine.containers.view(&call.target).ok()?;
    let (state, id) = (summary::state_word(&view), view.id);
    let message = match state {
        "paused" => format!(
            "You cannot remove a paused container {id}. Unpause and then stop the container before \
             attempting removal or force remove"
        ),
        "running" | "restarting" => format!(
            "You cannot remove a {state} container {id}. Stop the container before attempting \
             removal or force remove"
        ),
        _ => return None,
    };
    Some(Failure::new(StatusCode::CONFLICT, message))
}

/// `DELETE /containers/{id}/{alias}`: a legacy link of a container. One component more, and it is
/// a checkpoint.
pub(crate) async fn remove_link(call: Call) -> Reply {
    if call.target.split('/').nth(1) == Some("checkpoints") {
        return super::refused::checkpoint(call).await;
    }
    let (container, alias) = call.target.rsplit_once('/').unwrap_or_default();
    if !call.query.flag("link") {
        return Err(engine::EngineError::NoSuchContainer(call.target.clone()).into());
    }
    call.engine.containers.unlink(container, alias).await?;
    reply::no_content()
}

/// `POST /containers/prune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &["until", "label", "label!"])?;
    let until = until(&filters)?;
    let keep = |view: &model::view::ContainerView| {
        until.is_some_and(|until| view.created >= until)
            || !filters.labels(&view.spec.labels)
            || !call.guard.changes(&view.spec.labels)
    };
    let (gone, space_reclaimed) = call.engine.containers.prune(&keep).await?;
    let ids = gone.iter().map(ToString::to_string).collect();
    reply::json(&ContainersPruneReport { containers_deleted: null_if_empty(ids), space_reclaimed })
}
