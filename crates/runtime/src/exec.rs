//! Entering a container.
