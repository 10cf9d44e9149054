//! Dockerfiles of every kind, and what is planned for them: the graph, the configuration, the
//! history and the checks, written out and compared with what was read and found right.

mod planned;

use std::path::Path;

#[test]
fn every_dockerfile_of_the_corpus_is_planned() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus");
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
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
