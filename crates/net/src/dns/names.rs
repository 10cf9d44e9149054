//! Which names containers have on which networks, and what a container gets to hear. Pure but
//! for the lock of its owner.

use super::message::{Ask, Code, Record};
use model::{ContainerId, NetworkId};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every network that answers names.
#[derive(Debug, Default)]
pub(super) struct Names {
    zones: HashMap<NetworkId, Zone>,
    /// The networks of each container, in the order it joined them.
    memberships: HashMap<ContainerId, Vec<NetworkId>>,
    /// Where the next answer with several addresses begins.
    turn: usize,
}

#[derive(Debug, Default)]
struct Zone {
    name: String,
    internal: bool,
    hosts: HashMap<String, Vec<Host>>,
    reverse: HashMap<IpAddr, String>,
}

#[derive(Clone, Debug)]
struct Host {
    endpoint: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// One endpoint as DNS sees it.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub network: NetworkId,
    pub network_name: &'a str,
    pub internal: bool,
    pub endpoint: &'a str,
    pub container: ContainerId,
    /// The first is the one that a reverse look-up answers.
    pub names: &'a [String],
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// What is known locally about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// We know: these records, or that there are none.
    Answer(Code, Vec<Record>),
    /// Somebody else may know.
    Forward,
}

impl Names {
    /// Adds an endpoint's names; its container is on the network from now on.
    pub(super) fn insert(&mut self, entry: &Entry<'_>) {
        let zone = self.zones.entry(entry.network).or_default();
        entry.network_name.clone_into(&mut zone.name);
        zone.internal = entry.internal;
        let host = Host { endpoint: entry.endpoint.to_owned(), v4: entry.v4, v6: entry.v6 };
        for name in entry.names {
            zone.hosts.entry(name.to_ascii_lowercase()).or_default().push(host.clone());
        }
        let addresses = [entry.v4.map(IpAddr::V4), entry.v6.map(IpAddr::V6)];
        for addr in addresses.into_iter().flatten() {
            if let Some(name) = entry.names.first() {
                zone.reverse.insert(addr, name.clone());
            }
        }
        let networks = self.memberships.entry(entry.container).or_default();
        if !networks.contains(&entry.network) {
            networks.push(entry.network);
        }
    }

    /// Removes an endpoint's names.
    pub(super) fn remove(&mut self, network: &NetworkId, endpoint: &str, container: &ContainerId) {
        let Some(zone) = self.zones.get_mut(network) else { return };
        let mut known = false;
        for hosts in zone.hosts.values_mut() {
            for host in hosts.extract_if(.., |host| host.endpoint == endpoint) {
                known = true;
                let addresses = [host.v4.map(IpAddr::V4), host.v6.map(IpAddr::V6)];
                addresses.iter().flatten().for_each(|addr| _ = zone.reverse.remove(addr));
            }
        }
        zone.hosts.retain(|_, hosts| !hosts.is_empty());
        if zone.hosts.is_empty() {
            self.zones.remove(network);
        }
        // An endpoint that never came to be takes nothing with it.
        if let Some(networks) = self.memberships.get_mut(container).filter(|_| known) {
            networks.retain(|id| id != network);
            if networks.is_empty() {
                self.memberships.remove(container);
            }
        }
    }

    /// What `container` gets to hear.
    pub(super) fn look_up(&mut self, container: &ContainerId, ask: &Ask) -> Verdict {
        let networks = self.memberships.get(container).map(Vec::as_slice).unwrap_or_default();
        let mut zones = networks.iter().filter_map(|id| self.zones.get(id));
        let found = match ask {
            Ask::Name { addr } => {
                let named = |z: &Zone| z.reverse.get(addr).map(|name| format!("{name}.{}", z.name));
                zones.find_map(named).map(|name| vec![Record::Name(name)])
            }
            Ask::Addresses { name, v4, v6 } => {
                zones.find_map(|zone| zone.hosts_of(name)).map(|hosts| {
                    self.turn = self.turn.wrapping_add(1);
                    addresses(hosts, (*v4, *v6), self.turn)
                })
            }
            Ask::Other { name } => zones.find_map(|zone| zone.hosts_of(name)).map(|_| Vec::new()),
        };
        if let Some(records) = found {
            return Verdict::Answer(Code::NoError, records);
        }
        let mut zones = networks.iter().filter_map(|id| self.zones.get(id));
        if zones.all(|zone| zone.internal) {
            // No question leaves an internal network (law F3), so here the name does not exist.
            return Verdict::Answer(Code::NxDomain, Vec::new());
        }
        Verdict::Forward
    }
}

impl Zone {
    /// The hosts of `name` or `name.network`.
    fn hosts_of(&self, name: &str) -> Option<&[Host]> {
        let qualified = || {
            let (host, network) = name.rsplit_once('.')?;
            network.eq_ignore_ascii_case(&self.name).then(|| self.hosts.get(host))?
        };
        // A network's name may itself have dots.
        let long = || name.strip_suffix(&self.name.to_ascii_lowercase())?.strip_suffix('.');
        let found = self.hosts.get(name).or_else(qualified);
        found.or_else(|| self.hosts.get(long()?)).map(Vec::as_slice)
    }
}

/// Addresses of the families asked for, beginning with another one each time.
fn addresses(hosts: &[Host], (v4, v6): (bool, bool), turn: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for host in hosts {
        records.extend(host.v4.filter(|_| v4).map(|a| Record::Address(IpAddr::V4(a))));
        records.extend(host.v6.filter(|_| v6).map(|a| Record::Address(IpAddr::V6(a))));
    }
    records.dedup();
    let len = records.len().max(1);
    records.rotate_left(turn % len);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> [u8; 32] {
        [n; 32]
    }

    fn entry<'a>(network: u8, container: u8, names: &'a [String], v4: &str) -> Entry<'a> {
        Entry {
            network: NetworkId::from_bytes(id(network)),
            network_name: if network == 1 { "one" } else { "back.end" },
            internal: network == 2,
            endpoint: Box::leak(format!("{network}-{container}").into_boxed_str()),
            container: ContainerId::from_bytes(id(container)),
            names,
            v4: Some(v4.parse().unwrap()),
            v6: None,
        }
    }

    fn ask(names: &mut Names, container: u8, name: &str) -> Vec<String> {
        let ask = Ask::Addresses { name: name.into(), v4: true, v6: false };
        match names.look_up(&ContainerId::from_bytes(id(container)), &ask) {
            Verdict::Forward => vec!["forward".into()],
            Verdict::Answer(Code::NxDomain, _) => vec!["nxdomain".into()],
            Verdict::Answer(_, records) => {
                let mut texts: Vec<String> = records.iter().map(|r| format!("{r:?}")).collect();
                texts.sort();
                texts
            }
        }
    }

    fn addr(text: &str) -> String {
        format!("{:?}", Record::Address(text.parse().unwrap()))
    }

    #[test]
    fn a_container_hears_its_own_networks_only() {
        let mut names = Names::default();
        let web = ["Web".to_owned(), "www".to_owned()];
        let db = ["db".to_owned(), "www".to_owned()];
        names.insert(&entry(1, 1, &web, "172.18.0.2"));
        names.insert(&entry(1, 2, &db, "172.18.0.3"));
        names.insert(&entry(2, 3, &["inner".to_owned()], "172.19.0.2"));
        assert_eq!(ask(&mut names, 1, "db"), [addr("172.18.0.3")]);
        assert_eq!(ask(&mut names, 2, "web"), [addr("172.18.0.2")]);
        assert_eq!(ask(&mut names, 2, "web.one"), [addr("172.18.0.2")]);
        assert_eq!(ask(&mut names, 1, "www"), [addr("172.18.0.2"), addr("172.18.0.3")]);
        assert_eq!(ask(&mut names, 1, "inner"), ["forward"]);
        assert_eq!(ask(&mut names, 3, "web"), ["nxdomain"]);
        assert_eq!(ask(&mut names, 3, "inner.back.end"), [addr("172.19.0.2")]);
        assert_eq!(ask(&mut names, 9, "web"), ["nxdomain"], "on no network");
        names.insert(&entry(1, 3, &["inner".to_owned()], "172.18.0.9"));
        assert_eq!(ask(&mut names, 3, "example.org"), ["forward"], "one way out is enough");
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let mut names = Names::default();
        names.insert(&entry(1, 1, &["a".to_owned()], "172.18.0.2"));
        names.insert(&entry(1, 2, &["b".to_owned()], "172.18.0.3"));
        let network = NetworkId::from_bytes(id(1));
        names.remove(&network, "another", &ContainerId::from_bytes(id(1)));
        assert_eq!(ask(&mut names, 1, "a"), [addr("172.18.0.2")]);
        names.remove(&network, "1-2", &ContainerId::from_bytes(id(2)));
        assert_eq!(ask(&mut names, 1, "b"), ["forward"]);
        let gone = Ask::Name { addr: "172.18.0.3".parse().unwrap() };
        assert_eq!(names.look_up(&ContainerId::from_bytes(id(1)), &gone), Verdict::Forward);
        names.remove(&network, "1-1", &ContainerId::from_bytes(id(1)));
        assert!(names.zones.is_empty() && names.memberships.is_empty());
    }

    #[test]
    fn a_known_name_without_the_asked_type_is_empty_not_missing() {
        let mut names = Names::default();
        names.insert(&entry(1, 1, &["a".to_owned()], "172.18.0.2"));
        let container = ContainerId::from_bytes(id(1));
        let empty = Verdict::Answer(Code::NoError, Vec::new());
        let v6 = Ask::Addresses { name: "a".into(), v4: false, v6: true };
        assert_eq!(names.look_up(&container, &v6), empty);
        assert_eq!(names.look_up(&container, &Ask::Other { name: "a".into() }), empty);
        let reverse = Ask::Name { addr: "172.18.0.2".parse().unwrap() };
        let name = Verdict::Answer(Code::NoError, vec![Record::Name("a.one".into())]);
        assert_eq!(names.look_up(&container, &reverse), name);
    }
}
