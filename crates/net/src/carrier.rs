//! A process that carries ports of the host into a network namespace: it is handed bound sockets of
//! the host's, and lives in the namespace that they lead to. Orders come over a socket that keeps
//! messages apart, one line each; its end is the end of the process. Knows addresses and ports,
//! never containers.
//!
//! ```text
//!   open NUMBER tcp|udp TARGET   with the socket     ok, or what is wrong
//!   close NUMBER                                     ok, once the socket is closed
//! ```

use crate::relay::{Relay, Relays};
use model::network::Protocol;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// More than any order has, bytes.
const ORDER_MAX: usize = 256;

/// Carries what it is told to, until nobody can tell it any more.
///
/// # Errors
/// When orders cannot be read.
pub fn run_carrier(control: OwnedFd) -> io::Result<()> {
    let mut relays = Relays::default();
    let mut open = HashMap::new();
    loop {
        let mut bytes = [0; ORDER_MAX];
        let mut socket = None;
        let length =
            sys::socket::recv_with_fds(control.as_fd(), &mut bytes, |fd| socket = Some(fd))?;
        if length == 0 {
            return Ok(());
        }
        let order = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        let answer = match obey(&order, socket, &mut relays, &mut open) {
            Ok(()) => "ok".to_owned(),
            Err(why) => why,
        };
        sys::socket::send_with_fds(control.as_fd(), answer.as_bytes(), &[])?;
    }
}

fn obey(
    order: &str,
    socket: Option<OwnedFd>,
    relays: &mut Relays,
    open: &mut HashMap<u64, Relay>,
) -> Result<(), String> {
    let words: Vec<&str> = order.split(' ').collect();
    let unknown = || format!("order {order:?} is not understood");
    let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
    match (words.as_slice(), socket) {
        (["open", at, protocol, target], Some(socket)) => {
            let protocol = match *protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return Err(unknown()),
            };
            let target: SocketAddr = target.parse().map_err(|_| unknown())?;
            let relay = relays.carry(socket, protocol, target);
            open.insert(number(at)?, relay.map_err(|error| error.to_string())?);
            Ok(())
        }
        (["close", at], None) => {
            open.remove(&number(at)?);
            Ok(())
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_handed_socket_is_carried_until_it_is_closed() {
        let (control, theirs) = sys::socket::message_pair().unwrap();
        let process = std::thread::spawn(move || run_carrier(theirs));
        let ask = |order: &str, fds: &[std::os::fd::BorrowedFd<'_>]| {
            sys::socket::send_with_fds(control.as_fd(), order.as_bytes(), fds).unwrap();
            let mut answer = [0; 256];
            let length = sys::socket::recv_with_fds(control.as_fd(), &mut answer, drop).unwrap();
            String::from_utf8_lossy(&answer[..length]).into_owned()
        };
        let near = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, target) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        assert_eq!(ask(&format!("open 7 tcp {target}"), &[near.as_fd()]), "ok");
        drop(near);
        let mut client = TcpStream::connect(port).unwrap();
        client.write_all(b"there").unwrap();
        let (mut served, _) = far.accept().unwrap();
        let mut text = [0; 5];
        served.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"there");
        for nonsense in ["open 7", "open x tcp 1.2.3.4:5", "close", "dance", "close seven"] {
            assert!(ask(nonsense, &[]).contains("not understood"), "{nonsense}");
        }
        assert_eq!(ask("close 7", &[]), "ok");
        assert!(TcpListener::bind(port).is_ok(), "the port is free again");
        drop(control);
        process.join().unwrap().unwrap();
    }
}
