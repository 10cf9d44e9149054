//! The host's ports, opened by the keeper: it binds them, the carrier in the namespaces gets the
//! sockets. Who publishes a port that is taken hears so from bind(2), at once.

use crate::Protocol;
use crate::ask::Answer;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

const BACKLOG: i32 = 512;
/// Ports at once.
const PORTS_MAX: usize = 16_384;
/// No answer of the carrier is longer, bytes.
const ANSWER_MAX: usize = 1024;

/// The open ports.
#[derive(Debug)]
pub(crate) struct Ports {
    carrier: OwnedFd,
    open: HashMap<(Protocol, SocketAddr), (u64, SocketAddr)>,
    next: u64,
}

impl Ports {
    pub(crate) fn new(carrier: OwnedFd) -> Self {
        Self { carrier, open: HashMap::new(), next: 0 }
    }

    pub(crate) fn open(
        &mut self,
        protocol: Protocol,
        host: SocketAddr,
        target: SocketAddr,
    ) -> Answer {
        match self.open.get(&(protocol, host)) {
            Some((_, known)) if *known == target => return Answer::Done,
            // The container came back with another address.
            Some(_) => self.close(protocol, host),
            None if self.open.len() >= PORTS_MAX => {
                return Answer::Refused { errno: Errno::MFILE.raw_os_error() };
            }
            None => {}
        }
        let socket = match bound(protocol, host) {
            Ok(socket) => socket,
            Err(errno) => return Answer::Refused { errno: errno.raw_os_error() },
        };
        self.next += 1;
        let order = format!("open {} {} {target}", self.next, protocol.name());
        match self.tell(&order, Some(&socket)) {
            Ok(()) => {
                self.open.insert((protocol, host), (self.next, target));
                Answer::Done
            }
            Err(why) => Answer::Failed { why },
        }
    }

    pub(crate) fn close(&mut self, protocol: Protocol, host: SocketAddr) {
        if let Some((number, _)) = self.open.remove(&(protocol, host)) {
            // A carrier that is gone has no port open.
            let _ = self.tell(&format!("close {number}"), None);
        }
    }

    pub(crate) fn close_all_but(&mut self, kept: &[(Protocol, SocketAddr)]) {
        let rest: Vec<_> = self.open.keys().filter(|port| !kept.contains(port)).copied().collect();
        for (protocol, host) in rest {
            self.close(protocol, host);
        }
    }

    fn tell(&self, order: &str, socket: Option<&OwnedFd>) -> Result<(), String> {
        let gone = |errno: Errno| format!("tell the carrier of ports: {errno}");
        let fds: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        sys::socket::send_with_fds(self.carrier.as_fd(), order.as_bytes(), &fds).map_err(gone)?;
        let mut bytes = [0; ANSWER_MAX];
        let length =
            sys::socket::recv_with_fds(self.carrier.as_fd(), &mut bytes, drop).map_err(gone)?;
        match &bytes[..length] {
            b"ok" => Ok(()),
            b"" => Err("the carrier of ports has ended".to_owned()),
            why => Err(String::from_utf8_lossy(why).into_owned()),
        }
    }
}

/// A bound socket of the host's; TCP listens.
pub(crate) fn bound(protocol: Protocol, host: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        // Connections of a former owner that still linger do not count.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &host)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A carrier that says yes to everything.
    fn agreeing() -> (Ports, std::thread::JoinHandle<Vec<String>>) {
        let (ours, theirs) = sys::socket::message_pair().unwrap();
        let carrier = std::thread::spawn(move || {
            let mut heard = Vec::new();
            loop {
                let mut bytes = [0; 256];
                let length =
                    sys::socket::recv_with_fds(theirs.as_fd(), &mut bytes, drop).unwrap_or(0);
                if length == 0 {
                    return heard;
                }
                heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
                sys::socket::send_with_fds(theirs.as_fd(), b"ok", &[]).unwrap();
            }
        });
        (Ports::new(ours), carrier)
    }

    #[test]
    fn a_port_that_is_taken_is_refused_by_the_kernels_word() {
        let (mut ports, carrier) = agreeing();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = other.local_addr().unwrap();
        let target = "172.17.0.2:80".parse().unwrap();
        let answer = ports.open(Protocol::Tcp, host, target);
        assert!(matches!(answer, Answer::Refused { errno } if errno == 98), "{answer:?}");
        drop(other);
        assert!(matches!(ports.open(Protocol::Tcp, host, target), Answer::Done));
        assert!(matches!(ports.open(Protocol::Tcp, host, target), Answer::Done), "twice is once");
        ports.close_all_but(&[(Protocol::Udp, host)]);
        drop(ports);
        let heard = carrier.join().unwrap();
        assert_eq!(heard, ["open 1 tcp 172.17.0.2:80", "close 1"]);
    }
}
