//! Docker's matching, case by case.

use super::*;

fn ignored(patterns: &[&str], path: &str) -> bool {
    Matcher::new(patterns).unwrap().matches(path)
}

#[test]
fn single_patterns() {
    for (pattern, path, want) in [
        ("a", "a", true),
        ("a", "a/b", true),
        ("a", "b/a", false),
        ("a/", "a/b/c", true),
        ("/a", "/a", true),
        ("*", "a/b", true),
        ("*.go", "x.go", true),
        ("*.go", "d/x.go", false),
        ("*/x.go", "d/x.go", true),
        ("d/*", "d/e/f", true),
        ("**", "a/b", true),
        ("**/", "a", true),
        ("**/a", "a", true),
        ("**/a", "x/y/a", true),
        ("**/a", "xa", false),
        ("**/a", "x/a/b", true),
        ("**a", "xa", true),
        ("**a", "d/xa", true),
        ("a/**", "a/b/c", true),
        ("a/**", "a", false),
        ("a/**", "ab", false),
        ("a**", "abc", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/xb", false),
        ("**/*.go", "a.go", true),
        ("**/*.go", "x/y/a.go", true),
        ("**/.git/**", "x/.git/config", true),
        ("**/b/*.txt", "a/b/c.txt", true),
        ("a[b-d]e", "ace", true),
        ("a[^b-d]e", "aze", true),
        ("a[^b-d]e", "ace", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a.b+c", "a.b+c", true),
        ("a.b*", "axbc", false),
        ("(a|b)*", "(a|b)c", true),
        ("a{1}$*", "a{1}$x", true),
        ("?", "é", true),
        ("a/../b", "b", true),
        ("dir1/dir2", "dir1/dir2/dir3", true),
        (" b ", "b", true),
    ] {
        assert_eq!(ignored(&[pattern], path), want, "{pattern} {path}");
    }
}

#[test]
fn the_last_match_decides() {
    for (patterns, path, want) in [
        (&["*.log", "!keep.log"][..], "keep.log", false),
        (&["*.log", "!keep.log"], "x.log", true),
        (&["!keep.log", "*.log"], "keep.log", true),
        (&["docs", "!docs/README.md"], "docs/README.md", false),
        (&["docs", "!docs/README.md"], "docs/other.md", true),
        (&["**", "!a/b"], "a/b/c", false),
        (&["**", "!a/b"], "a/c", true),
        (&["*", "!src", "src/*.o"], "src/x.c", false),
        (&["*", "!src", "src/*.o"], "src/x.o", true),
        (&["!a"], "a", false),
        (&["a", "!a/b", "a/b/c"], "a/b/c", true),
        (&["a", "!a/b", "a/b/c"], "a/b/d", false),
    ] {
        assert_eq!(ignored(patterns, path), want, "{patterns:?} {path}");
    }
}

#[test]
fn a_walk_decides_as_single_questions_do() {
    let sets: &[&[&str]] = &[
        &["a", "!a/b", "a/b/c"],
        &["**/x", "!**/x/keep"],
        &["*", "!a", "!b/c"],
        &["a/**", "!a/b"],
        &["**"],
    ];
    let names = ["a", "b", "c", "x", "keep"];
    for set in sets {
        let matcher = Matcher::new(set).unwrap();
        for one in names {
            let (top, first) = matcher.step(one, None);
            assert_eq!(top, matcher.matches(one));
            for two in names {
                let two = format!("{one}/{two}");
                let (middle, second) = matcher.step(&two, Some(&first));
                assert_eq!(middle, matcher.matches(&two), "{set:?} {two}");
                for three in names {
                    let three = format!("{two}/{three}");
                    let (low, _) = matcher.step(&three, Some(&second));
                    assert_eq!(low, matcher.matches(&three), "{set:?} {three}");
                    if top && matcher.prunes(one) {
                        assert!(low, "{set:?}: {one} was pruned, {three} is wanted");
                    }
                }
            }
        }
    }
    assert!(Matcher::new(&["a", "!b"]).unwrap().prunes("a"));
    assert!(!Matcher::new(&["a", "!a/b"]).unwrap().prunes("a"));
    assert!(!Matcher::new(&["a", "!*/b"]).unwrap().prunes("a"));
}

#[test]
fn files_are_read_as_docker_does() {
    let file =
        b"\xef\xbb\xbf# comment\n\n  spaced  \n/rooted/\n!  not\r\n a/./b//c \n #no comment\n\
                 !\n/\n";
    let patterns = read(file).unwrap();
    assert_eq!(patterns, ["spaced", "rooted", "!not", "a/b/c", "#no comment", "!", "/"]);
    assert_eq!(Matcher::new(&patterns).unwrap_err(), IgnoreError::LoneBang);
    assert!(Matcher::new(&["[".to_owned()]).is_err());
    assert!(Matcher::new(&["a\\".to_owned()]).is_err());
    assert_eq!(read(&vec![b'a'; MAX_FILE_BYTES + 1]), Err(IgnoreError::Large));
    assert_eq!(candidates("sub/Dockerfile.dev")[0], "sub/Dockerfile.dev.dockerignore");
}

#[test]
fn hostile_patterns_cost_no_more_than_their_length() {
    let stars = "**/*a".repeat(400) + "z";
    let path = "a/".repeat(1000);
    assert!(!ignored(&[&stars], &format!("{path}b")));
    let deep = "x/".repeat(2000);
    assert!(ignored(&["**/nothing", "x"], &deep));
}
