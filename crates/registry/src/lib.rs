//! The distribution protocol, both sides: a client for every registry and a registry of our own.
//! Knows the store, never containers or the Engine API.
