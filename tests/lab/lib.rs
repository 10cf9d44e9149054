//! The lab: gives every test a daemon of its own, in a network and mount namespace of its own,
//! with a data root, run root and cgroup of its own, and checks that nothing is left behind.
//! Tests drive it only through the real binaries, as a user would.

mod context;
pub mod corner;
mod daemon;
mod footprint;
mod leftovers;
mod program;
mod sentinel;
mod server;
mod terminal;

pub use context::text;
pub use daemon::{Lab, Setup};
pub use footprint::Footprint;
pub use program::{Output, Session};
pub use sentinel::{Sentinel, state};
pub use server::Server;
pub use terminal::Terminal;

use std::path::PathBuf;

/// The directory with the built programs: `ESTIBA_BIN`, or where cargo put this test.
pub fn binaries() -> PathBuf {
    if let Some(dir) = std::env::var_os("ESTIBA_BIN") {
        return dir.into();
    }
    let exe = std::env::current_exe().expect("a running test has a path");
    exe.parent().and_then(|deps| deps.parent()).expect("tests lie in deps/").to_path_buf()
}

/// A root filesystem archive made by `make images`.
pub fn archive(name: &str) -> PathBuf {
    let dir = std::env::var_os("ESTIBA_IMAGES").map(PathBuf::from);
    let dir =
        dir.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/images").into());
    let path = dir.join(format!("{name}.tar"));
    assert!(path.exists(), "{} is missing: run `make images`", path.display());
    path
}

/// Waits until `done` says so; the deadline only bounds a hang, it measures nothing.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited 30 s for: {what}");
}
