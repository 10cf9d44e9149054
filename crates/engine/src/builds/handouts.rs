//! What a step is handed besides its root: directories, memory, secrets as files, agents' sockets.
//! Secrets and sockets live in memory (the run directory, or where the host keeps such files if
//! that is on a disk), and are removed with the step; nothing of them is written into the store.

use super::step::bind;
use crate::node::Node;
use crate::{EngineError, Result};
use build::client::Client;
use build::worker::{MountSource, StepMount};
use model::draft::BindDraft;
use model::{ContainerId, Digest};
use rustix::fs::{AtFlags, Gid, Mode, Uid, chmodat, chownat};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// `TMPFS_MAGIC`, statfs(2).
const TMPFS_MAGIC: i128 = 0x0102_1994;

/// The mounts as a container is asked for.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) binds: Vec<BindDraft>,
    pub(super) tmpfs: BTreeMap<String, String>,
    /// Layers shown read-only: where, which, and which part of them.
    pub(super) layers: Vec<(String, Vec<Digest>, String)>,
}

/// The files behind a step's mounts; removed when dropped.
pub(super) struct Handouts {
    dir: PathBuf,
    made: bool,
    agents: Vec<JoinHandle<()>>,
}

impl Handouts {
    /// Nothing yet.
    pub(super) fn new(node: &Node, id: &ContainerId) -> Self {
        Self { dir: dir(node, id), made: false, agents: Vec::new() }
    }

    /// Makes everything that is mounted.
    pub(super) async fn give(&mut self, mounts: &[StepMount]) -> Result<Given> {
        let mut given = Given::default();
        for (number, mount) in mounts.iter().enumerate() {
            match &mount.source {
                MountSource::Path { path, readonly } => {
                    given.binds.push(bind(path, &mount.target, *readonly));
                }
                MountSource::Layers { layers, path } => {
                    let target = mount.target.clone();
                    given.layers.push((target, layers.clone(), path.clone()));
                }
                MountSource::Tmpfs { size_bytes } => {
                    let size = size_bytes.map(|size| format!("exec,size={size}"));
                    let options = size.unwrap_or_else(|| "exec".to_owned());
                    given.tmpfs.insert(mount.target.clone(), options);
                }
                MountSource::Secret { secret, uid, gid, mode } => {
                    let path = self.place(number)?;
                    write_secret(&path, &secret.0)?;
                    own(&path, (*uid, *gid, *mode))?;
                    given.binds.push(bind(&path, &mount.target, true));
                }
                MountSource::Ssh { client, id, uid, gid, mode } => {
                    let path = self.place(number)?;
                    self.listen(&path, client, id)?;
                    own(&path, (*uid, *gid, *mode))?;
                    given.binds.push(bind(&path, &mount.target, false));
                }
            }
        }
        Ok(given)
    }

    fn place(&mut self, number: usize) -> Result<PathBuf> {
        if !self.made {
            self.made = true;
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(|source| {
                EngineError::io(format!("make directory {}", self.dir.display()), source)
            })?;
        }
        Ok(self.dir.join(number.to_string()))
    }

    /// Passes each connection on to the client's agent.
    fn listen(&mut self, path: &Path, client: &Arc<dyn Client>, id: &str) -> Result<()> {
        let listener = UnixListener::bind(path)
            .map_err(|source| EngineError::io("make an agent's socket", source))?;
        let (client, id) = (Arc::clone(client), id.to_owned());
        self.agents.push(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (client, id) = (Arc::clone(&client), id.clone());
                tokio::spawn(async move {
                    if let Ok(mut far) = client.ssh(&id).await {
                        // Either side may leave at any time.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
        Ok(())
    }
}

impl Drop for Handouts {
    fn drop(&mut self) {
        self.agents.iter().for_each(JoinHandle::abort);
        if !self.made {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "remove a step's secrets");
        }
    }
}

/// Removes what a killed daemon left of a step.
pub(super) fn sweep(node: &Node, id: &ContainerId) -> Result<()> {
    let dir = dir(node, id);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io(format!("remove {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}

/// Short: the path of a socket has at most 107 bytes.
fn dir(node: &Node, id: &ContainerId) -> PathBuf {
    place(&node.options.exec_root, &id.short())
}

/// Where a step's handouts are: in memory if there is any such place, and always the same for one
/// daemon and step.
fn place(exec_root: &Path, step: &str) -> PathBuf {
    let in_memory = |path: &Path| {
        rustix::fs::statfs(path).is_ok_and(|stat| i128::from(stat.f_type) == TMPFS_MAGIC)
    };
    if in_memory(exec_root) {
        return exec_root.join("builds").join(step);
    }
    let elsewhere = [Path::new("/run"), Path::new("/dev/shm")].into_iter().find(|it| in_memory(it));
    let Some(elsewhere) = elsewhere else { return exec_root.join("builds").join(step) };
    let mut hash = DefaultHasher::new();
    exec_root.hash(&mut hash);
    elsewhere.join(format!("estiba-build-{:016x}-{step}", hash.finish()))
}

fn write_secret(path: &Path, value: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(value))
        .map_err(|source| EngineError::io("write a secret for a step", source))
}

fn own(path: &Path, (uid, gid, mode): (u32, u32, u32)) -> Result<()> {
    let failed = |errno| EngineError::io("give a step its file", errno);
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(rustix::fs::CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    chmodat(rustix::fs::CWD, path, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())
        .map_err(failed)
}
