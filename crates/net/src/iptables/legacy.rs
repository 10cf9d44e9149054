//! How our chains stand in the older iptables, whose tables are read as one block
//! (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h). Never changes anything.

use super::{OWN, OWN_RULES, Standing, USER};
use crate::error::{Error, Result};
use crate::nft::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Place of FORWARD in the lists of hooks.
const FORWARD: usize = 2;

/// Sizes that differ between the families.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Of `target_offset` in an entry.
    target_offset: usize,
    /// Of an entry's head.
    head: usize,
    /// Where the kernel lists the tables in use.
    names: &'static str,
}

impl Layout {
    fn of(family: Family) -> Self {
        match family {
            Family::V6 => Self {
                target_offset: 140,
                head: 168,
                names: "/proc/thread-self/net/ip6_tables_names",
            },
            _ => Self {
                target_offset: 88,
                head: 112,
                names: "/proc/thread-self/net/ip_tables_names",
            },
        }
    }
}

pub(super) fn standing(family: Family) -> Result<Standing> {
    let layout = Layout::of(family);
    // Reading a table makes it: only where it is in use.
    let names = std::fs::read_to_string(layout.names).unwrap_or_default();
    if !names.lines().any(|name| name == "filter") {
        return Ok(Standing::default());
    }
    let any = match family {
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let block = sys::xtables::entries(any, "filter").map_err(Error::from)?;
    Ok(read(&block.bytes, block.hook_entries[FORWARD], block.underflows[FORWARD], layout))
}

/// One entry of the block.
struct Entry {
    offset: usize,
    /// Name of the chain that begins here.
    chain: Option<String>,
    /// Where it jumps to.
    jump: Option<usize>,
}

fn entries(block: &[u8], layout: Layout) -> Vec<Entry> {
    let u16_at = |at: usize| {
        let bytes = block.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(u16::from_ne_bytes(bytes)))
    };
    let mut found = Vec::new();
    let mut offset = 0;
    while let (Some(target), Some(next)) =
        (u16_at(offset + layout.target_offset), u16_at(offset + layout.target_offset + 2))
    {
        if next < layout.head || target < layout.head {
            break;
        }
        // struct xt_entry_target: size, name of 29 bytes, revision; then the target's own.
        let name = block.get(offset + target + 2..).map(text).unwrap_or_default();
        let own = block.get(offset + target + 32..).unwrap_or_default();
        let verdict = own.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        let jump = verdict.and_then(|verdict| usize::try_from(verdict).ok());
        found.push(Entry {
            offset,
            chain: (name == "ERROR").then(|| text(own)),
            jump: jump.filter(|_| name.is_empty()),
        });
        offset += next;
    }
    found
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().take(30).position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn read(block: &[u8], first: usize, last: usize, layout: Layout) -> Standing {
    let entries = entries(block, layout);
    let head = |name: &str| entries.iter().position(|it| it.chain.as_deref() == Some(name));
    // A chain's rules begin after its head; its last entry is the way back.
    let begin = |name: &str| head(name).and_then(|at| entries.get(at + 1)).map(|it| it.offset);
    let (user, own) = (begin(USER), begin(OWN));
    let in_own: Vec<&Entry> = match head(OWN) {
        Some(at) => entries[at + 1..].iter().take_while(|it| it.chain.is_none()).collect(),
        None => Vec::new(),
    };
    let in_forward = |it: &&Entry| (first..=last).contains(&it.offset);
    Standing {
        user: user.is_some(),
        own: user.is_some()
            && in_own.len() == OWN_RULES + 1
            && in_own.iter().any(|it| it.jump == user),
        hooked: own.is_some() && entries.iter().filter(in_forward).any(|it| it.jump == own),
    }
}
