//! A container's files for those outside: copies in and out, export, commit. Everything works on
//! the descriptor of the container's root; no path in it is ever resolved by the host.

use super::place::{self, Place};
use super::{Containers, WaitCondition};
use crate::chunks::{Source, produce};
use crate::metrics::Timed;
use crate::node::blocking;
use crate::streams::{ArchivePut, ByteStream, PathStat};
use crate::{EngineError, Result, image_config};
use model::event::EventKind;
use model::image::{ImageConfig, ImageDraft};
use model::phase::Phase;
use model::view::ContainerView;
use model::{ContainerId, Digest, ImageId};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;
use store::archive::{ReadOptions, WriteOptions};
use store::record::Durability;

/// Table of containers that are frozen to be committed.
const FROZEN: &str = "container-commits";

/// How long the news of an end may take from the kernel to here.
const ENDING: std::time::Duration = std::time::Duration::from_secs(1);

fn missing(container: &str, path: &str, error: store::Error) -> EngineError {
    use model::error::HasKind;
    match error.kind() {
        model::ErrorKind::NotFound => EngineError::Denied(model::Denied::not_found(format!(
            "Could not find the file {path} in container {container}"
        ))),
        _ => error.into(),
    }
}

/// `container` and `asked` as they were asked for.
fn stat(container: &str, place: &Place, asked: &str) -> Result<PathStat> {
    let stat = store::archive::stat(place.root.as_fd(), &place.path)
        .map_err(|error| missing(container, asked, error))?;
    Ok(PathStat {
        name: place.name.clone().unwrap_or(stat.name),
        size: stat.size,
        mode: stat.mode,
        mtime: stat.mtime,
        link_target: stat.link_target,
    })
}

impl Containers {
    /// Its root as a tar archive.
    pub async fn export(&self, query: &str) -> Result<ByteStream> {
        let view = self.view(query)?;
        if matches!(view.phase, Phase::Dead { .. } | Phase::Removing) {
            return Err(EngineError::conflict(format!(
                "You cannot export container {} which is being removed",
                view.id
            )));
        }
        let (node, id) = (Arc::clone(&self.node), view.id);
        Ok(produce(move |out| Ok(node.store.snapshots().export(id, out)?)))
    }

    /// What is known of a path in it.
    pub async fn path_stat(&self, query: &str, path: &str) -> Result<PathStat> {
        let (node, view, path) = (Arc::clone(&self.node), self.view(query)?, path.to_owned());
        let container = query.to_owned();
        blocking(move || stat(&container, &place::find(&node, &view, &path)?, &path)).await
    }

    /// A path in it as a tar archive.
    pub async fn archive_get(&self, query: &str, path: &str) -> Result<(PathStat, ByteStream)> {
        let (node, view) = (Arc::clone(&self.node), self.view(query)?);
        let (container, asked) = (query.to_owned(), path.to_owned());
        let (stat, place) = blocking(move || {
            let place = place::find(&node, &view, &asked)?;
            Ok((stat(&container, &place, &asked)?, place))
        })
        .await?;
        let stream = produce(move |out| {
            let options = ReadOptions { shift: place.shift, name: place.name.as_deref() };
            Ok(store::archive::read(place.root.as_fd(), &place.path, options, out)?)
        });
        Ok((stat, stream))
    }

    /// Unpacks a tar archive into a directory of it.
    pub async fn archive_put(
        &self,
        query: &str,
        path: &str,
        options: ArchivePut,
        body: ByteStream,
    ) -> Result<()> {
        let (node, view, path) = (Arc::clone(&self.node), self.view(query)?, path.to_owned());
        if view.spec.readonly_rootfs && !in_writable_mount(&view, &path) {
            return Err(EngineError::Denied(model::Denied {
                kind: model::ErrorKind::Forbidden,
                message: "container rootfs is marked read-only".to_owned(),
            }));
        }
        let container = query.to_owned();
        blocking(move || {
            let named = options.copy_uidgid && !view.spec.user.is_empty();
            let user = named.then(|| place::user(&node, &view, &view.spec.user)).transpose()?;
            let place = place::find(&node, &view, &path)?;
            let mut source = Source::new(body);
            let options = WriteOptions {
                no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
                owner: user.map(|user| (user.uid, user.gid)),
                shift: place.shift,
            };
            store::archive::write(place.root.as_fd(), &place.path, &mut source, options)
                .map_err(|error| missing(&container, &path, error))?;
            source.drain();
            Ok(())
        })
        .await
    }

    /// Makes an image of it. `config` replaces the container's configuration.
    pub async fn commit(
        &self,
        query: &str,
        pause: bool,
        draft: ImageDraft,
        config: Option<ImageConfig>,
    ) -> Result<ImageId> {
        let begun = Instant::now();
        let view = self.view(query)?;
        if matches!(view.phase, Phase::Dead { .. } | Phase::Removing) {
            return Err(EngineError::conflict(format!(
                "You cannot commit container {} which is being removed",
                view.id
            )));
        }
        let paused = pause && matches!(view.phase, Phase::Running(_));
        let paused = paused && self.pause_for_commit(query, &view.id).await?;
        let config = config.unwrap_or_else(|| config_of(&view));
        let (node, id, created_by) = (Arc::clone(&self.node), view.id, view.spec.command.join(" "));
        let committed = blocking(move || {
            let run = image_config::to_wire(&config);
            let points = &super::changes::MOUNT_POINTS;
            Ok(node.store.images().commit(id, run, &created_by, points, &draft)?)
        })
        .await;
        if paused {
            self.thaw(&view.id).await;
        }
        let image = committed?;
        self.emit_commit(&view, image);
        self.node.metrics.note(Timed::ContainerCommit, begun);
        Ok(image)
    }

    /// Freezes it; false when it ended by itself in the meantime, which serves as well.
    async fn pause_for_commit(&self, query: &str, id: &ContainerId) -> Result<bool> {
        // Written down before: a daemon that dies meanwhile is not to leave it frozen.
        let records = self.node.store.records();
        records.put(FROZEN, &id.to_string(), &[], Durability::Relaxed)?;
        store::failpoint::hit("engine.commit.freeze");
        let Err(error) = self.pause(query).await else { return Ok(true) };
        records.delete(FROZEN, &id.to_string(), Durability::Relaxed)?;
        let over = self.wait(query, WaitCondition::NotRunning).await?;
        match tokio::time::timeout(ENDING, over.done()).await {
            Ok(Ok(_)) => Ok(false),
            _ => Err(error),
        }
    }

    /// Thaws what was frozen to be committed.
    async fn thaw(&self, id: &ContainerId) {
        let id = id.to_string();
        if let Err(error) = self.unpause(&id).await {
            // Somebody else thawed, killed or removed it: it is not for us to complain.
            tracing::debug!(container = id, %error, "thaw after commit");
        }
        store::failpoint::hit("engine.commit.thawed");
        if let Err(error) = self.node.store.records().delete(FROZEN, &id, Durability::Relaxed) {
            tracing::warn!(container = id, %error, "forget a commit");
        }
    }

    /// Thaws what a daemon that died had frozen to commit it.
    pub(crate) async fn thaw_committed(&self) -> Result<()> {
        for (id, _) in self.node.store.records().iter(FROZEN)? {
            self.thaw(&ContainerId::parse(&id)?).await;
        }
        Ok(())
    }

    fn emit_commit(&self, view: &ContainerView, image: Digest) {
        let attributes = BTreeMap::from([
            ("image".to_owned(), view.draft.image.clone()),
            ("imageID".to_owned(), image.to_string()),
            ("name".to_owned(), view.name.to_string()),
        ]);
        self.node.emit(EventKind::Container, "commit", view.id.to_string(), attributes);
    }
}

/// Whether a path lies in a mount that can be written although the root cannot.
fn in_writable_mount(view: &ContainerView, path: &str) -> bool {
    let under = |target: &str| {
        path.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    view.spec.mounts.iter().any(|mount| mount.writable && under(&mount.target))
}

/// What a container says about running an image made of it.
fn config_of(view: &ContainerView) -> ImageConfig {
    let (spec, draft) = (&view.spec, &view.draft);
    let (entrypoint, command) = spec.command.split_at(spec.entrypoint_len);
    let own_env = |entry: &&String| !entry.starts_with("HOSTNAME=");
    ImageConfig {
        user: spec.user.clone(),
        exposed_ports: spec.exposed_ports.clone(),
        env: spec.env.iter().filter(own_env).cloned().collect(),
        entrypoint: (!entrypoint.is_empty()).then(|| entrypoint.to_vec()),
        command: (!command.is_empty()).then(|| command.to_vec()),
        volumes: spec.volumes.clone(),
        workdir: if spec.workdir == "/" { String::new() } else { spec.workdir.clone() },
        labels: spec.labels.clone(),
        stop_signal: draft.stop_signal.clone(),
        stop_timeout: draft.stop_timeout,
        health: draft.health.clone(),
        shell: draft.shell.clone(),
        on_build: Vec::new(),
    }
}
