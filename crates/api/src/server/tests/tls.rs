//! TLS listeners: who gets in, who does not, and a connection that is given away.

use std::io::{Read, Write};
use std::net::TcpStream as Plain;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::super::*;
use super::TestApp;

type Stream = StreamOwned<ClientConnection, Plain>;

struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), own)
    }

    /// A certificate for `name` and its key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A server that asks for certificates of `authority`; the directory holds its files.
async fn serve_tls(authority: &Authority) -> (std::net::SocketAddr, watch::Sender<bool>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.issue("localhost");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = TlsFiles {
        certificate: file("cert.pem", &certificate),
        key: file("key.pem", &key),
        client_authority: Some(file("ca.pem", &authority.1)),
    };
    let listener = Listener::bind_tls("127.0.0.1:0", &files).await.unwrap();
    let Listener::Tls(socket, _) = &listener else { panic!("not TLS") };
    let address = socket.local_addr().unwrap();
    let (tell, told) = watch::channel(false);
    tokio::spawn(run(TestApp::default(), vec![listener], told));
    (address, tell, dir)
}

fn connect(
    address: std::net::SocketAddr,
    trusted: &Authority,
    own: Option<(String, String)>,
) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.1.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = Plain::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    StreamOwned::new(client, socket)
}

/// The answer's first bytes; the error when the server did not let the client in.
fn ask(stream: &mut Stream, request: &[u8]) -> io::Result<String> {
    stream.write_all(request)?;
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer)?;
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(String::from_utf8_lossy(&buffer[..read]).into_owned()),
    }
}

const PEER: &[u8] = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn only_the_authoritys_clients_get_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (address, _tell, _dir) = serve_tls(&ours).await;
    tokio::task::spawn_blocking(move || {
        let mut good = connect(address, &ours, Some(ours.issue("client")));
        let answer = ask(&mut good, PEER).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut foreign = connect(address, &ours, Some(theirs.issue("client")));
        assert!(ask(&mut foreign, PEER).is_err(), "a foreign certificate was taken");
        let mut nobody = connect(address, &ours, None);
        assert!(ask(&mut nobody, PEER).is_err(), "no certificate was taken");
        // Who says nothing keeps nobody else out.
        let _silent = Plain::connect(address).unwrap();
        let mut other = connect(address, &ours, Some(ours.issue("client")));
        assert!(ask(&mut other, PEER).unwrap().starts_with("HTTP/1.1 200"));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn files_that_are_missing_or_empty_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let files = TlsFiles {
        certificate: empty.clone(),
        key: dir.path().join("key.pem"),
        client_authority: None,
    };
    let text = Listener::bind_tls("127.0.0.1:0", &files).await.err().unwrap().to_string();
    assert!(text.contains("empty.pem"), "{text}");
    let files = TlsFiles { certificate: dir.path().join("none.pem"), ..files };
    let text = Listener::bind_tls("127.0.0.1:0", &files).await.err().unwrap().to_string();
    assert!(text.contains("none.pem"), "{text}");
}
