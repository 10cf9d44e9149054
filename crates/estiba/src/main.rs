//! `estiba`.
fn main() {}
