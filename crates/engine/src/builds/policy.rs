//! When and how much the build cache gives back by itself: dockerd's `builder.gc`, and what builds
//! may be granted (`builder.entitlements`). Pure but for the size of the disk, which defaults are
//! shares of.

use build::cache::{CacheKind, PruneOptions};
use build::request::Entitlements;
use serde::Deserialize;
use std::path::Path;

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;
/// What sources and cache mounts that nobody used for two days may keep together.
const STALE_BYTES: u64 = 512 << 20;

/// How builds are kept in bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderOptions {
    /// Collect after builds.
    pub gc: bool,
    /// Rules, in order; empty is [`BuilderOptions::rules`]'s choice.
    pub policy: Vec<PruneOptions>,
    /// Bytes that are always kept; `None` is a tenth of the disk.
    pub reserved_bytes: Option<u64>,
    /// Bytes that are never exceeded for long; `None` is three quarters of the disk.
    pub max_used_bytes: Option<u64>,
    /// Bytes of the disk that are to stay free; `None` is a fifth of it.
    pub min_free_bytes: Option<u64>,
    /// What builds may be granted at all.
    pub entitlements: Entitlements,
}

impl Default for BuilderOptions {
    fn default() -> Self {
        Self {
            gc: true,
            policy: Vec::new(),
            reserved_bytes: None,
            max_used_bytes: None,
            min_free_bytes: None,
            entitlements: Entitlements {
                network_host: true,
                security_insecure: false,
                device: false,
            },
        }
    }
}

/// `builder` of `daemon.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    gc: Gc,
    entitlements: Granted,
    history: serde_json::Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Gc {
    enabled: Option<bool>,
    default_keep_storage: Option<Size>,
    default_reserved_space: Option<Size>,
    default_max_used_space: Option<Size>,
    default_min_free_space: Option<Size>,
    policy: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Rule {
    all: bool,
    keep_storage: Option<Size>,
    reserved_space: Option<Size>,
    max_used_space: Option<Size>,
    min_free_space: Option<Size>,
    keep_duration: Option<String>,
    filter: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Granted {
    network_host: Option<bool>,
    security_insecure: Option<bool>,
    device: Option<bool>,
}

/// Bytes: a number, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

impl Size {
    fn bytes(&self) -> Result<u64, String> {
        match self {
            Self::Bytes(bytes) => Ok(*bytes),
            Self::Text(text) => size(text).ok_or_else(|| format!("invalid size: {text:?}")),
        }
    }
}

/// `10GB`, `512mb`, `1.5g`, `100`: units are powers of 1024, as in dockerd.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 1u64 << shift;
    let part: String = part.chars().take(6).collect();
    let below = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let fraction = part.parse::<u64>().ok()?.checked_mul(scale)? / below;
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction)
}

/// `48h`, `7d`, `30m`, `90s`, or several of them: seconds.
fn age(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => HOUR_S,
            'd' => DAY_S,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    match number.is_empty() {
        true => Some(total),
        // Go's nanoseconds.
        false if total == 0 => Some(number.parse::<u64>().ok()? / 1_000_000_000),
        false => None,
    }
}

impl Rule {
    fn options(&self) -> Result<PruneOptions, String> {
        let bytes = |size: &Option<Size>| size.as_ref().map_or(Ok(0), Size::bytes);
        let reserved = match &self.reserved_space {
            Some(size) => size.bytes()?,
            None => bytes(&self.keep_storage)?,
        };
        let mut options = PruneOptions {
            all: self.all,
            reserved_bytes: reserved,
            max_used_bytes: bytes(&self.max_used_space)?,
            min_free_bytes: bytes(&self.min_free_space)?,
            ..PruneOptions::default()
        };
        let invalid = |text: &str| format!("invalid filter or duration: {text:?}");
        if let Some(text) = &self.keep_duration {
            options.unused_for_s = age(text).ok_or_else(|| invalid(text))?;
        }
        for filter in &self.filter {
            let (name, value) = filter.split_once('=').ok_or_else(|| invalid(filter))?;
            let value = value.trim_start_matches('=');
            match name.trim_end_matches('~') {
                "unused-for" | "until" => {
                    options.unused_for_s = age(value).ok_or_else(|| invalid(filter))?;
                }
                "type" => {
                    let kinds = value.split(',').map(|name| name.trim_start_matches("type=="));
                    for name in kinds {
                        let kind = CacheKind::parse(name).ok_or_else(|| invalid(filter))?;
                        options.kinds.push(kind);
                    }
                }
                "id" => options.ids.push(value.to_owned()),
                _ => return Err(invalid(filter)),
            }
        }
        Ok(options)
    }
}

impl BuilderOptions {
    /// Reads `builder` of `daemon.json`.
    ///
    /// # Errors
    /// What is malformed, in words.
    pub fn parse(json: &str) -> Result<Self, String> {
        let document: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|error| format!("builder: {error}"))?;
        let document = Document::deserialize(serde_json::Value::Object(document))
            .map_err(|error| format!("builder: {error}"))?;
        let own = Self::default();
        let bytes = |size: &Option<Size>| size.as_ref().map(Size::bytes).transpose();
        let gc = &document.gc;
        let reserved = match bytes(&gc.default_reserved_space)? {
            Some(bytes) => Some(bytes),
            None => bytes(&gc.default_keep_storage)?,
        };
        let granted = &document.entitlements;
        Ok(Self {
            gc: gc.enabled.unwrap_or(own.gc),
            policy: gc.policy.iter().map(Rule::options).collect::<Result<_, _>>()?,
            reserved_bytes: reserved,
            max_used_bytes: bytes(&gc.default_max_used_space)?,
            min_free_bytes: bytes(&gc.default_min_free_space)?,
            entitlements: Entitlements {
                network_host: granted.network_host.unwrap_or(own.entitlements.network_host),
                security_insecure: granted
                    .security_insecure
                    .unwrap_or(own.entitlements.security_insecure),
                device: granted.device.unwrap_or(own.entitlements.device),
            },
        })
    }

    /// The rules by which the cache of a store at `root` is collected, in order.
    pub fn rules(&self, root: &Path) -> Vec<PruneOptions> {
        if !self.policy.is_empty() {
            return self.policy.clone();
        }
        let disk =
            rustix::fs::statvfs(root).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        let bounds = PruneOptions {
            reserved_bytes: self.reserved_bytes.unwrap_or(disk / 10),
            max_used_bytes: self.max_used_bytes.unwrap_or(disk / 4 * 3),
            min_free_bytes: self.min_free_bytes.unwrap_or(disk / 5),
            ..PruneOptions::default()
        };
        use CacheKind::{CacheMount, SourceGit, SourceLocal};
        vec![
            // What only saves copying goes first.
            PruneOptions {
                kinds: vec![SourceLocal, CacheMount, SourceGit],
                unused_for_s: 2 * DAY_S,
                max_used_bytes: STALE_BYTES,
                ..PruneOptions::default()
            },
            PruneOptions { unused_for_s: 60 * DAY_S, ..bounds.clone() },
            bounds.clone(),
            PruneOptions { all: true, ..bounds },
        ]
    }

    /// Refuses what no build of this daemon is granted.
    pub(super) fn grant(&self, asked: Entitlements) -> build::Result<()> {
        let own = self.entitlements;
        for (asked, granted, name) in [
            (asked.network_host, own.network_host, "network.host"),
            (asked.security_insecure, own.security_insecure, "security.insecure"),
            (asked.device, own.device, "device"),
        ] {
            if asked && !granted {
                return Err(build::Error::Denied(model::Denied {
                    kind: model::ErrorKind::Forbidden,
                    message: format!(
                        "granting entitlement {name} is not allowed by the daemon's configuration \
                         (builder.entitlements)"
                    ),
                }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerd_s_configuration_is_read() {
        let options = BuilderOptions::parse(
            r#"{"gc": {"enabled": true, "defaultKeepStorage": "20GB", "policy": [
                {"keepStorage": "10GB", "filter": ["unused-for=2200h"]},
                {"maxUsedSpace": 1048576, "filter": ["type==exec.cachemount"]},
                {"all": true, "reservedSpace": "1.5g", "keepDuration": "7d"}]},
                "entitlements": {"security-insecure": true}}"#,
        )
        .unwrap();
        assert!(options.gc && options.entitlements.security_insecure);
        assert_eq!(options.reserved_bytes, Some(20 << 30));
        let [first, second, third] = options.policy.as_slice() else { panic!() };
        assert_eq!((first.reserved_bytes, first.unused_for_s), (10 << 30, 2200 * HOUR_S));
        assert_eq!((second.max_used_bytes, second.kinds.len()), (1 << 20, 1));
        assert_eq!((third.reserved_bytes, third.all), (3 << 29, true));
        assert_eq!(options.rules(Path::new("/")).len(), 3);
        assert_eq!(BuilderOptions::default().rules(Path::new("/")).len(), 4);
        for bad in [
            "[]",
            r#"{"gc": {"enabld": true}}"#,
            r#"{"gc": {"defaultKeepStorage": "much"}}"#,
            r#"{"gc": {"policy": [{"filter": ["size=3"]}]}}"#,
        ] {
            assert!(BuilderOptions::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_no_build_is_granted() {
        let options = BuilderOptions::default();
        let host = Entitlements { network_host: true, ..Entitlements::default() };
        assert!(options.grant(host).is_ok());
        let insecure = Entitlements { security_insecure: true, ..Entitlements::default() };
        assert!(options.grant(insecure).is_err());
    }
}
