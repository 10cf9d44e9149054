//! Published ports that rules cannot translate: an IPv6 address of the host in front of a
//! container that has none, `::1`, or a host whose firewall is not ours to change. All of them are
//! sockets of one thread. Knows addresses and ports, never containers; survives nothing.

use crate::error::{Error, Result};
use model::network::Protocol;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Connections of one port at once.
const CONNECTIONS_MAX: usize = 4096;
/// How long a container may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Correspondents of one UDP port at once.
const SESSIONS_MAX: usize = 1024;
/// How long a UDP correspondent may be silent.
const IDLE: Duration = Duration::from_secs(90);
/// The longest datagram, bytes.
const DATAGRAM_MAX: usize = 65_535;

/// The thread that carries; started with the first port.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    thread: Option<Carrier>,
}

#[derive(Debug)]
struct Carrier {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Carrier {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("net-relay".to_owned()).spawn(move || {
            // Ends when asked to, or when nobody is left who could ask.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One port being carried; when it is dropped, its socket is closed.
#[derive(Debug)]
pub(crate) struct Relay {
    task: AbortHandle,
    /// Hangs up when the socket is gone.
    closed: Mutex<mpsc::Receiver<()>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        let closed = self.closed.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The carrier lets go at once, and the port may be wanted again the next moment.
        let _ = closed.recv_timeout(PATIENCE);
    }
}

impl Relays {
    /// Carries what arrives at a bound socket (TCP: listening) to `target`.
    pub(crate) fn carry(
        &mut self,
        socket: OwnedFd,
        protocol: Protocol,
        target: SocketAddr,
    ) -> Result<Relay> {
        let act = format!("relay a published port to {target}");
        if self.thread.is_none() {
            self.thread = Some(Carrier::start().map_err(Error::io(act.clone()))?);
        }
        let Some(carrier) = &self.thread else {
            return Err(Error::io(act)(std::io::ErrorKind::NotFound.into()));
        };
        let _entered = carrier.handle.enter();
        rustix::io::ioctl_fionbio(&socket, true).map_err(|e| Error::io(act.clone())(e.into()))?;
        let (open, closed) = mpsc::channel();
        let task = match protocol {
            Protocol::Udp => {
                let socket = UdpSocket::from_std(socket.into()).map_err(Error::io(act))?;
                carrier.handle.spawn(async move {
                    // Dropped after the socket.
                    let _open = open;
                    carry_datagrams(Arc::new(socket), target).await;
                })
            }
            _ => {
                let listener = TcpListener::from_std(socket.into()).map_err(Error::io(act))?;
                carrier.handle.spawn(async move {
                    let _open = open;
                    carry_streams(listener, target).await;
                })
            }
        };
        Ok(Relay { task: task.abort_handle(), closed: Mutex::new(closed) })
    }
}

async fn carry_streams(listener: TcpListener, target: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with the port.
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((mut near, _)) = listener.accept().await else {
            // Out of descriptors, most likely: some will come back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        running.spawn(async move {
            if let Ok(Ok(mut far)) = timeout(PATIENCE, TcpStream::connect(target)).await {
                let _ = near.set_nodelay(true);
                let _ = far.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            } else {
                // Refused over there is refused here.
                let _ = near.set_zero_linger();
            }
            drop(permit);
        });
    }
}

/// The sockets towards the target, by correspondent.
type Sessions = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

async fn carry_datagrams(near: Arc<UdpSocket>, target: SocketAddr) {
    let sessions = Sessions::default();
    let mut running = tokio::task::JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        while running.try_join_next().is_some() {}
        let Ok((len, from)) = near.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let known = sessions.lock().unwrap_or_else(PoisonError::into_inner).get(&from).cloned();
        let far = match known {
            Some(far) => far,
            None if running.len() >= SESSIONS_MAX => continue,
            None => {
                let Ok(far) = towards(target).await else { continue };
                let far = Arc::new(far);
                let mut all = sessions.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(from, Arc::clone(&far));
                drop(all);
                let (near, back, sessions) =
                    (Arc::clone(&near), Arc::clone(&far), Arc::clone(&sessions));
                running.spawn(async move {
                    bring_back(&near, &back, from).await;
                    sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
                });
                far
            }
        };
        let _ = far.send(buffer.get(..len).unwrap_or_default()).await;
    }
}

async fn towards(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}

async fn bring_back(near: &UdpSocket, far: &UdpSocket, to: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok(Ok(len)) = timeout(IDLE, far.recv(&mut buffer)).await {
        if near.send_to(buffer.get(..len).unwrap_or_default(), to).await.is_err() {
            return;
        }
    }
}
