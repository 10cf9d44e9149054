//! Moving network devices from the runtime's network namespace into a container's, with the
//! addresses that they have: rtnetlink(7), as much of it as this takes. Knows nothing of networks.
//!
//! The kernel takes a device's addresses away when it changes its namespace, `config-linux.md`
//! "Network Devices" wants the permanent ones of global scope back.

use crate::error::LaunchError;
use crate::plan::NetMove;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::path::Path;

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const EXCLUSIVE_CREATE: u16 = 0x600;

/// Attributes of links and of addresses.
const IFLA_NAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

const PERMANENT: u32 = 0x80;
const SCOPE_GLOBAL: u8 = 0;
const UP: u32 = 1;

const HEADER: usize = 16;
const ADDRESS_BODY: usize = 8;

/// Moves `devices` into the network namespace of process `pid`, and sets them up there.
///
/// # Errors
/// [`LaunchError`], naming the device. What was moved already is in the container's namespace and
/// goes the way of every device whose namespace ends.
pub(crate) fn adopt(devices: &[NetMove], pid: i32) -> Result<(), LaunchError> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = sys::netns::open(Path::new(&path))
        .map_err(|error| LaunchError::at("open the network namespace", error.errno))?;
    for device in devices {
        let act = format!("move network device {} into the container", device.from);
        let addresses =
            give(device, namespace.as_fd()).map_err(|errno| LaunchError::at(&act, errno))?;
        let inside = sys::netns::enter(namespace.as_fd())
            .map_err(|error| LaunchError::at("join the network namespace", error.errno))?;
        let taken = take(&device.to, &addresses);
        drop(inside);
        let act = format!("set up network device {}", device.to);
        taken.map_err(|errno| LaunchError::at(act, errno))?;
    }
    Ok(())
}

/// The host's half; returns the addresses that the device had.
fn give(device: &NetMove, namespace: BorrowedFd<'_>) -> Result<Vec<Address>, Errno> {
    let mut socket = Netlink::open()?;
    let index = socket.index(&device.from)?;
    let addresses = socket.addresses(index)?;
    let mut change = Request::new(NEW_LINK, ACKNOWLEDGE);
    change.link(index, 0, 0);
    change.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    change.attribute(IFLA_NAME, &terminated(&device.to));
    socket.ask(change, |_, _| {})?;
    Ok(addresses)
}

/// The container's half.
fn take(name: &str, addresses: &[Address]) -> Result<(), Errno> {
    let mut socket = Netlink::open()?;
    let index = socket.index(name)?;
    let mut up = Request::new(NEW_LINK, ACKNOWLEDGE);
    up.link(index, UP, UP);
    socket.ask(up, |_, _| {})?;
    for address in addresses {
        let mut new = Request::new(NEW_ADDRESS, ACKNOWLEDGE | EXCLUSIVE_CREATE);
        new.body(&[address.family, address.prefix, 0, SCOPE_GLOBAL]);
        new.body(&index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            new.attribute(*kind, value);
        }
        match socket.ask(new, |_, _| {}) {
            // IPv6 may be off in the new namespace; the device is there all the same.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn terminated(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

/// An address of a device, as it is written again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A message on its way out.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Self(bytes)
    }

    fn body(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// `struct ifinfomsg`.
    fn link(&mut self, index: u32, flags: u32, change: u32) {
        self.body(&[0; 4]);
        for number in [index, flags, change] {
            self.body(&number.to_ne_bytes());
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.body(&length.to_ne_bytes());
        self.body(&kind.to_ne_bytes());
        self.body(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// A socket in the network namespace of whoever opened it. The kernel answers before `send`
/// returns: nothing here waits.
struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    fn open() -> Result<Self, Errno> {
        let kind = SocketType::RAW;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and gives every answer, its kind and its body, to `take`.
    fn ask(&mut self, request: Request, mut take: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        rustix::net::send(&self.socket, &request.finish(), SendFlags::empty())?;
        loop {
            let (count, _) =
                rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT)?;
            let mut rest = &self.buffer[..count];
            while let Some((kind, body, next)) = message(rest) {
                match kind {
                    ERROR => return refusal(body),
                    DONE => return Ok(()),
                    kind => take(kind, body),
                }
                rest = next;
            }
        }
    }

    fn index(&mut self, name: &str) -> Result<u32, Errno> {
        let mut get = Request::new(GET_LINK, ACKNOWLEDGE);
        get.link(0, 0, 0);
        get.attribute(IFLA_NAME, &terminated(name));
        let mut index = None;
        self.ask(get, |kind, body| {
            if kind == NEW_LINK {
                index = number(body, 4);
            }
        })?;
        index.ok_or(Errno::NODEV)
    }

    /// The permanent addresses of global scope.
    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        let mut get = Request::new(GET_ADDRESS, DUMP);
        get.body(&[0; ADDRESS_BODY]);
        let mut found = Vec::new();
        self.ask(get, |kind, body| {
            if kind == NEW_ADDRESS && number(body, 4) == Some(index) {
                found.extend(address(body));
            }
        })?;
        Ok(found)
    }
}

/// Kind and body of the first message, and what comes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = number(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// `struct nlmsgerr`: zero acknowledges.
fn refusal(body: &[u8]) -> Result<(), Errno> {
    match number(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(errno.saturating_neg())),
        None => Err(Errno::PROTO),
    }
}

/// What of an address comes along, if it does.
fn address(body: &[u8]) -> Option<Address> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    let (mut flags, scope) = (u32::from(*body.get(2)?), *body.get(3)?);
    let mut attributes = Vec::new();
    let mut rest = body.get(ADDRESS_BODY..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let value = rest.get(4..length)?;
        match kind {
            IFA_FLAGS => flags = number(value, 0)?,
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => attributes.push((kind, value.to_vec())),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let comes = flags & PERMANENT != 0 && scope == SCOPE_GLOBAL;
    comes.then_some(Address { family, prefix, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_addresses_of_global_scope_come_along() {
        let body = |flags: u8, scope: u8| {
            let mut request = Request::new(NEW_ADDRESS, 0);
            request.body(&[2, 24, flags, scope]);
            request.body(&7u32.to_ne_bytes());
            request.attribute(IFA_LOCAL, &[10, 0, 0, 1]);
            request.attribute(9, &[1]);
            request.finish()
        };
        let local =
            Address { family: 2, prefix: 24, attributes: vec![(IFA_LOCAL, vec![10, 0, 0, 1])] };
        let bytes = body(0x80, 0);
        let (kind, found, rest) = message(&bytes).expect("message");
        assert_eq!((kind, rest.len()), (NEW_ADDRESS, 0));
        assert_eq!(address(found), Some(local));
        for (flags, scope) in [(0, 0), (0x80, 253)] {
            assert_eq!(address(&body(flags, scope)[HEADER..]), None);
        }
    }

    #[test]
    fn torn_messages_are_none() {
        let mut request = Request::new(NEW_LINK, 0);
        request.link(1, 0, 0);
        let bytes = request.finish();
        assert_eq!(bytes.len(), HEADER + 16);
        for length in 0..bytes.len() {
            assert!(message(&bytes[..length]).is_none(), "{length}");
        }
        assert_eq!(refusal(&[]), Err(Errno::PROTO));
        assert_eq!(refusal(&(-19i32).to_ne_bytes()), Err(Errno::NODEV));
    }
}
