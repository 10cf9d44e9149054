//! containerd's content service, as far as sessions use it: blobs by digest in stores that a client
//! offers by name (caches and OCI layouts of its own). Messages, the daemon's end, and the dispatch
//! of the client's. Knows no directory.
//!
//! ```text
//! Info(digest) ─▶ size             Write: STAT(ref, total, digest) ─▶ offset
//! Read(digest) ─▶ bytes …                 WRITE(offset, bytes) …   ─▶ offset
//!                                         COMMIT(total, digest)    ─▶ digest
//! ```
//! The field numbers are those of `api/services/content/v1/content.proto`, containerd 1.x and 2.x.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::http::uri::PathAndQuery;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use tonic::body::Body;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{BoxFuture, BoxStream, async_trait};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::line::{Line, MAX_MESSAGE_BYTES};

/// The service's name, the first part of its calls' paths.
pub const SERVICE: &str = "containerd.services.content.v1.Content";
/// The calls that a session announces.
pub const METHODS: [&str; 3] = [INFO, READ, WRITE];
/// Which of a client's stores a call is for.
pub const STORE: &str = "buildkit-attachable-store-id";

const INFO: &str = "/containerd.services.content.v1.Content/Info";
const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";

/// Asks about a blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InfoRequest {
    /// Its digest.
    #[prost(string, tag = "1")]
    pub digest: String,
}

/// What is known of a blob. Times and labels are left out: nobody here needs them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Info {
    /// Its digest.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Its length in bytes.
    #[prost(int64, tag = "2")]
    pub size: i64,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InfoResponse {
    /// What is known.
    #[prost(message, optional, tag = "1")]
    pub info: Option<Info>,
}

/// Asks for a blob's bytes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadContentRequest {
    /// Its digest.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Where to begin.
    #[prost(int64, tag = "2")]
    pub offset: i64,
    /// How many bytes; 0 is to the end.
    #[prost(int64, tag = "3")]
    pub size: i64,
}

/// A piece of a blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReadContentResponse {
    /// Where it begins.
    #[prost(int64, tag = "1")]
    pub offset: i64,
    /// The bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// What a message of a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum WriteAction {
    /// Asks how far the write is.
    Stat = 0,
    /// Brings bytes.
    Write = 1,
    /// All bytes have come.
    Commit = 2,
}

/// One message of a write.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WriteContentRequest {
    /// What it is for.
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    /// Names the write; the first message has it.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// Bytes in all; 0 is unknown.
    #[prost(int64, tag = "3")]
    pub total: i64,
    /// The digest that the bytes must have; may be empty before the end.
    #[prost(string, tag = "4")]
    pub expected: String,
    /// Where `data` goes.
    #[prost(int64, tag = "5")]
    pub offset: i64,
    /// Bytes.
    #[prost(bytes = "vec", tag = "6")]
    pub data: Vec<u8>,
    /// Labels; stores of directories have no place for them.
    #[prost(map = "string, string", tag = "7")]
    pub labels: HashMap<String, String>,
}

/// The answer to one message of a write.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WriteContentResponse {
    /// What it answers.
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub action: i32,
    /// How many bytes have come.
    #[prost(int64, tag = "4")]
    pub offset: i64,
    /// Bytes in all.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// The digest of the whole, at the end.
    #[prost(string, tag = "6")]
    pub digest: String,
}

/// The daemon's end: a client's stores.
pub struct ContentClient(tonic::client::Grpc<Line>);

impl ContentClient {
    /// The stores behind a session's line.
    pub fn new(line: Line) -> Self {
        let grpc = tonic::client::Grpc::with_origin(line, Line::origin());
        Self(grpc.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let gone = |error| Status::unavailable(format!("the session is gone: {error}"));
        self.0.ready().await.map_err(gone)
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// There is none of that digest, or the client does not answer.
    pub async fn info(
        &mut self,
        request: Request<InfoRequest>,
    ) -> Result<Response<InfoResponse>, Status> {
        self.ready().await?;
        self.0.unary(request, PathAndQuery::from_static(INFO), ProstCodec::default()).await
    }

    /// A blob's bytes.
    ///
    /// # Errors
    /// As for [`ContentClient::info`].
    pub async fn read(
        &mut self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<Streaming<ReadContentResponse>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(READ);
        self.0.server_streaming(request, path, ProstCodec::default()).await
    }

    /// Takes a blob in, message by message.
    ///
    /// # Errors
    /// The client refuses it, or does not answer.
    pub async fn write<S>(
        &mut self,
        request: Request<S>,
    ) -> Result<Response<Streaming<WriteContentResponse>>, Status>
    where
        S: Stream<Item = WriteContentRequest> + Send + 'static,
    {
        self.ready().await?;
        self.0.streaming(request, PathAndQuery::from_static(WRITE), ProstCodec::default()).await
    }
}

/// The client's end.
#[async_trait]
pub trait Content: Send + Sync + 'static {
    /// What is known of a blob.
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status>;

    /// A blob's bytes.
    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<BoxStream<ReadContentResponse>>, Status>;

    /// Takes a blob in.
    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<BoxStream<WriteContentResponse>>, Status>;
}

/// Serves one call.
pub async fn serve<C: Content>(content: Arc<C>, request: HttpRequest<Body>) -> HttpResponse<Body> {
    let call = Served(content);
    let path = request.uri().path().to_owned();
    match path.as_str() {
        INFO => tonic::server::Grpc::new(ProstCodec::default()).unary(call, request).await,
        READ => {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            grpc.server_streaming(call, request).await
        }
        WRITE => {
            let grpc = tonic::server::Grpc::new(ProstCodec::default());
            let mut grpc = grpc.max_decoding_message_size(MAX_MESSAGE_BYTES);
            grpc.streaming(call, request).await
        }
        other => Status::unimplemented(format!("unknown call {other}")).into_http(),
    }
}

struct Served<C>(Arc<C>);

impl<C: Content> tonic::server::UnaryService<InfoRequest> for Served<C> {
    type Response = InfoResponse;
    type Future = BoxFuture<Response<InfoResponse>, Status>;

    fn call(&mut self, request: Request<InfoRequest>) -> Self::Future {
        let content = Arc::clone(&self.0);
        Box::pin(async move { content.info(request).await })
    }
}

impl<C: Content> tonic::server::ServerStreamingService<ReadContentRequest> for Served<C> {
    type Response = ReadContentResponse;
    type ResponseStream = BoxStream<ReadContentResponse>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<ReadContentRequest>) -> Self::Future {
        let content = Arc::clone(&self.0);
        Box::pin(async move { content.read(request).await })
    }
}

impl<C: Content> tonic::server::StreamingService<WriteContentRequest> for Served<C> {
    type Response = WriteContentResponse;
    type ResponseStream = BoxStream<WriteContentResponse>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<WriteContentRequest>>) -> Self::Future {
        let content = Arc::clone(&self.0);
        Box::pin(async move { content.write(request).await })
    }
}
