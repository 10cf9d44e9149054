//! Tests of flag values that are made while the command line is read, so that a mistake is
//! reported with the flag's name. What a value means is decided by the module it belongs to.

use std::net::IpAddr;

use crate::create::{device, environment, mount, network, resource};

pub(crate) fn add_host(value: &str) -> Result<(), String> {
    let bad = || format!("bad format for add-host: {}", crate::number::quote(value));
    let (name, address) = value.split_once(['=', ':']).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    if address == "host-gateway" {
        return Ok(());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(address)
        .parse::<IpAddr>()
        .map(drop)
        .map_err(|_| format!("invalid IP address in add-host: {}", crate::number::quote(address)))
}

pub(crate) fn attach(value: &str) -> Result<(), String> {
    match value.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

pub(crate) fn env(value: &str) -> Result<(), String> {
    environment::variable(value).map(drop)
}

pub(crate) fn ip(value: &str) -> Result<(), String> {
    let parsed = value.trim().parse::<IpAddr>();
    parsed.map(drop).map_err(|_| format!("IP address is not correctly formatted: {value}"))
}

pub(crate) fn dns_search(value: &str) -> Result<(), String> {
    let value = value.trim();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels = value.strip_suffix('.').unwrap_or(value);
    if value == "." || (value.len() < 255 && labels.split('.').all(label)) {
        return Ok(());
    }
    Err(format!("{value} is not a valid domain"))
}

pub(crate) fn weight_device(value: &str) -> Result<(), String> {
    resource::weight_device(value).map(drop)
}

pub(crate) fn throttle_bps(value: &str) -> Result<(), String> {
    resource::throttle_bps(value).map(drop)
}

pub(crate) fn throttle_iops(value: &str) -> Result<(), String> {
    resource::throttle_iops(value).map(drop)
}

pub(crate) fn ulimit(value: &str) -> Result<(), String> {
    resource::ulimit(value).map(drop)
}

pub(crate) fn link(value: &str) -> Result<(), String> {
    let parts: Vec<&str> = value.split(':').collect();
    match parts.as_slice() {
        [] | [""] => Err("empty string specified for links".to_owned()),
        [name] | [name, _] if !name.is_empty() => Ok(()),
        _ => Err(format!("bad format for links: {value}")),
    }
}

/// Only kernel parameters that belong to a namespace.
pub(crate) fn sysctl(value: &str) -> Result<(), String> {
    const NAMES: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.domainname",
    ];
    let name = value.split('=').next().unwrap_or_default();
    let known = NAMES.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.");
    if known && value.contains('=') {
        return Ok(());
    }
    Err(format!("sysctl '{value}' is not allowed"))
}

pub(crate) fn mount(value: &str) -> Result<(), String> {
    mount::parse(value).map(drop)
}

pub(crate) fn network(value: &str) -> Result<(), String> {
    network::parse(value).map(drop)
}

pub(crate) fn gpus(value: &str) -> Result<(), String> {
    device::gpus(value).map(drop)
}

pub(crate) fn cgroup_rule(value: &str) -> Result<(), String> {
    device::cgroup_rule(value)
}
