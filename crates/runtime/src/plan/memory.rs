//! NUMA memory policies, `linux.memoryPolicy`: words to what set_mempolicy(2) takes. Pure.

use super::step::InitStep;
use super::text::numbers;
use crate::error::LaunchError;
use sys::process::MAX_NODES;
use wire::oci::runtime::MemoryPolicy;

/// Modes with the kernel's numbers, `linux/mempolicy.h`.
const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags of modes.
const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

/// The modes that are known here.
pub const MEMORY_MODES: [&str; 7] = names(MODES);
/// The flags that are known here.
pub const MEMORY_FLAGS: [&str; 3] = names(FLAGS);

const fn names<const N: usize>(list: [(&'static str, u32); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = list[at].0;
        at += 1;
    }
    names
}

/// The step that sets `wanted`. Whether the machine has the nodes, the kernel says.
pub(super) fn policy(wanted: &MemoryPolicy) -> Result<InitStep, LaunchError> {
    let unknown = |what: &str| LaunchError::invalid(format!("memory policy {what:?} is unknown"));
    let find = |list: &[(&str, u32)], word: &str| {
        list.iter().find(|(name, _)| *name == word).map(|(_, bits)| *bits)
    };
    let mut mode = find(&MODES, &wanted.mode).ok_or_else(|| unknown(&wanted.mode))?;
    for flag in &wanted.flags {
        mode |= find(&FLAGS, flag).ok_or_else(|| unknown(flag))?;
    }
    let mut nodes = Box::new([0u64; MAX_NODES / 64]);
    if !wanted.nodes.is_empty() {
        let list = numbers(&wanted.nodes, MAX_NODES).ok_or_else(|| {
            let what = &wanted.nodes;
            LaunchError::invalid(format!("memory nodes {what:?} are no list below {MAX_NODES}"))
        })?;
        list.into_iter().for_each(|node| nodes[node / 64] |= 1 << (node % 64));
    }
    Ok(InitStep::MemoryPolicy { mode, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(mode: &str, nodes: &str, flags: &[&str]) -> MemoryPolicy {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags }
    }

    #[test]
    fn words_become_numbers() {
        let step = policy(&wanted("MPOL_BIND", "0,64-65", &["MPOL_F_STATIC_NODES"]));
        let Ok(InitStep::MemoryPolicy { mode, nodes }) = step else { unreachable!() };
        assert_eq!((mode, nodes[0], nodes[1]), (2 | 1 << 15, 1, 3));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for bad in [
            wanted("MPOL_NOPE", "", &[]),
            wanted("MPOL_BIND", "0", &["MPOL_F_NOPE"]),
            wanted("MPOL_BIND", "1024", &[]),
            wanted("MPOL_BIND", "x", &[]),
        ] {
            assert!(policy(&bad).is_err(), "{bad:?}");
        }
    }
}
