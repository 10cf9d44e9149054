//! Cache and memory bandwidth, `linux.intelRdt`: what is done in resctrl's file system. Pure; the
//! acts are `crate::resctrl`'s.
//!
//! Source: `config-linux.md` "IntelRdt", the kernel's `filesystems/resctrl.rst`.

use crate::error::LaunchError;
use wire::oci::runtime::{IntelRdt, Linux};

/// A group of resctrl, and what is to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    /// The group's directory below the file system's root; empty for the root.
    pub group: String,
    /// Who makes the group.
    pub making: Making,
    /// Lines for the group's `schemata`, in this order.
    pub schemata: Vec<String>,
    /// A monitoring group of this name in it.
    pub monitor: Option<String>,
}

/// Who makes a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// The container: it is removed with it.
    Own,
    /// Whoever comes first; one that is there already must have the same schemata.
    Shared,
    /// Somebody else: it must be there.
    Existing,
}

/// What the specification asks for, if anything.
pub(super) fn plan(linux: &Linux, id: &str) -> Result<Option<Resctrl>, LaunchError> {
    let Some(wanted) = &linux.intel_rdt else { return Ok(None) };
    check(wanted)?;
    let lines = [&wanted.l3_cache_schema, &wanted.mem_bw_schema];
    let lines = lines.into_iter().filter(|line| !line.is_empty()).chain(&wanted.schemata);
    let schemata: Vec<String> = lines.cloned().collect();
    let (group, making) = match wanted.clos_id.as_str() {
        "" => (id.to_owned(), Making::Own),
        "/" => (String::new(), Making::Existing),
        name if schemata.is_empty() => (name.to_owned(), Making::Existing),
        name => (name.to_owned(), Making::Shared),
    };
    // Until 1.2 there were two words for it.
    let watched = wanted.enable_monitoring || wanted.enable_cmt || wanted.enable_mbm;
    let monitor = watched.then(|| id.to_owned());
    Ok(Some(Resctrl { group, making, schemata, monitor }))
}

fn check(wanted: &IntelRdt) -> Result<(), LaunchError> {
    let bad = |what: &str, value: &str| {
        Err(LaunchError::invalid(format!("intelRdt: {value:?} is no {what}")))
    };
    let clos = wanted.clos_id.as_str();
    if clos != "/" && (clos.contains(['/', '\n', '\0']) || [".", ".."].contains(&clos)) {
        return bad("class of service", clos);
    }
    let bandwidth = wanted.mem_bw_schema.as_str();
    if !bandwidth.is_empty() && !bandwidth.starts_with("MB:") {
        return bad("schema of the memory bandwidth", bandwidth);
    }
    let lines = wanted.schemata.iter().chain([&wanted.l3_cache_schema, &wanted.mem_bw_schema]);
    match lines.into_iter().find(|line| line.contains(['\n', '\0'])) {
        Some(line) => bad("single line", line),
        None => Ok(()),
    }
}
