//! What of this crate reads bytes from outside, one function each, for fuzzers and for the tests
//! that replay what fuzzers have found (`fuzz/corpus`). Beside not panicking, each says what must
//! hold of whatever it is given. Not part of the interface.

use crate::tar::name::{TreePath, mark};
use crate::tar::reader::{Discard, End, TarReader};
use crate::tar::{limits, pax};
use model::ImageRef;
use std::io::Read;

/// The most plain bytes that are taken of one input.
const MAX_PLAIN: u64 = 4 << 20;

/// A function with its name.
pub type Target = (&'static str, fn(&[u8]));

/// The functions by name.
pub const TARGETS: &[Target] = &[
    ("tar", tar),
    ("pax", records),
    ("stream", stream),
    ("reference", reference),
    ("config", config),
];

/// A tar: headers, extensions, sparse maps, names and marks.
fn tar(data: &[u8]) {
    let mut reader = TarReader::new(data, Discard, End::Anywhere);
    let mut content = vec![0; 4096];
    let mut read = 0;
    while let Ok(Some(entry)) = reader.next() {
        assert!(entry.mode <= 0o7777 && entry.size <= limits::MAX_FILE_BYTES);
        for extent in entry.extents.iter().flatten() {
            assert!(extent.offset + extent.len <= entry.size);
        }
        if let Ok(path) = TreePath::parse(&entry.name) {
            let up = |part: &std::ffi::CString| matches!(part.to_bytes(), b".." | b"." | b"");
            assert!(!path.parts().iter().any(up));
            assert_eq!(TreePath::parse(&path.to_bytes()).ok().as_ref(), Some(&path));
            let _ = mark(&path);
        }
        while let Ok(have @ 1..) = reader.read(&mut content) {
            read += have;
        }
    }
    assert!(read <= data.len());
}

/// The records of a PAX extension.
fn records(data: &[u8]) {
    if let Ok(extended) = pax::parse(data) {
        let sizes = extended.xattrs.iter().map(|(name, value)| name.len() + value.len());
        assert!(sizes.sum::<usize>() <= data.len());
    }
}

/// A stream, compressed in whatever way.
fn stream(data: &[u8]) {
    if let Ok(plain) = crate::plain(data) {
        let _ = std::io::copy(&mut plain.take(MAX_PLAIN), &mut std::io::sink());
    }
}

/// The name of an image.
fn reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = ImageRef::parse(&text) {
        let again = ImageRef::parse(&name.to_string());
        assert_eq!(again.ok().as_ref(), Some(&name), "{text:?}");
        let short = ImageRef::parse(&name.familiar());
        assert_eq!(short.ok().as_ref(), Some(&name), "{text:?}");
    }
}

/// The configuration of an image.
fn config(data: &[u8]) {
    use wire::oci::image::ImageConfig;
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(data) {
        let text = serde_json::to_vec(&config).unwrap_or_default();
        let again: Option<ImageConfig> = serde_json::from_slice(&text).ok();
        assert_eq!(again.as_ref(), Some(&config));
    }
}
