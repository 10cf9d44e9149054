//! runtime: written from the blueprint.
