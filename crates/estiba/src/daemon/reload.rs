//! SIGHUP: the configuration is read again and put in force, as far as its meaning allows. What is
//! wrong then is said, and everything stays as it was.

use super::config::Config;
use super::doors::Doors;
use super::given::Given;
use super::in_force::InForce;
use super::told::{Change, Reading, Told, changes, key_of};
use super::{Level, supervisor};
use api::Authority;
use engine::Engine;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A daemon that serves, with what it was told last.
pub(crate) struct Serving {
    pub(crate) engine: Engine,
    pub(crate) authority: Arc<Authority>,
    pub(crate) doors: Doors,
    pub(crate) level: Level,
    pub(crate) told: Told,
    pub(crate) given: Given,
    pub(crate) config: Config,
    /// Where others see what is in force; without it only they miss something.
    pub(crate) in_force: Option<InForce>,
}

impl Serving {
    /// Reads everything again.
    pub(crate) async fn reload(&mut self) {
        supervisor::reloading();
        match self.try_reload().await {
            Ok(changes) if changes.is_empty() => tracing::info!("SIGHUP: nothing has changed"),
            Ok(changes) => {
                for change in changes {
                    tracing::info!("SIGHUP: {change}");
                }
            }
            Err(why) => tracing::error!("SIGHUP: the settings stay as they were: {why}"),
        }
        supervisor::notify("READY=1");
    }

    async fn try_reload(&mut self) -> Result<Vec<Change>, String> {
        let Reading { given, config, moot } = self.told.read()?;
        for line in moot {
            tracing::warn!("{line}");
        }
        let changes = changes(&self.given, &given);
        self.authority.reload(&config.authority).map_err(|error| error.to_string())?;
        self.doors.change(&self.config, &config).await?;
        let reloaded = self.engine.system.reload(config.options.clone(), attributes(&given)).await;
        reloaded.map_err(|error| error.to_string())?;
        // The level is there as long as the log is.
        let _ = self.level.modify(|level| *level = config.log_level);
        if let Some(in_force) = &self.in_force
            && let Err(error) = in_force.write(&given)
        {
            tracing::warn!(%error, "tell others what is in force");
        }
        (self.given, self.config) = (given, config);
        Ok(changes)
    }
}

/// What the event says: every setting that is not as it is by default.
fn attributes(given: &Given) -> BTreeMap<String, String> {
    let shown = |texts: &Vec<String>| match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(",")),
    };
    given.iter().map(|(name, texts)| (key_of(name).to_owned(), shown(texts))).collect()
}
