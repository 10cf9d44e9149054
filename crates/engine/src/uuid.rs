//! The daemon's id.

use crate::{Result, random};

/// A random UUID, version 4.
pub(crate) fn random_uuid() -> Result<String> {
    let mut bytes = random::id_bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = model::ContainerId::from_bytes(bytes).to_string();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
    Ok(parts.join("-"))
}
