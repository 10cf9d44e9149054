//! Files in TOML that the administrator writes. What is wrong in one is said with file and line,
//! and without its words: they may be secret.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::Path;

/// The longest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file says; nothing when there is none.
///
/// # Errors
/// It cannot be read, or says what cannot be.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let failed = |why: &dyn std::fmt::Display| Error::config(path, why);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) => {
            use std::io::ErrorKind::{NotADirectory, NotFound};
            let absent = matches!(error.kind(), NotFound | NotADirectory);
            return if absent { Ok(None) } else { Err(failed(&error)) };
        }
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(&format_args!("more than {MAX_FILE_BYTES} bytes")));
    }
    parse(&text).map(Some).map_err(|why| failed(&why))
}

/// What a text says.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        let message = error.message();
        // A value of the wrong type would be repeated.
        let message = match message.rsplit_once(", expected ") {
            Some((what, wanted)) if what.starts_with("invalid ") => format!("want {wanted}"),
            _ => message.to_owned(),
        };
        format!("line {line}: {message}")
    })
}
