//! `--device`, `--gpus` and `--device-cgroup-rule`.

use std::collections::BTreeMap;

use wire::docker::host_config::{DeviceMapping, DeviceRequest};

use crate::csv;

/// Devices of the host, and devices by their CDI name (`vendor.com/class=name`).
pub(super) fn mappings(list: &[&str]) -> Result<(Vec<DeviceMapping>, Vec<String>), String> {
    let (mut mapped, mut cdi) = (Vec::new(), Vec::new());
    for text in list {
        match is_cdi(text) {
            true => cdi.push((*text).to_owned()),
            false => mapped.push(mapping(text)?),
        }
    }
    Ok((mapped, cdi))
}

fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    !vendor.is_empty() && !class.is_empty() && !name.is_empty() && !class.contains('/')
}

/// `host[:container[:mode]]`.
fn mapping(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
            && text.chars().all(|c| text.matches(c).count() == 1)
    };
    let (host, inside, mode) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (*host, *inside, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !host.starts_with('/') {
        return Err(format!("{host} is not an absolute path"));
    }
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: mode.to_owned(),
    })
}

/// Requests to device drivers; nothing when there are none.
pub(super) fn requests(
    gpus: &[&str],
    cdi: Vec<String>,
) -> Result<Option<Vec<DeviceRequest>>, String> {
    let mut all: Vec<DeviceRequest> =
        gpus.iter().map(|text| self::gpus(text)).collect::<Result<_, _>>()?;
    if !cdi.is_empty() {
        all.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(cdi),
            ..DeviceRequest::default()
        });
    }
    Ok((!all.is_empty()).then_some(all))
}

/// `all`, a number, or `driver=…,count=…,device=…,capabilities=…,options=…`.
pub(crate) fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let mut capabilities = Vec::new();
    let mut options = BTreeMap::new();
    for field in csv::split(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, value),
            None => ("count", field.as_str()),
        };
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "count" => request.count = count(value)?,
            "device" => {
                request.device_ids = Some(value.split(',').map(str::to_owned).collect());
            }
            "capabilities" => {
                capabilities = value.split(',').map(str::to_owned).collect();
            }
            "options" => {
                for option in csv::split(value)? {
                    let (name, value) = option.split_once('=').unwrap_or((&option, ""));
                    options.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    if !capabilities.iter().any(|name: &String| name == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    request.capabilities = Some(vec![capabilities]);
    request.options = Some(options);
    Ok(request)
}

fn count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        text => text.parse().map_err(|_| {
            format!(
                "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
            )
        }),
    }
}

/// `type major:minor mode`, as the kernel's device controller reads it.
pub(crate) fn cgroup_rule(text: &str) -> Result<(), String> {
    let bad = || format!("invalid device cgroup format '{text}'");
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, mode] = words.as_slice() else { return Err(bad()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number =
        |part: &str| part == "*" || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let mode_ok = (1..=3).contains(&mode.len()) && mode.chars().all(|c| "rwm".contains(c));
    if matches!(*kind, "a" | "b" | "c") && number(major) && number(minor) && mode_ok {
        return Ok(());
    }
    Err(bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let map = mapping("/dev/zero:/dev/x:r").unwrap();
        assert_eq!(
            (map.path_in_container.as_str(), map.cgroup_permissions.as_str()),
            ("/dev/x", "r")
        );
        assert_eq!(mapping("/dev/zero:rw").unwrap().path_in_container, "/dev/zero");
        assert_eq!(mapping("/dev/x:/dev/y:q").unwrap_err(), "bad mode specified: q");
        assert!(is_cdi("vendor.com/class=name"));
        assert!(cgroup_rule("c 1:* rwm").is_ok());
        assert!(cgroup_rule("c 1 rwm").is_err());
        assert_eq!(gpus("x=y").unwrap_err(), "unexpected key 'x' in 'x=y'");
        assert_eq!(gpus("all").unwrap().count, -1);
    }
}
