//! cli: written from the blueprint.
