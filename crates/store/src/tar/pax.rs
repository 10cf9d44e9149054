//! PAX extended headers: records `<length> <key>=<value>\n`. Source: POSIX.1-2024 pax, "pax
//! Extended Header"; GNU tar manual for `GNU.sparse.*`; star for `SCHILY.xattr.*`. Pure.

use super::limits::{MAX_EXTENTS, MAX_PATH_BYTES, MAX_XATTR_BYTES};
use super::{Extent, Time};
use crate::error::{Error, Result};

/// What an extended header says about the entry after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
    pub(crate) sparse: Sparse,
}

/// GNU's three ways to write a sparse file into PAX records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    /// Format 0.1: `offset,length,…` in one record; 0.0: a record for each number.
    pub(crate) map: Option<Vec<Extent>>,
    pending_offset: Option<u64>,
}

impl Sparse {
    /// Whether any record speaks of a sparse file.
    pub(crate) fn is_present(&self) -> bool {
        self.map.is_some() || self.major.is_some()
    }
}

const XATTR: &str = "SCHILY.xattr.";

/// Reads all records of one extended header.
pub(crate) fn parse(mut data: &[u8]) -> Result<Extended> {
    let mut out = Extended::default();
    while !data.is_empty() {
        let (key, value, rest) = record(data)?;
        apply(&mut out, key, value)?;
        data = rest;
    }
    if out.sparse.pending_offset.is_some() {
        return Err(bad("GNU.sparse.offset", b""));
    }
    Ok(out)
}

fn record(data: &[u8]) -> Result<(&str, &[u8], &[u8])> {
    let fail = || Error::bad("archive extended header: malformed record");
    let space = data.iter().take(20).position(|byte| *byte == b' ').ok_or_else(fail)?;
    let digits = std::str::from_utf8(&data[..space]).map_err(|_| fail())?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fail());
    }
    let len: usize = digits.parse().map_err(|_| fail())?;
    if len <= space + 1 || len > data.len() || data[len - 1] != b'\n' {
        return Err(fail());
    }
    let body = &data[space + 1..len - 1];
    let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(fail)?;
    let key = std::str::from_utf8(&body[..equals]).map_err(|_| fail())?;
    if key.is_empty() || key.contains('\0') {
        return Err(fail());
    }
    Ok((key, &body[equals + 1..], &data[len..]))
}

fn apply(out: &mut Extended, key: &str, value: &[u8]) -> Result<()> {
    // An empty value takes back what an earlier record said.
    let present = !value.is_empty();
    match key {
        "path" => out.path = present.then(|| path(key, value)).transpose()?,
        "linkpath" => out.link = present.then(|| path(key, value)).transpose()?,
        "size" => out.size = present.then(|| decimal(key, value)).transpose()?,
        "uid" => out.uid = present.then(|| decimal(key, value)).transpose()?,
        "gid" => out.gid = present.then(|| decimal(key, value)).transpose()?,
        "mtime" => out.mtime = present.then(|| time(key, value)).transpose()?,
        _ if key.starts_with("GNU.sparse.") => sparse(&mut out.sparse, key, value)?,
        _ => {
            if let Some(name) = key.strip_prefix(XATTR) {
                xattr(&mut out.xattrs, name, value)?;
            }
        }
    }
    Ok(())
}

fn xattr(xattrs: &mut Vec<(String, Vec<u8>)>, name: &str, value: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > 255 || value.len() > MAX_XATTR_BYTES {
        return Err(bad(name, value));
    }
    xattrs.retain(|(known, _)| known != name);
    xattrs.push((name.to_owned(), value.to_vec()));
    Ok(())
}

fn sparse(out: &mut Sparse, key: &str, value: &[u8]) -> Result<()> {
    match key {
        "GNU.sparse.major" => out.major = Some(decimal(key, value)?),
        "GNU.sparse.minor" => out.minor = Some(decimal(key, value)?),
        "GNU.sparse.name" => out.name = Some(path(key, value)?),
        "GNU.sparse.size" | "GNU.sparse.realsize" => out.real_size = Some(decimal(key, value)?),
        "GNU.sparse.numblocks" => {
            decimal(key, value)?;
            out.map.get_or_insert_default();
        }
        "GNU.sparse.offset" if out.pending_offset.is_none() => {
            out.pending_offset = Some(decimal(key, value)?);
        }
        "GNU.sparse.numbytes" => {
            let offset = out.pending_offset.take().ok_or_else(|| bad(key, value))?;
            push(out.map.get_or_insert_default(), offset, decimal(key, value)?)?;
        }
        "GNU.sparse.map" => {
            let mut numbers = Vec::new();
            for number in value.split(|byte| *byte == b',').filter(|_| !value.is_empty()) {
                numbers.push(decimal(key, number)?);
            }
            if numbers.len() % 2 != 0 {
                return Err(bad(key, value));
            }
            let map = out.map.insert(Vec::new());
            numbers.chunks_exact(2).try_for_each(|pair| push(map, pair[0], pair[1]))?;
        }
        _ => return Err(bad(key, value)),
    }
    Ok(())
}

fn push(map: &mut Vec<Extent>, offset: u64, len: u64) -> Result<()> {
    if map.len() >= MAX_EXTENTS {
        return Err(Error::bad("archive extended header: sparse file has too many extents"));
    }
    map.push(Extent { offset, len });
    Ok(())
}

fn path(key: &str, value: &[u8]) -> Result<Vec<u8>> {
    if value.len() > MAX_PATH_BYTES || value.contains(&0) {
        return Err(bad(key, value));
    }
    Ok(value.to_vec())
}

pub(crate) fn decimal(key: &str, value: &[u8]) -> Result<u64> {
    let fail = || bad(key, value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(fail());
    }
    std::str::from_utf8(value).map_err(|_| fail())?.parse().map_err(|_| fail())
}

/// `[-]seconds[.fraction]`; digits beyond nanoseconds are dropped.
fn time(key: &str, value: &[u8]) -> Result<Time> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let seconds = i64::try_from(decimal(key, &digits[..dot])?).map_err(|_| bad(key, value))?;
    let fraction = digits.get(dot + 1..).unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad(key, value));
    }
    let nanos = (0..9).fold(0u32, |nanos, at| {
        nanos * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'))
    });
    Ok(match (negative, nanos) {
        (false, _) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn bad(key: &str, value: &[u8]) -> Error {
    let value = String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned();
    Error::bad(format!("archive extended header: bad {key} {value:?}"))
}

/// Appends one record.
pub(crate) fn write(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let body = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut len = body + 1;
    while len != body + len.to_string().len() {
        len = body + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an extended attribute.
pub(crate) fn write_xattr(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write(out, &format!("{XATTR}{name}"), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_records_are_read_again() {
        let mut data = Vec::new();
        write(&mut data, "path", &b"p".repeat(90));
        write(&mut data, "mtime", b"-1.25");
        write(&mut data, "size", b"18446744073709551615");
        write_xattr(&mut data, "user.a", b"\0\n=\xff");
        let read = parse(&data).unwrap();
        assert_eq!(read.path.unwrap().len(), 90);
        assert_eq!(read.mtime, Some(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(read.size, Some(u64::MAX));
        assert_eq!(read.xattrs, [("user.a".to_owned(), b"\0\n=\xff".to_vec())]);
    }

    #[test]
    fn lengths_count_their_own_digits() {
        for len in 0..2000 {
            let mut data = Vec::new();
            write(&mut data, "comment", &vec![b'x'; len]);
            let digits: usize =
                std::str::from_utf8(&data[..data.iter().position(|b| *b == b' ').unwrap()])
                    .unwrap()
                    .parse()
                    .unwrap();
            assert_eq!(digits, data.len());
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "9 path=a",
            "99 path=a\n",
            "0 a=b\n",
            "x a=b\n",
            " a=b\n",
            "6 a=b",
            "-6 a=b\n",
            "6 abcd\n",
            "5 =b\n",
            "12 size=-12\n",
            "12 mtime=1x\n",
            "10 uid=0x\n",
            "25 GNU.sparse.map=1,2,33\n",
            "24 GNU.sparse.unknown=1\n",
            "99999999999999999999 a=b\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"11 path=a\0b\n").is_err());
    }

    #[test]
    fn an_empty_value_takes_back() {
        let mut data = Vec::new();
        write(&mut data, "path", b"one");
        write(&mut data, "path", b"");
        assert_eq!(parse(&data).unwrap().path, None);
    }
}
