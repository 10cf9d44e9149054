//! Where output goes: drivers and their options, Docker's names and words (docs.docker.com,
//! "Configure logging drivers"). Several drivers are named with commas between them.

use super::Ask;
use crate::error::Denied;
use crate::log::{GelfCompression, LogFile, LogSink, LogSpec, SinkAddress, SinkKind, SyslogFormat};
use crate::size;
use std::collections::BTreeMap;

/// Bytes before a log file is rotated, when nothing says: logs never fill a disk by default.
const DEFAULT_MAX_SIZE_BYTES: u64 = 20 << 20;
/// Files kept, when nothing says.
const DEFAULT_MAX_FILES: u32 = 5;
/// How many drivers can be named at once.
const MAX_DRIVERS: usize = 8;
/// Tag of lines, when nothing says.
const DEFAULT_TAG: &str = "{{.ID}}";
/// Largest compiled form of a pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 16;

type Options = BTreeMap<String, String>;

/// Options of every driver: how full buffers are treated, and the files in between.
const COMMON: [&str; 6] = [
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// Options of every driver that writes attributes.
const ATTRIBUTES: [&str; 5] = ["tag", "labels", "labels-regex", "env", "env-regex"];

/// Options of one driver beside those; `None` when there is no such driver of ours.
fn own_options(driver: &str) -> Option<&'static [&'static str]> {
    Some(match driver {
        "json-file" | "local" => &["max-size", "max-file", "compress"],
        "journald" | "none" => &[],
        "syslog" => &[
            "syslog-address",
            "syslog-facility",
            "syslog-format",
            "syslog-tls-ca-cert",
            "syslog-tls-cert",
            "syslog-tls-key",
            "syslog-tls-skip-verify",
        ],
        "gelf" => &[
            "gelf-address",
            "gelf-compression-type",
            "gelf-compression-level",
            "gelf-tcp-max-reconnect",
            "gelf-tcp-reconnect-delay",
        ],
        "fluentd" => &[
            "fluentd-address",
            "fluentd-async",
            "fluentd-async-connect",
            "fluentd-async-reconnect-interval",
            "fluentd-buffer-limit",
            "fluentd-max-retries",
            "fluentd-read-timeout",
            "fluentd-request-ack",
            "fluentd-retry-wait",
            "fluentd-sub-second-precision",
            "fluentd-write-timeout",
        ],
        _ => return None,
    })
}

pub(super) fn resolve(ask: &Ask<'_>) -> Result<LogSpec, Denied> {
    let asked = &ask.draft.host.log;
    let named = match asked.driver.as_str() {
        "" | "default" => ask.defaults.log_driver.as_str(),
        driver => driver,
    };
    let named = if named.is_empty() { "json-file" } else { named };
    let drivers: Vec<&str> = named.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    // The daemon's options belong to the daemon's driver.
    let mut options = Options::new();
    if named == ask.defaults.log_driver {
        options.extend(ask.defaults.log_options.clone());
    }
    options.extend(asked.options.clone());
    check(&drivers, &options)?;
    match drivers.as_slice() {
        ["none"] => Ok(LogSpec::None),
        ["json-file"] => {
            let file = file(&options, ["max-size", "max-file", "compress"], false)?;
            let mut attributes = attributes(ask, &options)?;
            if let Some(template) = options.get("tag") {
                attributes.insert("tag".to_owned(), tag(ask, template)?);
            }
            let LogFile { max_size_bytes, max_files, compress } = file;
            Ok(LogSpec::JsonFile { max_size_bytes, max_files, compress, attributes })
        }
        drivers => sent(ask, drivers, &options),
    }
}

/// Refuses what no driver knows, in Docker's words.
fn check(drivers: &[&str], options: &Options) -> Result<(), Denied> {
    let mut seen = Vec::new();
    for driver in drivers {
        if seen.contains(driver) || (*driver == "none" && drivers.len() > 1) {
            return Err(Denied::invalid(format!(
                "log driver {driver:?} cannot be combined in {:?}",
                drivers.join(",")
            )));
        }
        seen.push(driver);
    }
    if drivers.is_empty() || drivers.len() > MAX_DRIVERS {
        return Err(Denied::invalid(format!("one to {MAX_DRIVERS} log drivers can be named")));
    }
    if drivers.iter().any(|driver| own_options(driver).is_none()) {
        // A plugin knows its own options.
        return common(options);
    }
    for name in options.keys() {
        let known = |driver: &&str| {
            own_options(driver).is_some_and(|own| own.contains(&name.as_str()))
                || (*driver != "none" && ATTRIBUTES.contains(&name.as_str()))
        };
        if !COMMON.contains(&name.as_str()) && !drivers.iter().any(known) {
            return Err(Denied::invalid(format!(
                "unknown log opt '{name}' for {} log driver",
                drivers.join(",")
            )));
        }
    }
    common(options)
}

fn common(options: &Options) -> Result<(), Denied> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Denied::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    if let Some(text) = options.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(Denied::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        size(text)?;
    }
    Ok(())
}

/// The limits that the options of these names (size, count, compress) set.
fn file(options: &Options, names: [&str; 3], compress: bool) -> Result<LogFile, Denied> {
    let [max_size, max_file, compress_name] = names;
    let max_size_bytes = match options.get(max_size) {
        Some(text) => size(text)?,
        None => DEFAULT_MAX_SIZE_BYTES,
    };
    let max_files = match options.get(max_file) {
        Some(text) => text
            .parse()
            .ok()
            .filter(|count| *count >= 1)
            .ok_or_else(|| Denied::invalid(format!("{max_file} cannot be less than 1")))?,
        None => DEFAULT_MAX_FILES,
    };
    let compress = flag(options, compress_name)?.unwrap_or(compress);
    Ok(LogFile { max_size_bytes, max_files, compress })
}

fn flag(options: &Options, name: &str) -> Result<Option<bool>, Denied> {
    match options.get(name).map(String::as_str) {
        None => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(text) => Err(Denied::invalid(format!("invalid value {text:?} for log opt {name}"))),
    }
}

fn sent(ask: &Ask<'_>, drivers: &[&str], options: &Options) -> Result<LogSpec, Denied> {
    let own_file = drivers.iter().any(|driver| matches!(*driver, "json-file" | "local"));
    let names = match own_file {
        true => ["max-size", "max-file", "compress"],
        false => ["cache-max-size", "cache-max-file", "cache-compress"],
    };
    let file = file(options, names, true)?;
    let readable = own_file || !flag(options, "cache-disabled")?.unwrap_or(false);
    let attributes = attributes(ask, options)?;
    let template = options.get("tag").map_or(DEFAULT_TAG, String::as_str);
    let tag = tag(ask, template)?;
    let mut sinks = Vec::new();
    for driver in drivers {
        let kind = match *driver {
            "json-file" | "local" => continue,
            "syslog" => syslog(options)?,
            "journald" => SinkKind::Journald,
            "gelf" => gelf(options)?,
            "fluentd" => fluentd(options)?,
            name => SinkKind::Plugin { name: name.to_owned(), options: options.clone() },
        };
        sinks.push(LogSink { kind, tag: tag.clone(), attributes: attributes.clone() });
    }
    Ok(LogSpec::Sent { file, sinks, readable })
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// `daemon`, RFC 5424 table 1.
const DEFAULT_FACILITY: u8 = 3;

fn syslog(options: &Options) -> Result<SinkKind, Denied> {
    let text = |name: &str| options.get(name).map_or("", String::as_str);
    if flag(options, "syslog-tls-skip-verify")? == Some(true) {
        return Err(Denied::unsupported(
            "syslog-tls-skip-verify: certificates are always verified; name the authority with \
             syslog-tls-ca-cert",
        ));
    }
    let facility = match text("syslog-facility") {
        "" => DEFAULT_FACILITY,
        name => (0..)
            .zip(FACILITIES)
            .find(|(number, known)| *known == name || name.parse() == Ok(*number))
            .map(|(number, _)| number)
            .ok_or_else(|| Denied::invalid("invalid syslog facility"))?,
    };
    let format = match text("syslog-format") {
        "" => SyslogFormat::Local,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(Denied::invalid("Invalid syslog format")),
    };
    let address = match text("syslog-address") {
        "" => SinkAddress::Local,
        url => match split(url)? {
            ("udp", rest) => SinkAddress::Udp(with_port(rest, 514)?),
            ("tcp", rest) => SinkAddress::Tcp(with_port(rest, 514)?),
            ("tcp+tls", rest) => SinkAddress::Tls {
                address: with_port(rest, 6514)?,
                ca: text("syslog-tls-ca-cert").to_owned(),
                cert: text("syslog-tls-cert").to_owned(),
                key: text("syslog-tls-key").to_owned(),
            },
            ("unix", path) => SinkAddress::Unix(absolute(path)?),
            ("unixgram", path) => SinkAddress::Unixgram(absolute(path)?),
            (other, _) => {
                return Err(Denied::invalid(format!("unsupported scheme: '{other}'")));
            }
        },
    };
    Ok(SinkKind::Syslog { address, facility, format })
}

fn gelf(options: &Options) -> Result<SinkKind, Denied> {
    let url = options
        .get("gelf-address")
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Denied::invalid("gelf: missing endpoint address"))?;
    let (scheme, rest) = split(url)?;
    let invalid = |what: &str| Denied::invalid(format!("gelf: invalid {what}"));
    let over_tcp = ["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"];
    let compressed = ["gelf-compression-type", "gelf-compression-level"];
    let (address, foreign) = match scheme {
        "udp" => (SinkAddress::Udp(host_port(rest)?), over_tcp),
        "tcp" => (SinkAddress::Tcp(host_port(rest)?), compressed),
        _ => return Err(invalid("address: endpoint needs to be udp or tcp")),
    };
    if let Some(name) = foreign.iter().find(|name| options.contains_key(**name)) {
        return Err(invalid(&format!("option {name} for {scheme}")));
    }
    let compression = match options.get("gelf-compression-type").map(String::as_str) {
        None | Some("gzip") => GelfCompression::Gzip,
        Some("zlib") => GelfCompression::Zlib,
        Some("none") => GelfCompression::None,
        Some(other) => return Err(invalid(&format!("compression type {other:?}"))),
    };
    let level = match options.get("gelf-compression-level").map(|text| text.parse::<i8>()) {
        None | Some(Ok(-1)) => None,
        Some(Ok(level @ 0..=9)) => u8::try_from(level).ok(),
        Some(_) => return Err(invalid("compression level: want -1 to 9")),
    };
    for name in over_tcp {
        if options.get(name).is_some_and(|text| text.parse::<u32>().is_err()) {
            return Err(invalid(&format!("value of {name}")));
        }
    }
    Ok(SinkKind::Gelf { address, compression, level })
}

fn fluentd(options: &Options) -> Result<SinkKind, Denied> {
    let address = match options.get("fluentd-address").map_or("", String::as_str) {
        "" => SinkAddress::Tcp("127.0.0.1:24224".to_owned()),
        url => match url.split_once("://") {
            None | Some(("tcp", _)) => {
                SinkAddress::Tcp(with_port(url.strip_prefix("tcp://").unwrap_or(url), 24224)?)
            }
            Some(("unix", path)) => SinkAddress::Unix(absolute(path)?),
            Some((other, _)) => {
                return Err(Denied::invalid(format!("unsupported scheme: '{other}'")));
            }
        },
    };
    if options.contains_key("fluentd-async-connect") {
        return Err(Denied::invalid(
            "fluentd-async-connect has been removed: use fluentd-async instead",
        ));
    }
    flag(options, "fluentd-async")?;
    Ok(SinkKind::Fluentd {
        address,
        sub_second: flag(options, "fluentd-sub-second-precision")?.unwrap_or(false),
        acknowledge: flag(options, "fluentd-request-ack")?.unwrap_or(false),
    })
}

fn split(url: &str) -> Result<(&str, &str), Denied> {
    let parts = url.split_once("://");
    parts.ok_or_else(|| {
        Denied::invalid(format!("logging address should be in form proto://address, got {url}"))
    })
}

fn absolute(path: &str) -> Result<String, Denied> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    Err(Denied::invalid(format!("socket path {path:?} is not absolute")))
}

/// `host:port`; an IPv6 address stands in brackets.
fn host_port(text: &str) -> Result<String, Denied> {
    let fine = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if fine && !text.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    Err(Denied::invalid(format!("invalid logging address {text:?}: want host:port")))
}

fn with_port(text: &str, port: u16) -> Result<String, Denied> {
    let text = text.trim_end_matches('/');
    match text.rsplit_once(':') {
        Some((_, end)) if !end.contains(']') => host_port(text),
        _ => host_port(&format!("{text}:{port}")),
    }
}

/// What `labels`, `labels-regex`, `env` and `env-regex` choose.
fn attributes(ask: &Ask<'_>, options: &Options) -> Result<BTreeMap<String, String>, Denied> {
    let mut labels = ask.config.labels.clone();
    labels.extend(ask.draft.labels.clone());
    let env = ask.config.env.iter().chain(&ask.draft.env);
    let env: BTreeMap<String, String> = env
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut out = BTreeMap::new();
    for (all, list, pattern) in [(&labels, "labels", "labels-regex"), (&env, "env", "env-regex")] {
        let listed: Vec<&str> = options.get(list).map_or("", String::as_str).split(',').collect();
        let pattern = match options.get(pattern).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(
                regex_lite::RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build().map_err(
                    |error| Denied::invalid(format!("invalid log opt {pattern}={text}: {error}")),
                )?,
            ),
        };
        let chosen = all.iter().filter(|(name, _)| {
            listed.iter().any(|listed| listed.trim() == name.as_str())
                || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
        });
        out.extend(chosen.map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(out)
}

/// Fills in a tag's template: the markers of Docker's, `{{.Name}}` and the like.
fn tag(ask: &Ask<'_>, template: &str) -> Result<String, Denied> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (marker, behind) = after
            .split_once("}}")
            .ok_or_else(|| Denied::invalid(format!("invalid log tag {template:?}: unclosed")))?;
        out.push_str(before);
        out.push_str(&match marker.trim() {
            ".ID" => ask.id.short(),
            ".FullID" => ask.id.to_string(),
            ".Name" => ask.name.to_owned(),
            ".FullName" => format!("/{}", ask.name),
            ".ImageID" => ask.image.short(),
            ".ImageFullID" => ask.image.to_string(),
            ".ImageName" => ask.draft.image.clone(),
            ".DaemonName" => "docker".to_owned(),
            other => {
                return Err(Denied::invalid(format!(
                    "invalid log tag {template:?}: {other:?} is not known"
                )));
            }
        });
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// As [`size::bytes`], and `-1` for no limit.
fn size(text: &str) -> Result<u64, Denied> {
    if text == "-1" { Ok(u64::MAX) } else { size::bytes(text) }
}
