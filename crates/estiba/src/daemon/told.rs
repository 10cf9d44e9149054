//! What the daemon is told: flags that stay, and a file that can be read again, as one
//! configuration. What is wrong is said with the file, the line and the key.

use super::config::Config;
use super::find_runtime;
use super::given::{self, Given};
use super::proxies::masked;
use super::settings::{JSON_NAMES, WAITING};
use std::path::PathBuf;

/// Where the daemon is told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// What it was started as.
    name: String,
    flags: Given,
}

/// One reading of it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Names and texts, as given.
    pub(crate) given: Given,
    /// What they mean.
    pub(crate) config: Config,
    /// What changes nothing, a line each.
    pub(crate) moot: Vec<String>,
}

impl Told {
    pub(crate) fn new(name: &str, flags: Given) -> Self {
        Self { name: name.to_owned(), flags }
    }

    /// Reads the file, and makes one configuration of everything.
    pub(crate) fn read(&self) -> Result<Reading, String> {
        let path = self.file();
        // As for dockerd, the default file may be missing; here one that was asked for may too.
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(format!("read configuration file {}: {error}", path.display()));
            }
        };
        let in_file = |why: String| {
            format!("unable to configure the Docker daemon with file {}: {why}", path.display())
        };
        let file = given::from_json(&text).map_err(in_file)?;
        if let Some((name, why)) = Config::defaults(&self.name).first_wrong(&file) {
            let key = key_of(name);
            let line = given::line_of(&text, key).map(|line| format!("line {line}: "));
            return Err(in_file(format!("{}{key}: {why}", line.unwrap_or_default())));
        }
        let given = given::join(self.flags.clone(), file)?;
        let moot = given::served(&given)?;
        let mut config = Config::defaults(&self.name).with(&given)?;
        if !given.contains_key("runtime-path") {
            config.options.runtime_exe = find_runtime()?;
        }
        // Names are answered by a process that outlives this one.
        config.options.net.resolver = Some(config.options.exec_root.clone());
        Ok(Reading { given, config, moot })
    }

    fn file(&self) -> PathBuf {
        let asked = self.flags.get("config-file").and_then(|texts| texts.last());
        asked.map_or_else(|| Config::file_of(&self.name), PathBuf::from)
    }
}

/// The key of `daemon.json` for a setting.
pub(crate) fn key_of(name: &'static str) -> &'static str {
    JSON_NAMES.iter().find(|(_, setting)| *setting == name).map_or(name, |(key, _)| key)
}

/// A setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its name.
    pub(crate) name: &'static str,
    old: Option<Vec<String>>,
    new: Option<Vec<String>>,
}

impl Change {
    /// When it is in force, unless it is at once.
    fn when(&self) -> Option<&'static str> {
        WAITING.iter().find(|(name, _)| *name == self.name).map(|(_, when)| *when)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |texts: &Option<Vec<String>>| match texts {
            None => "the default".to_owned(),
            Some(texts) => texts.iter().map(|text| masked(text)).collect::<Vec<_>>().join(", "),
        };
        write!(f, "{}: {} -> {}", key_of(self.name), shown(&self.old), shown(&self.new))?;
        match self.when() {
            Some(when) => write!(f, " ({when})"),
            None => Ok(()),
        }
    }
}

/// What differs, by name.
pub(crate) fn changes(old: &Given, new: &Given) -> Vec<Change> {
    let mut names: Vec<&'static str> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    // These say what to do now, not how to be.
    names.retain(|name| !matches!(*name, "validate" | "version" | "config-file"));
    let change = |name: &'static str| Change {
        name,
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    };
    names.into_iter().map(change).filter(|change| change.old != change.new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (tempfile::TempDir, Told) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        std::fs::write(&file, text).unwrap();
        let runtime = std::path::Path::new("/opt/estiba-runtime");
        let flags = Given::from([
            ("config-file", vec![file.to_str().unwrap().to_owned()]),
            ("runtime-path", vec![runtime.to_str().unwrap().to_owned()]),
        ]);
        (dir, Told::new("estiba daemon", flags))
    }

    #[test]
    fn what_is_wrong_has_a_file_a_line_and_a_key() {
        for (text, want) in [
            ("{\n  \"debug\": true,\n  \"mtu\": 12\n}", "daemon.json: line 3: mtu: "),
            ("{\n  \"debug\": \"yes\"\n}", "daemon.json: line 2: debug must be true or false"),
            ("{\n\n\n  \"nope\": 1\n}", "daemon.json: line 4: the following directive"),
            ("{\n  \"debug\": true,\n}", "line 3"),
            ("{\n \"hosts\":\n  [\"npipe://x\"]}", "daemon.json: line 2: hosts: cannot listen"),
        ] {
            let (_dir, told) = told(text);
            let why = told.read().unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
    }

    /// `applied`: the configuration is another one then; `checked`: there is one value that is
    /// right; `moot`: accepted, and said to change nothing; `refused`: said to be missing here.
    #[test]
    fn every_key_of_dockers_is_served_or_refused() {
        let read = |text: &str| {
            let (_dir, told) = told(text);
            told.read()
        };
        let shown = |reading: &Reading| format!("{:?}", reading.config);
        let default = shown(&read("{}").unwrap());
        for line in include_str!("keys.tsv").lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [key, value, outcome] = columns[..] else { panic!("{line}") };
            let found = match read(&format!("{{\"{key}\": {value}}}")) {
                Err(why) if why.contains("is not supported by this version") => "refused",
                Err(why) => panic!("{key}: {why}"),
                Ok(reading) if !reading.moot.is_empty() => "moot",
                Ok(reading) if shown(&reading) == default => "checked",
                Ok(_) => "applied",
            };
            assert_eq!(found, outcome, "{key}");
        }
    }

    #[test]
    fn changes_say_from_what_to_what_and_when() {
        let read = |text: &str| {
            let (_dir, told) = told(text);
            told.read().unwrap().given
        };
        let old = read(r#"{"mtu": 1400, "labels": ["a=b"], "data-root": "/a"}"#);
        let mut new = read(r#"{"mtu": 1300, "data-root": "/b", "debug": true, "labels": ["a=b"]}"#);
        new.insert("config-file", old["config-file"].clone());
        new.insert("runtime-path", old["runtime-path"].clone());
        let shown: Vec<String> = changes(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            shown,
            [
                "data-root: /a -> /b (when the daemon starts)",
                "debug: the default -> true",
                "mtu: 1400 -> 1300"
            ]
        );
        assert_eq!(changes(&old, &old), []);
    }
}
