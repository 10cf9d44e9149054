//! api: written from the blueprint.
