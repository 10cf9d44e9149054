//! Blobs on their way in. An upload is a file that grows; it outlives its connection and this
//! process, and is finished by naming the digest it must have. One request at a time per upload.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::name::{Algorithm, Digest, Name};
use super::refusal::{Code, Refusal};
use super::route::UploadId;
use super::storage::Hasher;
use crate::client::transport::Answer;

/// Chunks between the connection and the disk.
const DEPTH: usize = 8;
/// A client that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// All uploads.
pub(crate) struct Uploads {
    dir: PathBuf,
    /// The largest blob.
    limit: u64,
    live: Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<Upload>>>>,
}

/// One upload, held by the request that works on it.
pub(crate) struct Upload {
    name: Name,
    path: PathBuf,
    file: File,
    size: u64,
    /// The digest of what is there; nothing when a former process received it.
    hasher: Option<Hasher>,
}

impl Uploads {
    pub(crate) fn new(dir: PathBuf, limit: u64) -> Self {
        Self { dir, limit, live: Mutex::default() }
    }

    /// Begins an upload for a repository.
    pub(crate) fn start(&self, name: &Name, algorithm: Algorithm) -> Result<UploadId, Refusal> {
        let failed = |error: io::Error| Refusal::internal(format!("begin an upload: {error}"));
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = UploadId::parse(&hex)
            .ok_or_else(|| Refusal::internal("an upload's id is not readable"))?;
        let path = self.dir.join(id.as_str());
        fs::write(self.dir.join(format!("{hex}.name")), name.as_str()).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path);
        let (name, hasher) = (name.clone(), Some(Hasher::new(algorithm)));
        let upload = Upload { name, path, file: file.map_err(failed)?, size: 0, hasher };
        self.lock().insert(id.clone(), Arc::new(tokio::sync::Mutex::new(upload)));
        Ok(id)
    }

    /// Takes an upload for one request. Refused while another request works on it.
    pub(crate) fn take(
        &self,
        name: &Name,
        id: &UploadId,
    ) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        let unknown = || Refusal::new(Code::BlobUploadUnknown, "the upload is not known here");
        let mut live = self.lock();
        let upload = match live.get(id) {
            Some(upload) => Arc::clone(upload),
            None => {
                let found = self.resume(id).ok_or_else(unknown)?;
                let found = Arc::new(tokio::sync::Mutex::new(found));
                live.insert(id.clone(), Arc::clone(&found));
                found
            }
        };
        drop(live);
        let busy = || Refusal::new(Code::TooManyRequests, "another request works on this upload");
        let upload = upload.try_lock_owned().map_err(|_| busy())?;
        // An id is no key to another repository.
        if upload.name == *name { Ok(upload) } else { Err(unknown()) }
    }

    /// Forgets an upload and what it received.
    pub(crate) fn forget(&self, id: &UploadId) {
        self.lock().remove(id);
        for path in [self.dir.join(id.as_str()), self.dir.join(format!("{}.name", id.as_str()))] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "an upload stays behind");
                }
                _ => {}
            }
        }
    }

    /// Forgets what nobody has written to for `age`. Returns how many.
    pub(crate) fn expire(&self, age: Duration, now: SystemTime) -> io::Result<usize> {
        let mut gone = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let modified = entry.metadata().and_then(|it| it.modified()).unwrap_or(now);
            if now.duration_since(modified).unwrap_or_default() < age {
                continue;
            }
            if let Some(id) = UploadId::parse(&text) {
                self.forget(&id);
                gone += 1;
            } else if !text.strip_suffix(".name").is_some_and(|id| self.dir.join(id).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(gone)
    }

    /// Receives what a source has, at the end of an upload. What arrived stays when it breaks off.
    pub(crate) async fn receive(
        &self,
        upload: OwnedMutexGuard<Upload>,
        mut source: Source,
    ) -> Result<OwnedMutexGuard<Upload>, Refusal> {
        let (chunks, writer) = writing(upload, self.limit);
        let broken = loop {
            match source.next().await {
                Ok(Some(chunk)) => {
                    if chunks.send(chunk).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(why) => break Some(why),
            }
        };
        drop(chunks);
        let upload = writer.await.map_err(|error| Refusal::internal(error.to_string()))??;
        match broken {
            Some(why) => Err(Refusal::new(Code::BlobUploadInvalid, why)),
            None => Ok(upload),
        }
    }

    fn resume(&self, id: &UploadId) -> Option<Upload> {
        let name = fs::read_to_string(self.dir.join(format!("{}.name", id.as_str()))).ok()?;
        let path = self.dir.join(id.as_str());
        let file = OpenOptions::new().read(true).append(true).open(&path).ok()?;
        let size = file.metadata().ok()?.len();
        Some(Upload { name: Name::parse(&name)?, path, file, size, hasher: None })
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<UploadId, Arc<tokio::sync::Mutex<Upload>>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an upload's bytes come from.
pub(crate) enum Source {
    /// A client's request.
    Request(Incoming),
    /// Another registry's answer.
    Upstream(Box<Answer>),
}

impl Source {
    /// The next piece; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let body = match self {
            Self::Request(body) => body,
            Self::Upstream(answer) => {
                return answer.chunk().await.map_err(|error| error.to_string());
            }
        };
        loop {
            match tokio::time::timeout(SILENCE, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
                Ok(Some(Err(error))) => return Err(format!("the connection broke: {error}")),
                Err(_) => return Err("the client stopped sending".to_owned()),
            }
        }
    }
}

type Writer = tokio::task::JoinHandle<Result<OwnedMutexGuard<Upload>, Refusal>>;

/// A blocking writer, and the way to it.
fn writing(mut upload: OwnedMutexGuard<Upload>, limit: u64) -> (mpsc::Sender<Bytes>, Writer) {
    let (chunks, mut received) = mpsc::channel::<Bytes>(DEPTH);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = received.blocking_recv() {
            if upload.size + chunk.len() as u64 > limit {
                let message = format!("a blob has at most {limit} bytes here");
                return Err(Refusal::new(Code::SizeInvalid, message));
            }
            if let Some(hasher) = &mut upload.hasher {
                hasher.update(&chunk);
            }
            let written = upload.file.write_all(&chunk);
            if let Err(error) = written {
                // A partial write is in the file: what counts is what is there.
                upload.size = upload.file.metadata().map_or(upload.size, |it| it.len());
                upload.hasher = None;
                return Err(Refusal::internal(format!("write an upload: {error}")));
            }
            upload.size += chunk.len() as u64;
        }
        Ok(upload)
    });
    (chunks, writer)
}

impl Upload {
    /// How much is there.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Syncs what is there and says whether it has the digest. Blocks.
    pub(crate) fn verify(&mut self, digest: &Digest) -> io::Result<bool> {
        self.file.sync_data()?;
        if let Some(hasher) = &self.hasher {
            let have = hasher.clone().finish();
            if have.algorithm() == digest.algorithm() {
                return Ok(have == *digest);
            }
        }
        let mut hasher = Hasher::new(digest.algorithm());
        self.file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0u8; 256 << 10];
        loop {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Ok(hasher.finish() == *digest);
            }
            hasher.update(&buffer[..read]);
        }
    }
}
