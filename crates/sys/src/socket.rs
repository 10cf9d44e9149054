//! Passing descriptors over Unix sockets, unix(7) `SCM_RIGHTS`, and socket options that rustix
//! lacks.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Most descriptors in one message, `SCM_MAX_FD`.
pub const MAX_FDS: usize = 253;

/// `SO_PEERGROUPS`, asm-generic/socket.h.
const SO_PEERGROUPS: libc::c_int = 59;

const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// A connected pair of sockets that keeps messages apart, both close-on-exec.
///
/// # Errors
/// As socketpair(2).
pub fn message_pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends `bytes` (at least one) with `fds` (at most [`MAX_FDS`]); returns how many bytes went.
/// A closed peer is an error, never a signal. Does not allocate.
///
/// # Errors
/// As sendmsg(2); `EMSGSIZE` for too many descriptors.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::<u8>::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let data = [IoSlice::new(bytes)];
    loop {
        match rustix::net::sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Receives into `bytes` and gives every descriptor that came along, close-on-exec, to `take`.
/// Zero bytes mean the end. Does not allocate.
///
/// # Errors
/// As recvmsg(2).
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    mut take: impl FnMut(OwnedFd),
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::<u8>::uninit(); CONTROL_BYTES];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(bytes)];
        match rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(message) => {
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = part {
                        fds.for_each(&mut take);
                    }
                }
                return Ok(message.bytes);
            }
        }
    }
}

/// Asks the kernel to explain in words what it refuses on a netlink socket.
///
/// # Errors
/// As setsockopt(2); `ENOPROTOOPT` before Linux 4.12.
pub fn explain_netlink_errors(socket: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option is an int, which outlives the call, of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            len,
        )
    };
    check(result.into()).map(drop)
}

/// The supplementary groups that the process at the other end of a unix socket had when it
/// connected, unix(7) and socket(7) `SO_PEERGROUPS`.
///
/// # Errors
/// As getsockopt(2); `ENODATA` for a socket without a peer.
pub fn peer_groups(socket: BorrowedFd<'_>) -> rustix::io::Result<Vec<u32>> {
    // `NGROUPS_MAX` is 65536; most have a handful.
    let mut groups = vec![0u32; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(groups.len() * size_of::<u32>())
            .map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the buffer lives across the call and `bytes` says how long it is; the kernel
        // writes at most that much, and the length that it needs into `bytes`.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        match check(outcome.into()) {
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err(Errno::RANGE) if count > groups.len() => groups.resize(count, 0),
            Err(errno) => return Err(errno),
        }
    }
}
