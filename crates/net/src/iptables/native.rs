//! How our chains stand where iptables is a face of nftables: its table `filter` is read as any
//! other. Never changes anything.

use super::{OWN, OWN_RULES, Standing, USER};
use crate::error::Result;
use crate::netlink::{self, Fields, Socket, field, text, u32_at};
use crate::nft::encode::{GETCHAIN, GETRULE};
use crate::nft::{Family, exists, kind};
use rustix::io::Errno;

const TABLE: &str = "filter";
/// `struct nfgenmsg` in bytes.
const GENMSG_LEN: usize = 4;

pub(super) fn standing(family: Family) -> Result<Standing> {
    let mut socket = Socket::open(netlink::Family::Netfilter, 0)?;
    let chain = |socket: &mut Socket, name: &str| {
        exists(socket, family, GETCHAIN, |a| _ = a.text(1, TABLE).text(3, name))
    };
    let user = chain(&mut socket, USER)?;
    let own = rules(&mut socket, family, OWN)?;
    let hooks = rules(&mut socket, family, "FORWARD")?;
    let leads = |rules: &[Option<String>], to: &str| rules.iter().flatten().any(|it| it == to);
    Ok(Standing {
        user,
        own: own.len() == OWN_RULES && leads(&own, USER),
        hooked: leads(&hooks, OWN),
    })
}

/// The rules of a chain: for each where it jumps to.
fn rules(socket: &mut Socket, family: Family, chain: &str) -> Result<Vec<Option<String>>> {
    let mut rules = Vec::new();
    let fixed = [family.number(), 0, 0, 0];
    let listed = socket.dump("list iptables rules", kind(GETRULE), &fixed, |answer| {
        let fields = answer.fields(GENMSG_LEN);
        let is = |kind, name: &str| field(fields, kind).map(text).as_deref() == Some(name);
        if is(1, TABLE) && is(2, chain) {
            rules.push(field(fields, 4).and_then(target));
        }
    });
    match listed {
        Err(error) if error.errno() != Some(Errno::NOENT) => Err(error),
        _ => Ok(rules),
    }
}

/// The chain that an expression of a rule jumps to: `immediate` with a verdict that names one.
fn target(expressions: &[u8]) -> Option<String> {
    const NFT_JUMP: u32 = 0xffff_fffd;
    let jump = |expression: &[u8]| {
        let data = field(Fields(expression), 2)?;
        let verdict = field(Fields(field(Fields(data), 2)?), 2)?;
        let code = u32_at(field(Fields(verdict), 1)?, 0).map(u32::from_be)?;
        (code == NFT_JUMP).then(|| field(Fields(verdict), 2).map(text)).flatten()
    };
    let named = |expression: &[u8]| field(Fields(expression), 1).map(text);
    Fields(expressions)
        .filter(|(_, expression)| named(expression).as_deref() == Some("immediate"))
        .find_map(|(_, expression)| jump(expression))
}
