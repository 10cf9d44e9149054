//! Docker's JSON to the engine's nouns and back; nowhere else. One file per noun. Everything that
//! arrives as text is parsed here, once; a refusal names the field in the words that Docker's users
//! search for. Whether what was asked makes sense on this host is for the engine to say.

pub(crate) mod bind;
pub(crate) mod config;
pub(crate) mod draft;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod resources;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod system;
pub(crate) mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// A Go slice that is `null` when empty.
pub(crate) fn null_if_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// A Go map that is `null` when empty.
pub(crate) fn null_if_empty_map<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    Some(map).filter(|map| !map.is_empty())
}

/// A count for the wire, where Go uses signed numbers.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A terminal's height and width; zeros mean that it has none.
pub(crate) fn console_size(size: [u32; 2]) -> Option<(u16, u16)> {
    let clamp = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    (size != [0, 0]).then(|| (clamp(size[0]), clamp(size[1])))
}
