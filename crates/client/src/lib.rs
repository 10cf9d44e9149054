//! client: written from the blueprint.
