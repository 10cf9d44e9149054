//! TLS to registries: the host's certificate authorities, what `certs.d` adds for one registry,
//! and the registries whose certificates the administrator does not want checked.

use super::settings::Settings;
use super::url::Origin;
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most files of one registry in `certs.d` that are read.
const MAX_FILES: usize = 64;

/// How TLS is spoken to an origin. `check` is false for those whose certificates are not checked.
pub(crate) fn config(settings: &Settings, origin: &Origin, check: bool) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let act = || format!("prepare TLS for {origin}");
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::transport(act(), error))?;
    let files = files(settings, origin)?;
    let builder = if check {
        builder.with_root_certificates(roots(&files)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
    };
    match identity(&files)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::transport(act(), error)),
    }
}

/// The files of a registry in `certs.d`, sorted.
fn files(settings: &Settings, origin: &Origin) -> Result<Vec<PathBuf>> {
    let authority = origin.authority();
    let with_port = format!("{}:{}", origin.host, origin.port);
    let mut names = vec![authority.as_str()];
    if with_port != authority {
        names.push(&with_port);
    }
    if origin.host == "registry-1.docker.io" {
        names.push("docker.io");
    }
    let mut found = Vec::new();
    for dir in &settings.certificates {
        for name in &names {
            let Ok(entries) = std::fs::read_dir(dir.join(name)) else { continue };
            found.extend(entries.flatten().map(|entry| entry.path()).take(MAX_FILES));
        }
    }
    found.sort();
    Ok(found)
}

fn with_extension<'a>(files: &'a [PathBuf], wanted: &'a str) -> impl Iterator<Item = &'a PathBuf> {
    files.iter().filter(move |path| path.extension().is_some_and(|found| found == wanted))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::transport(format!("read {}", path.display()), why)
}

/// The authorities that vouch for a registry.
fn roots(files: &[PathBuf]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::debug!(%error, "a certificate authority of the host is left out");
    }
    roots.add_parsable_certificates(native.certs);
    for path in with_extension(files, "crt") {
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, e))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(path, error))?;
            roots.add(certificate).map_err(|error| unreadable(path, error))?;
        }
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What we show of ourselves: the first `NAME.cert` with its `NAME.key`.
fn identity(files: &[PathBuf]) -> Result<Option<Identity>> {
    let Some(cert) = with_extension(files, "cert").next() else { return Ok(None) };
    let key = cert.with_extension("key");
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(cert).map_err(|error| unreadable(cert, error))?.collect();
    let chain = chain.map_err(|error| unreadable(cert, error))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, error))?;
    Ok(Some((chain, key)))
}

/// Takes any certificate; the signatures of the handshake are still checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
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
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
