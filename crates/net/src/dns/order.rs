//! What the daemon tells its resolver, and what that answers: one datagram each, on a socket that
//! keeps their borders. Pure. Both sides are usually the same program, but not the same build: the
//! first two bytes are the version, and [`Reply`] must stay what it is, so that a later daemon can
//! take the sockets of containers over from an earlier resolver.

use super::names::Entry;
use model::{ContainerId, NetworkId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of [`Order`]; another one's orders are not understood.
pub(super) const VERSION: u16 = 3;
/// The longest datagram, bytes: some hundreds of names.
pub(super) const MESSAGE_MAX: usize = 64 << 10;

/// A container's resolver, as it comes with the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Post {
    /// The container.
    pub container: ContainerId,
    /// Servers that unknown names are forwarded to; empty for the host's.
    pub servers: Vec<IpAddr>,
}

/// From daemon to resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Begin to tell what is held.
    Hello,
    /// Tell the next of it.
    Next,
    /// An endpoint has names; replaces what was known of it.
    Learn(Entry),
    /// It has none any more.
    Unlearn {
        /// Its id.
        endpoint: String,
    },
    /// Answer on the sockets that come along: datagrams, streams, and in any order a process whose
    /// end is the container's, if known, and those that its own servers are asked by.
    Serve(Post),
    /// Close them.
    Stop {
        /// Whose.
        container: ContainerId,
    },
    /// Forget every endpoint that this daemon did not speak of.
    Sweep,
    /// End.
    Quit,
    /// The host's resolvers are named in the file of this path from now on.
    Host {
        /// The path.
        resolv_conf: String,
    },
}

/// From resolver to daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// This container is answered, on copies of the sockets that come along.
    Held(Post),
    /// That was all.
    End,
}

impl Order {
    /// As bytes; `None` when it is too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Writer::new();
        match self {
            Self::Hello => out.byte(0),
            Self::Next => out.byte(1),
            Self::Learn(entry) => {
                out.byte(2);
                write_entry(&mut out, entry);
            }
            Self::Unlearn { endpoint } => {
                out.byte(3);
                out.text(endpoint);
            }
            Self::Serve(post) => {
                out.byte(4);
                out.post(post);
            }
            Self::Stop { container } => {
                out.byte(5);
                out.bytes(container.as_bytes());
            }
            Self::Sweep => out.byte(6),
            Self::Quit => out.byte(7),
            Self::Host { resolv_conf } => {
                out.byte(8);
                out.text(resolv_conf);
            }
        }
        out.finish()
    }

    /// From bytes; `None` for what is none of this version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        (from.number()? == VERSION).then_some(())?;
        let order = match from.byte()? {
            0 => Self::Hello,
            1 => Self::Next,
            2 => Self::Learn(read_entry(&mut from)?),
            3 => Self::Unlearn { endpoint: from.text()? },
            4 => Self::Serve(from.post()?),
            5 => Self::Stop { container: from.container()? },
            6 => Self::Sweep,
            7 => Self::Quit,
            8 => Self::Host { resolv_conf: from.text()? },
            _ => return None,
        };
        from.0.is_empty().then_some(order)
    }
}

impl Reply {
    /// As bytes; `None` when it is too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Writer::new();
        match self {
            Self::Held(post) => {
                out.byte(0);
                out.post(post);
            }
            Self::End => out.byte(1),
        }
        out.finish()
    }

    /// The version of who answers, and the answer, whichever version that is.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u16, Self)> {
        let mut from = Reader(bytes);
        let version = from.number()?;
        let reply = match from.byte()? {
            0 => Self::Held(from.post()?),
            1 => Self::End,
            _ => return None,
        };
        Some((version, reply))
    }
}

fn write_entry(out: &mut Writer, entry: &Entry) {
    out.bytes(entry.network.as_bytes());
    out.text(&entry.network_name);
    out.byte(u8::from(entry.internal));
    out.text(&entry.endpoint);
    out.bytes(entry.container.as_bytes());
    out.list(&entry.names, |out, name| out.text(name));
    out.list(&entry.links, |out, (alias, target)| {
        out.text(alias);
        out.text(target);
    });
    let addresses: Vec<IpAddr> =
        [entry.v4.map(IpAddr::V4), entry.v6.map(IpAddr::V6)].into_iter().flatten().collect();
    out.list(&addresses, |out, addr| out.address(*addr));
}

fn read_entry(from: &mut Reader<'_>) -> Option<Entry> {
    let network = NetworkId::from_bytes(from.array()?);
    let network_name = from.text()?;
    let internal = match from.byte()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let endpoint = from.text()?;
    let container = from.container()?;
    let names = from.list(Reader::text)?;
    let links = from.list(|from| Some((from.text()?, from.text()?)))?;
    let addresses = from.list(Reader::address)?;
    let v4 = addresses.iter().find_map(|addr| match addr {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    let v6 = addresses.iter().find_map(|addr| match addr {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    });
    Some(Entry { network, network_name, internal, endpoint, container, names, links, v4, v6 })
}

/// Bytes being written; nothing once something was too long.
struct Writer {
    out: Vec<u8>,
    fits: bool,
}

impl Writer {
    fn new() -> Self {
        Self { out: VERSION.to_be_bytes().to_vec(), fits: true }
    }

    fn finish(self) -> Option<Vec<u8>> {
        (self.fits && self.out.len() <= MESSAGE_MAX).then_some(self.out)
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn count(&mut self, len: usize) {
        match u16::try_from(len) {
            Ok(len) => self.bytes(&len.to_be_bytes()),
            Err(_) => self.fits = false,
        }
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        items.iter().for_each(|item| write(self, item));
    }

    fn address(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(v4) => {
                self.byte(4);
                self.bytes(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.byte(6);
                self.bytes(&v6.octets());
            }
        }
    }

    fn post(&mut self, post: &Post) {
        self.bytes(post.container.as_bytes());
        self.list(&post.servers, |out, server| out.address(*server));
    }
}

/// Bytes being read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::from(self.number()?);
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => Some(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))),
            _ => None,
        }
    }

    fn container(&mut self) -> Option<ContainerId> {
        self.array().map(ContainerId::from_bytes)
    }

    fn post(&mut self) -> Option<Post> {
        let container = self.container()?;
        Some(Post { container, servers: self.list(Self::address)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            network: NetworkId::from_bytes([1; 32]),
            network_name: "back end".into(),
            internal: true,
            endpoint: "e".repeat(64),
            container: ContainerId::from_bytes([2; 32]),
            names: vec!["web".into(), "müller".into()],
            links: vec![("bar".into(), "db".into())],
            v4: "172.18.0.2".parse().ok(),
            v6: "fd00::2".parse().ok(),
        }
    }

    fn all() -> Vec<Order> {
        let servers = vec!["10.0.0.1".parse().unwrap(), "fd00::53".parse().unwrap()];
        let container = ContainerId::from_bytes([3; 32]);
        vec![
            Order::Hello,
            Order::Next,
            Order::Learn(entry()),
            Order::Learn(Entry { v6: None, names: Vec::new(), ..entry() }),
            Order::Unlearn { endpoint: "e".into() },
            Order::Serve(Post { container, servers }),
            Order::Stop { container },
            Order::Sweep,
            Order::Quit,
            Order::Host { resolv_conf: "/etc/resolv.conf".into() },
        ]
    }

    #[test]
    fn orders_arrive_as_they_were_sent() {
        for order in all() {
            let bytes = order.encode().unwrap();
            assert_eq!(Order::decode(&bytes), Some(order));
        }
        let post = Post { container: ContainerId::from_bytes([3; 32]), servers: Vec::new() };
        for reply in [Reply::Held(post), Reply::End] {
            let bytes = reply.encode().unwrap();
            assert_eq!(Reply::decode(&bytes), Some((VERSION, reply)));
        }
    }

    #[test]
    fn what_is_cut_or_bent_is_no_order() {
        for order in all() {
            let whole = order.encode().unwrap();
            for len in 0..whole.len() {
                assert_eq!(Order::decode(&whole[..len]), None);
                let _ = Reply::decode(&whole[..len]);
            }
            for at in 0..whole.len() {
                let mut bent = whole.clone();
                bent[at] ^= 0xff;
                assert_ne!(Order::decode(&bent), Some(order.clone()));
            }
        }
        let long = Entry { names: vec!["n".repeat(250); 300], ..entry() };
        assert_eq!(Order::Learn(long).encode(), None);
    }

    #[test]
    fn a_later_resolver_can_still_hand_over() {
        let post = Post { container: ContainerId::from_bytes([3; 32]), servers: Vec::new() };
        let mut bytes = Reply::Held(post.clone()).encode().unwrap();
        bytes[1] = 9;
        assert_eq!(Reply::decode(&bytes), Some((9, Reply::Held(post))));
    }
}
