//! HTTP/2 on a connection that began as HTTP/1, in both roles. Knows streams, no service.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use client::RawStream;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, client as http, server};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::failure::Failure;

/// The largest message of either side.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// How much of one stream may be under way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// How much of all streams of a connection may be under way.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The largest block of headers; patterns of a context travel in them.
const MAX_HEADER_BYTES: u32 = 1 << 20;

/// A connection on which calls go out.
#[derive(Clone)]
pub(crate) struct Line(SendRequest<Body>);

impl Line {
    /// Speaks HTTP/2 as the client.
    pub(super) async fn open(stream: RawStream) -> Result<Self, Failure> {
        let opened = http::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, work) =
            opened.map_err(|error| Failure::new(format!("speak gRPC with the daemon: {error}")))?;
        // Its end is seen by the calls on it.
        tokio::spawn(work);
        Ok(Self(sender))
    }

    /// The origin that calls name; nothing is connected to.
    pub(super) fn origin() -> Uri {
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

/// Serves calls on a connection until the daemon ends it; `answer` serves one.
pub(super) async fn serve<F, Fut>(stream: RawStream, answer: F)
where
    F: Fn(Request<Body>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.map(Body::new));
        async move { Ok::<_, io::Error>(answer.await) }
    });
    // A daemon that is gone is noticed by what waits for its answer.
    let _ = server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
