//! Whatever fuzzers were given and have found stays harmless: every file of the kept corpora
//! (`fuzz/corpus/<target>`) goes through its target again. Here, because the API is where all
//! rooms with targets meet.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(fuzz().join(dir)).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn kept_corpora_do_no_harm() {
    let rooms =
        [store::fuzz::TARGETS, registry::fuzz::TARGETS, build::fuzz::TARGETS, api::fuzz::TARGETS];
    let mut known = BTreeSet::new();
    for (name, target) in rooms.into_iter().flatten() {
        let dir = fuzz().join("corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", dir.display());
        known.insert((*name).to_owned());
    }
    // No target without a program and a corpus, and no corpus that nobody looks at.
    assert_eq!(names("corpus"), known);
    assert_eq!(names("fuzz_targets"), known);
}
