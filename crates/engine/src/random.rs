//! Where the engine's randomness comes from: the kernel.

use crate::{EngineError, Result};

/// 32 random bytes: an id.
pub(crate) fn id_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| EngineError::Internal(format!("read random bytes: {error}")))?;
    Ok(bytes)
}

/// 64 random hex digits.
pub(crate) fn hex() -> Result<String> {
    Ok(model::ContainerId::from_bytes(id_bytes()?).to_string())
}

/// A random number below `end`, which is small.
pub(crate) fn below(end: usize) -> Result<usize> {
    let bytes = id_bytes()?;
    let number = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
    Ok(number % end.max(1))
}
