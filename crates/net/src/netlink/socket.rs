//! A blocking netlink socket. The kernel answers within `send(2)`, so every answer is read without
//! waiting: a request can fail, never hang.

use super::wire::{Batch, HEADER_LEN, Message, NLM_F_DUMP, field, text, u32_at};
use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, send,
    socket_with, sockopt,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel sends dumps in datagrams of at most 32 KiB.
const RECEIVE_LEN: usize = 64 * 1024;
/// Room for the answers to a batch, at least: one error of about a hundred bytes per message.
const BUFFER_MIN: usize = 256 * 1024;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables and conntrack.
    Netfilter,
}

/// One netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
    buffer: Vec<u8>,
}

/// A refusal of the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// Sequence number of the refused message.
    pub seq: u32,
    /// Why.
    pub errno: Errno,
    /// Why, in the kernel's words, if it has any.
    pub explanation: Option<String>,
}

impl Refused {
    fn before_sending(errno: Errno) -> Self {
        Self { seq: 0, errno, explanation: None }
    }
}

impl Socket {
    /// Opens a socket, subscribed to the multicast groups in `groups` (a bit mask).
    pub(crate) fn open(family: Family, groups: u32) -> Result<Self> {
        Self::try_open(family, groups).map_err(|errno| Error::Kernel {
            act: format!("open netlink socket for {family:?}"),
            errno,
            extack: None,
        })
    }

    fn try_open(family: Family, groups: u32) -> std::result::Result<Self, Errno> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let fd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        // Without explanations the error numbers have to do.
        let _ = sys::socket::explain_netlink_errors(fd.as_fd());
        let port = SocketAddrNetlink::try_from(getsockname(&fd)?)?.pid();
        Ok(Self { fd, port, buffer: vec![0; RECEIVE_LEN] })
    }

    /// The socket's port id, by which the kernel attributes what it does.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends a batch and reads its answers; the first refusal in order is the error.
    pub(crate) fn transact(&mut self, mut batch: Batch) -> Result<()> {
        batch.acknowledge_last();
        self.exchange(&batch).map_err(|refused| Error::Kernel {
            act: batch.act(refused.seq).to_owned(),
            errno: refused.errno,
            extack: refused.explanation,
        })
    }

    /// As [`Socket::transact`] for a batch whose acknowledged message is already chosen.
    pub(crate) fn exchange(&mut self, batch: &Batch) -> std::result::Result<(), Refused> {
        let refuse = Refused::before_sending;
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.encoded().ok_or(refuse(Errno::MSGSIZE))?;
        self.make_room(bytes.len(), batch.len()).map_err(refuse)?;
        self.drain();
        send(&self.fd, bytes, SendFlags::empty()).map_err(refuse)?;
        let mut outcome = None;
        self.receive(|message| {
            if message.kind == NLMSG_ERROR {
                match refusal(&message) {
                    None => _ = outcome.get_or_insert(Ok(())),
                    Some(refused) if !matches!(outcome, Some(Err(_))) => {
                        outcome = Some(Err(refused));
                    }
                    Some(_) => {}
                }
            }
            true
        })
        .map_err(refuse)?;
        outcome.unwrap_or(Err(refuse(Errno::PROTO)))
    }

    /// Asks for a dump and hands each message to `each`.
    pub(crate) fn dump(
        &mut self,
        act: &str,
        kind: u16,
        fixed: &[u8],
        mut each: impl FnMut(Message<'_>),
    ) -> Result<()> {
        let mut batch = Batch::new();
        batch.message(act, kind, NLM_F_DUMP, fixed, |_| {});
        self.query(batch, &mut each)
    }

    /// Sends one request and hands every answer but acknowledgements to `each`.
    pub(crate) fn query(&mut self, batch: Batch, mut each: impl FnMut(Message<'_>)) -> Result<()> {
        let failed = |refused: Refused| Error::Kernel {
            act: batch.act(0).to_owned(),
            errno: refused.errno,
            extack: refused.explanation,
        };
        let kernel = |errno| failed(Refused::before_sending(errno));
        let bytes = batch.encoded().ok_or_else(|| kernel(Errno::MSGSIZE))?;
        self.drain();
        send(&self.fd, bytes, SendFlags::empty()).map_err(kernel)?;
        let mut refused = None;
        self.receive(|message| match message.kind {
            NLMSG_ERROR => {
                refused = refusal(&message);
                false
            }
            NLMSG_DONE => false,
            _ => {
                each(message);
                true
            }
        })
        .map_err(kernel)?;
        refused.map_or(Ok(()), |refused| Err(failed(refused)))
    }

    /// Hands each message that is waiting to `each` until it returns false or none is left.
    pub(crate) fn receive(
        &mut self,
        mut each: impl FnMut(Message<'_>) -> bool,
    ) -> std::result::Result<(), Errno> {
        loop {
            let len = match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => len,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let mut rest = self.buffer.get(..len).ok_or(Errno::MSGSIZE)?;
            while let Some((message, after)) = Message::split(rest) {
                if !each(message) {
                    return Ok(());
                }
                rest = after;
            }
        }
    }

    /// Drops answers that an earlier, failed exchange left behind.
    fn drain(&mut self) {
        while recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT).is_ok() {}
    }

    /// Netlink takes a batch only in one piece: the socket's buffers must hold it.
    fn make_room(&self, bytes: usize, messages: usize) -> std::result::Result<(), Errno> {
        if bytes > BUFFER_MIN / 2 {
            let wanted = bytes.saturating_mul(2);
            as_far_as_allowed(
                || sockopt::set_socket_send_buffer_size_force(&self.fd, wanted),
                || sockopt::set_socket_send_buffer_size(&self.fd, wanted),
            )?;
        }
        let answers = messages.saturating_mul(1024);
        if answers > BUFFER_MIN / 2 {
            let wanted = answers.saturating_mul(2);
            as_far_as_allowed(
                || sockopt::set_socket_recv_buffer_size_force(&self.fd, wanted),
                || sockopt::set_socket_recv_buffer_size(&self.fd, wanted),
            )?;
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Only the machine's root goes beyond what everybody may have (`net.core.wmem_max`): others get so
/// much, and hear of a batch that is larger.
fn as_far_as_allowed(
    beyond: impl FnOnce() -> std::result::Result<(), Errno>,
    within: impl FnOnce() -> std::result::Result<(), Errno>,
) -> std::result::Result<(), Errno> {
    match beyond() {
        Err(Errno::PERM) => within(),
        set => set,
    }
}

/// What an `NLMSG_ERROR` says; `None` for an acknowledgement.
fn refusal(message: &Message<'_>) -> Option<Refused> {
    let errno = match u32_at(message.payload, 0).map(u32::cast_signed) {
        Some(0) => return None,
        Some(negative) => Errno::from_raw_os_error(negative.wrapping_neg()),
        None => Errno::PROTO,
    };
    Some(Refused { seq: message.seq, errno, explanation: explanation(message) })
}

/// The words that follow the refused message, which is repeated in full or by its header.
fn explanation(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let repeated = match message.flags & NLM_F_CAPPED {
        0 => usize::try_from(u32_at(message.payload, 4)?).ok()?,
        _ => HEADER_LEN,
    };
    field(message.fields(4 + repeated), NLMSGERR_ATTR_MSG).map(text)
}
