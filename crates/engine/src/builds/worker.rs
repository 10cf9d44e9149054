//! The node as a worker of builds: its images, its registries, its containers.

use super::step;
use crate::node::Node;
use build::client::Future;
use build::platform::Platform;
use build::worker::{BaseImage, ImageAsk, KnownConfig, Push, Ran, Step, Worker};
use build::{Error, Result};
use model::Digest;
use model::error::HasKind;
use std::sync::Arc;
use store::LayerOptions;

/// The node, for the solver.
pub(super) struct NodeWorker {
    node: Arc<Node>,
}

impl NodeWorker {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

pub(super) fn failed(error: crate::EngineError) -> Error {
    Error::Failed { kind: error.kind(), message: crate::error::chain(&error) }
}

/// The host's own, and those that the kernel hands to an interpreter that was fixed when it was
/// registered: only those run inside a root that does not have the interpreter.
pub(super) fn platforms() -> Vec<Platform> {
    let host = Platform::of_this_build();
    let known = [
        ("qemu-x86_64", "amd64"),
        ("qemu-aarch64", "arm64"),
        ("qemu-arm", "arm"),
        ("qemu-riscv64", "riscv64"),
        ("qemu-ppc64le", "ppc64le"),
        ("qemu-s390x", "s390x"),
        ("qemu-i386", "386"),
    ];
    let enabled = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/binfmt_misc/{name}"));
        text.is_ok_and(|text| {
            let fixed = |line: &str| line.strip_prefix("flags:").is_some_and(|it| it.contains('F'));
            text.starts_with("enabled") && text.lines().any(fixed)
        })
    };
    let foreign = known
        .iter()
        .filter(|(name, _)| enabled(name))
        .map(|(_, architecture)| Platform::new("linux", architecture, ""))
        .filter(|platform| *platform != host)
        .collect::<Vec<_>>();
    [host.clone()].into_iter().chain(foreign).collect()
}

impl Worker for NodeWorker {
    fn image<'a>(&'a self, ask: ImageAsk<'a>) -> Future<'a, Result<BaseImage>> {
        Box::pin(async move { super::pull::image(&self.node, &ask).await })
    }

    fn config<'a>(&'a self, ask: ImageAsk<'a>) -> Future<'a, Result<KnownConfig>> {
        Box::pin(async move { super::pull::config(&self.node, &ask).await })
    }

    fn run<'a>(&'a self, step: Step) -> Future<'a, Result<Ran>> {
        Box::pin(async move {
            let lease = Arc::clone(&step.lease);
            let options = LayerOptions {
                latest_mtime: step.latest_mtime,
                mounted: mounted(&step),
                keep_empty: true,
            };
            step::run(&self.node, step, lease, options).await.map_err(failed)
        })
    }

    fn push<'a>(&'a self, push: Push<'a>) -> Future<'a, Result<Digest>> {
        Box::pin(super::pull::push(&self.node, push))
    }

    fn registry(&self) -> registry::Client {
        self.node.live().remote.clone()
    }

    fn platforms(&self) -> Vec<Platform> {
        platforms()
    }
}

/// Where something is mounted in a step: the kernel's file systems, the engine's files, the step's.
fn mounted(step: &Step) -> Vec<String> {
    let own = ["/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];
    let asked = step.mounts.iter().map(|mount| mount.target.clone());
    // Those in others come first, so that what held only them is empty by then.
    let mut all: Vec<String> = own.iter().map(|path| (*path).to_owned()).chain(asked).collect();
    all.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    all
}
