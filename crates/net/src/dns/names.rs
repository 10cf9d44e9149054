//! Which names containers have on which networks, and what a container gets to hear. Pure but
//! for the lock of its owner.

use super::message::{Ask, Code, Record};
use super::punycode::to_ascii;
use model::{ContainerId, NetworkId};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every network that answers names.
#[derive(Debug, Default)]
pub(super) struct Names {
    zones: HashMap<NetworkId, Zone>,
    /// The networks of each container, in the order it joined them.
    memberships: HashMap<ContainerId, Vec<NetworkId>>,
    /// By id.
    endpoints: HashMap<String, Known>,
    /// Draws the order of answers with several addresses.
    draws: Draws,
}

#[derive(Debug)]
struct Known {
    network: NetworkId,
    container: ContainerId,
    /// Which of the daemons spoke of it last.
    epoch: u64,
}

#[derive(Debug, Default)]
struct Zone {
    name: String,
    internal: bool,
    hosts: HashMap<String, Vec<Host>>,
    reverse: HashMap<IpAddr, String>,
    /// What one container alone calls another: alias and name.
    links: HashMap<ContainerId, Vec<(String, String)>>,
}

#[derive(Clone, Debug)]
struct Host {
    endpoint: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// One endpoint as DNS sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub network: NetworkId,
    pub network_name: String,
    pub internal: bool,
    pub endpoint: String,
    pub container: ContainerId,
    /// The first is the one that a reverse look-up answers.
    pub names: Vec<String>,
    /// Names for others that this container alone hears: alias, and whom it means.
    pub links: Vec<(String, String)>,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// What is known locally about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// We know: these records, or that there are none.
    Answer(Code, Vec<Record>),
    /// Somebody else may know; whether they may be asked outside of the container's networks.
    Unknown { leaves: bool },
}

impl Names {
    /// Adds an endpoint's names, instead of what was known of it; its container is on the network
    /// from now on. `epoch` counts the daemons that speak.
    pub(super) fn insert(&mut self, entry: &Entry, epoch: u64) {
        self.remove(&entry.endpoint);
        let (network, container) = (entry.network, entry.container);
        self.endpoints.insert(entry.endpoint.clone(), Known { network, container, epoch });
        let zone = self.zones.entry(network).or_default();
        entry.network_name.to_lowercase().clone_into(&mut zone.name);
        zone.internal = entry.internal;
        let host = Host { endpoint: entry.endpoint.clone(), v4: entry.v4, v6: entry.v6 };
        for name in &entry.names {
            for key in keys(name) {
                zone.hosts.entry(key).or_default().push(host.clone());
            }
        }
        for addr in host.addresses() {
            if let Some(name) = entry.names.first() {
                zone.reverse.insert(addr, format!("{name}.{}", entry.network_name));
            }
        }
        let links = entry
            .links
            .iter()
            .flat_map(|(alias, target)| keys(alias).into_iter().map(|alias| (alias, whom(target))));
        let links: Vec<_> = links.collect();
        if !links.is_empty() {
            zone.links.insert(container, links);
        }
        let networks = self.memberships.entry(container).or_default();
        if !networks.contains(&network) {
            networks.push(network);
        }
    }

    /// Removes an endpoint's names. A container that starts again has its new endpoint before the
    /// old one is gone, perhaps with the same address: what is the new one's stays.
    pub(super) fn remove(&mut self, endpoint: &str) {
        let Some(known) = self.endpoints.remove(endpoint) else { return };
        let same = |it: &Known| it.container == known.container && it.network == known.network;
        let stays = self.endpoints.values().any(same);
        let Some(zone) = self.zones.get_mut(&known.network) else { return };
        let mut gone = Vec::new();
        for hosts in zone.hosts.values_mut() {
            let old = hosts.extract_if(.., |host| host.endpoint == endpoint);
            gone.extend(old.flat_map(|host| host.addresses()));
        }
        zone.hosts.retain(|_, hosts| !hosts.is_empty());
        for addr in gone {
            let taken = |host: &Host| host.addresses().any(|it| it == addr);
            if !zone.hosts.values().flatten().any(taken) {
                zone.reverse.remove(&addr);
            }
        }
        if zone.hosts.is_empty() {
            self.zones.remove(&known.network);
        } else if !stays {
            zone.links.remove(&known.container);
        }
        if !stays && let Some(networks) = self.memberships.get_mut(&known.container) {
            networks.retain(|id| *id != known.network);
            if networks.is_empty() {
                self.memberships.remove(&known.container);
            }
        }
    }

    /// Removes what no daemon since `epoch` has spoken of.
    pub(super) fn sweep(&mut self, epoch: u64) {
        let old = self.endpoints.iter().filter(|(_, known)| known.epoch < epoch);
        let old: Vec<String> = old.map(|(endpoint, _)| endpoint.clone()).collect();
        old.iter().for_each(|endpoint| self.remove(endpoint));
    }

    /// Removes everything of a container.
    pub(super) fn remove_container(&mut self, container: &ContainerId) {
        let of = self.endpoints.iter().filter(|(_, known)| known.container == *container);
        let of: Vec<String> = of.map(|(endpoint, _)| endpoint.clone()).collect();
        of.iter().for_each(|endpoint| self.remove(endpoint));
    }

    /// What `container` gets to hear.
    pub(super) fn look_up(&mut self, container: &ContainerId, ask: &Ask) -> Verdict {
        let networks = self.memberships.get(container).map(Vec::as_slice).unwrap_or_default();
        let mut zones = networks.iter().filter_map(|id| self.zones.get(id));
        let found = match ask {
            Ask::Name { addr } => {
                let named = |zone: &Zone| zone.reverse.get(addr).cloned();
                zones.find_map(named).map(|name| vec![Record::Name(name)])
            }
            Ask::Addresses { name, v4, v6 } => {
                zones.find_map(|zone| zone.heard_by(container, name)).map(|hosts| {
                    let mut records = addresses(hosts, (*v4, *v6));
                    self.draws.shuffle(&mut records);
                    records
                })
            }
            Ask::Other { name } => {
                zones.find_map(|zone| zone.heard_by(container, name)).map(|_| Vec::new())
            }
        };
        if let Some(records) = found {
            return Verdict::Answer(Code::NoError, records);
        }
        let mut zones = networks.iter().filter_map(|id| self.zones.get(id));
        // No question leaves an internal network (law F3).
        Verdict::Unknown { leaves: zones.any(|zone| !zone.internal) }
    }
}

/// The forms in which a name is asked for.
fn keys(name: &str) -> Vec<String> {
    let name = name.to_lowercase();
    let ascii = to_ascii(&name);
    ascii.into_iter().chain([name]).collect()
}

/// Whom the target of a link means: ids answer in their short form.
fn whom(target: &str) -> String {
    let is_id = target.len() == 64 && target.bytes().all(|byte| byte.is_ascii_hexdigit());
    match target.get(..12).filter(|_| is_id) {
        Some(short) => short.to_lowercase(),
        None => target.to_lowercase(),
    }
}

impl Host {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)].into_iter().flatten()
    }
}

impl Zone {
    /// The hosts that a container means by a name.
    fn heard_by(&self, container: &ContainerId, name: &str) -> Option<&[Host]> {
        let links = self.links.get(container).map(Vec::as_slice).unwrap_or_default();
        let linked = links.iter().find(|(alias, _)| alias == name);
        linked.and_then(|(_, target)| self.hosts_of(target)).or_else(|| self.hosts_of(name))
    }

    /// The hosts of `name` or `name.network`.
    fn hosts_of(&self, name: &str) -> Option<&[Host]> {
        let qualified = || {
            // Either may itself have dots.
            let host = name.strip_suffix(&self.name)?.strip_suffix('.')?;
            self.hosts.get(host)
        };
        self.hosts.get(name).or_else(qualified).map(Vec::as_slice)
    }
}

/// Addresses of the families asked for.
fn addresses(hosts: &[Host], (v4, v6): (bool, bool)) -> Vec<Record> {
    let all = hosts.iter().flat_map(Host::addresses);
    let wanted = all.filter(|addr| if addr.is_ipv4() { v4 } else { v6 });
    let mut records: Vec<Record> = Vec::new();
    for record in wanted.map(Record::Address) {
        if !records.contains(&record) {
            records.push(record);
        }
    }
    records
}

/// Numbers that are different enough each time (xorshift; Marsaglia 2003). Whoever guesses them
/// learns nothing: they only spread load.
#[derive(Debug)]
struct Draws(u64);

impl Default for Draws {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Any order is as likely as any other (Fisher and Yates).
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let at = usize::try_from(self.next() % bound).unwrap_or(0);
            items.swap(last, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> [u8; 32] {
        [n; 32]
    }

    fn entry(network: u8, container: u8, names: &[&str], v4: &str) -> Entry {
        Entry {
            network: NetworkId::from_bytes(id(network)),
            network_name: if network == 1 { "one" } else { "Back.End" }.to_owned(),
            internal: network == 2,
            endpoint: format!("{network}-{container}"),
            container: ContainerId::from_bytes(id(container)),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            links: Vec::new(),
            v4: Some(v4.parse().unwrap()),
            v6: None,
        }
    }

    fn ask(names: &mut Names, container: u8, name: &str) -> Vec<String> {
        let ask = Ask::Addresses { name: name.into(), v4: true, v6: false };
        match names.look_up(&ContainerId::from_bytes(id(container)), &ask) {
            Verdict::Unknown { leaves: true } => vec!["forward".into()],
            Verdict::Unknown { leaves: false } => vec!["stay".into()],
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

    fn know(names: &mut Names, network: u8, container: u8, called: &[&str], v4: &str) {
        names.insert(&entry(network, container, called, v4), 1);
    }

    #[test]
    fn a_container_hears_its_own_networks_only() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["Web", "www"], "172.18.0.2");
        know(&mut names, 1, 2, &["db", "www"], "172.18.0.3");
        know(&mut names, 2, 3, &["inner"], "172.19.0.2");
        assert_eq!(ask(&mut names, 1, "db"), [addr("172.18.0.3")]);
        assert_eq!(ask(&mut names, 2, "web"), [addr("172.18.0.2")]);
        assert_eq!(ask(&mut names, 2, "web.one"), [addr("172.18.0.2")]);
        assert_eq!(ask(&mut names, 1, "www"), [addr("172.18.0.2"), addr("172.18.0.3")]);
        assert_eq!(ask(&mut names, 1, "inner"), ["forward"]);
        assert_eq!(ask(&mut names, 3, "web"), ["stay"]);
        assert_eq!(ask(&mut names, 3, "inner.back.end"), [addr("172.19.0.2")]);
        assert_eq!(ask(&mut names, 9, "web"), ["stay"], "on no network");
        know(&mut names, 1, 3, &["inner"], "172.18.0.9");
        assert_eq!(ask(&mut names, 3, "example.org"), ["forward"], "one way out is enough");
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["a"], "172.18.0.2");
        know(&mut names, 1, 2, &["b"], "172.18.0.3");
        names.remove("another");
        assert_eq!(ask(&mut names, 1, "a"), [addr("172.18.0.2")]);
        names.remove("1-2");
        assert_eq!(ask(&mut names, 1, "b"), ["forward"]);
        let gone = Ask::Name { addr: "172.18.0.3".parse().unwrap() };
        let unknown = Verdict::Unknown { leaves: true };
        assert_eq!(names.look_up(&ContainerId::from_bytes(id(1)), &gone), unknown);
        names.remove_container(&ContainerId::from_bytes(id(1)));
        assert!(names.zones.is_empty() && names.memberships.is_empty());
        assert!(names.endpoints.is_empty());
    }

    #[test]
    fn who_starts_again_is_heard_before_the_old_endpoint_is_gone() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["a"], "172.18.0.2");
        know(&mut names, 1, 2, &["b"], "172.18.0.3");
        let again = Entry { endpoint: "again".into(), ..entry(1, 2, &["b"], "172.18.0.3") };
        names.insert(&again, 1);
        names.remove("1-2");
        assert_eq!(ask(&mut names, 1, "b"), [addr("172.18.0.3")]);
        assert_eq!(ask(&mut names, 2, "a"), [addr("172.18.0.2")], "still on its network");
        let reverse = Ask::Name { addr: "172.18.0.3".parse().unwrap() };
        let heard = names.look_up(&ContainerId::from_bytes(id(1)), &reverse);
        assert_eq!(heard, Verdict::Answer(Code::NoError, vec![Record::Name("b.one".into())]));
        names.remove("again");
        assert_eq!(ask(&mut names, 2, "a"), ["stay"]);
    }

    #[test]
    fn what_a_later_daemon_does_not_know_goes() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["a"], "172.18.0.2");
        know(&mut names, 1, 2, &["b"], "172.18.0.3");
        names.insert(&entry(1, 1, &["a", "c"], "172.18.0.2"), 2);
        assert_eq!(ask(&mut names, 1, "b"), [addr("172.18.0.3")], "until it has said all");
        names.sweep(2);
        assert_eq!(ask(&mut names, 1, "b"), ["forward"]);
        assert_eq!(ask(&mut names, 1, "a"), [addr("172.18.0.2")], "said twice, answered once");
        assert_eq!(ask(&mut names, 1, "c"), [addr("172.18.0.2")]);
    }

    #[test]
    fn links_are_heard_by_their_container_alone() {
        let mut names = Names::default();
        know(&mut names, 1, 2, &["db", &"ab".repeat(6)], "172.18.0.3");
        know(&mut names, 1, 3, &["other"], "172.18.0.4");
        let links = vec![("Bar".into(), "db".into()), ("id".into(), "ab".repeat(32))];
        names.insert(&Entry { links, ..entry(1, 1, &["web"], "172.18.0.2") }, 1);
        for alias in ["bar", "id"] {
            assert_eq!(ask(&mut names, 1, alias), [addr("172.18.0.3")]);
            assert_eq!(ask(&mut names, 3, alias), ["forward"]);
        }
        names.remove("1-2");
        assert_eq!(ask(&mut names, 1, "bar"), ["forward"], "who is linked to is gone");
    }

    #[test]
    fn names_beyond_ascii_are_found_in_both_forms() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["a", "Müller"], "172.18.0.2");
        for name in ["müller", "xn--mller-kva", "müller.one", "xn--mller-kva.one"] {
            assert_eq!(ask(&mut names, 1, name), [addr("172.18.0.2")], "{name}");
        }
    }

    #[test]
    fn every_address_comes_first_in_its_turn() {
        let mut names = Names::default();
        for n in 1..=4 {
            know(&mut names, 1, n, &["all"], &format!("172.18.0.{n}"));
        }
        let container = ContainerId::from_bytes(id(1));
        let mut first: HashMap<String, usize> = HashMap::new();
        for _ in 0..400 {
            // As C libraries ask: both families, one after the other.
            for (v4, v6) in [(true, false), (false, true)] {
                let ask = Ask::Addresses { name: "all".into(), v4, v6 };
                let Verdict::Answer(_, records) = names.look_up(&container, &ask) else { panic!() };
                if v4 {
                    *first.entry(format!("{:?}", records[0])).or_default() += 1;
                }
            }
        }
        assert_eq!(first.len(), 4);
        assert!(first.values().all(|count| (50..150).contains(count)), "{first:?}");
    }

    #[test]
    fn a_known_name_without_the_asked_type_is_empty_not_missing() {
        let mut names = Names::default();
        know(&mut names, 1, 1, &["a"], "172.18.0.2");
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
