//! Bytes that wait for a slow reader. It knows no limit: whoever fills it does.

use rustix::io::Errno;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;

/// Bytes in the order they will be written to a non-blocking fd.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// How many of `bytes` are written already.
    written: usize,
}

impl Queue {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `parts` after what waits already: at once as far as `fd` takes it, the rest later.
    /// On an error everything is forgotten.
    pub(super) fn send(&mut self, fd: BorrowedFd, parts: [&[u8]; 2]) -> rustix::io::Result<()> {
        let mut sent = 0;
        if self.is_empty() {
            let slices = parts.map(IoSlice::new);
            let slices = if parts[0].is_empty() { &slices[1..] } else { &slices[..] };
            sent = match retry(|| rustix::io::writev(fd, slices)) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(error) => return Err(error),
            };
        }
        for part in parts {
            let skipped = sent.min(part.len());
            self.push(&part[skipped..]);
            sent -= skipped;
        }
        Ok(())
    }

    /// Appends bytes to be written by a later [`Queue::flush`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.written > 0 && self.written >= self.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes as much as goes without blocking. On an error everything is forgotten.
    pub(super) fn flush(&mut self, fd: BorrowedFd) -> rustix::io::Result<()> {
        while !self.is_empty() {
            match retry(|| rustix::io::write(fd, &self.bytes[self.written..])) {
                Ok(written) => self.written += written,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    *self = Self::default();
                    return Err(error);
                }
            }
        }
        *self = Self::default();
        Ok(())
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags};
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::os::fd::AsFd;

    #[test]
    fn everything_arrives_once_and_in_order() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let mut queue = Queue::default();
        let mut expected = Vec::new();
        let mut received = Vec::new();
        for round in 0_u32..200 {
            let header = round.to_le_bytes();
            let body = vec![round.to_le_bytes()[0]; 7 * round as usize];
            queue.send(writer.as_fd(), [&header, &body]).unwrap();
            expected.extend([&header[..], &body].concat());
            if round % 3 == 0 {
                let mut chunk = [0; 2000];
                let read = rustix::io::read(&reader, &mut chunk).unwrap();
                received.extend_from_slice(&chunk[..read]);
                queue.flush(writer.as_fd()).unwrap();
            }
        }
        while received.len() < expected.len() {
            let mut chunk = [0; 5000];
            let read = rustix::io::read(&reader, &mut chunk).unwrap();
            received.extend_from_slice(&chunk[..read]);
            queue.flush(writer.as_fd()).unwrap();
        }
        assert!(received == expected && queue.is_empty());
        drop(reader);
        // Other tests of this process fork: their children hold the reader until they execute.
        let mut wait = [PollFd::new(&writer, PollFlags::empty())];
        rustix::event::poll(&mut wait, None).unwrap();
        assert_eq!(queue.send(writer.as_fd(), [b"", b"x"]), Err(Errno::PIPE));
    }
}
