//! Connections taken out of HTTP: `attach`, `exec` and the like answer with 101 (or, older, with
//! 200) and from there on both sides send bytes as they like; each may end its own direction.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use wire::docker::ApiVersion;

use crate::connection::Socket;
use crate::request::message;
use crate::{Client, Error, Result};

/// The longest head of an answer.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// How much is read at a time.
const READ_BYTES: usize = 32 << 10;

/// A raw connection, both directions.
pub struct Raw {
    socket: Socket,
    early: Bytes,
    content_type: String,
}

/// A connection as one stream of bytes.
pub struct RawStream {
    socket: Socket,
    early: Bytes,
}

/// The receiving direction.
pub struct RawReader {
    half: Box<dyn AsyncRead + Send + Unpin>,
    early: Bytes,
}

/// The sending direction; dropping it does not end the direction, [`RawWriter::finish`] does.
pub struct RawWriter {
    half: Box<dyn AsyncWrite + Send + Unpin>,
}

/// An answer that did not hand over the connection.
pub(crate) struct Refused {
    pub(crate) error: Error,
    pub(crate) version: Option<ApiVersion>,
}

impl Refused {
    pub(crate) fn is_too_new(&self) -> bool {
        matches!(self.error, Error::Api { status: 400, .. })
    }
}

impl Raw {
    /// A connection on which nothing has been said.
    pub(crate) fn of(socket: Socket) -> Self {
        Self { socket, early: Bytes::new(), content_type: String::new() }
    }

    /// Sends a request's head and body, reads the answer's head.
    pub(crate) async fn open(
        client: &Client,
        head: &str,
        body: Option<&[u8]>,
    ) -> Result<std::result::Result<Self, Refused>> {
        let broken = |error: io::Error| Error::Transport(error.to_string());
        let mut socket = client.socket().await?;
        let mut request = BytesMut::from(head.as_bytes());
        request.extend_from_slice(body.unwrap_or_default());
        socket.write_all(&request).await.map_err(broken)?;
        let mut received = BytesMut::new();
        let end = loop {
            if let Some(end) = head_end(&received) {
                break end;
            }
            if received.len() > HEAD_LIMIT_BYTES {
                return Err(Error::Transport("the answer's head is too long".to_owned()));
            }
            if socket.read_buf(&mut received).await.map_err(broken)? == 0 {
                return Err(Error::Transport("the connection ended early (EOF)".to_owned()));
            }
        };
        let answer = Head::parse(&received[..end])?;
        received.advance(end);
        if matches!(answer.status, 101 | 200) {
            let (early, content_type) = (received.freeze(), answer.content_type);
            return Ok(Ok(Self { socket, early, content_type }));
        }
        while received.len() < answer.length.min(HEAD_LIMIT_BYTES)
            && socket.read_buf(&mut received).await.map_err(broken)? > 0
        {}
        let message = message(&received, &format!("status {}", answer.status));
        let error = Error::Api { status: answer.status, message };
        Ok(Err(Refused { error, version: answer.version }))
    }

    /// Whether the engine says that frames of several outputs are mixed in the stream.
    pub fn is_multiplexed(&self) -> bool {
        self.content_type == "application/vnd.docker.multiplexed-stream"
    }

    /// The socket itself, if it is a path socket, and what has come on it already.
    pub fn into_unix(self) -> Option<(UnixStream, Vec<u8>)> {
        match self.socket {
            Socket::Unix(stream) => Some((stream, self.early.to_vec())),
            _ => None,
        }
    }

    /// The connection as one stream of bytes.
    pub fn into_stream(self) -> RawStream {
        RawStream { socket: self.socket, early: self.early }
    }

    /// The two directions, to be used independently.
    pub fn split(self) -> (RawReader, RawWriter) {
        let early = self.early;
        match self.socket {
            Socket::Unix(stream) => {
                let (read, write) = stream.into_split();
                (RawReader { half: Box::new(read), early }, RawWriter { half: Box::new(write) })
            }
            Socket::Tls(stream) => {
                let (read, write) = tokio::io::split(stream);
                (RawReader { half: Box::new(read), early }, RawWriter { half: Box::new(write) })
            }
            Socket::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (RawReader { half: Box::new(read), early }, RawWriter { half: Box::new(write) })
            }
        }
    }
}

impl RawReader {
    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.early.is_empty() {
            return Ok(Some(std::mem::take(&mut self.early)));
        }
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let count = self.half.read_buf(&mut buffer).await?;
        Ok((count > 0).then(|| buffer.freeze()))
    }
}

impl RawWriter {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.half.write_all(bytes).await
    }

    /// Ends this direction; the other one goes on.
    ///
    /// # Errors
    /// The connection broke before.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}

impl AsyncRead for RawStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.is_empty() {
            return Pin::new(&mut this.socket).poll_read(cx, buffer);
        }
        let count = this.early.len().min(buffer.remaining());
        buffer.put_slice(&this.early.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    content_type: String,
    version: Option<ApiVersion>,
    length: usize,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| Error::Transport(format!("malformed HTTP response {first:?}")))?;
        let mut head = Self { status, content_type: String::new(), version: None, length: 0 };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-type" => value.clone_into(&mut head.content_type),
                "content-length" => head.length = value.parse().unwrap_or_default(),
                "api-version" => head.version = value.parse().ok(),
                _ => {}
            }
        }
        Ok(head)
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
