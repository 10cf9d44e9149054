//! Content stores that a session's client offers by name: caches of `type=local`, OCI layouts as
//! contexts, and one that takes a result. Their indexes are the client's own business. Knows blobs
//! by digest, not what they are.

use std::sync::Arc;

use ::buildkit::content::{
    ContentClient, InfoRequest, ReadContentRequest, STORE, WriteAction, WriteContentRequest,
};
use build::client::{Content, Future};
use build::layout::Layout;
use build::{Error, Result};
use model::Digest;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request};

use super::fault::failed;
use super::session::Session;
use super::sync;

/// Messages that wait for the connection.
const QUEUE: usize = 8;
/// How much of a blob goes into one message.
const PIECE_BYTES: usize = 256 << 10;

/// A store of a client's.
pub(super) struct Store {
    session: Arc<Session>,
    /// The client's name for it.
    id: AsciiMetadataValue,
    /// The output that it takes, where clients tell several of one name apart.
    output: Option<usize>,
}

impl Store {
    /// The store of that name.
    ///
    /// # Errors
    /// The client offers none, or the name cannot be sent.
    pub(super) fn new(session: &Arc<Session>, id: &str, output: Option<usize>) -> Result<Self> {
        if !session.serves(::buildkit::content::METHODS[0]) {
            return Err(Error::not_found(format!("the client offers no store {id:?}")));
        }
        let id = AsciiMetadataValue::try_from(id)
            .map_err(|_| Error::invalid(format!("invalid name {id:?} of a store")))?;
        Ok(Self { session: Arc::clone(session), id, output })
    }

    fn client(&self) -> ContentClient {
        ContentClient::new(self.session.line())
    }

    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(STORE, self.id.clone());
        if let Some(output) = self.output {
            sync::number(request.metadata_mut(), output);
        }
        request
    }

    fn shown(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    async fn info(&self, digest: Digest) -> Result<Option<u64>> {
        let asked = self.call(InfoRequest { digest: digest.to_string() });
        match self.client().info(asked).await {
            Ok(answer) => {
                let info = answer.into_inner().info.unwrap_or_default();
                Ok(u64::try_from(info.size).ok())
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => {
                Err(failed(format!("ask store {:?} for {digest}", self.shown()), &status))
            }
        }
    }

    async fn follow(&self, digest: Digest) -> Result<Content> {
        let reading = format!("read {digest} of store {:?}", self.shown());
        let asked = ReadContentRequest { digest: digest.to_string(), ..Default::default() };
        let stream = self.client().read(self.call(asked)).await;
        let mut stream = stream.map_err(|status| failed(reading.clone(), &status))?.into_inner();
        let (tx, rx) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let piece = match stream.message().await {
                    Ok(Some(message)) => Ok(message.data.into()),
                    Ok(None) => return,
                    Err(status) => Err(failed(reading.clone(), &status)),
                };
                let last = piece.is_err();
                if tx.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(rx)
    }

    async fn take(&self, digest: Digest, size: u64, content: Content) -> Result<()> {
        let writing = || format!("write {digest} into store {:?}", self.shown());
        let total = i64::try_from(size).map_err(|_| Error::invalid("a blob is too large"))?;
        let begin = WriteContentRequest {
            action: WriteAction::Stat.into(),
            // Nobody else's write has this name, so it begins at the beginning.
            reference: format!("estiba-{}-{}", self.session.id(), digest.hex()),
            total,
            expected: digest.to_string(),
            ..WriteContentRequest::default()
        };
        let (tx, rx) = mpsc::channel(QUEUE);
        // The channel has room for it, and its other end is here.
        let _ = tx.try_send(begin);
        let exists = |status: tonic::Status| match status.code() {
            Code::AlreadyExists => Ok(()),
            _ => Err(failed(writing(), &status)),
        };
        let mut answers = match self.client().write(self.call(ReceiverStream::new(rx))).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return exists(status),
        };
        let broken = || Error::invalid(format!("{}: the client broke off", writing()));
        match answers.message().await {
            Ok(Some(answer)) if answer.offset == 0 => {}
            Ok(_) => return Err(broken()),
            Err(status) => return exists(status),
        }
        let feed = feed(content, tx, total, digest);
        let hear = async {
            loop {
                match answers.message().await {
                    Ok(Some(answer)) if answer.action == i32::from(WriteAction::Commit) => {
                        return Ok(());
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(broken()),
                    Err(status) => return exists(status),
                }
            }
        };
        // What the client says is the cause; that it then hears nothing more is not.
        let (fed, heard) = tokio::join!(feed, hear);
        heard.and(fed)
    }
}

/// Sends a blob's bytes and the end. A client that has stopped listening says why itself.
async fn feed(
    mut content: Content,
    tx: mpsc::Sender<WriteContentRequest>,
    total: i64,
    digest: Digest,
) -> Result<()> {
    let mut offset = 0;
    while let Some(piece) = content.recv().await {
        for part in piece?.chunks(PIECE_BYTES) {
            let message = WriteContentRequest {
                action: WriteAction::Write.into(),
                offset,
                data: part.to_vec(),
                ..WriteContentRequest::default()
            };
            offset = offset.saturating_add_unsigned(part.len() as u64);
            if tx.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
    let end = WriteContentRequest {
        action: WriteAction::Commit.into(),
        total,
        offset,
        expected: digest.to_string(),
        ..WriteContentRequest::default()
    };
    let _ = tx.send(end).await;
    Ok(())
}

impl Layout for Store {
    fn size<'a>(&'a self, digest: Digest) -> Future<'a, Result<Option<u64>>> {
        Box::pin(self.info(digest))
    }

    fn read<'a>(&'a self, digest: Digest) -> Future<'a, Result<Content>> {
        Box::pin(self.follow(digest))
    }

    fn write<'a>(&'a self, digest: Digest, size: u64, content: Content) -> Future<'a, Result<()>> {
        Box::pin(self.take(digest, size, content))
    }

    fn index<'a>(&'a self) -> Future<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async { Ok(None) })
    }

    fn put_index<'a>(&'a self, _index: Vec<u8>) -> Future<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
