//! One step of a build: a container that nobody sees, with its root over layers instead of an
//! image. It is resolved, bundled, launched and ended by the very code that does so for every
//! container (law E4); only what becomes of its writable layer differs.
//!
//! ```text
//! Step -> Draft -> resolve -> snapshot on layers -> actor: attach, start, wait
//!                                                     └─▶ layers().take() ─▶ diff id
//! ```
//! It is written down before it exists, so that a killed daemon's next start can remove it.

use super::handouts::Handouts;
use crate::actor::{Actor, Answer, Order, answered};
use crate::containers::{ExitStatus, RemoveOptions, WaitCondition};
use crate::node::{Node, blocking};
use crate::record::{Definition, State};
use crate::roster::Handle;
use crate::streams::{AttachOptions, ClientStream};
use crate::{EngineError, Result, clock, imageless, random};
use build::graph::{Limits, NetworkMode as StepNetwork, SecurityMode};
use build::progress::Stream;
use build::worker::{Ran, Step};
use bytes::{Buf, Bytes, BytesMut};
use model::draft::{BindDraft, Draft, HealthDraft, HostDraft, SharedNamespace};
use model::mount::{Mount, MountOwner, MountSource};
use model::network::NetworkMode;
use model::resources::{DeviceRequest, Resources, Ulimit};
use model::selinux::Relabel;
use model::{ContainerId, ContainerName, Digest};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use store::record::Durability;
use store::{LayerOptions, Lease};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Table of steps that exist, by container id; the value is the parent of the control group.
pub(super) const STEPS: &str = "build-steps";

/// Bytes of a frame's head: stream, three zeros, length (big endian).
const FRAME_HEAD: usize = 8;

/// Exit code of a process that was killed.
const EXIT_KILLED: i64 = 137;

/// Runs a step to its end. Dropping the future removes everything of it.
pub(super) async fn run(
    node: &Arc<Node>,
    step: Step,
    lease: Arc<Lease>,
    options: LayerOptions,
) -> Result<Ran> {
    let id = ContainerId::from_bytes(random::id_bytes()?);
    let output = Arc::clone(&step.output);
    let making = Arc::clone(node);
    let making = tokio::spawn(async move { make(&making, id, step).await });
    let mut guard = Guard { node: Arc::clone(node), id, stage: Stage::Making(making) };
    let (actor, handouts) = guard.made().await?;
    let running = Running { guard, handouts };
    running.finish(node, actor, output, lease, options).await
}

struct Running {
    guard: Guard,
    /// Secrets and sockets, removed with it.
    handouts: Handouts,
}

impl Running {
    async fn finish(
        mut self,
        node: &Arc<Node>,
        actor: Actor,
        output: Arc<dyn Fn(Stream, Bytes) + Send + Sync>,
        lease: Arc<Lease>,
        options: LayerOptions,
    ) -> Result<Ran> {
        let handle = actor.handle();
        self.guard.stage = Stage::Running(Arc::clone(&handle));
        tokio::spawn(actor.run());
        let reader = attach(&handle).await?;
        let (exit, ended) = oneshot::channel();
        let condition = WaitCondition::NextExit;
        handle.send(Order::Wait { condition, exit }).await?;
        let reading = tokio::spawn(read_output(reader, output));
        order(&handle, Order::Start).await?;
        let status: ExitStatus =
            ended.await.map_err(|_| EngineError::internal("the step's container is gone"))?;
        // Output ends when everything that was written has arrived.
        let _ = reading.await;
        drop(self.handouts);
        let oom_killed = status.code == EXIT_KILLED
            && handle.view().last_exit.as_ref().is_some_and(|exit| exit.oom_killed);
        let (taking, id) = (Arc::clone(node), self.guard.id);
        store::failpoint::hit("engine.step.ended");
        let layer = blocking(move || Ok(taking.store.layers().take(&lease, id, options)?)).await?;
        store::failpoint::hit("engine.step.taken");
        self.guard.finish().await?;
        let layer: Option<Digest> = layer.map(|layer| layer.diff_id);
        Ok(Ran { code: status.code, oom_killed, layer })
    }
}

/// How far a step has come.
enum Stage {
    /// What it runs in is being made, to its end even if nobody waits for it any more.
    Making(JoinHandle<Result<(Actor, Handouts)>>),
    Running(Arc<Handle>),
    Over,
}

/// Removes the container when the step is over, however it ends.
struct Guard {
    node: Arc<Node>,
    id: ContainerId,
    stage: Stage,
}

impl Guard {
    /// What was made for it.
    async fn made(&mut self) -> Result<(Actor, Handouts)> {
        let Stage::Making(making) = &mut self.stage else {
            return Err(EngineError::internal("a step is made once"));
        };
        let made = making.await;
        self.stage = Stage::Over;
        made.map_err(|error| EngineError::internal(format!("a step was abandoned: {error}")))?
    }

    async fn finish(mut self) -> Result<()> {
        let handle = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Running(handle) => Some(handle),
            Stage::Making(_) | Stage::Over => None,
        };
        remove(Arc::clone(&self.node), self.id, handle).await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Over = stage {
            forget(&self.node, &self.id);
            return;
        }
        let (node, id) = (Arc::clone(&self.node), self.id);
        let teardown = node.teardowns.begin();
        tokio::spawn(async move {
            let removed = match stage {
                Stage::Running(handle) => remove(node, id, Some(handle)).await,
                Stage::Making(making) => unmake(node, id, making).await,
                Stage::Over => Ok(()),
            };
            if let Err(error) = removed {
                tracing::warn!(step = %id, %error, "remove a step of a build");
            }
            drop(teardown);
        });
    }
}

/// Takes back what was made for a step that nobody wants any more, once it is made.
async fn unmake(
    node: Arc<Node>,
    id: ContainerId,
    making: JoinHandle<Result<(Actor, Handouts)>>,
) -> Result<()> {
    drop(making.await);
    blocking(move || {
        crate::actor::clear_files(&node, &id)?;
        forget(&node, &id);
        Ok(())
    })
    .await
}

async fn remove(node: Arc<Node>, id: ContainerId, handle: Option<Arc<Handle>>) -> Result<()> {
    if let Some(handle) = handle {
        let options = RemoveOptions { force: true, ..RemoveOptions::default() };
        match order(&handle, |answer| Order::Remove { options, answer }).await {
            // Gone is what was wanted.
            Ok(()) | Err(EngineError::NoSuchContainer(_)) => {}
            Err(error) => return Err(error),
        }
    }
    forget(&node, &id);
    Ok(())
}

/// The note goes last: until then the next start would look for what is left.
fn forget(node: &Node, id: &ContainerId) {
    let forgotten = node.store.records().delete(STEPS, &id.to_string(), Durability::Relaxed);
    if let Err(error) = forgotten {
        tracing::warn!(step = %id, %error, "forget a step of a build");
    }
}

async fn order<T>(handle: &Handle, order: impl FnOnce(Answer<T>) -> Order) -> Result<T> {
    let (answer, outcome) = oneshot::channel();
    handle.send(order(answer)).await?;
    answered(&handle.id.to_string(), outcome).await
}

/// Writes the step down and makes what it runs in.
async fn make(node: &Arc<Node>, id: ContainerId, step: Step) -> Result<(Actor, Handouts)> {
    let mut handouts = Handouts::new(node, &id);
    store::failpoint::hit("engine.step.begin");
    let mut binds = handouts.give(&step.mounts).await?;
    store::failpoint::hit("engine.step.handed");
    let shown = std::mem::take(&mut binds.layers);
    let devices = devices(node.live().options.cdi_dirs(), &step.devices)?;
    let layers = step.layers.clone();
    let mut draft = draft(step, binds);
    draft.host.resources.device_requests = devices;
    // What the daemon says of containers that say nothing.
    let cgroupns = node.live().options.default_cgroupns.clone();
    draft.host.cgroupns = Some(cgroupns).filter(|mode| *mode != SharedNamespace::Private);
    let making = Arc::clone(node);
    let actor = blocking(move || {
        let node = making;
        let live = node.live();
        let parent = match draft.host.cgroup_parent.as_str() {
            "" => live.defaults.cgroup_parent.clone(),
            parent => parent.to_owned(),
        };
        let key = id.to_string();
        node.store.records().put(STEPS, &key, parent.as_bytes(), Durability::Relaxed)?;
        let name = ContainerName::parse(&format!("build-{}", id.short()))?;
        store::failpoint::hit("engine.step.recorded");
        let (mut resolved, _level) = imageless::resolved(&node, &id, "build", &draft)?;
        let mounts = &mut resolved.spec.mounts;
        mounts.extend(shown.into_iter().map(|(target, layers, subpath)| Mount {
            target,
            writable: false,
            source: MountSource::Layers { layers, subpath },
            mode: String::new(),
            owner: MountOwner::default(),
            relabel: None,
        }));
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        let definition = Definition {
            id,
            name,
            created: clock::now(),
            draft,
            spec: resolved.spec,
            warnings: resolved.warnings,
        };
        let snapshot = node.store.snapshots().create_on(id, &layers)?;
        store::failpoint::hit("engine.step.rooted");
        Ok(Actor::new(node, definition, State::default(), Some(snapshot)).fleeting())
    })
    .await?;
    Ok((actor, handouts))
}

/// Devices of the Container Device Interface; those that are not there and need not be are left
/// out.
fn devices(dirs: &[PathBuf], wanted: &[(String, bool)]) -> Result<Vec<DeviceRequest>> {
    let mut requests = Vec::new();
    for (name, required) in wanted {
        let request = DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: vec![name.clone()],
            ..DeviceRequest::default()
        };
        match crate::cdi::edits(dirs, std::slice::from_ref(&request)) {
            Ok(_) => requests.push(request),
            Err(error) if *required => return Err(error),
            Err(error) => tracing::debug!(%error, "a step goes without a device"),
        }
    }
    Ok(requests)
}

/// The step as a container is asked for.
fn draft(step: Step, binds: super::handouts::Given) -> Draft {
    let mut env = step.env;
    for (name, secret) in step.secret_env {
        let value = String::from_utf8_lossy(&secret.0);
        env.retain(|known| known.split('=').next() != Some(name.as_str()));
        env.push(format!("{name}={value}"));
    }
    let network = match (step.network, step.network_name.as_str()) {
        (StepNetwork::None, _) | (StepNetwork::Sandbox, "none") => NetworkMode::None,
        (StepNetwork::Host, _) | (StepNetwork::Sandbox, "host") => NetworkMode::Host,
        (StepNetwork::Sandbox, "" | "default") => NetworkMode::Default,
        (StepNetwork::Sandbox, name) => match name.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_owned()),
            None => NetworkMode::Named(name.to_owned()),
        },
    };
    let host = HostDraft {
        binds: binds.binds,
        tmpfs: binds.tmpfs,
        resources: Resources {
            ulimits: step
                .ulimits
                .iter()
                .map(|limit| Ulimit {
                    name: limit.name.clone(),
                    soft: limit.soft,
                    hard: limit.hard,
                })
                .collect(),
            ..step.limits.as_ref().map(resources).unwrap_or_default()
        },
        network,
        extra_hosts: step.extra_hosts.iter().map(|(name, at)| format!("{name}:{at}")).collect(),
        privileged: step.security == SecurityMode::Insecure,
        readonly_rootfs: step.readonly_root,
        shm_size_bytes: step.shm_bytes.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        cgroup_parent: step.cgroup_parent,
        init: Some(false),
        log: model::draft::LogDraft { driver: "none".to_owned(), ..Default::default() },
        ..HostDraft::default()
    };
    Draft {
        image: step.name,
        entrypoint: Some(Vec::new()),
        command: Some(step.args),
        env,
        workdir: step.cwd,
        user: step.user,
        hostname: step.hostname,
        health: Some(HealthDraft { test: vec!["NONE".to_owned()], ..HealthDraft::default() }),
        host,
        ..Draft::default()
    }
}

fn resources(limits: &Limits) -> Resources {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let number = |number: i64| (number != 0).then_some(number);
    Resources {
        memory_bytes: number(limits.memory_bytes),
        memory_swap_bytes: number(limits.memory_swap_bytes),
        cpu_shares: (limits.cpu_shares != 0).then_some(limits.cpu_shares),
        cpu_period_us: (limits.cpu_period_us != 0).then_some(limits.cpu_period_us),
        cpu_quota_us: number(limits.cpu_quota_us),
        cpuset_cpus: text(&limits.cpuset_cpus),
        cpuset_mems: text(&limits.cpuset_mems),
        ..Resources::default()
    }
}

/// A bind of something of the node's own, as a container is asked for.
pub(super) fn bind(source: &std::path::Path, target: &str, readonly: bool) -> BindDraft {
    let source = source.to_string_lossy().into_owned();
    let text = format!("{source}:{target}");
    let target = target.to_owned();
    let relabel = Some(Relabel::Shared);
    BindDraft { source, target, readonly, relabel, text, ..BindDraft::default() }
}

/// Attaches ourselves to the output, from its first byte.
async fn attach(handle: &Handle) -> Result<UnixStream> {
    let failed = |errno| EngineError::io("make a socket for a step's output", errno);
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs): (OwnedFd, OwnedFd) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    let options = AttachOptions {
        stdout: true,
        stderr: true,
        stream: true,
        framed: true,
        ..Default::default()
    };
    let client = ClientStream { fd: theirs, read_ahead: Bytes::new() };
    order(handle, |answer| Order::Attach { options, client, answer }).await?;
    let ours = std::os::unix::net::UnixStream::from(ours);
    ours.set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(ours))
        .map_err(|source| EngineError::io("watch a step's output", source))
}

/// Takes the monitor's frames apart.
async fn read_output(mut from: UnixStream, output: Arc<dyn Fn(Stream, Bytes) + Send + Sync>) {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    let mut left = 0usize;
    let mut stream = Stream::Stdout;
    loop {
        if left == 0 && buffer.len() >= FRAME_HEAD {
            stream = if buffer[0] == 2 { Stream::Stderr } else { Stream::Stdout };
            buffer.advance(4);
            left = usize::try_from(buffer.get_u32()).unwrap_or(usize::MAX);
        }
        if left > 0 && !buffer.is_empty() {
            let take = left.min(buffer.len());
            left -= take;
            output(stream, buffer.split_to(take).freeze());
            continue;
        }
        if left == 0 && buffer.len() >= FRAME_HEAD {
            continue;
        }
        buffer.reserve(8 << 10);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Removes what steps of a killed daemon left: processes, control groups, files, notes.
pub(crate) async fn sweep(node: &Arc<Node>) -> Result<()> {
    let reading = Arc::clone(node);
    let left = blocking(move || Ok(reading.store.records().iter(STEPS)?)).await?;
    for (key, parent) in left {
        let Ok(id) = ContainerId::parse(&key) else { continue };
        crate::actor::abandon(node, &id).await;
        let clearing = Arc::clone(node);
        blocking(move || {
            let parent = String::from_utf8_lossy(&parent).into_owned();
            let cgroup = crate::host::cgroup_of(&parent, &id);
            crate::actor::kill_cgroup(&clearing, &cgroup);
            super::handouts::sweep(&clearing, &id)?;
            crate::actor::clear_files(&clearing, &id)?;
            forget(&clearing, &id);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
