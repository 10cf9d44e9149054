//! A user's profile in Docker's JSON form (`--security-opt seccomp=file.json`): parsed, and its
//! conditions on capabilities, machine and kernel resolved. Never opens the file.
//!
//! Source: Docker's manual, "Seccomp security profiles for Docker"; the profile's JSON as shipped.

use serde::Deserialize;
use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

use super::program::Arch;
use crate::caps::{CapError, CapSet};

/// The longest document that is accepted; Docker's own has 15 KiB.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// What a profile's conditions ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileFacts {
    /// The container's capabilities.
    pub caps: CapSet,
    /// The machine.
    pub arch: Arch,
    /// The kernel's version: `(6, 18)`.
    pub kernel: (u32, u32),
}

/// A document that is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is larger than any profile.
    #[error("seccomp profile of {bytes} bytes is larger than {MAX_DOCUMENT_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no JSON, or JSON of another shape.
    #[error("parse the seccomp profile")]
    Json(#[from] serde_json::Error),
    /// Two ways of saying the same thing at once.
    #[error("seccomp profile: use either {one:?} or {other:?}")]
    Both {
        /// A key.
        one: &'static str,
        /// The other key.
        other: &'static str,
    },
    /// A condition on a capability that does not exist.
    #[error("seccomp profile")]
    Capability(#[from] CapError),
    /// A `minKernel` that is no version.
    #[error("seccomp profile: {0:?} is no kernel version")]
    KernelVersion(String),
}

/// Parses a profile and keeps the rules that apply to this container on this machine.
///
/// # Errors
/// [`ProfileError`]. Unknown actions and operators are found by the compiler.
pub fn parse_profile(json: &[u8], facts: &ProfileFacts) -> Result<Seccomp, ProfileError> {
    if json.len() > MAX_DOCUMENT_BYTES {
        return Err(ProfileError::TooLarge { bytes: json.len() });
    }
    let document: Document = serde_json::from_slice(json)?;
    let architectures = match (document.architectures, document.arch_map) {
        (Some(listed), None) => listed,
        (None, map) => subordinates(map.unwrap_or_default(), facts.arch),
        (Some(listed), Some(map)) if map.is_empty() => listed,
        (Some(listed), Some(map)) if listed.is_empty() => subordinates(map, facts.arch),
        (Some(_), Some(_)) => {
            return Err(ProfileError::Both { one: "architectures", other: "archMap" });
        }
    };
    let mut syscalls = Vec::new();
    for rule in document.syscalls.unwrap_or_default() {
        syscalls.extend(rule.resolve(facts)?);
    }
    Ok(Seccomp {
        default_action: document.default_action,
        default_errno_ret: document.default_errno_ret,
        architectures,
        flags: document.flags.unwrap_or_default(),
        listener_path: document.listener_path,
        listener_metadata: document.listener_metadata,
        syscalls,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<SyscallArg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Rule {
    /// The rule in OCI's form, when its conditions hold.
    fn resolve(self, facts: &ProfileFacts) -> Result<Option<Syscall>, ProfileError> {
        let mut names = self.names.unwrap_or_default();
        if !self.name.is_empty() {
            if !names.is_empty() {
                return Err(ProfileError::Both { one: "name", other: "names" });
            }
            names.push(self.name);
        }
        let excluded = match &self.excludes {
            Some(filter) => filter.any(facts)?,
            None => false,
        };
        let included = match &self.includes {
            Some(filter) => filter.all(facts)?,
            None => true,
        };
        let args = self.args.unwrap_or_default();
        let (action, errno_ret) = (self.action, self.errno_ret);
        Ok((included && !excluded).then_some(Syscall { names, action, errno_ret, args }))
    }
}

impl Filter {
    /// What an `excludes` says: one true word suffices.
    fn any(&self, facts: &ProfileFacts) -> Result<bool, ProfileError> {
        Ok(self.held(facts)?.contains(&true)
            || self.arch(facts) == Some(true)
            || self.kernel(facts)? == Some(true))
    }

    /// What an `includes` says: every capability, one of the machines, the kernel.
    fn all(&self, facts: &ProfileFacts) -> Result<bool, ProfileError> {
        Ok(!self.held(facts)?.contains(&false)
            && self.arch(facts) != Some(false)
            && self.kernel(facts)? != Some(false))
    }

    fn held(&self, facts: &ProfileFacts) -> Result<Vec<bool>, ProfileError> {
        let names = self.caps.iter().flatten();
        let held = names.map(|name| Ok(facts.caps.contains(crate::caps::Cap::from_name(name)?)));
        held.collect()
    }

    fn arch(&self, facts: &ProfileFacts) -> Option<bool> {
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        let own = match facts.arch {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        };
        Some(arches.iter().any(|arch| arch == own))
    }

    fn kernel(&self, facts: &ProfileFacts) -> Result<Option<bool>, ProfileError> {
        let Some(version) = self.min_kernel.as_deref().filter(|v| !v.is_empty()) else {
            return Ok(None);
        };
        let parsed = version.split_once('.').and_then(|(major, minor)| {
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let minimum = parsed.ok_or_else(|| ProfileError::KernelVersion(version.to_owned()))?;
        Ok(Some(facts.kernel >= minimum))
    }
}

/// The entry of this machine, with the architectures that it also runs.
fn subordinates(map: Vec<ArchMap>, arch: Arch) -> Vec<String> {
    let own = match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64",
    };
    let entry = map.into_iter().find(|entry| entry.architecture == own);
    let listed = |entry: ArchMap| {
        std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default())
    };
    entry.into_iter().flat_map(listed).collect()
}
