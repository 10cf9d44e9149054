//! `system df`.

use wire::docker::container::ContainerSummary;
use wire::docker::system::{BuildCache, LegacyDiskUsage};

use super::super::{containers, images, volumes};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::{self, Row, Table, short_id};
use crate::invocation::Invocation;
use crate::terminal::print;
use crate::{time, units};

const SUMMARY: Table = Table {
    default: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    titles: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
    type_name: "*formatter.diskUsageImagesContext",
};

const CACHE: Table = Table {
    default: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t\
              {{.UsageCount}}\t{{.Shared}}",
    titles: &[
        ("CacheType", "CACHE TYPE"),
        ("CreatedSince", "CREATED"),
        ("ID", "CACHE ID"),
        ("LastUsedSince", "LAST USED"),
        ("Shared", "SHARED"),
        ("Size", "SIZE"),
        ("UsageCount", "USAGE"),
    ],
    type_name: "*formatter.buildCacheContext",
};

const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t\
                      {{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t\
                          {{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";

/// `system df`.
pub(crate) async fn df(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (format, verbose) = (matches.text("format"), matches.bool("verbose"));
    let usage = invocation.client()?.disk_usage().await?;
    if verbose && format.is_empty() {
        print(details(&usage)?)?;
        return Ok(0);
    }
    if verbose {
        return format::document_of(format, sections(&usage), "*formatter.diskUsageContext");
    }
    format::list(&SUMMARY, format, summary(&usage))
}

/// What a template of `-v` is filled in with: a list of rows for each kind.
fn sections(usage: &LegacyDiskUsage) -> serde_json::Value {
    let list = |rows: Vec<Row>| rows.into_iter().map(Row::plain).collect::<Vec<_>>();
    let images = usage.images.as_deref().unwrap_or_default();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    serde_json::json!({
        "Images": list(images::rows(images, true, false)),
        "Containers": list(containers.iter().map(|it| containers::row(it, true)).collect()),
        "Volumes": list(volumes.iter().map(volumes::row).collect()),
        "BuildCache": list(cache_rows(usage)),
    })
}

fn human(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let bytes = bytes as f64;
    units::human_size(bytes, 4)
}

/// One kind of object: how many, how many in use, how large, how much of it could go.
struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
    share: bool,
}

impl Kind {
    fn row(&self) -> Row {
        let mut reclaimable = human(self.reclaimable);
        if self.share && self.size > 0 {
            reclaimable.push_str(&format!(" ({}%)", self.reclaimable * 100 / self.size));
        }
        Row::default()
            .with("Active", self.active.to_string())
            .with("Reclaimable", reclaimable)
            .with("Size", human(self.size))
            .with("TotalCount", self.total.to_string())
            .with("Type", self.name)
    }
}

fn summary(usage: &LegacyDiskUsage) -> Vec<Row> {
    let images = usage.images.as_deref().unwrap_or_default();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let cache = usage.build_cache.as_deref().unwrap_or_default();
    let used: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    let running = |state: &str| ["running", "paused", "restarting"].contains(&state);
    let size = |container: &ContainerSummary| container.size_rw.unwrap_or_default();
    let volume = |volume: &wire::docker::volume::Volume| match &volume.usage_data {
        Some(usage) => (usage.size.max(0), usage.ref_count > 0),
        None => (0, false),
    };
    let image_kind = Kind {
        name: "Images",
        total: images.len(),
        active: images.iter().filter(|image| image.containers > 0).count(),
        size: usage.layers_size,
        reclaimable: usage.layers_size - used,
        share: true,
    };
    let container_kind = Kind {
        name: "Containers",
        total: containers.len(),
        active: containers.iter().filter(|container| running(&container.state)).count(),
        size: containers.iter().map(size).sum(),
        reclaimable: containers.iter().filter(|c| !running(&c.state)).map(size).sum(),
        share: true,
    };
    let volume_kind = Kind {
        name: "Local Volumes",
        total: volumes.len(),
        active: volumes.iter().filter(|v| volume(v).1).count(),
        size: volumes.iter().map(|v| volume(v).0).sum(),
        reclaimable: volumes
            .iter()
            .map(volume)
            .filter(|(_, used)| !used)
            .map(|(size, _)| size)
            .sum(),
        share: true,
    };
    let counted = |cache: &&BuildCache| !cache.shared;
    let cache_kind = Kind {
        name: "Build Cache",
        total: cache.len(),
        active: cache.iter().filter(|cache| cache.in_use).count(),
        size: cache.iter().filter(counted).map(|cache| cache.size).sum(),
        reclaimable: cache.iter().filter(counted).filter(|c| !c.in_use).map(|c| c.size).sum(),
        share: false,
    };
    [image_kind, container_kind, volume_kind, cache_kind].iter().map(Kind::row).collect()
}

fn details(usage: &LegacyDiskUsage) -> Result<String, Failure> {
    let images = usage.images.as_deref().unwrap_or_default();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let cache = usage.build_cache.as_deref().unwrap_or_default();
    let image_rows = images::rows(images, false, false);
    // Only what a container added counts here, not its image.
    let own =
        |container: &ContainerSummary| ContainerSummary { size_root_fs: None, ..container.clone() };
    let container_rows = containers.iter().map(|c| containers::row(&own(c), false)).collect();
    let volume_rows = volumes.iter().map(volumes::row).collect();
    let total: i64 = cache.iter().map(|cache| cache.size).sum();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space \
         usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        format::render(&images::TABLE, IMAGES, image_rows)?,
        format::render(&containers::TABLE, CONTAINERS, container_rows)?,
        format::render(&volumes::TABLE, VOLUMES, volume_rows)?,
        human(total),
        format::render(&CACHE, "", cache_rows(usage))?,
    ))
}

fn cache_rows(usage: &LegacyDiskUsage) -> Vec<Row> {
    let ago = |text: &str| time::parse(text).map_or_else(String::new, time::ago);
    let row = |cache: &BuildCache| {
        Row::default()
            .with("CacheType", cache.kind.clone())
            .with("CreatedSince", ago(&cache.created_at))
            .with("ID", short_id(&cache.id))
            .with("LastUsedSince", cache.last_used_at.as_deref().map(ago).unwrap_or_default())
            .with("Shared", cache.shared.to_string())
            .with("Size", human(cache.size))
            .with("UsageCount", cache.usage_count.to_string())
    };
    usage.build_cache.as_deref().unwrap_or_default().iter().map(row).collect()
}
