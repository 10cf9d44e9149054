//! What the handles share.

/// The node's parts.
pub(crate) struct Node {}
