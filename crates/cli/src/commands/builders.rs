//! `buildx create`, `use`, `rm`, `stop`: names for the one builder there is, the daemon, so that
//! scripts which make themselves a builder find one. Names are kept beside the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, print};

/// The builder that is always there.
pub(super) const DEFAULT: &str = "default";

/// The names, as they are kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Names {
    /// The one in use; empty for the default.
    current: String,
    /// All but the default.
    pub(super) names: BTreeSet<String>,
}

impl Names {
    /// Reads them; none are known where there is no file.
    pub(super) fn load(invocation: &Invocation) -> Result<Self, Failure> {
        let path = place(invocation);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Failure::new(format!("read {}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::new(format!("read {}: {error}", path.display()))),
        }
    }

    fn save(&self, invocation: &Invocation) -> Result<(), Failure> {
        let path = place(invocation);
        let failed = |error| Failure::new(format!("write {}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        // Readers see the old file or the new one.
        let fresh = path.with_extension(format!("{}", std::process::id()));
        std::fs::write(&fresh, text).map_err(failed)?;
        std::fs::rename(&fresh, &path).map_err(failed)
    }

    /// The one in use.
    pub(super) fn current(&self) -> &str {
        match std::env::var("BUILDX_BUILDER") {
            Ok(name) if self.names.contains(&name) => {
                self.names.get(&name).map_or(DEFAULT, |it| it)
            }
            _ if self.names.contains(&self.current) => &self.current,
            _ => DEFAULT,
        }
    }

    /// Fails for a name that is none.
    pub(super) fn check(&self, name: &str) -> Result<(), Failure> {
        match name.is_empty() || name == DEFAULT || self.names.contains(name) {
            true => Ok(()),
            false => Err(Failure::new(format!("ERROR: no builder {name:?} found"))),
        }
    }
}

fn place(invocation: &Invocation) -> PathBuf {
    invocation.globals.config_dir().join("buildx").join("estiba-builders.json")
}

/// `buildx create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let driver = matches.text("driver");
    match driver {
        "" | "docker" | "estiba" => {}
        "docker-container" => complain(
            "the daemon builds by itself and does all that a builder in a container does: no \
             container is started\n",
        ),
        other => {
            return Err(Failure::new(format!(
                "ERROR: driver {other:?} is not supported: builds are the daemon's own (-H, \
                 --context say which)"
            )));
        }
    }
    let mut known = Names::load(invocation)?;
    if matches.bool("leave") {
        return Err(Failure::new("ERROR: a builder has one node, which cannot leave it"));
    }
    let name = match matches.text("name") {
        "" => (1..).map(|n| format!("builder{n}")).find(|name| !known.names.contains(name)),
        name => Some(name.to_owned()),
    };
    let name = name.unwrap_or_else(|| DEFAULT.to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Failure::new(format!(
            "ERROR: invalid builder name {name:?}: want letters, digits, '_', '-' and '.'"
        )));
    }
    if name == DEFAULT {
        return Err(Failure::new("ERROR: default is a reserved name and cannot be used"));
    }
    if !known.names.insert(name.clone()) && !matches.bool("append") {
        return Err(Failure::new(format!(
            "ERROR: existing instance for {name:?} but no append mode"
        )));
    }
    if matches.bool("bootstrap") {
        invocation.client()?.get("/_ping").unversioned().run().await?;
    }
    if matches.bool("use") {
        known.current.clone_from(&name);
    }
    known.save(invocation)?;
    print(format!("{name}\n"))?;
    Ok(0)
}

/// `buildx use`.
pub(crate) fn select(invocation: &Invocation) -> Outcome {
    let mut known = Names::load(invocation)?;
    let name = invocation.arg(0);
    known.check(name)?;
    name.clone_into(&mut known.current);
    known.save(invocation)?;
    Ok(0)
}

/// `buildx rm`.
pub(crate) fn remove(invocation: &Invocation) -> Outcome {
    let mut known = Names::load(invocation)?;
    let mut names: Vec<String> = invocation.matches.args().to_vec();
    if names.is_empty() && !invocation.matches.bool("all-inactive") {
        names.push(known.current().to_owned());
    }
    for name in &names {
        if name == DEFAULT {
            return Err(Failure::new("ERROR: default builder cannot be removed"));
        }
        known.check(name)?;
        known.names.remove(name);
        complain(format!("{name} removed\n"));
    }
    known.save(invocation)?;
    Ok(0)
}

/// `buildx stop`.
pub(crate) fn stop(invocation: &Invocation) -> Outcome {
    let known = Names::load(invocation)?;
    known.check(invocation.matches.arg(0).unwrap_or_default())?;
    Err(Failure::new(
        "ERROR: the builder is the daemon itself, which is not stopped by its clients",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let mut known = Names::default();
        assert_eq!(known.current(), DEFAULT);
        assert!(known.check("").is_ok() && known.check(DEFAULT).is_ok());
        assert!(known.check("other").is_err());
        known.names.insert("other".to_owned());
        "other".clone_into(&mut known.current);
        assert!(known.check("other").is_ok());
        assert_eq!(known.current(), "other");
        known.names.clear();
        assert_eq!(known.current(), DEFAULT, "a name that went is not in use");
    }
}
