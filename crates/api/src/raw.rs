//! Clients that take a connection over without saying so: they `POST` an attach or the start of an
//! exec without `Upgrade`, as those of Docker before 1.10 and scripts with netcat do, and what
//! follows the head of the request is input, what follows the head of the answer output. For the
//! rest of the server such a request is one with `Upgrade: tcp`; here it is made one, and its
//! answer is made what the client expects. Nothing is decided here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// How much is read at first; the heads that matter here are small.
const FIRST_BYTES: usize = 8 << 10;
/// How a request says that it takes the connection over.
const TAKE: &[u8] = b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
/// How an answer that gives it begins, and how one that says nothing of that does.
const GIVEN: &[u8] = b"HTTP/1.1 101 ";
const PLAIN: &str = "HTTP/1.1 200 OK\r\n";

/// A client's connection, from its first bytes on.
pub(crate) struct Conversation {
    stream: TokioIo<UnixStream>,
    /// What was read already.
    ahead: Bytes,
    /// What was written of an answer's head that is to be another one; nothing once that is out.
    answer: Option<Vec<u8>>,
}

impl Conversation {
    /// Waits for the first bytes of a client.
    ///
    /// # Errors
    /// As read(2).
    pub(crate) async fn begin(stream: UnixStream) -> io::Result<Self> {
        let mut first = vec![0; FIRST_BYTES];
        let length = loop {
            stream.readable().await?;
            match stream.try_read(&mut first) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        first.truncate(length);
        let silent = takes_over(&first);
        if let Some(end) = silent {
            first = said(&first, end);
        }
        let answer = silent.map(|_| Vec::new());
        Ok(Self { stream: TokioIo::new(stream), ahead: first.into(), answer })
    }

    /// The connection, and what was read of it and used by nobody.
    pub(crate) fn into_parts(self) -> (UnixStream, Bytes) {
        (self.stream.into_inner(), self.ahead)
    }
}

/// The same bytes with a head, up to `end`, that says what it means. Only HTTP 1.1 has a word for
/// it.
fn said(bytes: &[u8], end: usize) -> Vec<u8> {
    let head =
        String::from_utf8_lossy(&bytes[..end - 2]).replacen(" HTTP/1.0\r\n", " HTTP/1.1\r\n", 1);
    [head.as_bytes(), TAKE, &bytes[end..]].concat()
}

/// Where the head of a request that takes its connection over silently ends.
fn takes_over(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let (first, rest) = head.split_once("\r\n")?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let path = target.split('?').next()?;
    let taking = path.contains("/containers/") && path.ends_with("/attach")
        || path.contains("/exec/") && path.ends_with("/start");
    let names = rest.lines().filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()));
    let said = |name: String| matches!(name.as_str(), "upgrade" | "transfer-encoding");
    (method == "POST" && taking && !names.into_iter().any(said)).then_some(end)
}

impl Read for Conversation {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let length = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Conversation {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(answer) = &mut this.answer else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        self.answer.is_none() && self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.answer {
            None => Pin::new(&mut this.stream).poll_write_vectored(context, slices),
            Some(_) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                Pin::new(this).poll_write(context, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(answer) = this.answer.as_mut().filter(|answer| !answer.is_empty()) {
            if let Some(head) = plain(answer) {
                *answer = head;
            }
            while !answer.is_empty() {
                let written = ready!(Pin::new(&mut this.stream).poll_write(context, answer))?;
                answer.drain(..written);
            }
            this.answer = None;
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.answer.is_some() {
            ready!(Pin::new(&mut *this).poll_flush(context))?;
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

/// An answer that gives the connection away, without saying so; nothing when it does not.
fn plain(answer: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(answer.strip_prefix(GIVEN)?).ok()?;
    let (_, rest) = text.split_once("\r\n")?;
    let own = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "connection" | "upgrade")
    };
    let kept: Vec<&str> = rest.split("\r\n").filter(own).collect();
    Some(format!("{PLAIN}{}", kept.join("\r\n")).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_takeovers_are_known() {
        let takes = |head: &str| takes_over(head.as_bytes()).is_some();
        let attach = "POST /v1.24/containers/a/attach?stream=1 HTTP/1.1\r\nHost: x\r\n";
        assert!(takes(&format!("{attach}\r\ninput")));
        assert!(takes("POST /exec/1/start HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"));
        assert!(!takes(attach));
        assert!(!takes(&format!("{attach}upgrade: tcp\r\n\r\n")));
        assert!(!takes(&format!("{attach}Transfer-Encoding: chunked\r\n\r\n")));
        assert!(!takes("POST /containers/a/start HTTP/1.1\r\n\r\n"));
        assert!(!takes("GET /containers/a/attach HTTP/1.1\r\n\r\n"));
        let old = b"POST /exec/1/start HTTP/1.0\r\nA: b\r\n\r\n{}";
        let new =
            "POST /exec/1/start HTTP/1.1\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}";
        assert_eq!(String::from_utf8(said(old, old.len() - 2)).as_deref(), Ok(new));
    }

    #[test]
    fn answers_do_not_mention_it() {
        let given = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: a/b\r\nConnection: Upgrade\r\n\
                      Upgrade: tcp\r\nServer: s\r\n\r\n";
        let want = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nServer: s\r\n\r\n";
        assert_eq!(plain(given).map(|it| String::from_utf8(it).unwrap()).as_deref(), Some(want));
        assert_eq!(plain(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }
}
