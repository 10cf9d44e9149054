//! Exchanges two names with each other, as fast as the kernel does, for as long as it lives: what a
//! container does that races against whoever walks through its files.
//!
//! `test-swapper COUNTS NAME NAME`: to the file COUNTS it adds a byte for each thousand exchanges.
//! A name that is not there is waited for.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::OpenOptions;
use std::io::Write;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [counts, real, link] = &names[..] else { std::process::exit(2) };
    let mut counts = OpenOptions::new().append(true).create(true).open(counts).expect("counts");
    let mut swaps = 0u64;
    loop {
        if renameat_with(CWD, real, CWD, link, RenameFlags::EXCHANGE).is_err() {
            continue;
        }
        swaps += 1;
        if swaps.is_multiple_of(1000) {
            counts.write_all(b".").expect("count");
        }
    }
}
