//! SIGHUP: the configuration is read again and put in force, as far as its meaning allows. What is
//! wrong then is said, and everything stays as it was.

use super::config::Config;
use super::doors::Doors;
use super::given::Given;
use super::in_force::InForce;
use super::log::Log;
use super::proxies::masked;
use super::sockets::Pidfile;
use super::supervisor;
use super::told::{Change, Reading, Told, changes, key_of};
use api::Authority;
use engine::Engine;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A daemon that serves, with what it was told last.
pub(crate) struct Serving {
    pub(crate) engine: Engine,
    pub(crate) authority: Arc<Authority>,
    pub(crate) doors: Doors,
    pub(crate) log: Log,
    pub(crate) pidfile: Pidfile,
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
            Ok(changes) => {
                for change in changes {
                    tracing::info!("SIGHUP: {change}");
                }
                tracing::info!("Reloaded configuration: {:?}", attributes(&self.given));
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
        // One that cannot be written is refused before anything else has changed.
        let moved = self.config.pidfile != config.pidfile;
        let pidfile = moved.then(|| Pidfile::write(&config.pidfile)).transpose()?;
        self.doors.change(&self.config, &config).await?;
        let reloaded = self.engine.system.reload(config.options.clone(), attributes(&given)).await;
        reloaded.map_err(|error| error.to_string())?;
        self.log.follow(&config);
        if let Some(pidfile) = pidfile {
            self.pidfile = pidfile;
        }
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
        [one] => masked(one).into_owned(),
        many => {
            let many: Vec<_> = many.iter().map(|text| masked(text)).collect();
            format!("[{}]", many.join(","))
        }
    };
    given.iter().map(|(name, texts)| (key_of(name).to_owned(), shown(texts))).collect()
}
