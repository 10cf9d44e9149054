//! A test runner for test programs that have a `main` of their own, because they are started again
//! as something else. It speaks what cargo and cargo-nextest ask of a test program.

#![allow(unreachable_pub, reason = "a part of test programs")]

/// Runs the tests that the command line names, or all, one after the other.
pub fn run(tests: &[(&str, fn())]) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    if has("--list") {
        if !has("--ignored") {
            tests.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return;
    }
    let mut asked: Vec<&str> = Vec::new();
    let mut skipped: Vec<&str> = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--skip" => skipped.extend(words.next()),
            "--test-threads" | "--format" | "--color" => drop(words.next()),
            flag if flag.starts_with('-') => {}
            name => asked.push(name),
        }
    }
    let named = |name: &str, list: &[&str]| list.iter().any(|part| name.contains(part));
    let mut failed = Vec::new();
    for (name, test) in tests {
        if has("--ignored") || named(name, &skipped) || !(asked.is_empty() || named(name, &asked)) {
            continue;
        }
        let verdict = if std::panic::catch_unwind(test).is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict}");
        if verdict != "ok" {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
