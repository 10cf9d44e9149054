//! A private world for network tests: namespaces that die with the test, a neighbour on a wire of
//! its own, servers and clients in any of them. Nothing of the machine's own network is touched.

#![allow(dead_code, reason = "every test binary uses a part of the lab")]

use model::network::{Endpoint, EndpointDraft, NetworkDraft, NetworkSpec};
use model::{ContainerId, NetworkId, Timestamp};
use net::{Attach, Net, Options};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a client waits for an answer that comes within a millisecond or never.
const PATIENCE: Duration = Duration::from_millis(1200);

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Netns(OwnedFd);

impl Netns {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let make = || {
            unshare_net();
            sys::netns::open(Path::new("/proc/thread-self/ns/net")).unwrap()
        };
        Self(std::thread::spawn(make).join().unwrap())
    }

    /// The one the calling thread is in.
    pub(crate) fn own() -> Self {
        Self(sys::netns::open(Path::new("/proc/thread-self/ns/net")).unwrap())
    }

    /// Runs `act` inside.
    pub(crate) fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        sys::netns::run_in(self.0.as_fd(), act).unwrap()
    }

    /// Runs a command inside and returns what it printed.
    pub(crate) fn sh(&self, script: &str) -> String {
        self.run(|| sh(script))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Answers TCP connections to `addr` with `name` and who asked, for as long as the test runs.
    pub(crate) fn serve(&self, name: &'static str, addr: &str) {
        let listener = self.run(|| TcpListener::bind(addr).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("{name} sees {peer}").as_bytes());
            }
        });
    }

    /// The same over UDP.
    pub(crate) fn serve_udp(&self, name: &'static str, addr: &str) {
        let socket = self.run(|| UdpSocket::bind(addr).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} sees {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// What a server at `addr` answers over TCP, or why none did.
    pub(crate) fn ask(&self, addr: &str) -> Result<String, String> {
        let addr: SocketAddr = addr.parse().unwrap();
        self.run(|| {
            let mut stream =
                TcpStream::connect_timeout(&addr, PATIENCE).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
            Ok(text)
        })
    }

    /// What a server at `addr` answers over UDP, or why none did.
    pub(crate) fn ask_udp(&self, addr: &str) -> Result<String, String> {
        let addr: SocketAddr = addr.parse().unwrap();
        self.run(|| {
            let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(addr).map_err(|e| e.to_string())?;
            socket.send(b"?").map_err(|e| e.to_string())?;
            let mut buffer = [0; 64];
            let len = socket.recv(&mut buffer).map_err(|e| e.to_string())?;
            Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
        })
    }
}

#[allow(deprecated, reason = "only CLONE_FILES is unsafe, and this is CLONE_NEWNET")]
fn unshare_net() {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
}

/// Runs a shell script in the calling thread's namespace.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {error}{text}");
    text
}

/// Runs a test on a thread in a namespace of its own that plays the host: `10.9.0.1` on a wire
/// to a neighbour at `10.9.0.2` that routes everything to the host.
pub(crate) fn on_host(test: impl FnOnce(&Netns, &Netns) + Send) {
    let host = Netns::new();
    let neighbour = Netns::new();
    host.run(|| {
        let this = Netns::own();
        sh("ip link set lo up");
        wire("up0", "10.9.0.1/24", &neighbour, "10.9.0.2/24");
        test(&this, &neighbour);
    });
}

/// Connects the calling thread's namespace to another, which routes everything this way.
pub(crate) fn wire(dev: &str, addr: &str, to: &Netns, to_addr: &str) {
    // ip(8) takes a process: one that sleeps in the namespace.
    let mut sleeper = to.run(|| Command::new("sleep").arg("60").spawn().unwrap());
    sh(&format!(
        "ip link add {dev} type veth peer name wire0 netns {}; ip link set {dev} up; \
         ip addr add {addr} dev {dev}",
        sleeper.id()
    ));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let (gateway, _) = addr.split_once('/').unwrap();
    to.sh(&format!(
        "ip link set lo up; ip link set wire0 up; ip addr add {to_addr} dev wire0; \
         ip route add default via {gateway}"
    ));
}

/// Gives host and neighbour IPv6 as well, `fd09::1` and `fd09::2`, once it works.
pub(crate) fn dual_stack(host: &Netns, neighbour: &Netns) {
    sh("ip -6 addr add fd09::1/64 dev up0 nodad");
    neighbour.sh("ip -6 addr add fd09::2/64 dev wire0 nodad; ip -6 route add default via fd09::1");
    host.serve("host", "[fd09::1]:9");
    let there = (0..100).any(|_| neighbour.ask("[fd09::1]:9").is_ok());
    assert!(there, "IPv6 between host and neighbour");
}

/// Whether something succeeds: on a busy machine what is open may take longer than
/// [`PATIENCE`].
pub(crate) fn opens<T: std::fmt::Debug>(ask: impl Fn() -> Result<T, String>) -> bool {
    (0..20).any(|_| ask().is_ok())
}

fn serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An id no other object of this test run has.
pub(crate) fn fresh_bytes() -> [u8; 32] {
    let mut bytes = [0x5a; 32];
    // Bridges get their hardware address from here, and containers theirs from addresses: these
    // begin with zeroes.
    bytes[1..5].copy_from_slice(&u32::try_from(serial()).unwrap().to_be_bytes());
    bytes
}

/// Options of the tests' daemon.
pub(crate) fn options() -> Options {
    Options::default()
}

/// Makes a network.
pub(crate) fn network(net: &Net, draft: &NetworkDraft) -> NetworkSpec {
    let id = NetworkId::from_bytes(fresh_bytes());
    let spec = net.resolve(draft, id, Timestamp(1)).unwrap();
    net.create_network(&spec).unwrap();
    spec
}

/// Makes a bridge network called `name` with options.
pub(crate) fn bridge(net: &Net, name: &str, options: &[(&str, &str)]) -> NetworkSpec {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    network(net, &NetworkDraft { name: name.to_owned(), options, ..NetworkDraft::default() })
}

/// A container of a test: a namespace and its endpoint.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) netns: Netns,
    pub(crate) endpoint: Endpoint,
}

impl Container {
    /// Joins a new namespace to a network.
    pub(crate) fn start(net: &Net, spec: &NetworkSpec, name: &str) -> Self {
        Self::join(net, spec, name, Netns::new()).unwrap()
    }

    /// Joins a namespace to a network.
    pub(crate) fn join(
        net: &Net,
        spec: &NetworkSpec,
        name: &str,
        netns: Netns,
    ) -> net::Result<Self> {
        Self::join_as(net, spec, name, netns, &EndpointDraft::default())
    }

    /// Joins a namespace to a network as asked.
    pub(crate) fn join_as(
        net: &Net,
        spec: &NetworkSpec,
        name: &str,
        netns: Netns,
        draft: &EndpointDraft,
    ) -> net::Result<Self> {
        let id = ContainerId::from_bytes(fresh_bytes());
        let endpoint = net.attach(&Attach {
            network: &spec.id,
            container: &id,
            container_name: name,
            netns: netns.fd(),
            draft,
            taken: &[],
            ways: [true; 2],
            ipv6: true,
        })?;
        Ok(Self { id, netns, endpoint })
    }

    /// Its IPv4 address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.endpoint.ipv4.unwrap().addr
    }

    /// A socket address of it.
    pub(crate) fn at(&self, port: u16) -> String {
        SocketAddr::new(self.ip(), port).to_string()
    }
}
