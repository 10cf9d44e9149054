//! Dockerfiles as values: what was written, with the place of everything. Knows nothing of stages'
//! meaning, of images or of files.

use crate::span::Source;
use std::sync::Arc;

/// A Dockerfile, parsed.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text, for messages.
    pub source: Arc<Source>,
}
