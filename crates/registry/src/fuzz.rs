//! What of this crate reads bytes from outside, one function each, for fuzzers and for the tests
//! that replay what fuzzers have found (`fuzz/corpus`). Beside not panicking, each says what must
//! hold of whatever it is given. Not part of the interface.

use crate::client::{challenge, manifest, url};
use crate::server;

/// A function with its name.
pub type Target = (&'static str, fn(&[u8]));

/// The functions by name.
pub const TARGETS: &[Target] = &[
    ("manifest", manifest),
    ("challenge", challenge),
    ("url", url),
    ("route", server::fuzz::route),
    ("range", server::fuzz::range),
    ("upload", server::fuzz::manifest),
];

/// A manifest or an index from a registry. The first line is the media type its sender gives.
fn manifest(data: &[u8]) {
    let (said, bytes) = halves(data);
    let said = String::from_utf8_lossy(said);
    let said = Some(&*said).filter(|said| !said.is_empty());
    let Ok(document) = manifest::read(bytes.to_vec(), said, None) else { return };
    assert!(document.bytes == bytes);
    if let manifest::Kind::Manifest(manifest) = &document.kind {
        let _ = manifest::image_parts(manifest);
    }
}

/// `WWW-Authenticate`.
fn challenge(data: &[u8]) {
    let _ = challenge::parse(&String::from_utf8_lossy(data));
}

/// A URL, and where it sends one on to.
fn url(data: &[u8]) {
    let (first, second) = halves(data);
    let Ok(base) = url::Url::parse(&String::from_utf8_lossy(first)) else { return };
    let _ = base.join(&String::from_utf8_lossy(second));
}

/// What is before the first line's end, and what is after it.
pub(crate) fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    end.map_or((data, &[]), |end| (&data[..end], &data[end + 1..]))
}
