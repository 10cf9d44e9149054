//! net: written from the blueprint.
