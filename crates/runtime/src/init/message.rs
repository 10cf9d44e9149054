//! What parent and child say to each other before the command is executed: one small message at
//! a time over a socket that keeps messages apart. Does not allocate.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// Parent: the id maps are written, and for an exec: the control group is joined.
    Mapped = 1,
    /// Parent: here are the supplies.
    Supplies = 2,
    /// Parent: go.
    Start = 3,
    /// Child: everything is prepared; a terminal's master comes along.
    Prepared = 4,
    /// Child: a step failed.
    Failed = 5,
    /// Child: the command is executed next; the end of the connection means that it was.
    Executing = 6,
    /// Child: the filter's listener comes along.
    Listener = 7,
    /// Parent: somebody listens.
    Listened = 8,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: Tag,
    /// Place of the step that failed.
    pub(crate) step: u32,
    /// Error number of the step that failed.
    pub(crate) errno: i32,
    /// Place of the candidate that was tried, for the steps that deal with the command.
    pub(crate) detail: u32,
}

const LENGTH: usize = 16;

impl Message {
    pub(crate) fn of(tag: Tag) -> Self {
        Self { tag, step: 0, errno: 0, detail: 0 }
    }

    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = self.tag as u8;
        bytes[4..8].copy_from_slice(&self.step.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.detail.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, []) = bytes.as_chunks::<4>() else { return None };
        let [first, step, errno, detail] = chunks else { return None };
        let tag = match first[0] {
            1 => Tag::Mapped,
            2 => Tag::Supplies,
            3 => Tag::Start,
            4 => Tag::Prepared,
            5 => Tag::Failed,
            6 => Tag::Executing,
            7 => Tag::Listener,
            8 => Tag::Listened,
            _ => return None,
        };
        Some(Self {
            tag,
            step: u32::from_ne_bytes(*step),
            errno: i32::from_ne_bytes(*errno),
            detail: u32::from_ne_bytes(*detail),
        })
    }

    /// Sends it, with descriptors.
    pub(crate) fn send(
        self,
        channel: BorrowedFd<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> rustix::io::Result<()> {
        sys::socket::send_with_fds(channel, &self.encode(), fds).map(drop)
    }

    /// Receives one; nothing means that the other side is gone.
    pub(crate) fn receive(
        channel: BorrowedFd<'_>,
        take: impl FnMut(OwnedFd),
    ) -> rustix::io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH];
        match sys::socket::recv_with_fds(channel, &mut bytes, take) {
            Ok(0) | Err(Errno::CONNRESET) => Ok(None),
            Ok(count) => Self::decode(&bytes[..count]).map(Some).ok_or(Errno::PROTO),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        for tag in [Tag::Mapped, Tag::Supplies, Tag::Start, Tag::Prepared, Tag::Failed] {
            let message = Message { tag, step: 7, errno: -2, detail: u32::MAX };
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[0; LENGTH]), None);
        assert_eq!(Message::decode(&[1; LENGTH - 4]), None);
    }
}
