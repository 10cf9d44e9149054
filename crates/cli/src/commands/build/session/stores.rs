//! Directories with OCI layouts that the command line named, offered as content stores: caches of
//! `type=local`, contexts, places for results. What comes is verified before it gets its name, and
//! no link is followed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ::buildkit::content::{
    Content, Info, InfoRequest, InfoResponse, ReadContentRequest, ReadContentResponse, STORE,
    WriteAction, WriteContentRequest, WriteContentResponse,
};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxStream, async_trait};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use wire::oci::image::{Descriptor, Index, OCI_LAYOUT, annotation, media};

use super::serve::{Offer, number};
use crate::failure::Failure;

/// How much of a blob goes into one message.
const PIECE_BYTES: usize = 256 << 10;
/// The largest index that is read.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// The stores of an offer.
pub(super) struct Stores(pub(super) Arc<Offer>);

impl Stores {
    fn store(&self, metadata: &MetadataMap) -> Result<OwnedFd, Status> {
        let id = metadata.get(STORE).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let dir = self.0.store(id, number(metadata));
        let dir = dir.ok_or_else(|| Status::not_found(format!("unknown store {id}")))?;
        dir.try_clone().map_err(|error| Status::internal(error.to_string()))
    }
}

#[async_trait]
impl Content for Stores {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let dir = self.store(request.metadata())?;
        let digest = request.into_inner().digest;
        let size = open(&dir, &digest)?.metadata().map_err(told)?.len();
        let info = Info { digest, size: i64::try_from(size).unwrap_or(i64::MAX) };
        Ok(Response::new(InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<BoxStream<ReadContentResponse>>, Status> {
        let dir = self.store(request.metadata())?;
        let ask = request.into_inner();
        let mut file = open(&dir, &ask.digest)?;
        let begin = u64::try_from(ask.offset)
            .map_err(|_| Status::invalid_argument("an offset below the beginning"))?;
        file.seek(SeekFrom::Start(begin)).map_err(told)?;
        let most = u64::try_from(ask.size).ok().filter(|size| *size > 0).unwrap_or(u64::MAX);
        let (tx, rx) = mpsc::channel(super::serve::QUEUE);
        tokio::task::spawn_blocking(move || {
            let (mut file, mut offset) = (file.take(most), ask.offset);
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let message = match file.read(&mut piece) {
                    Ok(0) => return,
                    Ok(count) => {
                        let data = piece[..count].to_vec();
                        let message = ReadContentResponse { offset, data };
                        offset = offset.saturating_add_unsigned(count as u64);
                        Ok(message)
                    }
                    Err(error) => Err(told(error)),
                };
                let last = message.is_err();
                if tx.blocking_send(message).is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<BoxStream<WriteContentResponse>>, Status> {
        let dir = self.store(request.metadata())?;
        let mut messages = request.into_inner();
        let (packets, inbox) = mpsc::channel(super::serve::QUEUE);
        let (tx, rx) = mpsc::channel(super::serve::QUEUE);
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if packets.send(message).await.is_err() {
                    return;
                }
            }
        });
        tokio::task::spawn_blocking(move || {
            if let Err(status) = take(&dir, inbox, &tx) {
                // The daemon may have left already.
                let _ = tx.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

type Answers = mpsc::Sender<Result<WriteContentResponse, Status>>;

/// Takes one blob in.
fn take(
    dir: &OwnedFd,
    mut inbox: mpsc::Receiver<WriteContentRequest>,
    tx: &Answers,
) -> Result<(), Status> {
    let Some(first) = inbox.blocking_recv() else { return Ok(()) };
    let hex = hex_of(&first.expected)?.to_owned();
    if open(dir, &first.expected).is_ok() {
        return Err(Status::already_exists(format!("content {}: already exists", first.expected)));
    }
    let blobs = directory(&directory(dir, "blobs")?, "sha256")?;
    let incoming = Incoming::begin(&blobs, &hex)?;
    let (mut file, mut hash, mut offset) = (incoming.create()?, Sha256::new(), 0i64);
    let mut next = Some(first);
    while let Some(message) = next.take().or_else(|| inbox.blocking_recv()) {
        if !message.data.is_empty() {
            if message.offset != offset {
                return Err(Status::out_of_range(format!(
                    "bytes at {}, not {offset}",
                    message.offset
                )));
            }
            file.write_all(&message.data).map_err(told)?;
            hash.update(&message.data);
            offset = offset.saturating_add_unsigned(message.data.len() as u64);
        }
        let last = message.action == i32::from(WriteAction::Commit);
        let mut answer = WriteContentResponse {
            action: message.action,
            offset,
            total: message.total,
            digest: String::new(),
        };
        if last {
            let have: String =
                hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            if have != hex {
                return Err(Status::failed_precondition(format!(
                    "unexpected commit digest sha256:{have}, expected sha256:{hex}"
                )));
            }
            incoming.finish()?;
            answer.digest = format!("sha256:{hex}");
        }
        if tx.blocking_send(Ok(answer)).is_err() || last {
            return Ok(());
        }
    }
    Ok(())
}

/// A blob on its way; what is not finished goes.
struct Incoming<'a> {
    blobs: &'a OwnedFd,
    hex: &'a str,
    name: String,
}

impl<'a> Incoming<'a> {
    fn begin(blobs: &'a OwnedFd, hex: &'a str) -> Result<Self, Status> {
        let name = format!(".estiba-incoming-{}-{hex}", std::process::id());
        Ok(Self { blobs, hex, name })
    }

    fn create(&self) -> Result<File, Status> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        openat(self.blobs, &self.name, flags, mode).map(File::from).map_err(|e| told(e.into()))
    }

    fn finish(&self) -> Result<(), Status> {
        renameat(self.blobs, &self.name, self.blobs, self.hex).map_err(|e| told(e.into()))
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        // A finished one is not there any more.
        let _ = unlinkat(self.blobs, &self.name, AtFlags::empty());
    }
}

fn told(error: std::io::Error) -> Status {
    Status::unknown(error.to_string())
}

/// The digits of a digest, which are a file's name.
fn hex_of(digest: &str) -> Result<&str, Status> {
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(plain))
        .ok_or_else(|| Status::invalid_argument(format!("invalid digest {digest:?}")))
}

fn open(dir: &OwnedFd, digest: &str) -> Result<File, Status> {
    let hex = hex_of(digest)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let missing = |errno: Errno| match errno {
        Errno::NOENT => Status::not_found(format!("content {digest}: not found")),
        errno => told(errno.into()),
    };
    let blobs = openat(dir, "blobs", flags, Mode::empty()).map_err(missing)?;
    let blobs = openat(&blobs, "sha256", flags, Mode::empty()).map_err(missing)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&blobs, hex, flags, Mode::empty()).map_err(missing)?);
    match file.metadata().map_err(told)?.is_file() {
        true => Ok(file),
        false => Err(Status::failed_precondition(format!("content {digest}: no regular file"))),
    }
}

fn directory(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Status> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(told(errno.into())),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|errno| told(errno.into()))
}

/// Names a document in a layout's index, under each of these names (`repository:tag`, or a tag
/// alone), instead of what had them.
pub(super) fn name(dir: &OwnedFd, entry: &Descriptor, names: &[&str]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("write index.json: {error}"));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut index = Index::default();
    if let Ok(fd) = openat(dir, "index.json", flags, Mode::empty()) {
        let mut bytes = Vec::new();
        File::from(fd).take(MAX_INDEX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        index = serde_json::from_slice(&bytes).unwrap_or_default();
    }
    index.schema_version = 2;
    index.media_type = Some(media::OCI_INDEX.to_owned());
    for name in names {
        let mut entry = entry.clone();
        let tag = match name.rsplit_once(':') {
            Some((_, tag)) => {
                entry.annotations.insert(annotation::IMAGE_NAME.to_owned(), (*name).to_owned());
                tag
            }
            None => *name,
        };
        entry.annotations.insert(annotation::REF_NAME.to_owned(), tag.to_owned());
        index
            .manifests
            .retain(|other| other.annotations.get(annotation::REF_NAME).is_none_or(|it| it != tag));
        index.manifests.push(entry);
    }
    let index = serde_json::to_vec(&index)
        .map_err(|error| Failure::new(format!("write index.json: {error}")))?;
    for (name, bytes) in [("oci-layout", OCI_LAYOUT.as_bytes()), ("index.json", &index)] {
        let incoming = format!(".estiba-incoming-{}-{name}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let fd = openat(dir, &incoming, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644));
        let mut file = File::from(fd.map_err(|errno| failed(errno.into()))?);
        file.write_all(bytes).map_err(failed)?;
        renameat(dir, &incoming, dir, name).map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(action: WriteAction, expected: &str, data: &[u8]) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            expected: expected.to_owned(),
            data: data.to_vec(),
            ..WriteContentRequest::default()
        }
    }

    fn written(dir: &std::path::Path, messages: Vec<WriteContentRequest>) -> Result<(), Status> {
        let (tx, inbox) = mpsc::channel(16);
        let (answers, _kept) = mpsc::channel(16);
        messages.into_iter().for_each(|message| tx.blocking_send(message).unwrap());
        drop(tx);
        take(&File::open(dir).unwrap().into(), inbox, &answers)
    }

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn blobs_are_verified_before_they_have_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap().into();
        let write = |data: &[u8]| {
            let messages = vec![
                message(WriteAction::Stat, HELLO, b""),
                message(WriteAction::Write, "", data),
                message(WriteAction::Commit, HELLO, b""),
            ];
            written(dir.path(), messages)
        };
        assert_eq!(write(b"other").unwrap_err().code(), tonic::Code::FailedPrecondition);
        assert_eq!(open(&fd, HELLO).unwrap_err().code(), tonic::Code::NotFound);
        assert_eq!(std::fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count(), 0);
        write(b"hello").unwrap();
        let mut text = String::new();
        open(&fd, HELLO).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(write(b"hello").unwrap_err().code(), tonic::Code::AlreadyExists);
        for bad in ["", "sha256:../../../etc/passwd", "sha512:00", "sha256:ABC"] {
            assert_eq!(open(&fd, bad).unwrap_err().code(), tonic::Code::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn names_replace_what_had_them() {
        let dir = tempfile::tempdir().unwrap();
        let fd: OwnedFd = File::open(dir.path()).unwrap().into();
        let entry =
            |digest: &str| Descriptor { digest: digest.to_owned(), ..Descriptor::default() };
        name(&fd, &entry("a"), &["latest"]).unwrap();
        name(&fd, &entry("b"), &["docker.io/library/x:1"]).unwrap();
        name(&fd, &entry("c"), &["latest"]).unwrap();
        let bytes = std::fs::read(dir.path().join("index.json")).unwrap();
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        let digests: Vec<_> = index.manifests.iter().map(|entry| entry.digest.as_str()).collect();
        assert_eq!(digests, ["b", "c"]);
        assert_eq!(index.manifests[0].annotations[annotation::REF_NAME], "1");
    }
}
