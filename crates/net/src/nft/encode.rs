//! nftables' netlink messages (linux/netfilter/nf_tables.h, nfnetlink.h). Never performs IO.

use super::TABLE;
use super::rules::{Chain, Expr, Verdict};
use super::sets::{Element, Family, Set};
use crate::netlink::{Attrs, Batch};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(crate) const NEWTABLE: u16 = 0;
pub(crate) const GETTABLE: u16 = 1;
pub(crate) const DELTABLE: u16 = 2;
pub(crate) const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const NEWSET: u16 = 9;
pub(crate) const NEWSETELEM: u16 = 12;
pub(crate) const GETSETELEM: u16 = 13;
/// Reads the generation of the ruleset.
pub(crate) const GETGEN: u16 = 16;
pub(crate) const DELSETELEM: u16 = 14;

const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// -3 as the kernel's `NFT_JUMP`.
const NFT_JUMP: u32 = 0xffff_fffd;
const NFT_REG_VERDICT: u32 = 0;
/// `NFT_REG32_00`.
const FIRST_REGISTER: u32 = 8;
const NFT_SET_MAP: u32 = 8;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFT_LOOKUP_F_INV: u32 = 1;
const NFT_PAYLOAD_LL_HEADER: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_PAYLOAD_CSUM_INET: u32 = 1;
const NFT_META_MARK: u32 = 3;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_STATUS: u32 = 2;
/// `established` and `related`.
const CT_STATE_KNOWN: u32 = 2 | 4;
const IPS_DST_NAT: u32 = 0x20;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const NFT_NAT_SNAT: u32 = 0;
const NFT_NAT_DNAT: u32 = 1;

/// `NFT_TABLE_F_OWNER`: only the socket that made the table may change it.
pub(crate) const TABLE_OWNER: u32 = 2;
/// `NFT_TABLE_F_PERSIST` (6.9): the table outlives its owner.
pub(crate) const TABLE_PERSIST: u32 = 4;

/// Elements per message, so that their list fits its 16-bit length (an element takes less than
/// 120 bytes).
const ELEMENTS_PER_MESSAGE: usize = 500;

/// A set's user data by which nft(8) prints names instead of blanks: byte order (type 0, four
/// bytes) is the host's (1).
const KEY_IN_HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];

/// The netlink type of an nftables message.
pub(crate) fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

/// `struct nfgenmsg` for a family.
pub(crate) fn fixed(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

/// One atomic transaction: all of it happens, or none.
#[derive(Debug)]
pub(crate) struct Transaction {
    batch: Batch,
    table: &'static str,
    flags: u32,
}

impl Transaction {
    /// An empty transaction about our tables; they are made with `flags`.
    pub(crate) fn new(flags: u32) -> Self {
        Self::of_table(TABLE, flags)
    }

    /// The same about tables of another name.
    pub(crate) fn of_table(table: &'static str, flags: u32) -> Self {
        let mut batch = Batch::new();
        batch.message("change firewall rules", NFNL_MSG_BATCH_BEGIN, 0, &[0, 0, 0, 10], |_| {});
        Self { batch, table, flags }
    }

    /// The batch to send.
    pub(crate) fn finish(mut self) -> Batch {
        self.batch.acknowledge_last();
        self.batch.message("change firewall rules", NFNL_MSG_BATCH_END, 0, &[0, 0, 0, 10], |_| {});
        self.batch
    }

    fn message(
        &mut self,
        act: impl Into<String>,
        (family, message, flags): (Family, u16, u16),
        attrs: impl FnOnce(&mut Attrs<'_>),
    ) {
        self.batch.message(act, kind(message), flags, &fixed(family.number()), attrs);
    }

    /// Removes a table and everything in it.
    pub(crate) fn delete_table(&mut self, family: Family) {
        let table = self.table;
        self.message("remove the former firewall table", (family, DELTABLE, 0), |a| {
            a.text(1, table);
        });
    }

    fn make_table(&mut self, family: Family) {
        let (table, flags) = (self.table, self.flags);
        let act = format!("make firewall table {table}");
        self.message(act, (family, NEWTABLE, NLM_F_CREATE), |a| {
            a.text(1, table).be32(2, flags);
        });
    }

    /// Makes a table of chains and rules without sets, whether there is one of its name or not.
    pub(crate) fn only(&mut self, family: Family, chains: &[Chain]) {
        self.make_table(family);
        self.delete_table(family);
        self.make_table(family);
        self.chains(family, chains);
    }

    /// Makes a table with its sets, chains and rules.
    pub(crate) fn table(&mut self, family: Family, chains: &[Chain]) {
        self.make_table(family);
        // Ids are unique within the transaction, over all tables.
        for (set, id) in Set::of(family).iter().zip(u32::from(family.number()) * 100..) {
            self.set(family, *set, id);
        }
        self.chains(family, chains);
    }

    fn chains(&mut self, family: Family, chains: &[Chain]) {
        for chain in chains {
            self.chain(family, chain);
        }
        for chain in chains {
            for rule in &chain.rules {
                self.rule(family, chain.name, rule);
            }
        }
    }

    fn set(&mut self, family: Family, set: Set, id: u32) {
        let act = format!("make firewall set {}", set.name());
        let (shape, table) = (Shape::of(family, set), self.table);
        self.message(act, (family, NEWSET, NLM_F_CREATE), |a| {
            a.text(1, table).text(2, set.name());
            a.be32(3, if shape.data_len > 0 { NFT_SET_MAP } else { 0 });
            a.be32(4, shape.key_type).be32(5, shape.key_len);
            if shape.data_len > 0 {
                a.be32(6, shape.data_type).be32(7, shape.data_len);
            }
            a.be32(10, id);
            if shape.key_type == Shape::INTERFACE {
                a.bytes(13, &KEY_IN_HOST_ORDER);
            }
        });
    }

    fn chain(&mut self, family: Family, chain: &Chain) {
        let table = self.table;
        let act = format!("make firewall chain {}", chain.name);
        self.message(act, (family, NEWCHAIN, NLM_F_CREATE), |a| {
            a.text(1, table).text(3, chain.name);
            if let Some(base) = chain.base {
                a.nest(4, |a| {
                    a.be32(1, base.hook as u32).be32(2, base.priority.cast_unsigned());
                });
                a.be32(5, NF_ACCEPT).text(7, base.kind);
            }
        });
    }

    fn rule(&mut self, family: Family, chain: &str, rule: &[Expr]) {
        let table = self.table;
        let act = format!("make a rule of firewall chain {chain}");
        self.message(act, (family, NEWRULE, NLM_F_CREATE | NLM_F_APPEND), |a| {
            a.text(1, table).text(2, chain);
            a.nest(4, |a| rule.iter().for_each(|expr| expression(a, family, expr)));
        });
    }

    /// Adds elements. One that is there already fails the transaction.
    pub(crate) fn add(&mut self, elements: &[Element]) {
        self.elements(elements, NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Removes elements. One that is not there fails the transaction.
    pub(crate) fn remove(&mut self, elements: &[Element]) {
        self.elements(elements, DELSETELEM, 0);
    }

    fn elements(&mut self, elements: &[Element], message: u16, flags: u16) {
        let table = self.table;
        for group in elements.chunk_by(|a, b| (a.family, a.set) == (b.family, b.set)) {
            for chunk in group.chunks(ELEMENTS_PER_MESSAGE) {
                let Some(Element { family, set, .. }) = chunk.first() else { continue };
                let act = format!("change firewall set {}", set.name());
                self.message(act, (*family, message, flags), |a| {
                    a.text(1, table).text(2, set.name());
                    a.nest(3, |a| chunk.iter().for_each(|element| encode_element(a, element)));
                });
            }
        }
    }
}

fn encode_element(a: &mut Attrs<'_>, element: &Element) {
    a.nest(1, |a| {
        a.nest(1, |a| _ = a.bytes(1, &element.key));
        if !element.data.is_empty() {
            a.nest(2, |a| _ = a.bytes(1, &element.data));
        }
    });
}

/// Key and value of a set: lengths in bytes, and nft(8)'s numbers of their types (six bits per
/// part of a concatenation), by which it prints them.
struct Shape {
    key_type: u32,
    key_len: u32,
    data_type: u32,
    data_len: u32,
}

impl Shape {
    /// nft(8)'s type `ifname`.
    const INTERFACE: u32 = 41;

    fn of(family: Family, set: Set) -> Self {
        const ADDRESS: u32 = 7;
        const ADDRESS6: u32 = 8;
        const HARDWARE: u32 = 9;
        const PROTOCOL: u32 = 12;
        const SERVICE: u32 = 13;
        let address = if family == Family::V4 { ADDRESS } else { ADDRESS6 };
        let len = u32::from(family.address_len());
        let plain = |key_type, key_len| Self { key_type, key_len, data_type: 0, data_len: 0 };
        let maps = |it: Self| Self { data_type: address << 6 | SERVICE, data_len: len + 4, ..it };
        let service = plain(PROTOCOL << 6 | SERVICE, 8);
        let at = plain(address << 12 | service.key_type, len + 8);
        let speaker = Self::INTERFACE << 12 | HARDWARE << 6;
        match set {
            Set::Same => plain(Self::INTERFACE << 6 | Self::INTERFACE, 32),
            Set::Itself => plain(address << 6 | address, len * 2),
            Set::Published => maps(at),
            Set::PublishedAny => maps(service),
            Set::Guarded | Set::Direct => at,
            Set::Linked => plain(address << 18 | at.key_type, len + at.key_len),
            Set::Trusted => plain(Self::INTERFACE << 18 | at.key_type, 16 + at.key_len),
            Set::Sources => {
                Self { data_type: address, data_len: len, ..plain(Self::INTERFACE, 16) }
            }
            Set::GuardedAny => service,
            Set::Speakers => plain(speaker | ADDRESS, 28),
            Set::Speakers6 => plain(speaker | ADDRESS6, 40),
            Set::Bridges
            | Set::Masqueraded
            | Set::Internal
            | Set::Closed
            | Set::Open
            | Set::Routed
            | Set::Links => plain(Self::INTERFACE, 16),
        }
    }
}

fn register(n: u8) -> u32 {
    FIRST_REGISTER + u32::from(n)
}

/// One `NFTA_LIST_ELEM` holding a named expression.
fn named(a: &mut Attrs<'_>, name: &str, data: impl FnOnce(&mut Attrs<'_>)) {
    a.nest(1, |a| {
        a.text(1, name).nest(2, data);
    });
}

fn expression(a: &mut Attrs<'_>, family: Family, expr: &Expr) {
    let span = |offset: u8, len: u8| (u32::from(offset), u32::from(len));
    match expr {
        Expr::Meta { key, reg } => load_meta(a, *key as u32, *reg),
        Expr::Frame { offset, len, reg } => {
            payload(a, *reg, NFT_PAYLOAD_LL_HEADER, span(*offset, *len));
        }
        Expr::Network { offset, len, reg } => {
            payload(a, *reg, NFT_PAYLOAD_NETWORK_HEADER, span(*offset, *len));
        }
        Expr::Transport { offset, len, reg } => {
            payload(a, *reg, NFT_PAYLOAD_TRANSPORT_HEADER, span(*offset, *len));
        }
        // The destination port follows the source port in TCP, UDP and SCTP alike.
        Expr::DestinationPort { reg } => payload(a, *reg, NFT_PAYLOAD_TRANSPORT_HEADER, (2, 2)),
        Expr::Translated => any_bit_of_flow(a, NFT_CT_STATUS, IPS_DST_NAT),
        Expr::Established => any_bit_of_flow(a, NFT_CT_STATE, CT_STATE_KNOWN),
        Expr::ToHost => {
            named(a, "fib", |a| {
                a.be32(1, register(0)).be32(2, NFT_FIB_RESULT_ADDRTYPE).be32(3, NFTA_FIB_F_DADDR);
            });
            compare(a, 0, NFT_CMP_EQ, &RTN_LOCAL.to_ne_bytes());
        }
        Expr::Compare { reg, equal, bytes } => {
            compare(a, *reg, if *equal { NFT_CMP_EQ } else { NFT_CMP_NEQ }, bytes);
        }
        Expr::Member { set, inside } => named(a, "lookup", |a| {
            a.text(1, set.name()).be32(2, register(0));
            if !inside {
                a.be32(5, NFT_LOOKUP_F_INV);
            }
        }),
        Expr::Map { set } => named(a, "lookup", |a| {
            a.text(1, set.name()).be32(2, register(0)).be32(3, register(0));
        }),
        Expr::Mark { clear, set } => {
            load_meta(a, NFT_META_MARK, 0);
            bits(a, !(clear | set), *set);
            named(a, "meta", |a| _ = a.be32(2, NFT_META_MARK).be32(3, register(0)));
        }
        Expr::Marked(mask) => {
            load_meta(a, NFT_META_MARK, 0);
            any_bit(a, *mask);
        }
        Expr::MarkedAs { value, mask } => {
            load_meta(a, NFT_META_MARK, 0);
            bits(a, *mask, 0);
            compare(a, 0, NFT_CMP_EQ, &value.to_ne_bytes());
        }
        Expr::WritePort { .. }
        | Expr::Copy { .. }
        | Expr::Dnat { .. }
        | Expr::Snat
        | Expr::Masquerade
        | Expr::Verdict(_) => {
            act(a, family, expr);
        }
    }
}

/// What is done to the packet.
fn act(a: &mut Attrs<'_>, family: Family, expr: &Expr) {
    match expr {
        Expr::WritePort { offset, checksum, port } => {
            value(a, 0, &port.to_be_bytes());
            named(a, "payload", |a| {
                a.be32(2, NFT_PAYLOAD_TRANSPORT_HEADER).be32(3, u32::from(*offset)).be32(4, 2);
                a.be32(5, register(0)).be32(6, NFT_PAYLOAD_CSUM_INET);
                a.be32(7, u32::from(*checksum));
            });
        }
        Expr::Copy { link } => {
            // Any address of no host: the link has no neighbours to ask for it.
            let nowhere: &[u8] = match family {
                Family::V4 => &[192, 0, 0, 8],
                _ => &[0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8],
            };
            value(a, 4, nowhere);
            value(a, 0, &link.to_ne_bytes());
            named(a, "dup", |a| _ = a.be32(1, register(4)).be32(2, register(0)));
        }
        Expr::Dnat { port } => named(a, "nat", |a| {
            a.be32(1, NFT_NAT_DNAT).be32(2, u32::from(family.number()));
            a.be32(3, register(0)).be32(4, register(0));
            a.be32(5, register(*port)).be32(6, register(*port));
        }),
        Expr::Snat => named(a, "nat", |a| {
            a.be32(1, NFT_NAT_SNAT).be32(2, u32::from(family.number()));
            a.be32(3, register(0)).be32(4, register(0));
        }),
        Expr::Masquerade => named(a, "masq", |_| {}),
        Expr::Verdict(verdict) => named(a, "immediate", |a| {
            a.be32(1, NFT_REG_VERDICT).nest(2, |a| _ = a.nest(2, |a| encode_verdict(a, *verdict)));
        }),
        _ => {}
    }
}

fn load_meta(a: &mut Attrs<'_>, key: u32, reg: u8) {
    named(a, "meta", |a| _ = a.be32(1, register(reg)).be32(2, key));
}

/// Puts bytes into a register.
fn value(a: &mut Attrs<'_>, reg: u8, bytes: &[u8]) {
    named(a, "immediate", |a| {
        a.be32(1, register(reg)).nest(2, |a| _ = a.bytes(1, bytes));
    });
}

fn encode_verdict(a: &mut Attrs<'_>, verdict: Verdict) {
    match verdict {
        Verdict::Accept => _ = a.be32(1, NF_ACCEPT),
        Verdict::Drop => _ = a.be32(1, NF_DROP),
        Verdict::Jump(chain) => _ = a.be32(1, NFT_JUMP).text(2, chain),
    }
}

fn payload(a: &mut Attrs<'_>, reg: u8, base: u32, (offset, len): (u32, u32)) {
    named(a, "payload", |a| {
        a.be32(1, register(reg)).be32(2, base).be32(3, offset).be32(4, len);
    });
}

fn compare(a: &mut Attrs<'_>, reg: u8, op: u32, bytes: &[u8]) {
    named(a, "cmp", |a| {
        a.be32(1, register(reg)).be32(2, op).nest(3, |a| _ = a.bytes(1, bytes));
    });
}

/// Demands one of the bits of a conntrack word.
fn any_bit_of_flow(a: &mut Attrs<'_>, key: u32, mask: u32) {
    named(a, "ct", |a| {
        a.be32(1, register(0)).be32(2, key);
    });
    any_bit(a, mask);
}

/// Demands one of the bits of register 0.
fn any_bit(a: &mut Attrs<'_>, mask: u32) {
    bits(a, mask, 0);
    compare(a, 0, NFT_CMP_NEQ, &[0; 4]);
}

/// Register 0 becomes itself and `keep`, exclusive-or `flip`.
fn bits(a: &mut Attrs<'_>, keep: u32, flip: u32) {
    named(a, "bitwise", |a| {
        a.be32(1, register(0)).be32(2, register(0)).be32(3, 4);
        a.nest(4, |a| _ = a.bytes(1, &keep.to_ne_bytes()));
        a.nest(5, |a| _ = a.bytes(1, &flip.to_ne_bytes()));
    });
}
