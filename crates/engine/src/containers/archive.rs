//! A container's files for those outside: copies in and out, export, commit. Everything works on
//! the descriptor of the container's root; no path in it is ever resolved by the host.

use super::Containers;
use crate::chunks::{Source, produce};
use crate::node::{Node, blocking};
use crate::streams::{ArchivePut, ByteStream, PathStat};
use crate::{EngineError, Result, image_config};
use model::event::EventKind;
use model::image::{ImageConfig, ImageDraft};
use model::phase::Phase;
use model::view::ContainerView;
use model::{Digest, ImageId};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use store::archive::{ReadOptions, WriteOptions};

/// A container's root, and how the ids of its files differ from what the container sees.
struct Root {
    fd: OwnedFd,
    shift: (u32, u32),
}

/// The root of a running container is what its processes see, mounts included; otherwise what the
/// store has, without them.
fn root(node: &Node, view: &ContainerView) -> Result<Root> {
    let Some(run) = view.phase.run() else {
        return Ok(Root { fd: node.store.snapshots().mount(view.id)?, shift: (0, 0) });
    };
    let path = format!("/proc/{}/root", run.pid);
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
        .map_err(|errno| EngineError::io(format!("open {path}"), errno))?;
    check_whose(run.pid, view)?;
    // The mounts are idmapped: a file of the container's root shows the first id of its range.
    let first = |file: &str| {
        let path = format!("/proc/{}/{file}", run.pid);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    Ok(Root { fd, shift: (first("uid_map"), first("gid_map")) })
}

/// A pid may be another's by now: the container's processes are those of its cgroup. Asked after
/// the root was opened, so that what was opened is the container's if the answer is yes.
fn check_whose(pid: i32, view: &ContainerView) -> Result<()> {
    let path = format!("/proc/{pid}/cgroup");
    let groups = std::fs::read_to_string(&path)
        .map_err(|source| EngineError::io(format!("read {path}"), source))?;
    if groups.contains(&view.id.to_string()) {
        return Ok(());
    }
    Err(EngineError::conflict(format!("container {} is not running", view.id)))
}

fn missing(view: &ContainerView, path: &str, error: store::Error) -> EngineError {
    use model::error::HasKind;
    match error.kind() {
        model::ErrorKind::NotFound => EngineError::Denied(model::Denied::not_found(format!(
            "Could not find the file {path} in container {}",
            view.name
        ))),
        _ => error.into(),
    }
}

fn stat(view: &ContainerView, root: &Root, path: &str) -> Result<PathStat> {
    let stat =
        store::archive::stat(root.fd.as_fd(), path).map_err(|error| missing(view, path, error))?;
    Ok(PathStat {
        name: stat.name,
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
        blocking(move || stat(&view, &root(&node, &view)?, &path)).await
    }

    /// A path in it as a tar archive.
    pub async fn archive_get(&self, query: &str, path: &str) -> Result<(PathStat, ByteStream)> {
        let (node, view) = (Arc::clone(&self.node), self.view(query)?);
        let asked = path.to_owned();
        let (stat, root) = blocking(move || {
            let root = root(&node, &view)?;
            Ok((stat(&view, &root, &asked)?, root))
        })
        .await?;
        let path = path.to_owned();
        let stream = produce(move |out| {
            let options = ReadOptions { shift: root.shift };
            Ok(store::archive::read(root.fd.as_fd(), &path, options, out)?)
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
        blocking(move || {
            let root = root(&node, &view)?;
            let mut source = Source::new(body);
            let options = WriteOptions {
                no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
                // Without a word about owners the destination's own root gets the files.
                owner: (!options.copy_uidgid).then_some((0, 0)),
                shift: root.shift,
            };
            store::archive::write(root.fd.as_fd(), &path, &mut source, options)
                .map_err(|error| missing(&view, &path, error))?;
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
        let view = self.view(query)?;
        if matches!(view.phase, Phase::Dead { .. } | Phase::Removing) {
            return Err(EngineError::conflict(format!(
                "You cannot commit container {} which is being removed",
                view.id
            )));
        }
        let paused = pause && matches!(view.phase, Phase::Running(_));
        if paused {
            self.pause(query).await?;
        }
        let config = config.unwrap_or_else(|| config_of(&view));
        let (node, id, created_by) = (Arc::clone(&self.node), view.id, view.spec.command.join(" "));
        let committed = blocking(move || {
            let run = image_config::to_wire(&config);
            Ok(node.store.images().commit(id, run, &created_by, &draft)?)
        })
        .await;
        if paused {
            self.unpause(query).await?;
        }
        let image = committed?;
        self.emit_commit(&view, image);
        Ok(image)
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
        volumes: draft.volumes.clone(),
        workdir: if spec.workdir == "/" { String::new() } else { spec.workdir.clone() },
        labels: spec.labels.clone(),
        stop_signal: draft.stop_signal.clone(),
        stop_timeout: draft.stop_timeout,
        health: draft.health.clone(),
        shell: draft.shell.clone(),
        on_build: Vec::new(),
    }
}
