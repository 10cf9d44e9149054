//! wire: written from the blueprint.
