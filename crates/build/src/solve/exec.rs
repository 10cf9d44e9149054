//! Running a step's process: its mounts are found or made, its secrets fetched, its outcome judged.
//! The process itself is the worker's.

use super::run::Build;
use super::{blocking, failed};
use crate::cache::mounts::InUse;
use crate::error::{Act as _, Error, Result};
use crate::files;
use crate::graph::{
    Bind, CacheMount, Exec, MountKind, NetworkMode, Op, OpKind, SecretMount, SecurityMode,
};
use crate::progress::Event;
use crate::tree::Tree;
use crate::walk::open_in;
use crate::worker::{MountSource, Step, StepMount};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use store::TempDir;

/// Where a step starts when it does not say.
const ROOT: &str = "/";

/// What a step may do beyond the default has to be granted.
pub(super) fn check_granted(build: &Build, exec: &Exec) -> Result<()> {
    let granted = build.entitlements;
    if exec.network == NetworkMode::Host && !granted.network_host {
        return Err(denied("network.host"));
    }
    if exec.security == SecurityMode::Insecure && !granted.security_insecure {
        return Err(denied("security.insecure"));
    }
    if !exec.devices.is_empty() && !granted.device {
        return Err(denied("device"));
    }
    Ok(())
}

fn denied(what: &str) -> Error {
    let message = format!("{what} is not allowed: the build was not granted it (--allow {what})");
    Error::Denied(model::Denied { kind: model::ErrorKind::Forbidden, message })
}

/// What lives as long as the step.
#[derive(Default)]
struct Held {
    dirs: Vec<TempDir>,
    caches: Vec<InUse>,
}

/// Runs the step; gives its outputs.
pub(super) async fn run(
    build: &Arc<Build>,
    op: &Op,
    inputs: Vec<Tree>,
) -> Result<Vec<(usize, Tree)>> {
    let OpKind::Exec(exec) = &op.kind else {
        return Err(Error::internal("not a process"));
    };
    check_platform(build, op)?;
    if exec.outputs().any(|(_, mount)| mount.is_some()) {
        return Err(Error::unsupported("a step with several results is not supported"));
    }
    let pick = |slot: Option<usize>| {
        slot.and_then(|slot| inputs.get(slot).cloned()).unwrap_or(Tree::empty())
    };
    let (store, lease) = (build.inner.store.clone(), Arc::clone(&build.lease));
    let (root, options) = (pick(exec.root.input), build.layer_options());
    let root = blocking(move || files::as_layers(&store, &lease, root, options)).await?;
    let layers = root.layers().unwrap_or_default().to_vec();
    let mut held = Held::default();
    let mut mounts = Vec::with_capacity(exec.mounts.len());
    for mount in &exec.mounts {
        let source = match &mount.kind {
            MountKind::Bind(bind) => Some(bound(build, bind, pick(bind.input), &mut held).await?),
            MountKind::Cache(cache) => {
                Some(cached(build, cache, pick(cache.input), &mut held).await?)
            }
            MountKind::Tmpfs { size_bytes } => Some(MountSource::Tmpfs { size_bytes: *size_bytes }),
            MountKind::Secret(secret) => secret_file(build, secret).await?,
            MountKind::Ssh(agent) => agent_socket(build, agent).await?,
        };
        if let Some(source) = source {
            mounts.push(StepMount { target: absolute(&exec.cwd, &mount.dest), source });
        }
    }
    let step = step(build, op, exec, mounts, layers.clone()).await?;
    let _slot = build.inner.slots.acquire().await.map_err(Error::internal)?;
    let ran = build.inner.worker.run(step).await?;
    drop(held);
    let mut out = layers;
    out.extend(ran.layer);
    if let Err(error) = judge(exec, ran.code, ran.oom_killed) {
        failed::keep(build, op, exec, out).await?;
        return Err(error);
    }
    Ok(exec.root.output.map(|number| (number, Tree::Layers(out.into()))).into_iter().collect())
}

/// A step of another platform needs an interpreter that the kernel knows.
fn check_platform(build: &Build, op: &Op) -> Result<()> {
    let Some(wanted) = &op.platform else { return Ok(()) };
    let here = build.inner.worker.platforms();
    if here.iter().any(|platform| platform.serves(wanted)) {
        return Ok(());
    }
    let names: Vec<String> = here.iter().map(ToString::to_string).collect();
    Err(Error::unsupported(format!(
        "programs of platform {wanted} do not run on this host ({}): install qemu-user-static, \
         which registers an interpreter for them with the kernel (binfmt_misc, flag F), or build \
         this stage with --platform=$BUILDPLATFORM",
        names.join(", ")
    )))
}

fn judge(exec: &Exec, code: i64, oom_killed: bool) -> Result<()> {
    let valid = match exec.valid_exit_codes.as_slice() {
        [] => code == 0,
        valid => valid.iter().any(|valid| i64::from(*valid) == code),
    };
    if valid {
        return Ok(());
    }
    let mut command = exec.args.join(" ");
    if oom_killed {
        command.push_str(" (killed: out of memory)");
    }
    Err(Error::Step { command, code })
}

async fn step(
    build: &Arc<Build>,
    op: &Op,
    exec: &Exec,
    mounts: Vec<StepMount>,
    layers: Vec<model::Digest>,
) -> Result<Step> {
    let mut secret_env = Vec::new();
    for secret in &exec.secret_env {
        match build.client.secret(&secret.id).await? {
            Some(value) => secret_env.push((secret.name.clone(), value)),
            None if secret.required => return Err(no_secret(&secret.id)),
            None => {}
        }
    }
    let named = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut env = exec.env.clone();
    let said: Vec<String> = env.iter().map(|variable| named(variable)).collect();
    env.extend(exec.proxy.iter().filter(|it| !said.contains(&named(it))).cloned());
    let (vertex, telling) = (op.digest(), build.progress.clone());
    Ok(Step {
        name: op.meta.name.clone(),
        layers,
        readonly_root: exec.root.readonly,
        args: exec.args.clone(),
        env,
        secret_env,
        cwd: if exec.cwd.is_empty() { ROOT.to_owned() } else { exec.cwd.clone() },
        user: exec.user.clone(),
        hostname: exec.hostname.clone(),
        network: exec.network,
        network_name: build.network_name.clone(),
        security: exec.security,
        extra_hosts: exec.extra_hosts.clone(),
        ulimits: exec.ulimits.clone(),
        shm_bytes: exec.shm_bytes,
        limits: op.meta.limits.clone(),
        cgroup_parent: exec.cgroup_parent.clone(),
        devices: exec.devices.iter().map(|it| (it.name.clone(), it.required)).collect(),
        mounts,
        latest_mtime: build.source_date_epoch,
        lease: Arc::clone(&build.lease),
        output: Arc::new(move |stream, data| {
            telling.tell(Event::Log { vertex, stream, data, at: super::now() });
        }),
    })
}

fn absolute(cwd: &str, dest: &str) -> String {
    match dest.starts_with('/') {
        true => crate::text::clean_path(dest),
        false => crate::text::clean_path(&format!("/{}/{dest}", cwd.trim_matches('/'))),
    }
}

fn no_secret(id: &str) -> Error {
    Error::not_found(format!("secret {id}: not found"))
}

async fn secret_file(build: &Build, secret: &SecretMount) -> Result<Option<MountSource>> {
    let SecretMount { uid, gid, mode, .. } = *secret;
    match build.client.secret(&secret.id).await? {
        Some(value) => Ok(Some(MountSource::Secret { secret: value, uid, gid, mode })),
        None if secret.required => Err(no_secret(&secret.id)),
        None => Ok(None),
    }
}

async fn agent_socket(build: &Build, agent: &SecretMount) -> Result<Option<MountSource>> {
    let SecretMount { uid, gid, mode, .. } = *agent;
    if build.client.has_ssh(&agent.id).await? {
        let (client, id) = (Arc::clone(&build.client), agent.id.clone());
        return Ok(Some(MountSource::Ssh { client, id, uid, gid, mode }));
    }
    if agent.required {
        return Err(Error::not_found(format!(
            "no SSH agent {:?} forwarded from the client",
            agent.id
        )));
    }
    Ok(None)
}

/// A file system of the graph, to be mounted: its layers as they are, or a copy of the part that
/// is asked for where they cannot serve.
async fn bound(
    build: &Arc<Build>,
    bind: &Bind,
    tree: Tree,
    held: &mut Held,
) -> Result<MountSource> {
    let store = build.inner.store.clone();
    let selector = bind.selector.clone();
    if let (Tree::Layers(layers), true) = (&tree, bind.readonly) {
        let layers = layers.to_vec();
        let looking = tree.clone();
        let path = blocking(move || found(&looking.open(&store)?, &selector)).await?;
        return Ok(MountSource::Layers { layers, path });
    }
    let (dir, path) = blocking(move || materialise(&store, &tree, &selector)).await?;
    held.dirs.push(dir);
    // Writes go to the copy, and away with it.
    Ok(MountSource::Path { path, readonly: bind.readonly })
}

/// The place of a path in a tree, with no link on the way.
fn found(root: &OwnedFd, selector: &str) -> Result<String> {
    let part = selector.trim_matches('/');
    let missing = || Error::missing(part);
    let at = match open_in(root, part, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
        at => at.act(|| format!("open /{part}"))?,
    };
    // What was opened, from the root of a mount that nobody else sees.
    let name = |fd: &OwnedFd| {
        rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())
            .act(|| format!("look for /{part}"))
    };
    let (root, at) = (name(root)?, name(&at)?);
    let root = root.to_string_lossy();
    let at = at.to_string_lossy();
    let rest = at.strip_prefix(root.trim_end_matches('/')).ok_or_else(missing)?;
    Ok(rest.trim_matches('/').to_owned())
}

fn materialise(store: &store::Store, tree: &Tree, selector: &str) -> Result<(TempDir, PathBuf)> {
    let dir = store.temp_dir()?;
    let part = selector.trim_matches('/');
    files::copy_part(store, tree, part, dir.dir())?;
    let path = dir.path().join(files::PART);
    Ok((dir, path))
}

async fn cached(
    build: &Arc<Build>,
    cache: &CacheMount,
    tree: Tree,
    held: &mut Held,
) -> Result<MountSource> {
    let using = build.inner.mounts.take(&cache.id, cache.sharing, cache.dir).await?;
    let path = using.path();
    if using.fresh && cache.input.is_some() {
        let store = build.inner.store.clone();
        let (part, into) = (cache.selector.clone(), path.clone());
        blocking(move || files::fill(&store, &tree, &part, &into)).await?;
    }
    held.caches.push(using);
    Ok(MountSource::Path { path, readonly: cache.readonly })
}
