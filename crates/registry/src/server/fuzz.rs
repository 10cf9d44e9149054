//! The server's part of [`crate::fuzz`].

use super::handle::blob::{Range, range_of};
use super::route::Route;
use crate::fuzz::halves;

/// A request line: method and path.
pub(crate) fn route(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (method, path) = text.split_once(' ').unwrap_or(("GET", &text));
    let _ = Route::parse(method, path);
}

/// A `Range` header, of a blob of eight lengths.
pub(crate) fn range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for size in [0, 1, 2, 100, 1 << 20, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        if let Range::Part(start, end) = range_of(&text, size) {
            assert!(start < end && end <= size, "{text:?} of {size}");
        }
    }
}

/// A manifest that somebody pushes. The first line is its `Content-Type`.
pub(crate) fn manifest(data: &[u8]) {
    let (said, bytes) = halves(data);
    let said = String::from_utf8_lossy(said);
    let said = Some(&*said).filter(|said| !said.is_empty());
    let _ = super::manifest::parse(bytes, said);
}
