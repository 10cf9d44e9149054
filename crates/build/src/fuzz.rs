//! What of this crate reads bytes from outside, one function each, for fuzzers and for the tests
//! that replay what fuzzers have found (`fuzz/corpus`). Beside not panicking, each says what must
//! hold of whatever it is given. Not part of the interface.

use crate::dockerfile::Dockerfile;
use crate::frontend::{self, KnownImages, PlanOptions};
use crate::glob::Glob;
use crate::ignore::{self, Matcher};
use crate::platform::Platform;

/// A function with its name.
pub type Target = (&'static str, fn(&[u8]));

/// The functions by name.
pub const TARGETS: &[Target] = &[("dockerfile", dockerfile), ("ignore", ignored), ("glob", glob)];

/// A Dockerfile, as far as it gets without knowing its base images.
fn dockerfile(data: &[u8]) {
    let Ok(file) = Dockerfile::parse("Dockerfile", data) else { return };
    let _ = frontend::stages(&file);
    let _ = frontend::plan(
        &file,
        &PlanOptions::new(Platform::of_this_build()),
        &KnownImages::default(),
    );
}

/// A `.dockerignore`; what is after its first NUL are paths, a line each.
fn ignored(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(patterns) = ignore::read(&data[..end]) else { return };
    let Ok(matcher) = Matcher::new(&patterns) else { return };
    for path in String::from_utf8_lossy(data.get(end + 1..).unwrap_or_default()).lines().take(64) {
        // Walks ask for what has a name.
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            continue;
        }
        let ignored = matcher.matches(path);
        // A directory that is passed over has nothing in it that is not ignored.
        if ignored && matcher.prunes(path) {
            assert!(matcher.matches(&format!("{path}/below")), "{path:?} {patterns:?}");
        }
    }
}

/// A pattern; what is after its first line is matched.
fn glob(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(glob) = Glob::parse(pattern) else { return };
    let _ = glob.matches(rest);
}
