//! TLS to registries: the host's certificate authorities, what `certs.d` adds for one registry,
//! and the registries whose certificates the administrator does not want checked.

use super::endpoint::Way;
use super::settings::Settings;
use super::url::Origin;
use crate::error::{Error, Result};
use pki::{Anybody, FileError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;

/// The most files of one registry in `certs.d` that are read.
const MAX_FILES: usize = 64;

/// How TLS is spoken to an origin. `check` is false for those whose certificates are not checked.
pub(crate) fn config(settings: &Settings, way: &Way, check: bool) -> Result<ClientConfig> {
    let Way { origin, reach } = way;
    let provider = pki::provider();
    let act = || format!("prepare TLS for {origin}");
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::transport(act(), error))?;
    let files = files(settings, origin)?;
    let reach = reach.as_deref();
    let authorities: Vec<&PathBuf> = with_extension(&files, "crt")
        .chain(reach.iter().flat_map(|reach| &reach.authorities))
        .collect();
    let verifier: Arc<dyn ServerCertVerifier> = match check {
        true => Arc::new(Trust::read(&authorities, provider)?),
        false => Arc::new(Anybody(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    // What is shown of ourselves: what `hosts.toml` names, or the first `NAME.cert` and its key.
    let named = reach.and_then(|reach| reach.identity.clone());
    let found = || with_extension(&files, "cert").next();
    let files = named.or_else(|| found().map(|cert| (cert.clone(), cert.with_extension("key"))));
    let Some((certificate, key)) = files else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = pki::identity(&certificate, &key).map_err(unreadable)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| Error::transport(act(), error))
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

fn unreadable(error: FileError) -> Error {
    Error::transport(format!("read {}", error.path.display()), error.source)
}

/// Who vouches for a registry. Decides what the authorities do, but for [`Trust::is_named`].
#[derive(Debug)]
struct Trust {
    /// Those of the host and those of `certs.d`.
    authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of `certs.d` themselves.
    named: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn read(files: &[&PathBuf], provider: Arc<CryptoProvider>) -> Result<Self> {
        let mut roots = pki::host_authorities();
        let mut named = Vec::new();
        for path in files {
            for certificate in pki::certificates(path).map_err(unreadable)? {
                let unfit = |why| Error::transport(format!("trust {}", path.display()), why);
                roots.add(certificate.clone()).map_err(unfit)?;
                named.push(certificate);
            }
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::transport("prepare the certificate authorities", error))?;
        Ok(Self { authorities, named })
    }

    /// Whether the certificate of the other side is one that the administrator put into `certs.d`
    /// and speaks for `name`. A self-signed certificate, as `openssl req -x509` writes it, says
    /// that it is an authority, and webpki takes no authority for a server. It says so only after
    /// it has seen that the certificate is valid today.
    fn is_named(
        &self,
        refused: &rustls::Error,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> std::result::Result<bool, rustls::Error> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = refused else {
            return Ok(false);
        };
        if other.0.downcast_ref() != Some(&webpki::Error::CaUsedAsEndEntity)
            || !self.named.iter().any(|named| named.as_ref() == certificate.as_ref())
        {
            return Ok(false);
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let by_authority =
            self.authorities.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match by_authority {
            Err(refused) if self.is_named(&refused, certificate, name)? => {
                Ok(ServerCertVerified::assertion())
            }
            decided => decided,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use std::time::Duration;

    /// A certificate as `openssl req -x509` writes it: self-signed, and an authority. From 2025 to
    /// the end of 2026.
    fn self_signed() -> (CertificateDer<'static>, String) {
        let mut params = CertificateParams::new(["registry.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2026, 12, 31);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (certificate.der().clone(), certificate.pem())
    }

    /// What a client says of `shown`, with `named` in `certs.d`, on the first of January of `year`.
    fn verdict(shown: &CertificateDer<'_>, named: &str, name: &str, year: u64) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.crt");
        std::fs::write(&file, named).unwrap();
        let trust = Trust::read(&[&file], pki::provider()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let days = (year - 1970) * 1461 / 4 + 1;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400));
        trust.verify_server_cert(shown, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn a_self_signed_certificate_is_trusted_where_it_is_named_and_nowhere_else() {
        let (shown, pem) = self_signed();
        let (_, other) = self_signed();
        assert!(verdict(&shown, &pem, "registry.test", 2026));
        assert!(!verdict(&shown, &other, "registry.test", 2026), "another one is named");
        assert!(!verdict(&shown, &pem, "evil.test", 2026), "for another name");
        assert!(!verdict(&shown, &pem, "registry.test", 2024), "not yet valid");
        assert!(!verdict(&shown, &pem, "registry.test", 2028), "no longer valid");
    }
}
