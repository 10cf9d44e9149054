//! Every form, with the words it gives.

use super::*;
use std::collections::HashMap;

struct Map(HashMap<&'static str, String>);

impl Variables for Map {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn variables() -> Map {
    let pairs = [
        ("foo", "bar"),
        ("empty", ""),
        ("path", "/usr/local/bin/tool.tar.gz"),
        ("two", "one two"),
        ("stars", "a*b*c"),
        ("lines", "ab\ncd"),
    ];
    Map(pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
}

fn text(word: &str) -> String {
    match Expander::new('\\').expand(word, &variables()) {
        Ok(expanded) => expanded.text,
        Err(err) => format!("error: {err}"),
    }
}

#[test]
fn every_form_of_expansion() {
    for (word, want) in [
        ("$foo", "bar"),
        ("${foo}", "bar"),
        ("x${foo}y", "xbary"),
        ("$foobar", ""),
        ("\\$foo", "$foo"),
        ("\\${foo}", "${foo}"),
        ("'$foo'", "$foo"),
        ("\"$foo\"", "bar"),
        ("\"\\$foo\"", "$foo"),
        ("\"a\\b\"", "a\\b"),
        ("a\\b", "ab"),
        ("end\\", "end"),
        ("$", "$"),
        ("a$", "a$"),
        ("$/", "$/"),
        ("$1", ""),
        ("${unset:-word}", "word"),
        ("${unset-word}", "word"),
        ("${empty:-word}", "word"),
        ("${empty-word}", ""),
        ("${foo:-word}", "bar"),
        ("${foo:+word}", "word"),
        ("${empty:+word}", ""),
        ("${empty+word}", "word"),
        ("${unset+word}", ""),
        ("${unset:-${foo}}", "bar"),
        ("${unset:-${unset2:-deep}}", "deep"),
        ("${unset:-'a b'}", "a b"),
        ("${unset:-\\}}", "}"),
        ("${foo:?needed}", "bar"),
        ("${foo?needed}", "bar"),
        ("${empty?needed}", ""),
        ("${path#*/}", "usr/local/bin/tool.tar.gz"),
        ("${path##*/}", "tool.tar.gz"),
        ("${path%.*}", "/usr/local/bin/tool.tar"),
        ("${path%%.*}", "/usr/local/bin/tool"),
        ("${path#nothing}", "/usr/local/bin/tool.tar.gz"),
        ("${path%?z}", "/usr/local/bin/tool.tar."),
        ("${path/local/LOCAL}", "/usr/LOCAL/bin/tool.tar.gz"),
        ("${path//\\//-}", "-usr-local-bin-tool.tar.gz"),
        ("${path/\\/*\\//x}", "xtool.tar.gz"),
        ("${stars#a\\*}", "b*c"),
        ("${stars//\\*/}", "abc"),
        ("${lines#*}", "ab\ncd"),
        ("${lines##*}", "\ncd"),
        ("${unset#x}", ""),
        ("${unset/x/y}", ""),
        ("héllo $foo", "héllo bar"),
        ("<<EOF", "<<EOF"),
    ] {
        assert_eq!(text(word), want, "{word}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (word, want) in [
        ("${foo", "failed to process \"${foo\": syntax error: missing '}'"),
        ("${", "failed to process \"${\": syntax error: missing '}'"),
        ("${}", "failed to process \"${}\": syntax error: bad substitution"),
        ("${:}", "failed to process \"${:}\": syntax error: bad substitution"),
        ("${foo:x}", "failed to process \"${foo:x}\": unsupported modifier (:x) in substitution"),
        ("${foo:#x}", "failed to process \"${foo:#x}\": unsupported modifier (:#) in substitution"),
        ("${foo!x}", "failed to process \"${foo!x}\": unsupported modifier (!) in substitution"),
        ("${unset?}", "failed to process \"${unset?}\": unset: is not allowed to be unset"),
        ("${empty:?}", "failed to process \"${empty:?}\": empty: is not allowed to be empty"),
        ("${unset:?say so}", "failed to process \"${unset:?say so}\": unset: say so"),
        ("${foo:-x", "failed to process \"${foo:-x\": syntax error: missing '}'"),
        ("${foo/x}", "failed to process \"${foo/x}\": syntax error: missing '/' in ${}"),
        (
            "'open",
            "failed to process \"'open\": unexpected end of statement while looking for matching \
             single-quote",
        ),
        (
            "\"open",
            "failed to process \"\\\"open\": unexpected end of statement while looking for \
             matching double-quote",
        ),
    ] {
        assert_eq!(text(word), format!("error: {want}"), "{word}");
    }
}

#[test]
fn words_end_at_blanks_that_nothing_protects() {
    let words = |word: &str| Expander::new('\\').expand(word, &variables()).unwrap().words;
    assert_eq!(words("a b"), ["a", "b"]);
    assert_eq!(words("$two"), ["one", "two"]);
    assert_eq!(words("\"$two\""), ["one two"]);
    assert_eq!(words("a\\ b"), ["a b"]);
    assert_eq!(words("x${unset:-y}z"), ["xyz"]);
    assert_eq!(words("  "), Vec::<String>::new());
    assert_eq!(words("<< EOF x"), ["<< EOF", "x"]);
}

#[test]
fn what_was_used_is_known() {
    let expanded = Expander::new('\\').expand("$foo ${unset:-$other}", &variables()).unwrap();
    assert_eq!(expanded.matched.into_iter().collect::<Vec<_>>(), ["foo"]);
    assert_eq!(expanded.unmatched.into_iter().collect::<Vec<_>>(), ["other", "unset"]);
}

#[test]
fn quotes_and_unset_variables_may_stay() {
    let raw = Expander {
        quotes: Quotes::Keep,
        keep_escapes: true,
        keep_unset: true,
        ..Expander::new('\\')
    };
    let text = |word: &str| raw.expand(word, &variables()).unwrap().text;
    assert_eq!(text("'a' \"$foo\" $unset ${unset:-x} a\\b"), "'a' \"bar\" $unset ${unset:-x} a\\b");
    let literal = Expander { quotes: Quotes::Ignore, ..Expander::new('\\') };
    assert_eq!(literal.expand("it's $foo \"x", &variables()).unwrap().text, "it's bar \"x");
    let backtick = Expander::new('`');
    assert_eq!(backtick.expand("c:\\dir `$foo", &variables()).unwrap().text, "c:\\dir $foo");
}

#[test]
fn growth_depth_and_cost_are_bounded() {
    let big = Map(HashMap::from([("a", "x".repeat(MAX_EXPANDED_BYTES / 2 + 1))]));
    let expander = Expander::new('\\');
    let is_limit = |word: &str| matches!(expander.expand(word, &big), Err(ExpandError::Limit(_)));
    assert!(is_limit("$a$a"));
    assert!(is_limit("${a//x/yy}"));
    assert!(is_limit(&format!("{}x", "${b:-".repeat(MAX_DEPTH + 1))));
    assert!(is_limit("${a//*x*x*x*x*xy/}"));
    assert_eq!(expander.expand("${a#?}", &big).unwrap().text.len(), MAX_EXPANDED_BYTES / 2);
}
