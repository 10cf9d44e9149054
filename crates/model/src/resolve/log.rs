//! Where output goes.

use super::Ask;
use crate::error::Denied;
use crate::spec::LogSpec;
use std::collections::BTreeMap;

/// Bytes before a log file is rotated, when nothing says: logs never fill a disk by default.
const DEFAULT_MAX_SIZE_BYTES: u64 = 20 << 20;
/// Files kept, when nothing says.
const DEFAULT_MAX_FILES: u32 = 5;

pub(super) fn resolve(ask: &Ask<'_>) -> Result<LogSpec, Denied> {
    let asked = &ask.draft.host.log;
    let driver = match asked.driver.as_str() {
        "" | "default" => ask.defaults.log_driver.as_str(),
        driver => driver,
    };
    match driver {
        "none" => return Ok(LogSpec::None),
        "" | "json-file" | "local" => {}
        other => {
            return Err(Denied::invalid(format!(
                "error looking up logging plugin {other}: plugin {other:?} not found"
            )));
        }
    }
    // The daemon's options belong to the daemon's driver.
    let mut options = BTreeMap::new();
    if driver == ask.defaults.log_driver {
        options.extend(ask.defaults.log_options.clone());
    }
    options.extend(asked.options.clone());
    json_file(ask, driver, &options)
}

fn json_file(
    ask: &Ask<'_>,
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<LogSpec, Denied> {
    let mut max_size_bytes = DEFAULT_MAX_SIZE_BYTES;
    let mut max_files = DEFAULT_MAX_FILES;
    let mut attributes = BTreeMap::new();
    for (name, value) in options {
        match name.as_str() {
            "max-size" => max_size_bytes = size(value)?,
            "max-file" => {
                max_files =
                    value.parse().ok().filter(|n| *n >= 1).ok_or_else(|| {
                        Denied::invalid("max-file cannot be less than 1".to_owned())
                    })?;
            }
            "labels" => {
                let labels = names(value).filter_map(|name| {
                    let asked = ask.draft.labels.get(name);
                    let value = asked.or_else(|| ask.config.labels.get(name))?;
                    Some((name.to_owned(), value.clone()))
                });
                attributes.extend(labels);
            }
            "env" => {
                let env = names(value).filter_map(|name| {
                    let all = ask.draft.env.iter().chain(&ask.config.env);
                    let value = all.filter_map(|e| e.split_once('=')).find(|(n, _)| *n == name)?.1;
                    Some((name.to_owned(), value.to_owned()))
                });
                attributes.extend(env);
            }
            "tag" => drop(attributes.insert("tag".to_owned(), tag(ask, value))),
            "mode" | "max-buffer-size" | "compress" => {}
            other => {
                return Err(Denied::invalid(format!(
                    "unknown log opt '{other}' for {driver} log driver"
                )));
            }
        }
    }
    Ok(LogSpec::JsonFile { max_size_bytes, max_files, attributes })
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// The markers of Docker's tag templates whose values are known when a container is made.
fn tag(ask: &Ask<'_>, template: &str) -> String {
    let image = ask.image.to_string();
    template
        .replace("{{.ID}}", &ask.id.short())
        .replace("{{.FullID}}", &ask.id.to_string())
        .replace("{{.ImageName}}", &ask.draft.image)
        .replace("{{.ImageFullID}}", &image)
        .replace("{{.ImageID}}", &ask.image.short())
}

/// `10m`, `1g`, `4096`, `20kb`, `-1` for no limit.
fn size(text: &str) -> Result<u64, Denied> {
    let invalid = || Denied::invalid(format!("invalid size: '{text}'"));
    if text == "-1" {
        return Ok(u64::MAX);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match lower[number.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.trim().parse().map_err(|_| invalid())?;
    number.checked_mul(1 << unit).filter(|size| *size > 0).ok_or_else(invalid)
}
