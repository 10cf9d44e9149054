//! sys: written from the blueprint.
