//! Root file systems.
