//! sys: written from the blueprint.
pub mod spawn;
