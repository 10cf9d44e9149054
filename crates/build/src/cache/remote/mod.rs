//! Caches of others: of registries, of layouts, in images. What they hold is known at the start of
//! a build; layers are fetched when they are needed.
//!
//! ```text
//! import: manifest ─▶ document ─▶ key ─▶ layers (not here yet)      fetch: those that are needed
//! export: steps of the build ─▶ document, layers packed ─▶ registry or layout
//! ```

mod document;
mod export;
mod import;

pub(crate) use document::{INLINE, Step, write_inline};
pub(crate) use export::{exports, put_blob, put_document, steps};
pub(crate) use import::{Imports, from_layout, import};
