//! TLS for listeners: certificates from PEM files, clients verified by a certificate authority of
//! the administrator's choice. It opens no socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// How a listener proves who it is, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with whatever chain belongs to it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities of clients' certificates, PEM. `None`: clients are not asked for one, and
    /// **whoever connects is root**.
    pub client_authority: Option<PathBuf>,
}

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error(transparent)]
    File(#[from] pki::FileError),
    /// A file holds none of what is looked for in it.
    #[error("read {what} {}: there is none in it", path.display())]
    Empty {
        /// What the file is.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Certificate, key and authority do not make a server.
    #[error("set up TLS with certificate {}: {why}", certificate.display())]
    Unfit {
        /// The certificate.
        certificate: PathBuf,
        /// Why.
        why: String,
    },
}

/// Certificates of a listener, which can be read again while it is served: whoever connects from
/// then on sees the new ones.
#[derive(Clone)]
pub struct Certificates(Arc<RwLock<TlsAcceptor>>);

impl Certificates {
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(acceptor(files)?))))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// They are unfit; what was served before still is.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let fresh = acceptor(files)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(crate) fn current(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What turns accepted connections into TLS.
fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let unfit = |why: String| TlsError::Unfit { certificate: files.certificate.clone(), why };
    let provider = pki::provider();
    let (chain, key) = pki::identity(&files.certificate, &files.key)?;
    some("certificate", &files.certificate, &chain)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let authorities = pki::certificates(path)?;
            some("authority", path, &authorities)?;
            for certificate in authorities {
                roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
            }
            let verifier: Arc<dyn ClientCertVerifier> =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| unfit(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| unfit(error.to_string()))?;
    // Hijacked connections are HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn some(what: &'static str, path: &Path, found: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    match found.is_empty() {
        true => Err(TlsError::Empty { what, path: path.to_owned() }),
        false => Ok(()),
    }
}
