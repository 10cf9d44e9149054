//! Whatever fuzzers were given and have found stays harmless: every file of the kept corpora
//! (`fuzz/corpus/<target>`) goes through its target again.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

#[test]
fn kept_corpora_do_no_harm() {
    for (name, target) in api::fuzz::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", dir.display());
    }
}
