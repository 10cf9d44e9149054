//! engine: written from the blueprint.
