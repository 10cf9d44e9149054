//! HTTP/2 over a connection that began as HTTP/1 and was upgraded to `h2c`, in both roles: on
//! `/session` the daemon calls what the client serves, on `/grpc` the client calls the daemon.
//! Knows frames and streams, no service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, client, server};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::codegen::Service;

/// The largest message of either side. BuildKit's clients send none above 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// How much of one stream may be under way; file contents arrive through it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// How much of all streams of a connection may be under way.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The largest block of headers; patterns of a context travel in them.
const MAX_HEADER_BYTES: u32 = 1 << 20;
/// How many calls the other side may have open at once.
const MAX_STREAMS: u32 = 256;

/// A connection on which calls go out.
#[derive(Clone, Debug)]
pub struct Line(SendRequest<Body>);

impl Line {
    /// Speaks HTTP/2 as the client. The future does the connection's work and ends with it.
    ///
    /// # Errors
    /// The other side does not speak HTTP/2.
    pub async fn open<I>(
        io: I,
    ) -> hyper::Result<(Self, impl Future<Output = hyper::Result<()>> + Send)>
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let (sender, work) = client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(MAX_HEADER_BYTES)
            .handshake(io)
            .await?;
        Ok((Self(sender), work))
    }

    /// The origin that calls name; nothing is connected to.
    pub fn origin() -> Uri {
        Uri::from_static("http://localhost")
    }
}

impl Service<Request<Body>> for Line {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Serves HTTP/2 on a connection until the other side ends it; `answer` serves one call.
///
/// # Errors
/// The connection broke off.
pub async fn serve<I, F, Fut>(io: I, answer: F) -> hyper::Result<()>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    F: Fn(Request<Body>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(io, service)
        .await
}
