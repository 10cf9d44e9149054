//! Giving a client's connection away. With `Upgrade: tcp` the engine gets the very socket, and the
//! daemon is out of the data path; without it, or when the socket is not ours to give, one end of a
//! socket pair, and the bytes are copied.
//!
//! ```text
//! Upgrade: tcp    client ══ socket ══════════════════════▶ container's monitor
//! otherwise       client ── HTTP bodies ── copy ══ pair ══▶ container's monitor
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use engine::ClientStream;
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::body::{Chunks, ReplyBody, RequestBody};
use crate::call::Call;
use crate::failure::Failure;
use crate::raw::Conversation;
use crate::reply::{self, Reply};

/// How much output is copied at once.
const COPY_BYTES: usize = 32 << 10;
/// How long a client that buffers takes to read the answer's head.
const BUFFER_PAUSE: Duration = Duration::from_millis(20);

/// A connection that can be given away.
pub(crate) struct Hijack {
    upgrade: Option<OnUpgrade>,
    body: RequestBody,
    /// What the client needs between the answer's head and the first byte after it.
    pause: Duration,
}

impl Hijack {
    /// A connection whose request's JSON body, if any, was read.
    pub(crate) fn new(upgrade: Option<OnUpgrade>, body: RequestBody) -> Self {
        Self { upgrade, body, pause: Duration::ZERO }
    }

    /// Takes the connection out of a call whose JSON body, if any, was read.
    pub(crate) fn of(call: Call) -> Self {
        let pause = pause_for(&call.headers);
        Self { pause, ..Self::new(call.upgrade, call.body) }
    }

    /// Nothing will come before the client has read the answer's head and done more: whoever
    /// attaches before a start must be there when it starts.
    pub(crate) fn without_pause(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }

    /// Answers, and gives the connection to `take` as soon as the answer is out. What `take`
    /// reports can no longer change the status.
    pub(crate) fn answer<F, Fut>(self, content_type: &'static str, take: F) -> Reply
    where
        F: FnOnce(ClientStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let pause = self.pause;
        match self.upgrade {
            Some(upgrade) => {
                tokio::spawn(async move {
                    match upgrade.await.map_err(io::Error::other).and_then(socket_of) {
                        Ok(stream) => {
                            if !pause.is_zero() {
                                tokio::time::sleep(pause).await;
                            }
                            take(stream).await;
                        }
                        Err(error) => tracing::debug!(%error, "a client left while upgrading"),
                    }
                });
                Ok(switching_protocols(content_type))
            }
            None => {
                let (ours, theirs) = pair()?;
                let (chunks, response) = reply::stream(content_type);
                tokio::spawn(copy(ours, self.body, chunks));
                tokio::spawn(take(theirs));
                Ok(response)
            }
        }
    }
}

/// docker-py, and what is built on it, reads the answer's head through a buffer that it throws
/// away, and with it whatever came in the same moment. Docker is never that quick.
fn pause_for(headers: &HeaderMap) -> Duration {
    const BUFFERING: [&str; 2] = ["docker-sdk-python/", "docker-compose/1."];
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    match BUFFERING.iter().any(|name| agent.starts_with(name)) {
        true => BUFFER_PAUSE,
        false => Duration::ZERO,
    }
}

fn switching_protocols(content_type: &'static str) -> Response<ReplyBody> {
    let body = ReplyBody::Whole(None);
    let mut response = reply::with_type(StatusCode::SWITCHING_PROTOCOLS, content_type, body);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    response.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    response
}

/// The socket under an upgraded connection, with what was read from it beyond the request. It
/// stays non-blocking.
fn socket_of(upgraded: Upgraded) -> io::Result<ClientStream> {
    let (fd, read_ahead): (OwnedFd, Bytes) = match upgraded.downcast::<Conversation>() {
        Ok(parts) => {
            let (stream, unread) = parts.io.into_parts();
            (stream.into_std()?.into(), [parts.read_buf, unread].concat().into())
        }
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io.into_inner().into_std()?.into(), parts.read_buf),
            // Encrypted: the monitor gets the other end of a pair, and this process encrypts.
            Err(upgraded) => {
                let (mut ours, theirs) = UnixStream::pair()?;
                tokio::spawn(async move {
                    let mut upgraded = TokioIo::new(upgraded);
                    // Either side may break off; the other one is told by the end.
                    let _ = tokio::io::copy_bidirectional(&mut upgraded, &mut ours).await;
                });
                (theirs.into_std()?.into(), Bytes::new())
            }
        },
    };
    Ok(ClientStream { fd, read_ahead })
}

/// Two connected ends: one for us, one to give away.
pub(crate) fn pair() -> Result<(UnixStream, ClientStream), Failure> {
    let failed = |error: io::Error| {
        let message = format!("create a socket pair for the stream: {error}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let fd = theirs.into_std().map_err(failed)?.into();
    Ok((ours, ClientStream { fd, read_ahead: Bytes::new() }))
}

/// Copies the request's body in and the stream's output out until the output ends or the client
/// is gone.
async fn copy(ours: UnixStream, mut body: RequestBody, chunks: Chunks) {
    let (mut output, mut input) = ours.into_split();
    let feed = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if input.write_all(&data).await.is_err() {
                break;
            }
        }
        // The other end may be closed already; it then needs no end of input.
        let _ = input.shutdown().await;
        std::future::pending::<()>().await;
    };
    let drain = async {
        let mut buffer = vec![0; COPY_BYTES];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            if chunks.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = drain => {}
        () = chunks.gone() => {}
        () = feed => {}
    }
}
