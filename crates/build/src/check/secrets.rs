//! Names that look like secrets' names.

/// Words that make a name one: the whole name, or between underscores.
const SUSPECT: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
/// Words that make it harmless again.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Whether a variable of that name holds a secret by all appearances (`DATABASE_PASSWORD`).
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    // `api_key` has `key`; a harmless word anywhere clears the name.
    has(&SUSPECT) && !has(&HARMLESS)
}
