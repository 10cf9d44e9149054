//! The few `net.*` kernel settings that networks need, in the calling thread's network namespace.

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::io::ErrorKind;

/// A setting, as the path below `/proc/sys/net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// For example `ipv4/ip_forward`.
    pub path: String,
    /// What it is set to.
    pub value: Cow<'static, str>,
    /// Fine when the kernel has no such setting (IPv6 compiled out or off).
    pub optional: bool,
}

impl Sysctl {
    /// A setting that must exist.
    pub(crate) fn new(path: impl Into<String>, value: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), value: value.into(), optional: false }
    }

    /// A setting that may be missing.
    pub(crate) fn optional(path: impl Into<String>, value: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), value: value.into(), optional: true }
    }

    /// Sets it.
    pub(crate) fn apply(&self) -> Result<()> {
        match std::fs::write(format!("/proc/sys/net/{}", self.path), self.value.as_ref()) {
            Err(error) if self.optional && error.kind() == ErrorKind::NotFound => Ok(()),
            // Where /proc/sys is read-only, what already is as wanted is good enough.
            Err(_) if read(&self.path).as_deref() == Some(&self.value) => Ok(()),
            other => other.map_err(Error::io(format!("set net/{} to {}", self.path, self.value))),
        }
    }
}

/// The present value of a setting, trimmed; `None` when there is no such setting.
pub(crate) fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
    Some(text.trim().to_owned())
}

/// Whether the kernel speaks IPv6 at all; it may still be switched off by settings, which is undone
/// for our own links.
pub(crate) fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

/// Lets interfaces that configure themselves by router advertisements go on doing so when the host
/// becomes a router: then the kernel heeds none, unless `accept_ra` is 2 (ip-sysctl of the kernel).
/// Nothing where IPv6 is forwarded already, and for interfaces that do not accept any.
pub(crate) fn keep_advertisements() -> Result<()> {
    if read("ipv6/conf/all/forwarding").as_deref() == Some("1") {
        return Ok(());
    }
    let all = std::fs::read_dir("/proc/sys/net/ipv6/conf").into_iter().flatten().flatten();
    for name in all.filter_map(|entry| entry.file_name().into_string().ok()) {
        let setting = format!("ipv6/conf/{name}/accept_ra");
        let router = read(&format!("ipv6/conf/{name}/forwarding")).as_deref() == Some("1");
        if name != "all" && !router && read(&setting).as_deref() == Some("1") {
            Sysctl::optional(setting, "2").apply()?;
        }
    }
    Ok(())
}
