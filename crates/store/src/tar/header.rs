//! The 512-byte header block of V7, ustar, star and GNU tar. Source: POSIX.1-2024 pax "ustar
//! Interchange Format", GNU tar manual. Pure: bytes in, fields out, and back.

use super::BLOCK;
use crate::error::{Error, Result};
use std::ops::Range;

pub(crate) const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
pub(crate) const CHECKSUM: Range<usize> = 148..156;
pub(crate) const TYPE: usize = 156;
pub(crate) const LINK: Range<usize> = 157..257;
pub(crate) const MAGIC: Range<usize> = 257..265;
pub(crate) const MAJOR: Range<usize> = 329..337;
pub(crate) const MINOR: Range<usize> = 337..345;
pub(crate) const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;
/// Four extents of an old GNU sparse file.
pub(crate) const GNU_EXTENTS: Range<usize> = 386..482;
/// Whether blocks with more extents follow.
pub(crate) const GNU_EXTENDED: usize = 482;
/// Apparent size of an old GNU sparse file.
pub(crate) const GNU_REAL_SIZE: Range<usize> = 483..495;

const POSIX_MAGIC: &[u8] = b"ustar\x00";
const GNU_MAGIC: &[u8] = b"ustar  \x00";

/// Which dialect a header is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V7,
    Posix,
    Star,
    Gnu,
}

/// A header block whose checksum holds.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(crate) dialect: Dialect,
}

impl<'a> Header<'a> {
    /// Verifies the checksum and tells the dialect.
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Result<Self> {
        let want = number(&block[CHECKSUM], "checksum")?;
        let (unsigned, signed) = checksums(block);
        if want != unsigned && want != signed {
            return Err(Error::bad("archive header: checksum does not match, not a tar archive?"));
        }
        let dialect = if block[MAGIC].starts_with(POSIX_MAGIC) {
            if &block[STAR_TRAILER] == b"tar\0" { Dialect::Star } else { Dialect::Posix }
        } else if &block[MAGIC] == GNU_MAGIC {
            Dialect::Gnu
        } else {
            Dialect::V7
        };
        Ok(Self { block, dialect })
    }

    /// The type flag as written.
    pub(crate) fn type_flag(&self) -> u8 {
        self.block[TYPE]
    }

    /// Prefix and name.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[NAME]);
        let prefix = match self.dialect {
            Dialect::Posix => text(&self.block[PREFIX]),
            Dialect::Star => text(&self.block[STAR_PREFIX]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The target of a link.
    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.block[LINK]).to_vec()
    }

    /// A number that cannot be negative.
    pub(crate) fn unsigned(&self, field: Range<usize>, what: &str) -> Result<u64> {
        u64::try_from(number(&self.block[field], what)?)
            .map_err(|_| Error::bad(format!("archive header: negative {what}")))
    }

    /// Seconds since the epoch.
    pub(crate) fn mtime(&self) -> Result<i64> {
        number(&self.block[MTIME], "modification time")
    }

    /// Device numbers; zero where the dialect has none.
    pub(crate) fn device(&self) -> Result<(u64, u64)> {
        if self.dialect == Dialect::V7 {
            return Ok((0, 0));
        }
        Ok((self.unsigned(MAJOR, "device")?, self.unsigned(MINOR, "device")?))
    }

    /// The raw bytes of a field.
    pub(crate) fn bytes(&self, field: Range<usize>) -> &'a [u8] {
        &self.block[field]
    }
}

/// The sums over a header with the checksum field as blanks: of unsigned bytes, and of signed
/// bytes as some old tars made it.
fn checksums(block: &[u8; BLOCK]) -> (i64, i64) {
    let mut unsigned = 0i64;
    let mut signed = 0i64;
    for (at, byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// Bytes up to the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// A number in octal digits, or in GNU's base 256 when the first bit is set.
pub(crate) fn number(field: &[u8], what: &str) -> Result<i64> {
    let fail = || Error::bad(format!("archive header: {what} is no number"));
    let first = *field.first().ok_or_else(fail)?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = match (at, negative) {
                (0, false) => byte & 0x7f,
                (0, true) => byte | 0x80,
                _ => *byte,
            };
            value = value.checked_mul(256).ok_or_else(fail)? | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| fail());
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Err(fail());
    }
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => {
            value.checked_mul(8).map(|value| value + i64::from(digit - b'0')).ok_or_else(fail)
        }
        _ => Err(fail()),
    })
}

/// Writes the checksum into a finished header.
pub(crate) fn seal(block: &mut [u8; BLOCK]) {
    let (sum, _) = checksums(block);
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Whether a value fits a field as octal digits with a closing NUL.
pub(crate) fn fits(value: u64, field: &Range<usize>) -> bool {
    let digits = u32::try_from(field.len() - 1).unwrap_or(0);
    value < 8u64.saturating_pow(digits)
}

/// Writes a number as octal digits with a closing NUL; zero when it does not fit (the PAX header
/// then has it).
pub(crate) fn put_number(block: &mut [u8; BLOCK], field: Range<usize>, value: u64) {
    let value = if fits(value, &field) { value } else { 0 };
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}\0");
    block[field].copy_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"12345670", Some(0o12345670)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"64\x001\0\0\0\0", None),
            (b"777777777777777777777777", None),
        ] {
            assert_eq!(number(field, "x").ok(), want, "{field:?}");
        }
    }

    #[test]
    fn a_sealed_header_is_accepted_and_a_changed_one_is_not() {
        let mut block = [0u8; BLOCK];
        block[..4].copy_from_slice(b"name");
        put_number(&mut block, SIZE, 0o1234);
        seal(&mut block);
        assert_eq!(Header::parse(&block).unwrap().unsigned(SIZE, "size").unwrap(), 0o1234);
        block[0] ^= 1;
        assert!(Header::parse(&block).is_err());
    }
}
