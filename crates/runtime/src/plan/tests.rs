//! Plans by data.
