//! Another registry behind this one: what is asked for and not here is fetched from there, once,
//! verified and kept. Its credentials stay here; its failures do not hide what is here already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::Method;
use store::record::Durability;

use super::config;
use super::handle::{blocking, manifest as handle};
use super::index::{Blob, Change};
use super::manifest;
use super::name::{Algorithm, Digest, Name, Reference};
use super::refusal::{Code, Refusal};
use super::registry::Shared;
use super::uploads::Source;
use crate::client::session::Session;
use crate::client::url::{Scheme, Url};
use crate::{Credentials, Error, Settings};

/// The other registry.
pub(crate) struct Upstream {
    host: String,
    prefix: String,
    settings: Arc<Settings>,
    credentials: Option<Credentials>,
    tag_seconds: u64,
    /// Content on its way: whoever else wants it waits for the first.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Upstream {
    /// Reads its configuration.
    pub(crate) fn open(config: &config::Upstream) -> Result<Self, String> {
        let said = |error: Error| format!("upstream: {error}");
        let url = Url::parse(&config.url).map_err(said)?;
        let host = url.origin.authority();
        // What leads others here must not lead us to ourselves.
        let mut settings = Settings {
            keep_packed: false,
            hosts_files: false,
            registries: None,
            ..Settings::default()
        };
        if url.origin.scheme == Scheme::Http {
            settings.insecure.push(host.clone());
        }
        let credentials = match (&config.username, &config.password_file) {
            (Some(username), Some(path)) => {
                let password = std::fs::read_to_string(path)
                    .map_err(|error| format!("read {}: {error}", path.display()))?;
                let password = password.trim_end_matches('\n').to_owned();
                Some(Credentials { username: username.clone(), password, ..Default::default() })
            }
            (None, None) => None,
            _ => return Err("upstream: give both `username` and `password-file`, or none".into()),
        };
        let prefix = url.target.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self {
            host,
            prefix,
            settings: Arc::new(settings),
            credentials,
            tag_seconds: config.tag_seconds,
            fetching: Mutex::default(),
        })
    }

    fn session(&self, name: &Name) -> Result<Session, Refusal> {
        let path = format!("{}{name}", self.prefix);
        Session::to_read(&self.settings, (&self.host, &path), self.credentials.clone())
            .map_err(|error| refused(&error))
    }

    /// A lock by what is fetched.
    async fn alone(&self, key: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(fetching.entry(key.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

impl Shared {
    /// Brings a manifest here when it is not, or when its tag may have moved.
    pub(crate) async fn fetch_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let _alone = upstream.alone(&format!("{name}@{reference}")).await;
        let here = self.storage.read(|index| {
            let repository = index.repository(name)?;
            Some(match reference {
                Reference::Digest(digest) => {
                    repository.manifests.contains_key(digest).then_some(u64::MAX)
                }
                Reference::Tag(tag) => repository.tags.get(tag).map(|tagged| tagged.at),
            })
        });
        let here = here.flatten();
        if here.is_some_and(|at| at.saturating_add(upstream.tag_seconds) > self.now()) {
            return Ok(());
        }
        match self.bring_manifest(upstream, name, reference).await {
            Ok(()) => Ok(()),
            Err(refusal) if here.is_some() && refusal.code == Code::Internal => {
                tracing::warn!(%name, %reference, error = refusal.message, "served as it was");
                Ok(())
            }
            Err(refusal) if refusal.code == Code::ManifestUnknown => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn bring_manifest(
        &self,
        upstream: &Upstream,
        name: &Name,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let session = upstream.session(name)?;
        let want = match reference {
            Reference::Digest(digest) => Some(sha256(digest)?),
            Reference::Tag(_) => None,
        };
        let asked = reference.to_string();
        let fetched = session.retry(|| session.manifest(0, &asked, want)).await;
        let fetched = fetched.map_err(|error| refused(&error))?;
        let digest = Digest::parse(&fetched.digest.to_string());
        let digest = digest.ok_or_else(|| Refusal::internal("a digest is not readable"))?;
        let document = manifest::parse(&fetched.bytes, Some(&fetched.media_type))?;
        self.metrics.fetched();
        let bytes = Bytes::from(fetched.bytes);
        handle::keep(self, name, reference, &digest, document, bytes).await
    }

    /// Brings a blob here, or says that it is not to be had.
    pub(crate) async fn fetch_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let unknown = || Refusal::new(Code::BlobUnknown, format!("{name} has no blob {digest}"));
        let Some(upstream) = &self.upstream else { return Err(unknown()) };
        let _alone = upstream.alone(&digest.to_string()).await;
        if self.storage.read(|index| index.blob(name, digest)).is_some() {
            return Ok(());
        }
        let session = upstream.session(name)?;
        let endpoint = session.endpoint(0).await.map_err(|error| refused(&error))?;
        let ask = session.ask(endpoint, Method::GET, &format!("blobs/{digest}"));
        let answer = session.expect(&ask, &[200]).await.map_err(|error| refused(&error))?;
        let uploads = Arc::clone(&self.uploads);
        let repository = name.clone();
        let id = blocking(move || uploads.start(&repository, Algorithm::Sha256)).await?;
        let upload = self.uploads.take(name, &id)?;
        let filled = self.uploads.receive(upload, Source::Upstream(Box::new(answer))).await;
        let kept = match filled {
            Ok(mut upload) => {
                let (storage, repository, wanted) =
                    (Arc::clone(&self.storage), name.clone(), digest.clone());
                let blob = Blob { size: upload.size(), at: self.now() };
                blocking(move || {
                    let failed = |error| Refusal::internal(format!("keep {wanted}: {error}"));
                    if !upload.verify(&wanted).map_err(failed)? {
                        let message = format!("upstream sent something else for {wanted}");
                        return Err(Refusal::internal(message));
                    }
                    storage.change(Durability::Relaxed, |_| {
                        storage.place(upload.path(), &wanted).map_err(failed)?;
                        Ok(vec![Change::Link(repository.clone(), wanted.clone(), blob)])
                    })
                })
                .await
            }
            Err(refusal) => Err(Refusal::internal(refusal.message)),
        };
        self.uploads.forget(&id);
        self.metrics.fetched();
        kept
    }
}

fn sha256(digest: &Digest) -> Result<model::Digest, Refusal> {
    let unknown = || Refusal::new(Code::ManifestUnknown, "upstream is asked by sha256 only");
    model::Digest::parse(&digest.to_string()).map_err(|_| unknown())
}

/// What upstream's failure means for our client. Its words stay here: they may name its accounts.
fn refused(error: &Error) -> Refusal {
    match error.status() {
        Some(404) => Refusal::new(Code::ManifestUnknown, "not known here nor upstream"),
        Some(429) => Refusal::new(Code::TooManyRequests, "upstream asks to wait"),
        _ => Refusal::internal(format!("upstream: {error}")),
    }
}
