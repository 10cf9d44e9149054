//! What of the firewall is constant: chains and their rules, as data. Pure.
//!
//! ```text
//!  frames     ─▶ claim: a container's link speaks for its own addresses alone
//!  prerouting ─▶ guard: 127.0.0.0/8 enters by no interface but lo
//!             ─▶ arrive: to an address of the host and a published port? ─▶ the container
//!  input      ─▶ asked: the host's rules let a guarded port in ─▶ once more, now to the container
//!  output     ─▶ depart: the same for the host's own programs, loopback included
//!  forward    ─▶ between: who may pass between bridges, host interfaces and containers: marked
//!             ┈▶ iptables' FORWARD, DOCKER-USER: the administrator's word comes first
//!             ─▶ settle: what is neither marked nor accepted by the administrator is dropped
//!  postrouting─▶ leave: whose source address has to be the host's
//! ```
//!
//! Verdicts of other tables cannot be seen from ours: marks carry them across. [`PASSED`] says
//! what we decided, [`ALLOWED`] that `DOCKER-USER` accepted (see `iptables`). Without iptables
//! nobody sets the latter, and our decision stands.

use super::sets::{Family, Set, interface};
use std::net::Ipv4Addr;

/// What of the options the rules depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// We turned forwarding on: what came from outside and goes nowhere of ours is dropped, as
    /// it was before.
    pub drop_foreign: bool,
    /// Containers may reach 169.254.0.0/16.
    pub link_local_egress: bool,
    /// Bits of a packet's mark, and which count, that let it into any network but internal ones.
    pub accept_mark: Option<(u32, u32)>,
    /// Index of the link by which packets go round that the host's input rules accepted.
    pub round_link: Option<u32>,
}

/// Mark of forwarded packets that our rules accept.
pub(crate) const PASSED: u32 = 1 << 28;
/// Mark of forwarded packets that the administrator's rules accept.
pub(crate) const ALLOWED: u32 = 1 << 29;

/// Where packets that go round leave.
pub(crate) const ROUND_OUT: &str = "estiba-round0";
/// Where they come in again.
pub(crate) const ROUND_IN: &str = "estiba-round1";

/// `enum nf_inet_hooks` (linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// To the host's own programs.
    Input = 1,
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
    /// What the frame carries.
    Protocol = 1,
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
    /// Loads `len` bytes of the frame's header.
    Frame { offset: u8, len: u8, reg: u8 },
    /// Loads `len` bytes of the network header.
    Network { offset: u8, len: u8, reg: u8 },
    /// Loads `len` bytes of the transport header.
    Transport { offset: u8, len: u8, reg: u8 },
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
    /// Translates the source to the address at register 0.
    Snat,
    /// Translates the source to the leaving interface's address.
    Masquerade,
    /// Changes bits of the packet's mark.
    Mark { clear: u32, set: u32 },
    /// Demands one of these bits of the packet's mark.
    Marked(u32),
    /// Demands these bits of the packet's mark, of those that count.
    MarkedAs { value: u32, mask: u32 },
    /// Writes a port at an offset of the transport header, whose checksum is at another.
    WritePort { offset: u8, checksum: u8, port: u16 },
    /// Sends a copy out by the link of this index.
    Copy { link: u32 },
    /// Ends the rule.
    Verdict(Verdict),
}

/// The chain that exists where we turned forwarding on. Its presence outlives the daemon.
pub(crate) const FOREIGN: &str = "foreign";

/// Every chain of a table, jumped-to chains first.
pub(crate) fn chains(family: Family, policy: Policy) -> Vec<Chain> {
    let base = |kind, hook, priority| Some(Base { kind, hook, priority });
    if family == Family::Bridge {
        let base = base("filter", Hook::Prerouting, -300);
        return vec![Chain { name: "claim", base, rules: claim() }];
    }
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
    let mut arrive = Vec::from_iter(stays_on_link(family));
    if let Some(link) = policy.round_link {
        arrive.extend([Set::Guarded, Set::GuardedAny].map(|set| first_asked(family, set)));
        let asked = [Set::Guarded, Set::GuardedAny].map(|set| asked(family, set, link));
        let rules = stays_on_link(family).into_iter().chain(asked).collect();
        chains.push(Chain { name: "asked", base: base("filter", Hook::Input, 90), rules });
    }
    arrive.push(translate(family, Set::Published));
    arrive.push(translate(family, Set::PublishedAny));
    chains.extend([
        Chain { name: "arrive", base: base("nat", Hook::Prerouting, -100), rules: arrive },
        Chain { name: "depart", base: base("nat", Hook::Output, -100), rules: depart(family) },
        Chain {
            name: "between",
            base: base("filter", Hook::Forward, -10),
            rules: between(family, policy),
        },
        Chain { name: "settle", base: base("filter", Hook::Forward, 10), rules: settle(policy) },
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

/// Demands a source address.
pub(super) fn source_is(address: Ipv4Addr) -> [Expr; 2] {
    address_is(V4_SOURCE, address)
}

/// Demands a destination address.
pub(super) fn destination_is(address: Ipv4Addr) -> [Expr; 2] {
    address_is(V4_DESTINATION, address)
}

fn address_is(offset: u8, address: Ipv4Addr) -> [Expr; 2] {
    let bytes = address.octets().to_vec();
    [Expr::Network { offset, len: 4, reg: 0 }, Expr::Compare { reg: 0, equal: true, bytes }]
}

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

/// Demands an address in fe80::/16; the kernel gives no other of fe80::/10.
fn to_link_local() -> [Expr; 2] {
    let bytes = vec![0xfe, 0x80];
    [
        Expr::Network { offset: V6_DESTINATION, len: 2, reg: 0 },
        Expr::Compare { reg: 0, equal: true, bytes },
    ]
}

/// Nothing of link-local addresses is routed (RFC 4291 2.5.6): whoever asks at one of the host's is
/// left to the socket that carries the port. Not so containers of internal networks: what they ask
/// for is translated like anything else, and ends there (law F3).
fn stays_on_link(family: Family) -> Option<Vec<Expr>> {
    let outer = [iif(), outside(Set::Internal)];
    (family == Family::V6).then(|| [&outer[..], &to_link_local(), &[ACCEPT]].concat())
}

/// Only to the host's own addresses (law F2): never for what is merely routed through.
fn translate(family: Family, set: Set) -> Vec<Expr> {
    let mut rule = vec![Expr::ToHost];
    rule.extend(destination(family, set == Set::Published, 0));
    rule.push(Expr::Map { set });
    rule.push(Expr::Dnat { port: family.address_len() / 4 });
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
        rules.push([&to_link_local()[..], &[ACCEPT]].concat());
    }
    rules.push(translate(family, Set::Published));
    rules.push(translate(family, Set::PublishedAny));
    rules
}

/// Loads the destination as [`Set::Direct`] and the maps of single addresses hold it, from
/// register `reg` on.
fn destination(family: Family, with_address: bool, mut reg: u8) -> Vec<Expr> {
    let mut load = Vec::new();
    if with_address {
        let offset = if family == Family::V4 { V4_DESTINATION } else { V6_DESTINATION };
        load.push(Expr::Network { offset, len: family.address_len(), reg });
        reg += family.address_len() / 4;
    }
    load.extend([Expr::Meta { key: Meta::L4Proto, reg }, Expr::DestinationPort { reg: reg + 1 }]);
    load
}

/// A guarded port is not translated before the host's input rules were asked: first it goes where
/// any other port of the host does. Containers are no concern of the host's rules.
fn first_asked(family: Family, set: Set) -> Vec<Expr> {
    let round = Expr::Compare { reg: 0, equal: false, bytes: interface(ROUND_IN).to_vec() };
    let mut rule = vec![iif(), round, iif(), outside(Set::Bridges), Expr::ToHost];
    rule.extend(destination(family, set == Set::Guarded, 0));
    rule.extend([member(set), ACCEPT]);
    rule
}

/// Past every rule of the host: a copy goes round and comes in again as if from outside, under
/// its own source address, and this time it is translated. What follows it belongs to a known
/// connection and is not asked about.
fn asked(family: Family, set: Set, link: u32) -> Vec<Expr> {
    let lo = Expr::Compare { reg: 0, equal: false, bytes: interface("lo").to_vec() };
    let mut rule = vec![iif(), lo];
    rule.extend(destination(family, set == Set::Guarded, 0));
    rule.extend([member(set), Expr::Copy { link }, DROP]);
    rule
}

fn not_ours() -> [Expr; 4] {
    [iif(), outside(Set::Bridges), oif(), outside(Set::Bridges)]
}

fn between(family: Family, policy: Policy) -> Vec<Vec<Expr>> {
    let pass = || [Expr::Mark { clear: 0, set: PASSED }, ACCEPT];
    let to_ours = || [oif(), member(Set::Bridges)];
    let mut rules = vec![
        // Nobody brings our marks along.
        vec![Expr::Marked(PASSED | ALLOWED), Expr::Mark { clear: PASSED | ALLOWED, set: 0 }],
        [&not_ours()[..], &[ACCEPT]].concat(),
        [&[Expr::Established][..], &pass()].concat(),
        // Only where br_netfilter is on do frames within one bridge come by here.
        [&[iif(), outside(Set::Closed)], &pair()[..], &[member(Set::Same)], &pass()].concat(),
        vec![iif(), member(Set::Internal), ACCEPT],
        vec![oif(), member(Set::Internal), ACCEPT],
    ];
    if family == Family::V4 && !policy.link_local_egress {
        rules.push(vec![
            Expr::Network { offset: V4_DESTINATION, len: 2, reg: 0 },
            Expr::Compare { reg: 0, equal: true, bytes: vec![169, 254] },
            iif(),
            member(Set::Bridges),
            ACCEPT,
        ]);
    }
    if let Some((value, mask)) = policy.accept_mark {
        rules.push([&[Expr::MarkedAs { value, mask }][..], &to_ours(), &pass()].concat());
    }
    rules.push([&to_ours()[..], &[Expr::Translated], &pass()].concat());
    rules.push([&[oif(), member(Set::Open)][..], &pass()].concat());
    let source = if family == Family::V4 { V4_SOURCE } else { V6_SOURCE };
    let len = family.address_len();
    let linked = destination(family, true, len / 4);
    let source = Expr::Network { offset: source, len, reg: 0 };
    rules.push([&[source][..], &linked, &[member(Set::Linked)], &pass()].concat());
    let direct = destination(family, true, 0);
    rules.push([&direct[..], &[member(Set::Direct)], &pass()].concat());
    let trusted = destination(family, true, 4);
    rules.push([&[iif()][..], &trusted, &[member(Set::Trusted)], &pass()].concat());
    let ping = if family == Family::V4 { 1 } else { 58 };
    let ping = Expr::Compare { reg: 0, equal: true, bytes: vec![ping] };
    let l4 = Expr::Meta { key: Meta::L4Proto, reg: 0 };
    rules.push([&[l4, ping, oif(), member(Set::Routed)][..], &pass()].concat());
    rules.push([&to_ours()[..], &[ACCEPT]].concat());
    rules.push(pass().to_vec());
    rules
}

fn settle(policy: Policy) -> Vec<Vec<Expr>> {
    let foreign = if policy.drop_foreign { Verdict::Jump(FOREIGN) } else { Verdict::Accept };
    vec![
        vec![
            Expr::Marked(PASSED | ALLOWED),
            Expr::Mark { clear: PASSED | ALLOWED, set: 0 },
            ACCEPT,
        ],
        [&not_ours()[..], &[Expr::Verdict(foreign)]].concat(),
        vec![iif(), member(Set::Bridges), DROP],
        vec![oif(), member(Set::Bridges), DROP],
    ]
}

/// Type of ICMP by which a router says that there is a better one (RFC 792).
const V4_REDIRECT: u8 = 5;

/// What a container's frames may claim to be. Reads one key: link, hardware address, address.
fn claim() -> Vec<Vec<Expr>> {
    let carries = |kind: u16| {
        let bytes = kind.to_be_bytes().to_vec();
        [Expr::Meta { key: Meta::Protocol, reg: 0 }, Expr::Compare { reg: 0, equal: true, bytes }]
    };
    let (arp, v4, v6) = (carries(0x0806), carries(0x0800), carries(0x86dd));
    let sender = || Expr::Frame { offset: 6, len: 6, reg: 4 };
    let network = |offset, len, reg| Expr::Network { offset, len, reg };
    let zeros = |len: usize| Expr::Compare { reg: 0, equal: true, bytes: vec![0; len] };
    // Loads the type of a message.
    let of_icmp = |protocol: u8| {
        [
            Expr::Meta { key: Meta::L4Proto, reg: 0 },
            Expr::Compare { reg: 0, equal: true, bytes: vec![protocol] },
            Expr::Transport { offset: 0, len: 1, reg: 0 },
        ]
    };
    let icmp = || of_icmp(58);
    let is = |kind: u8| Expr::Compare { reg: 0, equal: true, bytes: vec![kind] };
    let speaks = |address: Expr, set| vec![iif(), sender(), address, member(set), ACCEPT];
    let (advertisement, router, redirect) = (136, 134, 137);
    vec![
        // What most frames are is looked at first, and looked up once.
        [&v4[..], &of_icmp(1), &[is(V4_REDIRECT), iif(), member(Set::Links), DROP]].concat(),
        [&v4[..], &speaks(network(V4_SOURCE, 4, 6), Set::Speakers)].concat(),
        vec![iif(), outside(Set::Links), ACCEPT],
        // ARP: sender's hardware address at 8, its address at 14; zero while it probes.
        [&arp[..], &[iif(), network(8, 6, 4), network(14, 4, 6), member(Set::Speakers), ACCEPT]]
            .concat(),
        [&arp[..], &[network(14, 4, 0), zeros(4), ACCEPT]].concat(),
        [&v6[..], &icmp(), &[is(router), DROP]].concat(),
        [&v6[..], &icmp(), &[is(redirect), DROP]].concat(),
        // Who advertises an address must have it.
        [
            &v6[..],
            &icmp(),
            &[is(advertisement)],
            &speaks(Expr::Transport { offset: 8, len: 16, reg: 6 }, Set::Speakers6),
        ]
        .concat(),
        [&v6[..], &icmp(), &[is(advertisement), DROP]].concat(),
        [&v6[..], &speaks(network(V6_SOURCE, 16, 6), Set::Speakers6)].concat(),
        // Before it has an address, a link looks whether it may have it.
        [&v6[..], &[network(V6_SOURCE, 16, 0), zeros(16), ACCEPT]].concat(),
        vec![DROP],
    ]
}

fn leave(family: Family) -> Vec<Vec<Expr>> {
    // Back to the network it came from: without this the answer would take the short way and
    // arrive untranslated.
    let hairpin = [&pair()[..], &[member(Set::Same), Expr::Translated, Expr::Masquerade]].concat();
    // Where br_netfilter is on, the former rule sees no incoming interface, and the bridge finds
    // the way back by itself, but for a container that asks for its own port.
    let source = if family == Family::V4 { V4_SOURCE } else { V6_SOURCE };
    let len = family.address_len();
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
        oif(),
        outside(Set::Bridges),
        iif(),
        Expr::Map { set: Set::Sources },
        Expr::Snat,
    ]);
    rules.push(vec![
        iif(),
        member(Set::Masqueraded),
        oif(),
        outside(Set::Bridges),
        Expr::Masquerade,
    ]);
    rules
}
