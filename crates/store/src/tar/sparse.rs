//! The maps of sparse files: GNU's old format in header blocks and PAX format 1.0 in front of the
//! content. Pure; the bytes are brought by the reader.

use super::header::{GNU_EXTENTS, Header, number};
use super::limits::{MAX_EXTENTS, MAX_FILE_BYTES};
use super::{BLOCK, Extent, pax};
use crate::error::{Error, Result};

/// Extents of the fixed part of an old GNU header.
pub(crate) fn gnu_extents(header: &Header<'_>, extents: &mut Vec<Extent>) -> Result<()> {
    push_fields(header.bytes(GNU_EXTENTS), extents)
}

/// Extents of one continuation block, and whether another follows.
pub(crate) fn gnu_continuation(block: &[u8; BLOCK], extents: &mut Vec<Extent>) -> Result<bool> {
    push_fields(&block[..504], extents)?;
    Ok(block[504] != 0)
}

fn push_fields(fields: &[u8], extents: &mut Vec<Extent>) -> Result<()> {
    for field in fields.chunks_exact(24) {
        // Unused slots at the end are NULs.
        if field[0] == 0 && field[12] == 0 {
            break;
        }
        let read = |bytes| {
            u64::try_from(number(bytes, "sparse extent")?)
                .map_err(|_| Error::bad("archive header: negative sparse extent"))
        };
        if extents.len() >= MAX_EXTENTS {
            return Err(Error::bad("archive header: sparse file has too many extents"));
        }
        extents.push(Extent { offset: read(&field[..12])?, len: read(&field[12..])? });
    }
    Ok(())
}

/// Reads the decimal map of PAX format 1.0 as its blocks arrive.
#[derive(Default)]
pub(crate) struct MapReader {
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl MapReader {
    /// Takes one block; gives the extents when the map is complete.
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Extent>>> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => {
                    self.numbers.push(pax::decimal("sparse map", &self.digits)?);
                    self.digits.clear();
                }
                digit => self.digits.push(*digit),
            }
            let count = self.numbers.first().copied().unwrap_or(0);
            if self.digits.len() > 20 || count > MAX_EXTENTS as u64 {
                return Err(Error::bad("archive entry: malformed sparse map"));
            }
        }
        Ok(self.is_complete().then(|| {
            let pairs = self.numbers[1..].chunks_exact(2);
            pairs.map(|pair| Extent { offset: pair[0], len: pair[1] }).collect()
        }))
    }

    fn is_complete(&self) -> bool {
        self.numbers.first().is_some_and(|count| self.numbers.len() as u64 > 2 * count)
    }
}

/// Checks that extents ascend, do not overlap, lie in the file and add up to the content; drops
/// empty ones.
pub(crate) fn check(extents: Vec<Extent>, real_size: u64, content: u64) -> Result<Vec<Extent>> {
    let fail = || Error::bad("archive entry: sparse map does not fit the file");
    if real_size > MAX_FILE_BYTES {
        return Err(Error::bad("archive entry: file is too large"));
    }
    let mut end = 0u64;
    let mut sum = 0u64;
    for extent in &extents {
        if extent.offset < end {
            return Err(fail());
        }
        end = extent.offset.checked_add(extent.len).ok_or_else(fail)?;
        sum += extent.len;
    }
    if end > real_size || sum != content {
        return Err(fail());
    }
    Ok(extents.into_iter().filter(|extent| extent.len > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn maps_must_fit() {
        let two = vec![extent(0, 10), extent(20, 5), extent(100, 0)];
        assert_eq!(check(two.clone(), 100, 15).unwrap(), [extent(0, 10), extent(20, 5)]);
        assert!(check(two.clone(), 99, 15).is_err());
        assert!(check(two, 100, 16).is_err());
        assert!(check(vec![extent(10, 5), extent(12, 5)], 100, 10).is_err());
        assert!(check(vec![extent(u64::MAX, 5)], 100, 5).is_err());
        assert!(check(vec![], u64::MAX, 0).is_err());
    }

    #[test]
    fn a_decimal_map_may_span_blocks() {
        let mut text = b"200\n".to_vec();
        for n in 0..200 {
            text.extend_from_slice(format!("{}\n1\n", n * 10).as_bytes());
        }
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        let mut reader = MapReader::default();
        let mut blocks = text.chunks_exact(BLOCK).map(|b| b.try_into().unwrap());
        let done = blocks.find_map(|block| reader.block(block).unwrap()).unwrap();
        assert_eq!((done.len(), done[199]), (200, extent(1990, 1)));
        let mut junk = [0u8; BLOCK];
        junk[..4].copy_from_slice(b"1\nx\n");
        assert!(MapReader::default().block(&junk).is_err());
        assert!(MapReader::default().block(&[b'1'; BLOCK]).is_err());
    }
}
