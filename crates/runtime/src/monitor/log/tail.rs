//! Finds where the last entries of a log begin, reading backwards. It counts lines and parses
//! nothing.

use super::files::size;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where the last `count` complete lines of `files` (oldest first) begin: how many files to skip,
/// and the offset in the one after them. The newest file is taken to end at `end`, whatever was
/// written since: whoever reads up to there wants the last lines before it.
pub(super) fn position(
    files: &VecDeque<OwnedFd>,
    end: u64,
    count: usize,
) -> io::Result<(usize, u64)> {
    let mut missing = count;
    let mut newest = Some(end);
    for (index, file) in files.iter().enumerate().rev() {
        let expanded = match super::compress::is_compressed(file.as_fd()) {
            true => Some(super::compress::expand(file)?),
            false => None,
        };
        let plain = expanded.as_ref().unwrap_or(file).as_fd();
        let end = newest.take().map_or_else(|| size(plain), Ok)?;
        match search(plain, end, missing)? {
            Found::At(offset) => return Ok((index, offset)),
            Found::Only(lines) => missing -= lines,
        }
    }
    Ok((0, 0))
}

enum Found {
    /// The wanted lines begin here.
    At(u64),
    /// The file has only so many, fewer than wanted.
    Only(usize),
}

/// Goes back over `count` lines from `end`. What follows the last line feed is no line yet, but
/// stays behind the returned offset.
fn search(file: BorrowedFd, end: u64, count: usize) -> io::Result<Found> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut seen = 0;
    let mut position = end;
    while position > 0 {
        let length = position.min(BLOCK_BYTES as u64);
        position -= length;
        let block = &mut block[..usize::try_from(length).unwrap_or(BLOCK_BYTES)];
        read_exactly(file, block, position)?;
        let mut rest = &*block;
        while let Some(at) = super::escape::find_last_line_feed(rest) {
            // The line feed before the first wanted line is one more than the lines.
            if seen == count {
                return Ok(Found::At(position + at as u64 + 1));
            }
            seen += 1;
            rest = &rest[..at];
        }
    }
    // The file's beginning stands for the line feed before its first line.
    if seen == count && count > 0 { Ok(Found::At(0)) } else { Ok(Found::Only(seen)) }
}

fn read_exactly(file: BorrowedFd, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Ok(0) => {
                // Cut from outside meanwhile: there are no line feeds.
                buffer.fill(0);
                return Ok(());
            }
            Ok(length) => {
                buffer = &mut buffer[length..];
                offset += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
