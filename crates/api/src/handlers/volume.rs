//! Volumes.

use std::collections::BTreeSet;

use hyper::StatusCode;
use model::mount::MountSource;
use model::volume::{VolumeDraft, VolumeView};
use wire::docker::volume::{VolumeCreateBody, VolumeList, VolumesPruneReport};

use crate::body::into_engine;
use crate::call::Call;
use crate::convert::{null_if_empty, volume};
use crate::failure::Failure;
use crate::filters::Filters;
use crate::reply::{self, Reply};

/// `GET /volumes`.
pub(crate) async fn list(call: Call) -> Reply {
    let accepted = ["dangling", "driver", "label", "label!", "name"];
    let filters = Filters::parse(&call.query, &accepted)?;
    let dangling = filters.flag("dangling")?;
    let used = if dangling.is_some() { used_volumes(&call) } else { BTreeSet::new() };
    let wants = |view: &&VolumeView| {
        let unused = !used.contains(view.name.as_str());
        dangling.is_none_or(|dangling| dangling == unused)
            && filters.any("driver", |driver| driver == view.driver)
            && filters.any("name", |name| view.name.as_str().contains(name))
            && filters.labels(&view.labels)
            && call.guard.sees(&view.labels)
    };
    let views = call.engine.volumes.list().await?;
    let volumes = views.iter().filter(wants).map(volume::to_wire).collect();
    reply::json(&VolumeList { volumes, warnings: None })
}

fn used_volumes(call: &Call) -> BTreeSet<String> {
    let views = call.engine.containers.list();
    let mounts = views.iter().flat_map(|view| &view.spec.mounts);
    let name = |source: &MountSource| match source {
        MountSource::Volume { name, .. } => Some(name.clone()),
        _ => None,
    };
    mounts.filter_map(|mount| name(&mount.source)).collect()
}

/// `POST /volumes/create`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let body: VolumeCreateBody = call.optional_json().await?.unwrap_or_default();
    let mut draft = volume::from_wire(body);
    call.guard.label(&mut draft.labels)?;
    call.guard.volume(&draft.name, &draft.driver, &draft.options)?;
    let view = call.engine.volumes.create(draft).await?;
    // One of that name may have been there, and be another's.
    if !call.guard.sees(&view.labels) {
        return Err(taken(view.name.as_str()));
    }
    reply::json_status(StatusCode::CREATED, &volume::to_wire(&view))
}

fn taken(name: &str) -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        format!("create {name}: the name is taken by another client"),
    )
}

/// `GET /volumes/{name}`.
pub(crate) async fn inspect(call: Call) -> Reply {
    reply::json(&volume::to_wire(&call.engine.volumes.view(&call.target).await?))
}

/// `DELETE /volumes/{name}`.
pub(crate) async fn remove(call: Call) -> Reply {
    call.engine.volumes.remove(&call.target, call.query.flag("force")).await?;
    reply::no_content()
}

/// `POST /volumes/prune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &["label", "label!", "all"])?;
    // Before 1.42 named volumes went as well.
    let all = filters.flag("all")?.unwrap_or(!call.version.at_least(42));
    let keep =
        |view: &VolumeView| !filters.labels(&view.labels) || !call.guard.changes(&view.labels);
    let (names, space_reclaimed) = call.engine.volumes.prune(&keep, all).await?;
    reply::json(&VolumesPruneReport { volumes_deleted: null_if_empty(names), space_reclaimed })
}

/// `GET /estiba/volumes/{name}/export`: the content as a tar.
pub(crate) async fn export(call: Call) -> Reply {
    reply::archive(call.engine.volumes.export(&call.target).await?).await
}

/// `POST /estiba/volumes/{name}/import`: a new volume with the content of the tar sent.
pub(crate) async fn import(call: Call) -> Reply {
    let mut draft = VolumeDraft { name: call.target.clone(), ..VolumeDraft::default() };
    call.guard.label(&mut draft.labels)?;
    let view = call.engine.volumes.import(draft, into_engine(call.body)).await?;
    reply::json_status(StatusCode::CREATED, &volume::to_wire(&view))
}

/// `POST /estiba/volumes/{name}/copy?to=NAME`: a new volume with what this one has now.
pub(crate) async fn copy(call: Call) -> Reply {
    let to = call.query.text("to").unwrap_or_default();
    let view = call.engine.volumes.copy(&call.target, to).await?;
    reply::json_status(StatusCode::CREATED, &volume::to_wire(&view))
}

/// `POST /estiba/volumes/{name}/rename?to=NAME`.
pub(crate) async fn rename(call: Call) -> Reply {
    let to = call.query.text("to").unwrap_or_default();
    call.engine.volumes.rename(&call.target, to).await?;
    reply::no_content()
}
