//! Environment variables and labels, from flags and from files with one per line.

use std::collections::BTreeMap;
use std::fs;

use crate::flags::Matches;

/// One `-e`: `NAME=value`, or `NAME` for the value that this process has. Nothing when it has none.
pub(crate) fn variable(text: &str) -> Result<Option<String>, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(Some(text.to_owned())),
        None if text.is_empty() => Err("invalid environment variable: ".to_owned()),
        None => Ok(std::env::var(text).ok().map(|value| format!("{text}={value}"))),
    }
}

/// All variables: files first, then flags, so that flags win.
pub(crate) fn variables(matches: &Matches) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for path in matches.list("env-file") {
        for line in lines(path, "environment file", "variable")? {
            match line.contains('=') {
                true => all.push(line),
                false => all.extend(variable(&line)?),
            }
        }
    }
    let mut given: Vec<String> = Vec::new();
    for text in matches.list("env") {
        // A name without a value unsets the image's variable.
        let pair = variable(text)?.unwrap_or_else(|| text.to_owned());
        let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        match given.iter_mut().find(|known| name(known) == name(&pair)) {
            Some(known) => *known = pair,
            None => given.push(pair),
        }
    }
    all.extend(given);
    Ok(all)
}

/// All labels: files first, then flags.
pub(crate) fn labels(matches: &Matches) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for path in matches.list("label-file") {
        let lines = lines(path, "label file", "label")?;
        // A name alone is passed over, as a variable that is not set.
        let lines = lines.iter().map(String::as_str).filter(|line| line.contains('='));
        all.extend(pairs(&lines.collect::<Vec<_>>()));
    }
    all.extend(pairs(&matches.list("label")));
    Ok(all)
}

/// `name=value`, or `name` for an empty value.
pub(crate) fn pairs(list: &[&str]) -> BTreeMap<String, String> {
    let pair = |text: &&str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}

/// The lines of a file that are neither blank nor comments.
fn lines(path: &str, what: &str, item: &str) -> Result<Vec<String>, String> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        std::io::ErrorKind::PermissionDenied => format!("open {path}: permission denied"),
        _ => format!("open {path}: {error}"),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("invalid {what}: {path}: it is not valid UTF-8"))?;
    let mut found = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("invalid {what} '{path}': no {item} name on line '{line}'"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("invalid {what} '{path}': {item} '{name}' contains whitespaces"));
        }
        found.push(line.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names() {
        assert_eq!(variable("A=b=c").unwrap().as_deref(), Some("A=b=c"));
        assert_eq!(variable("A=").unwrap().as_deref(), Some("A="));
        assert_eq!(variable("=x").unwrap_err(), "invalid environment variable: =x");
        assert_eq!(variable("ESTIBA_SURELY_UNSET").unwrap(), None);
    }

    #[test]
    fn files_have_one_per_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\u{feff}# comment\n\n A=1\nB=x y \nHOME\n").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(lines(path, "x", "y").unwrap(), ["A=1", "B=x y ", "HOME"]);
        fs::write(file.path(), "A B=1\n").unwrap();
        assert!(lines(path, "x", "y").unwrap_err().contains("contains whitespaces"));
    }
}
