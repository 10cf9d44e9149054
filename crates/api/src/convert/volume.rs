//! Volumes as asked for and as they are.

use model::volume::{VolumeDraft, VolumeView};
use wire::docker::volume::{Volume, VolumeCreateBody, VolumeUsage};

use super::{null_if_empty_map, signed};
use crate::moment::rfc3339;

/// A volume as asked for.
pub(crate) fn from_wire(body: VolumeCreateBody) -> VolumeDraft {
    VolumeDraft {
        name: body.name,
        driver: body.driver,
        options: body.driver_opts.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
        ..VolumeDraft::default()
    }
}

/// A volume as it is.
pub(crate) fn to_wire(view: &VolumeView) -> Volume {
    Volume {
        created_at: rfc3339(view.created),
        driver: view.driver.clone(),
        labels: null_if_empty_map(view.labels.clone()),
        mountpoint: view.mountpoint.clone(),
        name: view.name.to_string(),
        options: null_if_empty_map(view.options.clone()),
        scope: if view.global { "global" } else { "local" }.to_owned(),
        usage_data: view
            .usage
            .map(|(bytes, users)| VolumeUsage { ref_count: i64::from(users), size: signed(bytes) }),
        status: view
            .status
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), serde_json::from_str(text).ok()?)))
            .collect(),
    }
}
