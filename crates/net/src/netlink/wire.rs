//! The netlink wire format: messages of a header, a fixed part and nested, 4-aligned attributes
//! (netlink(7), linux/netlink.h). Never performs IO.

/// `struct nlmsghdr` in bytes.
pub(crate) const HEADER_LEN: usize = 16;
/// `struct nlattr` in bytes.
const ATTR_LEN: usize = 4;
const NLA_F_NESTED: u16 = 1 << 15;
/// Clears `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` from an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;

/// Messages sent to the kernel in one `send(2)`. Sequence numbers are the messages' indices.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    acts: Vec<String>,
    last: usize,
    overflow: bool,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends a message. `act` names it in errors; `flags` are added to `NLM_F_REQUEST`.
    pub(crate) fn message(
        &mut self,
        act: impl Into<String>,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attrs: impl FnOnce(&mut Attrs<'_>),
    ) -> &mut Self {
        let seq = u32::try_from(self.acts.len()).unwrap_or(u32::MAX);
        let start = self.bytes.len();
        self.last = start;
        self.acts.push(act.into());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        attrs(&mut Attrs { bytes: &mut self.bytes, overflow: &mut self.overflow });
        match u32::try_from(self.bytes.len() - start) {
            Ok(len) => self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self
    }

    /// Asks for an acknowledgement of the last message so far. Errors of the others come unasked.
    pub(crate) fn acknowledge_last(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.last + 6) {
            *flags |= NLM_F_ACK.to_ne_bytes()[0];
        }
    }

    /// What the message with this sequence number was for.
    pub(crate) fn act(&self, seq: u32) -> &str {
        usize::try_from(seq).ok().and_then(|i| self.acts.get(i)).map_or("netlink", String::as_str)
    }

    /// The encoded messages; `None` when an attribute does not fit its 16-bit length.
    pub(crate) fn encoded(&self) -> Option<&[u8]> {
        (!self.overflow).then_some(&self.bytes)
    }

    /// Whether nothing was appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    /// Number of messages.
    pub(crate) fn len(&self) -> usize {
        self.acts.len()
    }
}

/// Writes the attributes of one message or nest.
#[derive(Debug)]
pub(crate) struct Attrs<'a> {
    bytes: &'a mut Vec<u8>,
    overflow: &'a mut bool,
}

impl Attrs<'_> {
    /// Raw bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
        self
    }

    /// A string with its terminating NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    /// One byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// 32 bits, native order (rtnetlink).
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// 32 bits, network order (nfnetlink).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute that contains attributes.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attrs<'_>)) -> &mut Self {
        let start = self.open(kind | NLA_F_NESTED);
        inner(&mut Attrs { bytes: self.bytes, overflow: self.overflow });
        self.close(start);
        self
    }

    /// A fixed structure in front of nested attributes (`VETH_INFO_PEER`).
    pub(crate) fn fixed(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => *self.overflow = true,
        }
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// `nlmsg_pid`: the port of who caused it (notifications).
    pub port: u32,
    /// All after the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Splits the first message off a datagram; `None` when it is truncated or malformed.
    pub(crate) fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let len = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let payload = datagram.get(HEADER_LEN..len)?;
        let message = Self {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            seq: u32_at(datagram, 8)?,
            port: u32_at(datagram, 12)?,
            payload,
        };
        Some((message, datagram.get(len.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// The attributes after a fixed part of `fixed` bytes.
    pub(crate) fn fields(&self, fixed: usize) -> Fields<'a> {
        Fields(self.payload.get(fixed.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// Iterates over attributes as (type, value); stops at the first malformed one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(ATTR_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first attribute of this type.
pub(crate) fn field(mut fields: Fields<'_>, kind: u16) -> Option<&[u8]> {
    fields.find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// A NUL-terminated string attribute.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// 16 bits in native order at an offset.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// 32 bits in native order at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// 64 bits in native order at an offset.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut batch = Batch::new();
        batch.message("one", 16, NLM_F_CREATE, &[9; 6], |a| {
            a.text(3, "eth0").nest(18, |a| {
                a.u32(1, 77).bytes(2, &[1, 2, 3]);
            });
        });
        batch.message("two", 17, 0, &[], |_| {});
        batch.acknowledge_last();
        let bytes = batch.encoded().unwrap();
        let (first, rest) = Message::split(bytes).unwrap();
        assert_eq!((first.kind, first.seq), (16, 0));
        assert_eq!(field(first.fields(6), 3).map(text).as_deref(), Some("eth0"));
        let nest = Fields(field(first.fields(6), 18).unwrap());
        assert_eq!(field(nest, 1).and_then(|v| u32_at(v, 0)), Some(77));
        assert_eq!(field(nest, 2), Some(&[1u8, 2, 3][..]));
        let (second, rest) = Message::split(rest).unwrap();
        assert_eq!((second.kind, second.seq, rest.len()), (17, 1, 0));
        assert_eq!(batch.act(1), "two");
    }

    #[test]
    fn lengths_never_wrap() {
        for (len, fits) in [(65_531, true), (65_532, false), (70_000, false)] {
            let mut batch = Batch::new();
            batch.message("big", 16, 0, &[], |a| {
                a.bytes(1, &vec![0; len]);
            });
            assert_eq!(batch.encoded().is_some(), fits, "{len}");
        }
        let mut batch = Batch::new();
        batch.message("nest", 16, 0, &[], |a| {
            a.nest(1, |a| (0..2000).for_each(|_| _ = a.bytes(1, &[0; 40])));
        });
        assert!(batch.encoded().is_none());
    }

    #[test]
    fn garbage_from_below_is_an_end_not_a_panic() {
        for len in 0..64 {
            let bytes = vec![0xff; len];
            assert!(Message::split(&bytes).is_none());
            assert_eq!(Fields(&bytes).count(), 0);
            assert_eq!(Fields(&vec![0; len]).count(), 0);
        }
    }
}
