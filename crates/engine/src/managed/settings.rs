//! What a user may set of a plugin, in Docker's syntax: `NAME=value`, `NAME.field=value`. Pure.

use crate::{EngineError, Result};
use wire::plugin::{Config, Settings};

/// What holds without a setting.
pub(super) fn initial(config: &Config) -> Settings {
    let env = config.env.iter().flatten();
    Settings {
        args: config.args.value.clone().unwrap_or_default(),
        devices: config.linux.devices.clone().unwrap_or_default(),
        env: env.filter_map(|env| Some(format!("{}={}", env.name, env.value.as_ref()?))).collect(),
        mounts: config.mounts.clone().unwrap_or_default(),
    }
}

/// The settings with these changes: all of them, or none.
pub(super) fn changed(config: &Config, settings: &Settings, words: &[String]) -> Result<Settings> {
    let mut settings = settings.clone();
    for word in words {
        Change::parse(word)?.apply(config, &mut settings)?;
    }
    Ok(settings)
}

/// Those settings of before that still mean something, over what holds in a new configuration.
pub(super) fn carried(config: &Config, before: &Settings) -> Settings {
    let mut settings = initial(config);
    let mut keep = |word: String| {
        if let Ok(next) = changed(config, &settings, &[word]) {
            settings = next;
        }
    };
    before.env.iter().for_each(|pair| keep(pair.clone()));
    for mount in before.mounts.iter().filter(|mount| !mount.name.is_empty()) {
        if let Some(source) = &mount.source {
            keep(format!("{}.source={source}", mount.name));
        }
    }
    for device in before.devices.iter().filter(|device| !device.name.is_empty()) {
        if let Some(path) = &device.path {
            keep(format!("{}.path={path}", device.name));
        }
    }
    settings
}

/// One word.
struct Change<'a> {
    name: &'a str,
    field: &'a str,
    value: &'a str,
}

impl<'a> Change<'a> {
    fn parse(word: &'a str) -> Result<Self> {
        let (left, value) = word.split_once('=').unwrap_or((word, ""));
        if left.is_empty() {
            let why = "invalid format, must be <key>=<value>";
            return Err(EngineError::invalid(format!("{why}: {word:?}")));
        }
        let (name, field) = match left.rsplit_once('.') {
            Some((name, field)) if !name.is_empty() => (name, field),
            _ => (left, ""),
        };
        Ok(Self { name, field, value })
    }

    fn apply(&self, config: &Config, settings: &mut Settings) -> Result<()> {
        if let Some(env) = config.env.iter().flatten().find(|env| env.name == self.name) {
            self.check("value", env.settable.as_deref())?;
            let begins = format!("{}=", self.name);
            settings.env.retain(|pair| !pair.starts_with(&begins));
            settings.env.push(format!("{begins}{}", self.value));
            return Ok(());
        }
        if let Some(mount) = config.mounts.iter().flatten().find(|it| it.name == self.name) {
            self.check("source", mount.settable.as_deref())?;
            let found = settings.mounts.iter_mut().find(|it| it.name == self.name);
            if let Some(mount) = found {
                mount.source = Some(self.value.to_owned());
            }
            return Ok(());
        }
        let mut devices = config.linux.devices.iter().flatten();
        if let Some(device) = devices.find(|it| it.name == self.name) {
            self.check("path", device.settable.as_deref())?;
            let found = settings.devices.iter_mut().find(|it| it.name == self.name);
            if let Some(device) = found {
                device.path = Some(self.value.to_owned());
            }
            return Ok(());
        }
        if config.args.name == self.name {
            self.check("value", config.args.settable.as_deref())?;
            settings.args = self.value.split(' ').map(str::to_owned).collect();
            return Ok(());
        }
        let shown = self.shown();
        Err(EngineError::invalid(format!(
            "setting {shown:?} not found in the plugin configuration"
        )))
    }

    /// Whether the plugin lets this be set, and that this is what can be of such a thing.
    fn check(&self, can_be: &str, settable: Option<&[String]>) -> Result<()> {
        let settable = settable.unwrap_or_default();
        let field = match (self.field, settable) {
            ("", [only]) => only.as_str(),
            ("", [_, _, ..]) => {
                return Err(EngineError::invalid(
                    "multiple fields are settable, one must be specified",
                ));
            }
            (field, _) => field,
        };
        if field == can_be && settable.iter().any(|known| known == field) {
            return Ok(());
        }
        Err(EngineError::invalid(format!("{:?} is not settable", self.shown())))
    }

    fn shown(&self) -> String {
        match self.field {
            "" => self.name.to_owned(),
            field => format!("{}.{field}", self.name),
        }
    }
}
