//! Definitions in a repository, or at an address: the daemon fetches them, as it fetches contexts,
//! and hands the files over. What is relative in them is where they are.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde_json::Value;

use super::arguments::HERE;
use super::target::Target;
use super::{FILES, MAX_FILE_BYTES};
use crate::commands::build;
use crate::failure::Failure;
use crate::flags::{Parsed, parse};
use crate::invocation::Invocation;
use crate::table::BUILD_FLAGS;

/// Where the definitions are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remote {
    address: String,
    git: bool,
}

impl Remote {
    /// The place that the first argument names, if it does, and the names of targets.
    pub(super) fn of(arguments: &[String]) -> (Option<Self>, &[String]) {
        match arguments.split_first() {
            Some((first, rest)) if build::is_remote(first) => (Some(Self::new(first)), rest),
            _ => (None, arguments),
        }
    }

    fn new(address: &str) -> Self {
        let plain = address.split(['#', '?']).next().unwrap_or_default();
        // The short form of old.
        if plain.starts_with("github.com/") {
            let rest = &address[plain.len()..];
            let plain = plain.trim_end_matches(".git");
            return Self { address: format!("https://{plain}.git{rest}"), git: true };
        }
        let schemes = ["git://", "ssh://", "git@"];
        let git = plain.ends_with(".git") || schemes.iter().any(|it| plain.starts_with(it));
        Self { address: address.to_owned(), git }
    }

    /// The definitions: those of these paths, or whichever of the usual ones are there.
    pub(super) async fn files(
        &self,
        invocation: &Invocation,
        paths: &[String],
    ) -> Result<Vec<(String, String)>, Failure> {
        let scratch = Scratch::new()?;
        let dockerfile =
            self.dockerfile(paths).map_err(|why| Failure::new(format!("ERROR: {why}")))?;
        let empty = scratch.0.join("empty").display().to_string();
        let out = scratch.0.join("out");
        let mut words = vec![format!("--output=type=local,dest={}", out.display())];
        if std::env::var_os("SSH_AUTH_SOCK").is_some() {
            words.push("--ssh=default".to_owned());
        }
        words.extend(["--progress=plain".to_owned(), "--".to_owned(), empty]);
        let matches = match parse(BUILD_FLAGS.iter().collect(), true, &words) {
            Ok(Parsed::Run(matches)) => matches,
            Ok(Parsed::Help(_)) | Err(_) => {
                return Err(Failure::new("ERROR: fetch the definition"));
            }
        };
        let ask = build::ask_inline(invocation, &matches, Some(&dockerfile))?;
        let screen = ask.screen();
        let fetched = build::carry_out(invocation, &matches, &ask, &screen).await;
        screen.finish();
        fetched?;
        let mut found = Vec::new();
        for name in self.names(paths) {
            let failed = |error| Failure::new(format!("ERROR: read {name}: {error}"));
            match std::fs::metadata(out.join(&name)) {
                Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE_BYTES => {
                    let text = std::fs::read_to_string(out.join(&name)).map_err(failed)?;
                    found.push((name, text));
                }
                Ok(_) => return Err(Failure::new(format!("ERROR: {name} is no definition"))),
                Err(_) if paths.is_empty() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    /// The names of the files that are fetched.
    fn names(&self, paths: &[String]) -> Vec<String> {
        if !self.git {
            let plain = self.address.split(['#', '?']).next().unwrap_or_default();
            let last = plain.rsplit('/').next().filter(|name| name.contains('.'));
            return vec![last.unwrap_or("docker-bake.hcl").to_owned()];
        }
        match paths {
            [] => FILES.iter().map(|name| (*name).to_owned()).collect(),
            paths => paths.to_vec(),
        }
    }

    /// A build that gives nothing but the definitions.
    fn dockerfile(&self, paths: &[String]) -> Result<String, String> {
        let plain = |text: &str| !text.contains(['$', '\\', '"', '\n', ' ']) && !text.is_empty();
        let names = self.names(paths);
        if let Some(odd) = names.iter().chain([&self.address]).find(|text| !plain(text)) {
            return Err(format!("{odd:?} cannot be fetched"));
        }
        if names.iter().any(|name| name.split('/').any(|part| part == "..")) {
            return Err("a definition outside of its repository".to_owned());
        }
        if !self.git {
            return Ok(format!("FROM scratch\nADD [\"{}\", \"/{}\"]\n", self.address, names[0]));
        }
        let mut text =
            format!("FROM scratch AS all\nADD [\"{}\", \"/\"]\nFROM scratch\n", self.address);
        for name in names {
            // As a pattern, so that what is not there is not missed.
            let (head, last) =
                name.split_at(name.len() - name.chars().last().map_or(0, char::len_utf8));
            text.push_str(&format!("COPY --from=all [\"/{head}[{last}]\", \"/{name}\"]\n"));
        }
        Ok(text)
    }

    /// A path of a definition, as the daemon finds it.
    fn within(&self, path: &str) -> Result<String, String> {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if !self.git {
            return Err(format!(
                "{path:?} is relative, and {} is a file: say {HERE} before paths of this host",
                self.address
            ));
        }
        if path.is_empty() || path == "." {
            return Ok(self.address.clone());
        }
        if self.address.contains('?') {
            return Err(format!("{path:?} in {}: name the commit after a #", self.address));
        }
        let (base, fragment) = self.address.split_once('#').unwrap_or((&self.address, ""));
        let (reference, above) = fragment.split_once(':').unwrap_or((fragment, ""));
        let above = above.trim_end_matches('/');
        let joined = if above.is_empty() { path.to_owned() } else { format!("{above}/{path}") };
        Ok(format!("{base}#{reference}:{joined}"))
    }

    /// Moves what is relative in a target to where its definition is.
    pub(super) fn place(&self, target: &mut Target) -> Result<(), String> {
        let relative = |path: &str| {
            !path.contains("://") && !path.starts_with("target:") && !build::is_remote(path)
        };
        let context = target.text("context").to_owned();
        if relative(&context) {
            target.values.insert("context".to_owned(), self.within(&context)?.into());
        }
        let contexts = target.values.get_mut("contexts").and_then(Value::as_object_mut);
        for value in contexts.into_iter().flat_map(|contexts| contexts.values_mut()) {
            if let Some(path) = value.as_str().filter(|path| relative(path)) {
                *value = self.within(path)?.into();
            }
        }
        Ok(())
    }
}

/// A directory of our own that goes when the definitions are read.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("estiba-bake-{}", std::process::id()));
        let failed = |error| Failure::new(format!("ERROR: make {}: {error}", path.display()));
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(&path).map_err(failed)?;
        let scratch = Self(path.clone());
        builder.create(path.join("empty")).map_err(failed)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing else can be done about what cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_definitions() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let arguments = words(&["https://h/r.git#v1:sub", "app"]);
        let (remote, names) = Remote::of(&arguments);
        let remote = remote.unwrap();
        assert_eq!((remote.git, names), (true, &arguments[1..]));
        assert_eq!(remote.within(".").unwrap(), "https://h/r.git#v1:sub");
        assert_eq!(remote.within("./web/").unwrap(), "https://h/r.git#v1:sub/web");
        assert!(remote.dockerfile(&[]).unwrap().contains("[\"/docker-bake.hc[l]\""));
        assert!(remote.dockerfile(&words(&["../x"])).is_err());
        assert!(Remote::of(&words(&["app"])).0.is_none());
        let short = Remote::new("github.com/a/b#main");
        assert_eq!(short.address, "https://github.com/a/b.git#main");
        let file = Remote::new("https://h/x/bake.json");
        assert!(!file.git && file.within(".").is_err());
        assert!(file.dockerfile(&[]).unwrap().contains("\"/bake.json\""));
        assert!(Remote::new("https://h/\"x").dockerfile(&[]).is_err());
    }

    #[test]
    fn contexts_move_with_their_definition() {
        let remote = Remote::new("git://h/r#main");
        let mut target = Target::default();
        target.values.insert(
            "contexts".to_owned(),
            serde_json::json!({"a": "lib", "b": "target:x", "c": "cwd://d"}),
        );
        remote.place(&mut target).unwrap();
        assert_eq!(target.text("context"), "git://h/r#main");
        let contexts = &target.values["contexts"];
        assert_eq!(contexts["a"], "git://h/r#main:lib");
        assert_eq!((&contexts["b"], &contexts["c"]), (&"target:x".into(), &"cwd://d".into()));
    }
}
