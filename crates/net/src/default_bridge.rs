//! Which pools the default bridge has: from what the daemon was told and from the addresses that
//! its interface has already. Pure.
//!
//! ```text
//!  told an address (--bip) ──────────────────────────────▶ its subnet; the address is the gateway
//!  else the interface has one (in --fixed-cidr, around it, or any) ▶ the same of that
//!  else told a range (--fixed-cidr) ─────────────────────▶ the range is the subnet
//!  else ─────────────────────────────────────────────────▶ one of the address pools
//! ```
//! An interface of the administrator's (`--bridge`) keeps the subnet that it has, whatever the
//! range.

use model::error::Denied;
use model::network::{Cidr, PoolDraft};
use std::net::IpAddr;

/// What is known of the default bridge for one family of addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Address and subnet that the daemon was told (`--bip`, `--bip6`).
    pub address: Option<Cidr>,
    /// The part that containers get addresses from (`--fixed-cidr`, `--fixed-cidr-v6`).
    pub range: Option<Cidr>,
    /// What the interface has, of both families.
    pub found: &'a [Cidr],
    /// The interface is the administrator's.
    pub administered: bool,
}

impl Known<'_> {
    /// The pool of the family; without a subnet where one is to be chosen.
    pub(crate) fn pool(self, v4: bool) -> Result<PoolDraft, Denied> {
        let range = self.range.map(Cidr::network);
        let of = |subnet: Cidr, range| PoolDraft {
            subnet: Some(subnet.network()),
            range,
            gateway: Some(subnet.addr),
            ..PoolDraft::default()
        };
        if let Some(address) = self.address {
            return Ok(of(address, range));
        }
        let own = self.own(v4);
        match (own, range) {
            (None, None) => Ok(PoolDraft::default()),
            (None, Some(subnet)) => {
                Ok(PoolDraft { subnet: Some(subnet), range, ..PoolDraft::default() })
            }
            (Some(own), Some(range)) if !is_within(range, own.network()) => {
                self.beside(own, range).map(|(subnet, range)| of(subnet, range))
            }
            (Some(own), range) => Ok(of(own, range)),
        }
    }

    /// The address of the interface that counts.
    fn own(self, v4: bool) -> Option<Cidr> {
        let of_family = |it: &&Cidr| it.addr.is_ipv4() == v4;
        let found = || self.found.iter().filter(of_family).copied();
        let global = || found().find(|it| !is_link_local(it.addr));
        let Some(range) = self.range else { return global() };
        let inside = found().find(|it| range.contains(it.addr));
        let around = || found().find(|it| is_within(range, it.network()));
        inside.or_else(around).or_else(|| global().filter(|_| self.administered))
    }

    /// Subnet and range where the range is not within what the interface has. On an interface of
    /// our own it is a new wish. On the administrator's it is a mistake, which Docker has always
    /// passed over for IPv4.
    fn beside(self, own: Cidr, range: Cidr) -> Result<(Cidr, Option<Cidr>), Denied> {
        match self.administered {
            false => Ok((Cidr { prefix: range.prefix, ..own }, Some(range))),
            true if own.addr.is_ipv4() => {
                tracing::warn!(%range, bridge = %own, "fixed-cidr is not within the bridge");
                Ok((own, None))
            }
            true => Err(Denied::invalid(format!(
                "fixed-cidr-v6 {range} is not within the bridge's subnet {}",
                own.network()
            ))),
        }
    }
}

fn is_within(inner: Cidr, outer: Cidr) -> bool {
    outer.prefix <= inner.prefix && outer.contains(inner.addr)
}

/// fe80::/64, which every interface has (RFC 4291 2.5.6).
fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.segments()[..4] == [0xfe80, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    /// `subnet range gateway` of what is known: address told, range told, addresses found.
    fn seen(told: [&str; 2], found: &str, administered: bool) -> String {
        let told = told.map(|text| (!text.is_empty()).then(|| cidr(text)));
        let found: Vec<Cidr> = found.split_whitespace().map(cidr).collect();
        let given = told.iter().flatten().chain(&found).next();
        let v4 = given.is_none_or(|it| it.addr.is_ipv4());
        let [address, range] = told;
        match (Known { address, range, found: &found, administered }).pool(v4) {
            Err(denied) => denied.message,
            Ok(pool) => {
                let word = |cidr: Option<Cidr>| cidr.map_or("-".into(), |it| it.to_string());
                let gateway = pool.gateway.map_or("-".into(), |it| it.to_string());
                format!("{} {} {gateway}", word(pool.subnet), word(pool.range))
            }
        }
    }

    #[test]
    fn of_our_own_interface() {
        let seen = |told, found, want: &str| assert_eq!(seen(told, found, false), want);
        seen(["", ""], "", "- - -");
        seen(["10.1.0.88/24", ""], "10.2.0.1/24", "10.1.0.0/24 - 10.1.0.88");
        seen(["", "10.1.0.0/24"], "", "10.1.0.0/24 10.1.0.0/24 -");
        seen(["", ""], "10.1.0.88/24", "10.1.0.0/24 - 10.1.0.88");
        seen(["", "10.1.0.0/24"], "10.1.0.88/20", "10.1.0.0/20 10.1.0.0/24 10.1.0.88");
        seen(["10.1.0.9/24", "10.1.0.0/24"], "10.1.0.88/20", "10.1.0.0/24 10.1.0.0/24 10.1.0.9");
        seen(["", "10.1.0.0/20"], "10.1.0.88/24", "10.1.0.0/20 10.1.0.0/20 10.1.0.88");
        seen(["", "10.1.1.0/24"], "10.1.0.88/24", "10.1.1.0/24 10.1.1.0/24 -");
        // What every interface has is nobody's wish.
        seen(["", ""], "fe80::42/64", "- - -");
        seen(["", ""], "fe80::42/64 fd01::8/64", "fd01::/64 - fd01::8");
        seen(["", "fe80::/64"], "fe80::42/64", "fe80::/64 fe80::/64 fe80::42");
    }

    #[test]
    fn of_the_administrators_interface() {
        let seen = |told, found, want: &str| assert_eq!(seen(told, found, true), want);
        seen(["", ""], "10.1.0.88/20 10.2.0.1/24", "10.1.0.0/20 - 10.1.0.88");
        let three = "10.1.0.88/20 10.1.16.88/20 10.1.32.88/20";
        seen(["", "10.1.16.0/24"], three, "10.1.16.0/20 10.1.16.0/24 10.1.16.88");
        seen(["", "10.1.17.0/24"], three, "10.1.16.0/20 10.1.17.0/24 10.1.16.88");
        for range in ["10.1.0.0/20", "10.9.0.0/24"] {
            seen(["", range], "10.1.0.88/24", "10.1.0.0/24 - 10.1.0.88");
        }
        for range in ["fd01::/60", "fd02::/64"] {
            let refusal =
                format!("fixed-cidr-v6 {range} is not within the bridge's subnet fd01::/64");
            seen(["", range], "fd01::8/64", &refusal);
        }
    }
}
