//! New images on this node: from a tar (import) and from what a container changed (commit).

use super::{Images, changes, now, rfc3339};
use crate::error::{Act, Error, Result};
use crate::record::Durability;
use crate::store::Lease;
use model::image::ImageDraft;
use model::{ContainerId, Denied, ImageId, ImageRef};
use std::io::Read;
use wire::oci::image::{History, ImageConfig, RootFs, RunConfig};

impl Images {
    /// Makes an image with one layer from a tar stream, plain, gzip or zstd. `source` is where it
    /// came from, for the history.
    pub fn import(&self, tar: &mut dyn Read, source: &str, draft: &ImageDraft) -> Result<ImageId> {
        let name = parse_name(&draft.reference)?;
        let mut config = ImageConfig { created: Some(rfc3339(now())), ..platform(draft)? };
        changes::apply(&mut config.config, &draft.changes)?;
        let lease = self.store.lease();
        let layer = self.store.layers().apply(&lease, tar, None)?;
        let comment = match draft.message.as_str() {
            "" => format!("Imported from {source}"),
            message => message.to_owned(),
        };
        config.comment = Some(comment.clone());
        config.author = filled(&draft.author);
        config.rootfs.diff_ids = vec![layer.diff_id.to_string()];
        config.history = vec![History {
            created: config.created.clone(),
            comment: Some(comment),
            ..History::default()
        }];
        self.publish(&lease, &config, None, name)
    }

    /// Makes an image of a container's image and what the container changed. `run` is the whole
    /// configuration to start from (the container's), `created_by` the container's command.
    /// `points` are paths, absolute, that whoever ran the container made empty to mount on: where
    /// they still are that, they are no change.
    pub fn commit(
        &self,
        container: ContainerId,
        run: RunConfig,
        created_by: &str,
        points: &[&str],
        draft: &ImageDraft,
    ) -> Result<ImageId> {
        let name = parse_name(&draft.reference)?;
        let (parent, layers) = self.store.snapshots().meta(container)?;
        let lease = self.store.lease();
        layers.iter().for_each(|layer| lease.pin(*layer));
        let mut config = match parent.and_then(|parent| self.record(parent).ok()) {
            Some(parent) => (*parent.config).clone(),
            None => platform(draft)?,
        };
        config.config = run;
        changes::apply(&mut config.config, &draft.changes)?;
        let layer = self.upper_layer(&lease, container, points)?;
        let created = rfc3339(now());
        let step = History {
            created: Some(created.clone()),
            created_by: filled(created_by),
            author: filled(&draft.author),
            comment: filled(&draft.message),
            empty_layer: layer.entries == 0,
            ..History::default()
        };
        config.created = Some(created);
        config.author = filled(&draft.author);
        config.comment = filled(&draft.message);
        if layer.entries > 0 {
            config.rootfs.diff_ids.push(layer.diff_id.to_string());
        }
        config.history.push(step);
        // What older engines noted about the container the parent was made of is not true of this.
        config.extra.remove("container_config");
        config.extra.insert("container".to_owned(), container.to_string().into());
        config.docker_version = None;
        let parent = parent.filter(|parent| self.record(*parent).is_ok());
        self.publish(&lease, &config, parent, name)
    }

    fn publish(
        &self,
        lease: &Lease,
        config: &ImageConfig,
        parent: Option<ImageId>,
        name: Option<ImageRef>,
    ) -> Result<ImageId> {
        let bytes = serde_json::to_vec(config).map_err(|e| Error::Damaged(e.to_string()))?;
        // The name makes both durable.
        let durability = match &name {
            Some(_) => Durability::Relaxed,
            None => Durability::Immediate,
        };
        let id = self.put_local(lease, &bytes, (parent, true), durability)?;
        if let Some(name) = name {
            self.set_name(id, &name)?;
        }
        Ok(id)
    }

    /// Takes the upper directory in as a layer. The tar is written by a second thread into a pipe.
    fn upper_layer(
        &self,
        lease: &Lease,
        container: ContainerId,
        points: &[&str],
    ) -> Result<crate::layer::Layer> {
        let (mut reader, mut writer) = std::io::pipe().act(|| "make pipe".into())?;
        let snapshots = self.store.snapshots();
        std::thread::scope(|scope| {
            let written =
                scope.spawn(move || snapshots.write_layer(container, points, &mut writer));
            let layer = self.store.layers().apply(lease, &mut reader, None);
            // A writer that waits for a reader which failed gets a broken pipe.
            drop(reader);
            let written = written
                .join()
                .unwrap_or_else(|_| Err(Error::Damaged("layer writer panicked".into())));
            match (written, layer) {
                (Ok(()), layer) => layer,
                // The writer's failure cut the stream off; or the reader's broke the pipe.
                (Err(_), Err(error @ (Error::Full { .. } | Error::Io { .. }))) => Err(error),
                (Err(error), _) => Err(error),
            }
        })
    }
}

/// Systems that images may be for, elsewhere.
const OTHER_SYSTEMS: [&str; 8] =
    ["aix", "darwin", "freebsd", "macos", "netbsd", "openbsd", "solaris", "windows"];

/// Architectures that may be named alone.
const ARCHITECTURES: [&str; 9] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"];

/// A configuration with nothing but the platform. Refusals are in containerd's words.
fn platform(draft: &ImageDraft) -> Result<ImageConfig> {
    let asked = draft.platform.as_str();
    let mut parts: Vec<&str> = asked.split('/').collect();
    if parts.len() == 1 && (asked.is_empty() || ARCHITECTURES.contains(&asked)) {
        parts.insert(0, "linux");
    }
    let safe = |text: &&str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let mut parts = parts.into_iter();
    let os = parts.next().unwrap_or_default();
    check_system(asked, os, safe(&os))?;
    let architecture = parts.next().filter(|part| !part.is_empty());
    let architecture = architecture.unwrap_or(host_architecture());
    let variant = parts.next();
    if parts.next().is_some() || !safe(&architecture) || !variant.iter().all(safe) {
        return Err(Denied::invalid(format!("invalid platform {asked:?}")).into());
    }
    Ok(ImageConfig {
        os: os.to_ascii_lowercase(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
        rootfs: RootFs::default(),
        ..ImageConfig::default()
    })
}

fn check_system(asked: &str, os: &str, safe: bool) -> Result<()> {
    let lower = os.to_ascii_lowercase();
    let why = if !safe {
        format!("{os:?} is an invalid OS component of {asked:?}")
    } else if lower == "linux" {
        return Ok(());
    } else if asked.contains('/') || OTHER_SYSTEMS.contains(&lower.as_str()) {
        format!("invalid platform {asked:?}: operating system is not supported")
    } else {
        format!("{asked:?}: unknown operating system or architecture")
    };
    Err(Denied::invalid(why).into())
}

/// This machine in Go's words.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn parse_name(reference: &str) -> Result<Option<ImageRef>> {
    if reference.is_empty() {
        return Ok(None);
    }
    let name = ImageRef::parse(reference)?;
    if name.digest().is_some() {
        return Err(Denied::invalid("cannot import digest reference").into());
    }
    Ok(Some(name.or_latest()))
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
