//! Commands about the engine as a whole.

mod df;
mod dial;
mod events;
mod info;
mod version;

pub(crate) use df::df;
pub(crate) use dial::{carry, dial_stdio};
pub(crate) use events::events;
pub(crate) use info::info;
pub(crate) use version::version;

use super::{images, prune as pruning};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::print;

/// `system prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (all, volumes) = (matches.bool("all"), matches.bool("volumes"));
    let filters = pruning::filters(invocation);
    if volumes && filters.iter().any(|(name, _)| name == "until") {
        return Err(Failure::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    let mut parts =
        vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        parts.push("all anonymous volumes not used by at least one container");
    }
    parts.push(match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    });
    parts.push(if all { "all build cache" } else { "unused build cache" });
    let lines: String = parts.iter().map(|part| format!("  - {part}\n")).collect();
    let warning = format!("This will remove:\n{lines}");
    if !pruning::agreed(invocation, &warning)? {
        return Ok(0);
    }
    let client = invocation.client()?;
    let report = client.container_prune(&filters).await?;
    let mut freed = report.space_reclaimed;
    let removed = report.containers_deleted.unwrap_or_default();
    print(pruning::section("Deleted Containers:", &removed))?;
    let report = client.network_prune(&filters).await?;
    let removed = report.networks_deleted.unwrap_or_default();
    print(pruning::section("Deleted Networks:", &removed))?;
    if volumes {
        let report = client.volume_prune(&filters).await?;
        freed += report.space_reclaimed;
        let removed = report.volumes_deleted.unwrap_or_default();
        print(pruning::section("Deleted Volumes:", &removed))?;
    }
    let mut image_filters = filters.clone();
    image_filters.push(("dangling".to_owned(), (!all).to_string()));
    let report = client.image_prune(&image_filters).await?;
    freed += report.space_reclaimed;
    print(pruning::section("Deleted Images:", &images::removed(report.images_deleted)))?;
    // An engine without a builder has no cache to clean.
    if let Ok(report) = client.build_prune(all, &filters).await {
        freed += report.space_reclaimed;
        let removed = report.caches_deleted.unwrap_or_default();
        print(pruning::section("Deleted build cache objects:", &removed))?;
    }
    print(pruning::total(freed))?;
    Ok(0)
}
