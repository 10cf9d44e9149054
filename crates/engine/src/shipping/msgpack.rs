//! MessagePack, as much of it as Fluentd's protocol takes (github.com/msgpack/msgpack, "spec.md").

/// A document that is written from its beginning to its end.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// An array of so many elements follows.
    pub(super) fn array(&mut self, length: u32) {
        match length {
            0..16 => self.0.push(0x90 | length.to_le_bytes()[0]),
            _ => self.tagged(0xdd, &length.to_be_bytes()),
        }
    }

    /// A map of so many pairs follows.
    pub(super) fn map(&mut self, length: u32) {
        match length {
            0..16 => self.0.push(0x80 | length.to_le_bytes()[0]),
            _ => self.tagged(0xdf, &length.to_be_bytes()),
        }
    }

    /// A text. Longer than the format has room for, it is cut.
    pub(super) fn text(&mut self, text: &[u8]) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        match length {
            0..32 => self.0.push(0xa0 | length.to_le_bytes()[0]),
            32..256 => self.tagged(0xd9, &length.to_be_bytes()[3..]),
            256..65_536 => self.tagged(0xda, &length.to_be_bytes()[2..]),
            _ => self.tagged(0xdb, &length.to_be_bytes()),
        }
        self.0.extend(text.iter().take(usize::try_from(length).unwrap_or(usize::MAX)));
    }

    /// A whole number.
    pub(super) fn integer(&mut self, number: i64) {
        self.tagged(0xd3, &number.to_be_bytes());
    }

    /// Fluentd's time with nanoseconds: extension type 0, forward protocol specification v1.
    pub(super) fn event_time(&mut self, seconds: u32, nanos: u32) {
        self.tagged(0xd7, &[0]);
        self.0.extend(seconds.to_be_bytes());
        self.0.extend(nanos.to_be_bytes());
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let mut writer = Writer::default();
        writer.array(3);
        writer.map(1);
        writer.text(b"a");
        writer.integer(-2);
        writer.event_time(1, 2);
        let want = [
            &[0x93, 0x81, 0xa1, b'a', 0xd3][..],
            &[0xff; 7],
            &[0xfe, 0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2],
        ];
        assert_eq!(writer.0, want.concat());
        for (length, head) in [
            (31, vec![0xbf]),
            (32, vec![0xd9, 32]),
            (256, vec![0xda, 1, 0]),
            (65_536, vec![0xdb, 0, 1, 0, 0]),
        ] {
            let mut writer = Writer::default();
            writer.text(&vec![b'x'; length]);
            assert_eq!(writer.0[..head.len()], head);
            assert_eq!(writer.0.len(), head.len() + length);
        }
        let mut writer = Writer::default();
        writer.array(16);
        writer.map(16);
        assert_eq!(writer.0, [0xdd, 0, 0, 0, 16, 0xdf, 0, 0, 0, 16]);
    }
}
