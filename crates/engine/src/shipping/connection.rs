//! Connections to receivers: made when they are needed, dropped when they fail, never waited for
//! without a limit.

use model::log::SinkAddress;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// How long one step of a conversation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where local programs reach the machine's syslog daemon.
const LOCAL_SYSLOG: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// An open connection.
pub(super) enum Connection {
    /// A stream.
    Stream(Box<dyn Stream>),
    /// UDP, connected.
    Udp(UdpSocket),
    /// Datagrams over a unix socket.
    Unixgram(UnixDatagram),
}

/// What can be read and written.
pub(super) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Connection {
    /// Connects.
    pub(super) fn open(address: &SinkAddress) -> io::Result<Self> {
        match address {
            SinkAddress::Local => local(),
            SinkAddress::Udp(address) => udp(address).map(Self::Udp),
            SinkAddress::Tcp(address) => Ok(Self::Stream(Box::new(tcp(address)?))),
            SinkAddress::Tls { address, ca, cert, key } => {
                let config = tls_config(ca, cert, key)?;
                let name = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
                    .map_err(io::Error::other)?;
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Ok(Self::Stream(Box::new(StreamOwned::new(session, tcp(address)?))))
            }
            SinkAddress::Unix(path) => unix(path),
            SinkAddress::Unixgram(path) => unixgram(path),
        }
    }

    /// Sends one message: a datagram, or so many bytes of the stream.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(message).and_then(|()| stream.flush()),
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Unixgram(socket) => socket.send(message).map(drop),
        }
    }
}

fn local() -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "there is no local syslog daemon");
    for path in LOCAL_SYSLOG {
        match unixgram(path).or_else(|_| unix(path)) {
            Ok(connection) => return Ok(connection),
            Err(error) if error.kind() != io::ErrorKind::NotFound => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

fn unix(path: &str) -> io::Result<Connection> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Connection::Stream(Box::new(stream)))
}

fn unixgram(path: &str) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(Connection::Unixgram(socket))
}

fn addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    let all: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    match all.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"))),
        false => Ok(all),
    }
}

fn udp(address: &str) -> io::Result<UdpSocket> {
    let address = addresses(address)?[0];
    let any: SocketAddr =
        if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses(address)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no address")))
}

fn tls_config(ca: &str, cert: &str, key: &str) -> io::Result<Arc<ClientConfig>> {
    let roots = match ca.is_empty() {
        true => pki::host_authorities(),
        false => {
            let mut roots = RootCertStore::empty();
            for authority in pki::certificates(ca.as_ref()).map_err(io::Error::other)? {
                let unfit = |error| io::Error::other(format!("trust {ca}: {error}"));
                roots.add(authority).map_err(unfit)?;
            }
            roots
        }
    };
    let builder = ClientConfig::builder_with_provider(pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let config = match cert.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let own = pki::identity(cert.as_ref(), key.as_ref()).map_err(io::Error::other)?;
            builder.with_client_auth_cert(own.0, own.1).map_err(io::Error::other)?
        }
    };
    Ok(Arc::new(config))
}
