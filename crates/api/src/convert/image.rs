//! Images as listed and inspected, and what removing them did.

use std::collections::BTreeMap;

use model::image::{
    Document, HistoryLine, ImageConfig, ImageLine, ImageView, ManifestKind, ManifestView, Removed,
};
use wire::docker::image as wire_image;
use wire::docker::{ApiVersion, Empty};

use super::{config, null_if_empty, null_if_empty_map, port, signed};
use crate::moment::rfc3339;

/// One line of the list. Shared bytes and users are counted only when asked for, as in Docker.
pub(crate) fn summary(line: ImageLine, shared: bool, v: ApiVersion) -> wire_image::ImageSummary {
    let size = signed(line.size_bytes);
    wire_image::ImageSummary {
        containers: if shared { i64::from(line.containers) } else { -1 },
        created: line.created.map_or(0, |created| created.seconds()),
        id: line.id.to_string(),
        labels: null_if_empty_map(line.labels),
        parent_id: line.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        repo_digests: line.digests,
        repo_tags: line.tags,
        shared_size: if shared { signed(line.shared_bytes) } else { -1 },
        size,
        virtual_size: (!v.at_least(44)).then_some(size),
        descriptor: line.target.as_ref().filter(|_| v.at_least(48)).map(descriptor),
        manifests: Vec::new(),
    }
}

fn descriptor(document: &Document) -> wire_image::Descriptor {
    wire_image::Descriptor {
        media_type: document.media_type.clone(),
        digest: document.digest.clone(),
        size: signed(document.size_bytes),
        ..wire_image::Descriptor::default()
    }
}

/// The manifest of one image, with what it runs on.
pub(crate) fn of_platform(
    (document, platform): &(Document, (String, String, String)),
) -> wire_image::Descriptor {
    let (os, architecture, variant) = platform.clone();
    let platform =
        wire_image::Platform { os, architecture, variant, ..wire_image::Platform::default() };
    wire_image::Descriptor { platform: Some(platform), ..descriptor(document) }
}

/// A manifest behind an image's name.
pub(crate) fn manifest(view: &ManifestView) -> wire_image::ManifestSummary {
    let (os, architecture, variant) = view.platform.clone();
    let platform =
        wire_image::Platform { os, architecture, variant, ..wire_image::Platform::default() };
    let shown = wire_image::Descriptor {
        platform: (!platform.os.is_empty()).then(|| platform.clone()),
        ..descriptor(&view.document)
    };
    let mut summary = wire_image::ManifestSummary {
        id: view.document.digest.clone(),
        descriptor: shown,
        available: view.available,
        size: wire_image::ManifestSize {
            content: signed(view.content_bytes),
            total: signed(view.content_bytes + view.unpacked_bytes),
        },
        ..wire_image::ManifestSummary::default()
    };
    match &view.kind {
        ManifestKind::Image => {
            "image".clone_into(&mut summary.kind);
            summary.image_data = Some(wire_image::ImageData {
                platform,
                containers: view.containers.clone(),
                size: wire_image::UnpackedSize { unpacked: signed(view.unpacked_bytes) },
            });
        }
        ManifestKind::Attestation(subject) => {
            "attestation".clone_into(&mut summary.kind);
            let subject = subject.clone();
            summary.attestation_data = Some(wire_image::AttestationData { subject });
        }
    }
    summary
}

/// Everything about one image.
pub(crate) fn inspect(
    view: &ImageView,
    driver: &str,
    v: ApiVersion,
) -> wire_image::ImageInspect<wire_image::ImageConfig> {
    let size = signed(view.size_bytes);
    let (upper, lower) = match view.layer_paths.split_first() {
        Some((top, rest)) => (top.clone(), rest.join(":")),
        None => (String::new(), String::new()),
    };
    let mut data = BTreeMap::from([("UpperDir".to_owned(), upper)]);
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower);
    }
    wire_image::ImageInspect {
        id: view.id.to_string(),
        repo_tags: view.tags.clone(),
        repo_digests: view.digests.clone(),
        parent: (!v.at_least(52))
            .then(|| view.parent.map(|parent| parent.to_string()).unwrap_or_default()),
        comment: view.comment.clone(),
        created: view.created.map(rfc3339),
        container: Some(view.container.clone()).filter(|id| !v.at_least(45) && !id.is_empty()),
        container_config: (!v.at_least(45)).then(Default::default),
        docker_version: (!v.at_least(52)).then(String::new),
        author: view.author.clone(),
        config: Some(image_config(&view.config)),
        architecture: view.architecture.clone(),
        variant: view.variant.clone(),
        os: view.os.clone(),
        size,
        virtual_size: (!v.at_least(44)).then_some(size),
        graph_driver: wire_image::DriverData { data: Some(data), name: driver.to_owned() },
        root_fs: wire_image::RootFs {
            kind: "layers".to_owned(),
            layers: view.layers.iter().map(ToString::to_string).collect(),
        },
        metadata: wire_image::ImageMetadata { last_tag_time: rfc3339(view.last_tagged) },
        descriptor: view.target.as_ref().filter(|_| v.at_least(48)).map(descriptor),
        ..wire_image::ImageInspect::default()
    }
}

/// The same with its configuration in the shape of another version.
pub(crate) fn with_config<C: From<wire_image::ImageConfig> + Default + PartialEq>(
    image: wire_image::ImageInspect,
) -> wire_image::ImageInspect<C> {
    wire_image::ImageInspect {
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image.parent,
        comment: image.comment,
        created: image.created,
        container: image.container,
        container_config: image.container_config,
        docker_version: image.docker_version,
        author: image.author,
        config: image.config.map(Into::into),
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        os_version: image.os_version,
        size: image.size,
        virtual_size: image.virtual_size,
        graph_driver: image.graph_driver,
        root_fs: image.root_fs,
        metadata: image.metadata,
        descriptor: image.descriptor,
        manifests: image.manifests,
    }
}

fn image_config(config: &ImageConfig) -> wire_image::ImageConfig {
    let empty = |key: String| (key, Empty {});
    wire_image::ImageConfig {
        user: config.user.clone(),
        exposed_ports: config
            .exposed_ports
            .iter()
            .map(|port| empty(port::spec_text(*port)))
            .collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.command.clone(),
        volumes: config.volumes.iter().cloned().map(empty).collect(),
        working_dir: config.workdir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        args_escaped: false,
        healthcheck: config.health.as_ref().map(config::health),
        on_build: config.on_build.clone(),
        shell: config.shell.clone().unwrap_or_default(),
    }
}

/// One line of the history.
pub(crate) fn history(line: &HistoryLine) -> wire_image::HistoryItem {
    wire_image::HistoryItem {
        comment: line.comment.clone(),
        created: line.created.seconds(),
        created_by: line.created_by.clone(),
        id: line.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: signed(line.size_bytes),
        tags: null_if_empty(line.tags.clone()),
    }
}

/// What removing did.
pub(crate) fn removed(item: Removed) -> wire_image::ImageDeleteItem {
    let mut shown = wire_image::ImageDeleteItem::default();
    match item {
        Removed::Untagged(reference) => shown.untagged = reference,
        Removed::Deleted(digest) => shown.deleted = digest.to_string(),
    }
    shown
}
