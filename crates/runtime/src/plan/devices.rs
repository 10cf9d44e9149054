//! Network devices that are moved from the host into the container, `linux.netDevices`. Pure.

use super::namespaces::Namespaces;
use crate::error::LaunchError;
use sys::clone::ns;
use wire::oci::runtime::Linux;

/// Longest name of an interface, its end not counted: `IFNAMSIZ` of netdevice(7).
const NAME_MAX: usize = 15;

/// One network device on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetMove {
    /// Its name on the host.
    pub from: String,
    /// Its name in the container.
    pub to: String,
}

/// The devices of the specification.
pub(super) fn net_devices(
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<Vec<NetMove>, LaunchError> {
    if linux.net_devices.is_empty() {
        return Ok(Vec::new());
    }
    if !namespaces.makes(ns::NET) && !namespaces.joins(ns::NET) {
        let why = "netDevices need a network namespace of the container's";
        return Err(LaunchError::invalid(why));
    }
    let mut moves: Vec<NetMove> = Vec::new();
    for (from, device) in &linux.net_devices {
        let to = if device.name.is_empty() { from } else { &device.name };
        for name in [from, to] {
            check(name)?;
        }
        if moves.iter().any(|other| other.to == *to) {
            let why = format!("two network devices are to be called {to:?}");
            return Err(LaunchError::invalid(why));
        }
        moves.push(NetMove { from: from.clone(), to: to.clone() });
    }
    Ok(moves)
}

/// As the kernel's `dev_valid_name`; `lo` is every namespace's own.
fn check(name: &str) -> Result<(), LaunchError> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:%".contains(c);
    let bad = name.is_empty() || name.len() > NAME_MAX || name.contains(odd);
    match bad || [".", "..", "lo"].contains(&name) {
        true => Err(LaunchError::invalid(format!("{name:?} is no name of a network device"))),
        false => Ok(()),
    }
}
