//! Dockerfiles of every kind, and what is planned for them: the graph, the configuration, the
//! history and the checks, written out and compared with what was read and found right.

mod planned;

use std::path::{Path, PathBuf};

/// The files in order.
fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus");
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("the corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    names.sort();
    names
}

#[test]
fn every_dockerfile_of_the_corpus_is_planned() {
    let names = corpus();
    assert!(names.len() >= 60, "{} files", names.len());
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read(&path).unwrap();
        let described = planned::described(&text, &planned::options());
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("data/planned");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, described));
    }
}

/// A file with a few bytes changed, doubled or lost; the same for the same `seed`.
fn damaged(text: &[u8], mut seed: u64) -> Vec<u8> {
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below.max(1)
    };
    let signs = b"\\$\"'{}[]<>-=:,/\n\t# !*?%\xff";
    let mut out = text.to_vec();
    for _ in 0..4 {
        if out.is_empty() {
            break;
        }
        let at = random(out.len());
        match random(4) {
            0 => out[at] = signs[random(signs.len())],
            1 => out.insert(at, signs[random(signs.len())]),
            2 => out.extend_from_within(at..),
            _ => drop(out.drain(at..(at + random(9)).min(out.len()))),
        }
    }
    out
}

#[test]
fn damaged_files_are_planned_or_refused_but_never_panic() {
    let options = planned::options();
    for (number, path) in (0..).zip(corpus()) {
        let text = std::fs::read(path).unwrap();
        for seed in 0..12 {
            let damaged = damaged(&text, seed * 1000 + number);
            assert!(!planned::described(&damaged, &options).is_empty());
        }
    }
}
