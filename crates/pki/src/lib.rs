//! What everybody who speaks TLS needs: certificates and keys from PEM files, the host's
//! authorities, and the one verifier that believes anybody. Whom to believe is decided by who
//! connects; this room opens no socket and knows no configuration.

mod anybody;

pub use anybody::Anybody;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificates, the owner's first, and the owner's private key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A file that holds no certificate, or no key.
#[derive(Debug, thiserror::Error)]
#[error("read {}: {source}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: pem::Error,
}

/// The cryptography of every connection.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM file, in its order; it may have none.
///
/// # Errors
/// The file cannot be read, or is no PEM.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| FileError { path: path.to_owned(), source })
}

/// What is shown of ourselves: a PEM file with the certificate and those that vouch for it, and one
/// with its key.
///
/// # Errors
/// One of the files cannot be read, or holds nothing of the kind.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, FileError> {
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        let source = pem::Error::NoItemsFound;
        return Err(FileError { path: certificate.to_owned(), source });
    }
    let owner = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| FileError { path: key.to_owned(), source })?;
    Ok((chain, owner))
}

/// The authorities that the host trusts. Some of a host's certificates may be unfit; the fit ones
/// are used.
pub fn host_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn files_are_read_whole_and_what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["host.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(at("two.pem"), certificate.pem().repeat(2)).unwrap();
        std::fs::write(at("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(at("none.pem"), "nothing of the kind").unwrap();

        let (chain, _) = identity(&at("two.pem"), &at("key.pem")).unwrap();
        assert_eq!(chain, [certificate.der().clone(), certificate.der().clone()]);
        assert_eq!(certificates(&at("none.pem")).unwrap(), []);
        let error = certificates(&at("gone.pem")).unwrap_err();
        assert_eq!(error.path, at("gone.pem"));
        // A certificate is no key.
        let error = identity(&at("two.pem"), &at("two.pem")).unwrap_err();
        assert!(error.to_string().contains("two.pem"), "{error}");
        let error = identity(&at("none.pem"), &at("key.pem")).unwrap_err();
        assert!(error.to_string().contains("none.pem"), "{error}");
    }
}
