//! Attaching by WebSocket (RFC 6455), for browsers: messages of the client are input, output comes
//! in binary messages, streams unframed as with a terminal.

use bytes::Bytes;
use engine::AttachOptions;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::body::ReplyBody;
use crate::call::{Call, wants_upgrade};
use crate::failure::{Failure, describe};
use crate::hijack::pair;
use crate::reply::Reply;

/// The longest message of a client.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// How much output one message carries at most.
const OUTPUT_BYTES: usize = 32 << 10;
/// The protocol's version; the only one there ever was.
const VERSION: &str = "13";

/// `GET /containers/{id}/attach/ws`.
pub(crate) async fn attach(call: Call) -> Reply {
    let (key, version) = (call.headers.get(SEC_WEBSOCKET_KEY), &call.version);
    let Some((key, true)) = key.map(|key| (key, asks(&call.headers))) else {
        return Err(Failure::invalid("this operation speaks WebSocket: a handshake is missing"));
    };
    let accept = derive_accept_key(key.as_bytes());
    call.guard.review_known(&call.engine, &call.target)?;
    call.engine
        .containers
        .check_attach(&call.target, call.query.text_or_empty("detachKeys"))
        .await?;
    let query = &call.query;
    // Before 1.42 the streams could not be chosen.
    let wants = |stream: &str| !version.at_least(42) || query.flag(stream);
    let options = AttachOptions {
        stdin: wants("stdin"),
        stdout: wants("stdout"),
        stderr: wants("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.text_or_empty("detachKeys").to_owned(),
        framed: false,
    };
    let Some(upgrade) = call.upgrade else {
        return Err(Failure::invalid("this connection cannot be turned into a WebSocket"));
    };
    let (ours, theirs) = pair()?;
    let (engine, target) = (call.engine, call.target);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        tokio::spawn(converse(socket, ours));
        if let Err(error) = engine.containers.attach(&target, options, theirs).await {
            tracing::warn!(container = target, error = describe(&error), "attach by WebSocket");
        }
    });
    switching(&accept)
}

fn asks(headers: &HeaderMap) -> bool {
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    wants_upgrade(headers, "websocket") && version.is_some_and(|version| version == VERSION)
}

fn switching(accept: &str) -> Reply {
    let mut response = Response::new(ReplyBody::Whole(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept)
        .map_err(|_| Failure::invalid("the WebSocket handshake's key makes no answer"))?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Carries messages to the container and output back, until either side ends.
async fn converse<S>(socket: WebSocketStream<S>, container: UnixStream)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (output, input) = container.into_split();
    let (send, receive) = mpsc::channel(1);
    let reader = tokio::spawn(read_output(output, send));
    serve(socket, input, receive).await;
    reader.abort();
}

async fn read_output(mut output: OwnedReadHalf, send: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; OUTPUT_BYTES];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let chunk = Bytes::copy_from_slice(&buffer[..read]);
        if send.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn serve<S>(
    mut socket: WebSocketStream<S>,
    mut input: OwnedWriteHalf,
    mut output: mpsc::Receiver<Bytes>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if input.write_all(text.as_bytes()).await.is_err() { break }
                }
                Some(Ok(Message::Binary(bytes))) => {
                    if input.write_all(&bytes).await.is_err() { break }
                }
                // Pings are answered by the library when something is sent next.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    if SinkExt::<Message>::flush(&mut socket).await.is_err() { break }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            chunk = output.recv() => match chunk {
                Some(bytes) => {
                    if socket.send(Message::Binary(bytes)).await.is_err() { break }
                }
                None => break,
            },
        }
    }
    // The client may have left without a word.
    let _ = socket.close(None).await;
}
