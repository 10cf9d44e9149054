//! store: written from the blueprint.
