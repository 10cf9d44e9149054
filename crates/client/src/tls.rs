//! TLS to an engine: which authorities are trusted, and the certificate that says who we are. It
//! opens no connection.

use std::path::PathBuf;
use std::sync::Arc;

use pki::{Anybody, FileError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// What TLS to an engine is made of. Files are PEM; one that is not named is not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Check that the engine is who it says (`--tlsverify`). Without, the connection is secret,
    /// and may be with anybody.
    pub verify: bool,
    /// The only authorities trusted; the host's own when not named.
    pub authority: Option<PathBuf>,
    /// Our certificate, with whatever chain belongs to it.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// Makes the configuration of connections.
pub(crate) fn config(files: &TlsFiles) -> Result<Arc<ClientConfig>> {
    let broken = |error: rustls::Error| Error::Endpoint(format!("set up TLS: {error}"));
    let provider = pki::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let verifier: Arc<dyn ServerCertVerifier> = if files.verify {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(files)?), provider)
            .build()
            .map_err(|error| Error::Endpoint(format!("set up TLS: {error}")))?
    } else {
        Arc::new(Anybody(provider))
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = pki::identity(certificate, key).map_err(unread)?;
            builder.with_client_auth_cert(chain, key).map_err(broken)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            let text = "Could not load X509 key pair: certificate and key belong together";
            return Err(Error::Endpoint(text.to_owned()));
        }
    };
    Ok(Arc::new(config))
}

fn roots(files: &TlsFiles) -> Result<RootCertStore> {
    let Some(path) = &files.authority else { return Ok(pki::host_authorities()) };
    let mut roots = RootCertStore::empty();
    for certificate in pki::certificates(path).map_err(unread)? {
        roots
            .add(certificate)
            .map_err(|error| Error::Endpoint(format!("trust {}: {error}", path.display())))?;
    }
    Ok(roots)
}

fn unread(error: FileError) -> Error {
    Error::Endpoint(format!("could not {error}"))
}
