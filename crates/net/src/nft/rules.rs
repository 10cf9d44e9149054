//! What of the firewall is constant: chains and their rules, as data. Pure.
//!
//! ```text
//!  prerouting ─▶ guard: 127.0.0.0/8 enters by no interface but lo
//!             ─▶ arrive: to an address of the host and a published port? ─▶ the container
//!  output     ─▶ depart: the same for the host's own programs, loopback included
//!  forward    ─▶ between: who may pass between bridges, host interfaces and containers
//!  postrouting─▶ leave: whose source address has to be the host's
//! ```

use super::sets::{Family, Set, interface};

/// What of the options the rules depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// We turned forwarding on: what came from outside and goes nowhere of ours is dropped, as
    /// it was before.
    pub drop_foreign: bool,
    /// Containers may reach 169.254.0.0/16.
    pub link_local_egress: bool,
}

/// `enum nf_inet_hooks` (linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// Being routed through.
    Forward = 2,
    /// From the host's own programs.
    Output = 3,
    /// After routing.
    Postrouting = 4,
}

/// Where a chain is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// The hook.
    pub hook: Hook,
    /// Lower comes first.
    pub priority: i32,
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Its hook; `None` for a chain that is jumped to. The policy of every hook is accept.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<Vec<Expr>>,
}

/// `enum nft_meta_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    /// Name of the interface it came by.
    IifName = 6,
    /// Name of the interface it leaves by.
    OifName = 7,
    /// Transport protocol.
    L4Proto = 16,
    /// Kind of the interface it came by.
    IifKind = 26,
}

/// What a rule ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ends this hook's evaluation of our table.
    Accept,
    /// Ends the packet.
    Drop,
    /// Goes on in another chain.
    Jump(&'static str),
}

/// One expression of a rule. `reg` counts the 32-bit registers from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Loads packet metadata.
    Meta { key: Meta, reg: u8 },
    /// Loads `len` bytes of the network header.
    Network { offset: u8, len: u8, reg: u8 },
    /// Loads the destination port.
    DestinationPort { reg: u8 },
    /// Loads the conntrack status' translation bits and demands `IPS_DST_NAT`.
    Translated,
    /// Demands an established or related connection.
    Established,
    /// Demands that the destination is an address of the host.
    ToHost,
    /// Demands that the register equals (or not) the bytes.
    Compare { reg: u8, equal: bool, bytes: Vec<u8> },
    /// Demands membership (or not) of what starts at register 0.
    Member { set: Set, inside: bool },
    /// Looks up what starts at register 0 and puts the value there; ends the rule if there is none.
    Map { set: Set },
    /// Translates the destination to the address at register 0 and the port at `port`.
    Dnat { port: u8 },
    /// Translates the source to the leaving interface's address.
    Masquerade,
    /// Ends the rule.
    Verdict(Verdict),
}

/// The chain that exists where we turned forwarding on. Its presence outlives the daemon.
pub(crate) const FOREIGN: &str = "foreign";

/// Every chain of a table, jumped-to chains first.
pub(crate) fn chains(family: Family, policy: Policy) -> Vec<Chain> {
    let base = |kind, hook, priority| Some(Base { kind, hook, priority });
    let mut chains = Vec::new();
    if policy.drop_foreign {
        let kept = vec![Expr::Established, Expr::Verdict(Verdict::Accept)];
        let rules = vec![kept, from_no_bridge()];
        chains.push(Chain { name: FOREIGN, base: None, rules });
    }
    if family == Family::V4 {
        let base = base("filter", Hook::Prerouting, -300);
        chains.push(Chain { name: "guard", base, rules: vec![loopback_stays()] });
    }
    let translate =
        || vec![translate(family, Set::Published), translate(family, Set::PublishedAny)];
    chains.extend([
        Chain { name: "arrive", base: base("nat", Hook::Prerouting, -100), rules: translate() },
        Chain { name: "depart", base: base("nat", Hook::Output, -100), rules: depart(family) },
        Chain {
            name: "between",
            base: base("filter", Hook::Forward, 0),
            rules: between(family, policy),
        },
        Chain { name: "leave", base: base("nat", Hook::Postrouting, 100), rules: leave(family) },
    ]);
    chains
}

fn iif() -> Expr {
    Expr::Meta { key: Meta::IifName, reg: 0 }
}

fn oif() -> Expr {
    Expr::Meta { key: Meta::OifName, reg: 0 }
}

fn member(set: Set) -> Expr {
    Expr::Member { set, inside: true }
}

fn outside(set: Set) -> Expr {
    Expr::Member { set, inside: false }
}

/// Loads the pair that [`Set::Same`] holds.
fn pair() -> [Expr; 2] {
    [iif(), Expr::Meta { key: Meta::OifName, reg: 4 }]
}

const ACCEPT: Expr = Expr::Verdict(Verdict::Accept);
const DROP: Expr = Expr::Verdict(Verdict::Drop);

/// Demands a source or destination in 127.0.0.0/8.
fn loopback(offset: u8) -> [Expr; 2] {
    let bytes = vec![127];
    [Expr::Network { offset, len: 1, reg: 0 }, Expr::Compare { reg: 0, equal: true, bytes }]
}

/// Offset of the source address in an IPv4 header.
const V4_SOURCE: u8 = 12;
/// Offset of the destination address in an IPv4 header.
const V4_DESTINATION: u8 = 16;
/// Offset of the source address in an IPv6 header.
const V6_SOURCE: u8 = 8;
/// Offset of the destination address in an IPv6 header.
const V6_DESTINATION: u8 = 24;

/// `route_localnet`, which publishing on loopback needs, would let a neighbour or a container
/// address the host's loopback. RFC 1122 3.2.1.3: such addresses never appear outside a host.
fn loopback_stays() -> Vec<Expr> {
    let bytes = interface("lo").to_vec();
    let not_lo = Expr::Compare { reg: 0, equal: false, bytes };
    [&loopback(V4_DESTINATION)[..], &[iif(), not_lo, DROP]].concat()
}

/// Frames that cross a foreign bridge pass the forward hook where br_netfilter is on: those were
/// never routed and go on.
fn from_no_bridge() -> Vec<Expr> {
    let bytes = interface("bridge").to_vec();
    vec![
        Expr::Meta { key: Meta::IifKind, reg: 0 },
        Expr::Compare { reg: 0, equal: false, bytes },
        DROP,
    ]
}

/// Only to the host's own addresses (law F2): never for what is merely routed through.
fn translate(family: Family, set: Set) -> Vec<Expr> {
    let words = family.address_len() / 4;
    let mut rule = vec![Expr::ToHost];
    let mut reg = 0;
    if set == Set::Published {
        let offset = if family == Family::V4 { V4_DESTINATION } else { V6_DESTINATION };
        rule.push(Expr::Network { offset, len: family.address_len(), reg });
        reg += words;
    }
    rule.push(Expr::Meta { key: Meta::L4Proto, reg });
    rule.push(Expr::DestinationPort { reg: reg + 1 });
    rule.push(Expr::Map { set });
    rule.push(Expr::Dnat { port: words });
    rule
}

fn depart(family: Family) -> Vec<Vec<Expr>> {
    let mut rules = Vec::new();
    if family == Family::V6 {
        // The kernel has no route_localnet for IPv6: translated, ::1 would only be lost.
        let loopback = std::net::Ipv6Addr::LOCALHOST.octets().to_vec();
        rules.push(vec![
            Expr::Network { offset: V6_DESTINATION, len: 16, reg: 0 },
            Expr::Compare { reg: 0, equal: true, bytes: loopback },
            ACCEPT,
        ]);
    }
    rules.push(translate(family, Set::Published));
    rules.push(translate(family, Set::PublishedAny));
    rules
}

fn between(family: Family, policy: Policy) -> Vec<Vec<Expr>> {
    let foreign = if policy.drop_foreign { Verdict::Jump(FOREIGN) } else { Verdict::Accept };
    let not_ours = [iif(), outside(Set::Bridges), oif(), outside(Set::Bridges)];
    let mut rules = vec![
        [&not_ours[..], &[Expr::Verdict(foreign)]].concat(),
        vec![Expr::Established, ACCEPT],
        // Only where br_netfilter is on do frames within one bridge come by here.
        [&[iif(), outside(Set::Closed)], &pair()[..], &[member(Set::Same), ACCEPT]].concat(),
        vec![iif(), member(Set::Internal), DROP],
        vec![oif(), member(Set::Internal), DROP],
    ];
    if family == Family::V4 && !policy.link_local_egress {
        rules.push(vec![
            Expr::Network { offset: V4_DESTINATION, len: 2, reg: 0 },
            Expr::Compare { reg: 0, equal: true, bytes: vec![169, 254] },
            iif(),
            member(Set::Bridges),
            DROP,
        ]);
    }
    rules.push(vec![oif(), member(Set::Bridges), Expr::Translated, ACCEPT]);
    rules.push(vec![oif(), member(Set::Bridges), DROP]);
    rules
}

fn leave(family: Family) -> Vec<Vec<Expr>> {
    // Back to the network it came from: without this the answer would take the short way and
    // arrive untranslated.
    let hairpin = [&pair()[..], &[member(Set::Same), Expr::Translated, Expr::Masquerade]].concat();
    // Where br_netfilter is on, the former rule sees no incoming interface, and the bridge finds
    // the way back by itself, but for a container that asks for its own port.
    let (source, len) = match family {
        Family::V4 => (V4_SOURCE, 4),
        Family::V6 => (V6_SOURCE, 16),
    };
    let to_itself = vec![
        Expr::Network { offset: source, len, reg: 0 },
        Expr::Network { offset: source + len, len, reg: len / 4 },
        member(Set::Itself),
        Expr::Translated,
        Expr::Masquerade,
    ];
    let mut rules = vec![hairpin, to_itself];
    if family == Family::V4 {
        let from_loopback = loopback(V4_SOURCE);
        let to_bridge = [oif(), member(Set::Bridges), Expr::Masquerade];
        rules.push([&from_loopback[..], &to_bridge].concat());
    }
    rules.push(vec![
        iif(),
        member(Set::Masqueraded),
        oif(),
        outside(Set::Bridges),
        Expr::Masquerade,
    ]);
    rules
}
