//! The documents of the Open Container Initiative: images and their distribution, and the runtime
//! bundle. This module never opens a file.

pub mod distribution;
pub mod image;
pub mod runtime;
