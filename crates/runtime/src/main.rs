//! `estiba-runtime`.
fn main() {}
