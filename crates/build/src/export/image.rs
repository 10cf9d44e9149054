//! The configuration of an image: what the front end said, the layers, and the times. A build whose
//! files and settings are the same as before gives the same image, with the time of the first.

use crate::cache::remote::{INLINE, Step, write_inline};
use crate::error::{Error, Result};
use crate::request::Target;
use crate::solve::{Build, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Digest, ImageId};
use sha2::{Digest as _, Sha256};
use store::record::Durability;
use wire::oci::image::{ImageConfig, RootFs};

/// Table of when an image without times was first made: nanoseconds, decimal.
const TABLE: &str = "build-images";

/// Makes the image of a result, and says whether it is new; one that is to be `named` lasts when it
/// is. Blocking.
pub(super) fn make(
    build: &Build,
    target: &Target,
    layers: &[Digest],
    inline: Option<&[Step]>,
    named: bool,
) -> Result<(ImageId, bool)> {
    let mut config = match &target.config {
        Some(config) => config.clone(),
        None => ImageConfig {
            os: target.platform.os.clone(),
            architecture: target.platform.architecture.clone(),
            variant: Some(target.platform.variant.clone()).filter(|variant| !variant.is_empty()),
            ..ImageConfig::default()
        },
    };
    config.rootfs = RootFs {
        kind: "layers".to_owned(),
        diff_ids: layers.iter().map(Digest::to_string).collect(),
    };
    config.created = None;
    let created = match build.source_date_epoch {
        Some(seconds) => seconds.saturating_mul(1_000_000_000),
        None => first_made(build, &config)?,
    };
    let created = jiff::Timestamp::from_nanosecond(i128::from(created))
        .map_err(|error| Error::invalid(format!("SOURCE_DATE_EPOCH: {error}")))?
        .to_string();
    for entry in config.history.iter_mut().filter(|entry| entry.created.is_none()) {
        entry.created = Some(created.clone());
    }
    config.created = Some(created);
    config.extra.remove(INLINE);
    if let Some(steps) = inline {
        let records = write_inline(steps, layers);
        let records = serde_json::to_vec(&records).map_err(Error::internal)?;
        config.extra.insert(INLINE.to_owned(), STANDARD.encode(records).into());
    }
    let bytes = serde_json::to_vec(&config).map_err(Error::internal)?;
    let durability = if named { Durability::Relaxed } else { Durability::Immediate };
    Ok(build.inner.store.images().put_built(&build.lease, &bytes, durability)?)
}

fn first_made(build: &Build, config: &ImageConfig) -> Result<i64> {
    let bytes = serde_json::to_vec(config).map_err(Error::internal)?;
    let key = Digest::sha256(Sha256::digest(&bytes).into()).hex();
    let records = build.inner.store.records();
    let known = records.get(TABLE, &key)?.and_then(|text| String::from_utf8(text).ok());
    if !build.no_cache
        && let Some(known) = known.and_then(|text| text.parse().ok())
    {
        return Ok(known);
    }
    let now = now().0;
    records.put(TABLE, &key, now.to_string().as_bytes(), Durability::Relaxed)?;
    Ok(now)
}
