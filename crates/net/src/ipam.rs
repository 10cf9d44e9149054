//! Who has which subnet, and who has which address. Pure: knows blocks and numbers, asks no
//! kernel. Addresses are given lowest first, as Docker does.

use crate::error::{Error, Result};
use crate::options::AddressPool;
use model::NetworkId;
use model::network::{Cidr, Pool};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Subnets in use and the addresses given from them.
#[derive(Debug, Default)]
pub(crate) struct Ipam {
    networks: BTreeMap<NetworkId, Vec<Subnet>>,
}

/// One subnet of a network and its leases.
#[derive(Clone, Debug)]
struct Subnet {
    pool: Pool,
    leases: BTreeSet<u128>,
    /// No address below this number is free.
    lowest: u128,
}

impl Ipam {
    /// Reserves the pools of a network as they are. Idempotent.
    pub(crate) fn reserve(&mut self, id: NetworkId, pools: &[Pool]) -> Result<()> {
        if self.networks.contains_key(&id) {
            return Ok(());
        }
        for (n, pool) in pools.iter().enumerate() {
            let twice = pools.iter().take(n).find(|p| p.subnet.overlaps(pool.subnet));
            if let Some(other) = twice {
                return Err(overlap(pool.subnet, format!("{} of the same network", other.subnet)));
            }
            if let Some(taken) = self.overlapping(pool.subnet) {
                return Err(overlap(pool.subnet, format!("{taken} of another network")));
            }
        }
        let subnets = pools.iter().cloned().map(Subnet::new).collect();
        self.networks.insert(id, subnets);
        Ok(())
    }

    /// A free subnet of the default pools that overlaps no network and none of `avoid`.
    pub(crate) fn choose(&self, pools: &[AddressPool], avoid: &[Cidr]) -> Result<Cidr> {
        for pool in pools {
            let mut candidate = Cidr { addr: pool.base.network().addr, prefix: pool.size };
            while pool.base.contains(candidate.addr) {
                let clash = |taken: &Cidr| taken.overlaps(candidate);
                if self.overlapping(candidate).is_none() && !avoid.iter().any(clash) {
                    return Ok(candidate);
                }
                match next_block(candidate) {
                    Some(next) => candidate = next,
                    None => break,
                }
            }
        }
        Err(Error::PoolsExhausted)
    }

    fn overlapping(&self, subnet: Cidr) -> Option<Cidr> {
        let mut taken = self.networks.values().flatten().map(|s| s.pool.subnet);
        taken.find(|s| s.overlaps(subnet))
    }

    /// Gives a network's subnets back, with every lease.
    pub(crate) fn release_network(&mut self, id: &NetworkId) {
        self.networks.remove(id);
    }

    /// Leases the address `want`, or the lowest free one, from the network's subnet of a family.
    /// `None` when the network has no subnet of it.
    pub(crate) fn lease(
        &mut self,
        (id, name): (&NetworkId, &str),
        v4: bool,
        want: Option<IpAddr>,
    ) -> Result<Option<Cidr>> {
        let subnets = self.networks.get_mut(id).map(Vec::as_mut_slice).unwrap_or_default();
        let of_family = |s: &&mut Subnet| s.pool.subnet.addr.is_ipv4() == v4;
        let mut subnets: Vec<&mut Subnet> = subnets.iter_mut().filter(of_family).collect();
        if let Some(addr) = want {
            let refuse = |why| Error::Address { addr, name: name.to_owned(), why };
            let subnet = subnets.into_iter().find(|s| s.pool.subnet.contains(addr));
            let subnet =
                subnet.ok_or_else(|| refuse("no configured subnet contains the address"))?;
            return subnet.take(addr).map(Some).map_err(refuse);
        }
        let Some(first) = subnets.first().map(|s| s.pool.subnet) else { return Ok(None) };
        match subnets.iter_mut().find_map(|s| s.take_lowest()) {
            Some(cidr) => Ok(Some(cidr)),
            None => {
                Err(Error::AddressesExhausted { name: name.to_owned(), subnet: first.to_string() })
            }
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, id: &NetworkId, addr: IpAddr) {
        for subnet in self.networks.get_mut(id).into_iter().flatten() {
            if subnet.pool.subnet.contains(addr) && subnet.leases.remove(&number(addr)) {
                subnet.lowest = subnet.lowest.min(number(addr));
            }
        }
    }
}

fn overlap(subnet: Cidr, with: String) -> Error {
    Error::Overlap { subnet: subnet.to_string(), with }
}

impl Subnet {
    fn new(pool: Pool) -> Self {
        let mut leases: BTreeSet<u128> = pool.reserved.values().copied().map(number).collect();
        leases.extend(pool.gateway.map(number));
        Self { lowest: first(pool.range.unwrap_or(pool.subnet)), leases, pool }
    }

    /// An address of this subnet with its prefix.
    fn cidr(&self, addr: IpAddr) -> Cidr {
        Cidr { addr, prefix: self.pool.subnet.prefix }
    }

    fn take(&mut self, addr: IpAddr) -> std::result::Result<Cidr, &'static str> {
        if self.is_special(number(addr)) {
            return Err("it is the subnet's network or broadcast address");
        }
        if !self.leases.insert(number(addr)) {
            return Err("Address already in use");
        }
        Ok(self.cidr(addr))
    }

    fn take_lowest(&mut self) -> Option<Cidr> {
        let range = self.pool.range.unwrap_or(self.pool.subnet);
        let end = last(range);
        let mut candidate = self.lowest.max(first(range));
        while self.leases.contains(&candidate) || self.is_special(candidate) {
            candidate = candidate.checked_add(1)?;
        }
        self.lowest = candidate;
        if candidate > end {
            return None;
        }
        self.leases.insert(candidate);
        Some(self.cidr(address(candidate, self.pool.subnet.addr.is_ipv4())))
    }

    /// Network and broadcast address (the latter of IPv4 only); blocks of one or two addresses
    /// have neither (RFC 3021).
    fn is_special(&self, number: u128) -> bool {
        let subnet = self.pool.subnet;
        let bits = if subnet.addr.is_ipv4() { 32 } else { 128 };
        bits - u32::from(subnet.prefix) > 1
            && (number == first(subnet) || subnet.addr.is_ipv4() && number == last(subnet))
    }
}

/// The gateway that a subnet gets when none was asked for: its first host.
pub(crate) fn default_gateway(pool: &Pool) -> Option<IpAddr> {
    let mut subnet = Subnet::new(Pool { gateway: None, ..pool.clone() });
    // Docker takes the gateway out of the range, too.
    subnet.take_lowest().map(|cidr| cidr.addr)
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    if v4 {
        // Numbers of IPv4 blocks come from `number` and stay below the block's last.
        IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)))
    } else {
        IpAddr::V6(Ipv6Addr::from(number))
    }
}

fn first(block: Cidr) -> u128 {
    number(block.network().addr)
}

fn last(block: Cidr) -> u128 {
    let bits = if block.addr.is_ipv4() { 32 } else { 128 };
    let hosts = 1u128.checked_shl(bits - u32::from(block.prefix)).map_or(u128::MAX, |n| n - 1);
    first(block) | hosts
}

fn next_block(block: Cidr) -> Option<Cidr> {
    let next = last(block).checked_add(1)?;
    let v4 = block.addr.is_ipv4();
    if v4 && next > u128::from(u32::MAX) {
        return None;
    }
    Some(Cidr { addr: address(next, v4), prefix: block.prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: Option<&str>, gateway: &str, reserved: &[&str]) -> Pool {
        Pool {
            subnet: Cidr::parse(subnet).unwrap(),
            range: range.map(|r| Cidr::parse(r).unwrap()),
            gateway: gateway.parse().ok(),
            reserved: reserved.iter().map(|r| ((*r).to_owned(), r.parse().unwrap())).collect(),
            remote: String::new(),
        }
    }

    fn id(n: u8) -> NetworkId {
        NetworkId::from_bytes([n; 32])
    }

    fn lease(ipam: &mut Ipam, want: Option<&str>) -> Result<String> {
        let want = want.map(|w| w.parse().unwrap());
        ipam.lease((&id(1), "n"), true, want).map(|l| l.unwrap().to_string())
    }

    /// A generator whose every run is the same (xorshift; Marsaglia 2003).
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, n: u32) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            u32::try_from(self.0 % u64::from(n)).unwrap()
        }
    }

    #[test]
    fn addresses_are_given_lowest_first_around_what_is_kept() {
        let mut ipam = Ipam::default();
        let pool = pool("10.0.0.0/29", None, "10.0.0.1", &["10.0.0.3"]);
        ipam.reserve(id(1), &[pool]).unwrap();
        let given: Vec<String> = std::iter::from_fn(|| lease(&mut ipam, None).ok()).collect();
        assert_eq!(given, ["10.0.0.2/29", "10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29"]);
        let full = lease(&mut ipam, None).unwrap_err().to_string();
        assert!(full.contains("no available IPv4 addresses") && full.contains("10.0.0.0/29"));
        ipam.release(&id(1), "10.0.0.4".parse().unwrap());
        assert_eq!(lease(&mut ipam, None).unwrap(), "10.0.0.4/29");
    }

    #[test]
    fn a_range_limits_what_is_chosen_not_what_is_asked() {
        let mut ipam = Ipam::default();
        ipam.reserve(id(1), &[pool("10.0.0.0/24", Some("10.0.0.64/30"), "10.0.0.1", &[])]).unwrap();
        let given: Vec<String> = std::iter::from_fn(|| lease(&mut ipam, None).ok()).collect();
        assert_eq!(given, ["10.0.0.64/24", "10.0.0.65/24", "10.0.0.66/24", "10.0.0.67/24"]);
        assert_eq!(lease(&mut ipam, Some("10.0.0.9")).unwrap(), "10.0.0.9/24");
        assert!(lease(&mut ipam, Some("10.0.0.9")).is_err());
        assert!(lease(&mut ipam, Some("10.0.1.9")).is_err());
    }

    #[test]
    fn the_smallest_subnets_have_no_special_addresses() {
        for (subnet, expect) in [
            ("10.0.0.4/31", &["10.0.0.4/31", "10.0.0.5/31"][..]),
            ("10.0.0.4/32", &["10.0.0.4/32"]),
        ] {
            let mut ipam = Ipam::default();
            ipam.reserve(id(1), &[pool(subnet, None, "", &[])]).unwrap();
            let given: Vec<String> = std::iter::from_fn(|| lease(&mut ipam, None).ok()).collect();
            assert_eq!(given, expect, "{subnet}");
        }
    }

    #[test]
    fn gateways_are_the_first_host_not_kept_for_others() {
        let gateway = |subnet, range, reserved: &[&str]| {
            default_gateway(&pool(subnet, range, "", reserved)).unwrap().to_string()
        };
        assert_eq!(gateway("10.0.0.0/24", None, &[]), "10.0.0.1");
        assert_eq!(gateway("10.0.0.0/24", None, &["10.0.0.1"]), "10.0.0.2");
        assert_eq!(gateway("10.0.0.0/24", Some("10.0.0.128/25"), &[]), "10.0.0.128");
        assert_eq!(gateway("fd00::/64", None, &[]), "fd00::1");
        assert_eq!(gateway("0.0.0.0/0", None, &[]), "0.0.0.1");
        assert_eq!(
            default_gateway(&pool("255.255.255.255/32", None, "", &[])).unwrap().to_string(),
            "255.255.255.255"
        );
    }

    #[test]
    fn pools_of_networks_never_overlap() {
        let mut ipam = Ipam::default();
        let mut avoid = vec![Cidr::parse("172.20.5.0/24").unwrap()];
        let defaults = AddressPool::docker_defaults();
        let mut chosen: Vec<Cidr> = Vec::new();
        for n in 0.. {
            let Ok(subnet) = ipam.choose(&defaults, &avoid) else { break };
            assert!(!chosen.iter().chain(&avoid).any(|c| c.overlaps(subnet)), "{subnet}");
            if n % 3 == 0 {
                avoid.push(subnet);
            } else {
                let text = subnet.to_string();
                ipam.reserve(id(n), &[pool(&text, None, "", &[])]).unwrap();
            }
            chosen.push(subnet);
        }
        // Fourteen whole blocks of 172, sixteen of 192.168.
        assert_eq!(chosen.len(), 30);
        ipam.release_network(&id(1));
        assert_eq!(ipam.choose(&defaults, &avoid).unwrap(), chosen[1]);
        let clash = ipam.reserve(id(99), &[pool("172.16.0.0/12", None, "", &[])]);
        assert!(matches!(clash, Err(Error::Overlap { .. })));
        let twice = [pool("10.0.0.0/24", None, "", &[]), pool("10.0.0.128/25", None, "", &[])];
        assert!(matches!(ipam.reserve(id(98), &twice), Err(Error::Overlap { .. })));
    }

    /// Whatever comes and goes, no address has two owners, all lie where they must, and what
    /// was given back can be given again.
    #[test]
    fn leases_are_exclusive_under_any_history() {
        for seed in 1..60 {
            let mut draws = Draws(0x9e37_79b9_7f4a_7c15 ^ seed);
            let prefix = 24 + draws.below(7);
            let subnet = format!("10.1.0.0/{prefix}");
            let kept = pool(&subnet, None, "10.1.0.1", &["10.1.0.2"]);
            let capacity = (1usize << (32 - prefix)) - 4;
            let mut ipam = Ipam::default();
            ipam.reserve(id(1), std::slice::from_ref(&kept)).unwrap();
            let mut owned: BTreeSet<IpAddr> = BTreeSet::new();
            for step in 0..600 {
                let context = format!("seed {seed}, step {step}");
                if draws.below(3) == 0 && !owned.is_empty() {
                    let at = draws.below(256) as usize % owned.len();
                    let addr = *owned.iter().nth(at).unwrap();
                    owned.remove(&addr);
                    ipam.release(&id(1), addr);
                    ipam.release(&id(1), addr);
                    continue;
                }
                let want = (draws.below(4) == 0)
                    .then(|| IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + draws.below(300))));
                match ipam.lease((&id(1), "n"), true, want) {
                    Ok(cidr) => {
                        let addr = cidr.unwrap().addr;
                        assert!(kept.subnet.contains(addr), "{context}: {addr}");
                        assert!(Some(addr) != kept.gateway, "{context}");
                        assert!(!kept.reserved.values().any(|r| *r == addr), "{context}");
                        assert!(want.is_none_or(|w| w == addr), "{context}");
                        assert!(owned.insert(addr), "{context}: {addr} given twice");
                    }
                    Err(_) if want.is_some() => {}
                    Err(_) => assert_eq!(owned.len(), capacity, "{context}"),
                }
            }
        }
    }
}
