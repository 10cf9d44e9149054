//! model: written from the blueprint.
