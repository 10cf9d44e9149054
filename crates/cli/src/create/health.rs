//! `--health-*` and `--no-healthcheck`.

use wire::docker::container::HealthConfig;

use crate::flags::Matches;

/// The health check that the flags ask for, if any.
pub(super) fn check(matches: &Matches) -> Result<Option<HealthConfig>, String> {
    const FLAGS: [&str; 7] = [
        "health-cmd",
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
        "health-on-failure",
    ];
    let any = FLAGS.iter().any(|flag| matches.changed(flag));
    if matches.bool("no-healthcheck") {
        if any {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        let test = vec!["NONE".to_owned()];
        return Ok(Some(HealthConfig { test, ..HealthConfig::default() }));
    }
    if !any {
        return Ok(None);
    }
    let span = |flag: &str| match matches.duration(flag) {
        negative if negative < 0 => Err(format!("--{flag} cannot be negative")),
        span => Ok(span),
    };
    let retries = matches.int("health-retries").unwrap_or_default();
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    let test = match matches.text("health-cmd") {
        "" => Vec::new(),
        command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    };
    Ok(Some(HealthConfig {
        test,
        interval: span("health-interval")?,
        timeout: span("health-timeout")?,
        start_period: span("health-start-period")?,
        start_interval: span("health-start-interval")?,
        retries,
        on_failure: matches.text("health-on-failure").to_owned(),
    }))
}
