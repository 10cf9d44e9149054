//! TLS to an engine: which authorities are trusted, and the certificate that says who we are. It
//! opens no connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
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
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, &error))?;
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
    let mut roots = RootCertStore::empty();
    match &files.authority {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    Error::Endpoint(format!("trust {}: {error}", path.display()))
                })?;
            }
        }
        // Some of a host's certificates may be unfit; the fit ones are used.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unread(path, &error))?;
    let found: std::result::Result<Vec<_>, _> = found.collect();
    found.map_err(|error| unread(path, &error))
}

fn unread(path: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    Error::Endpoint(format!("could not read {}: {error}", path.display()))
}

/// Takes any certificate, and still checks that the other side has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
