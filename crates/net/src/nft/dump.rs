//! Reads our tables back: whether they exist, and whether they are still as we laid them.

use super::TABLE;
use super::encode::{GETCHAIN, GETRULE, GETSETELEM, GETTABLE, fixed, kind};
use super::sets::{Element, Family, Packed, Set};
use crate::error::{Error, Result};
use crate::netlink::{Batch, Fields, Socket, field, text};
use rustix::io::Errno;
use std::hash::{DefaultHasher, Hasher};

/// `struct nfgenmsg` in bytes.
const GENMSG_LEN: usize = 4;
const NLM_F_DUMP: u16 = 0x300;

/// Whether our table exists in a family.
pub(super) fn has_table(socket: &mut Socket, family: Family) -> Result<bool> {
    exists(socket, family, GETTABLE, |a| _ = a.text(1, TABLE))
}

/// Whether our table has this chain.
pub(super) fn has_chain(socket: &mut Socket, family: Family, chain: &str) -> Result<bool> {
    exists(socket, family, GETCHAIN, |a| _ = a.text(1, TABLE).text(3, chain))
}

/// Whether an object is there, named by `attrs`.
pub(crate) fn exists(
    socket: &mut Socket,
    family: Family,
    message: u16,
    attrs: impl FnOnce(&mut crate::netlink::Attrs<'_>),
) -> Result<bool> {
    let mut batch = Batch::new();
    batch.message("look for firewall rules", kind(message), 0, &fixed(family.number()), attrs);
    match socket.query(batch, |_| {}) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A number that changes when somebody changes flags, chains or rules of our table; `None` when
/// there is no table. Elements are compared one by one instead: [`elements`].
pub(super) fn fingerprint(socket: &mut Socket, family: Family) -> Result<Option<u64>> {
    let mut hash = DefaultHasher::new();
    let mut found = false;
    dump(socket, family, GETTABLE, 1, |fields| {
        found = true;
        hash.write(field(fields, 2).unwrap_or_default());
    })?;
    if !found {
        return Ok(None);
    }
    // Name, hook, policy and kind of a chain; chain and expressions of a rule. Never handles and
    // counters: they differ from time to time.
    for (message, kept) in [(GETCHAIN, &[3, 4, 5, 7][..]), (GETRULE, &[2, 4])] {
        dump(socket, family, message, 1, |fields| {
            for (kind, value) in fields.filter(|(kind, _)| kept.contains(kind)) {
                hash.write_u16(kind);
                hash.write(value);
            }
        })?;
    }
    Ok(Some(hash.finish()))
}

/// Dumps a kind of object, only those whose attribute `table` names our table.
fn dump(
    socket: &mut Socket,
    family: Family,
    message: u16,
    table: u16,
    mut each: impl FnMut(Fields<'_>),
) -> Result<()> {
    socket.dump("list firewall rules", kind(message), &fixed(family.number()), |answer| {
        let fields = answer.fields(GENMSG_LEN);
        if field(fields, table).map(text).as_deref() == Some(TABLE) {
            each(fields);
        }
    })
}

/// The elements of one of our sets, in order.
pub(super) fn elements(socket: &mut Socket, family: Family, set: Set) -> Result<Vec<Packed>> {
    let mut batch = Batch::new();
    let act = format!("list firewall set {}", set.name());
    batch.message(&act, kind(GETSETELEM), NLM_F_DUMP, &fixed(family.number()), |a| {
        a.text(1, TABLE).text(2, set.name());
    });
    let mut found = Vec::new();
    let mut malformed = false;
    socket.query(batch, |answer| {
        let list = field(answer.fields(GENMSG_LEN), 3).unwrap_or_default();
        for (_, element) in Fields(list) {
            match element_of(family, set, element) {
                Some(element) => found.push(Packed::of(&element)),
                None => malformed = true,
            }
        }
    })?;
    found.sort();
    if malformed { Err(Error::Malformed { act }) } else { Ok(found) }
}

fn element_of(family: Family, set: Set, element: &[u8]) -> Option<Element> {
    let value = |kind| Some(field(Fields(field(Fields(element), kind)?), 1)?.to_vec());
    Some(Element { family, set, key: value(1)?, data: value(2).unwrap_or_default() })
}
