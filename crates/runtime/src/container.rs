//! Creating a container.
