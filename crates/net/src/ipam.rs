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
