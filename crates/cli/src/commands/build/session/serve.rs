//! What the daemon calls while it builds: files, secrets, agents, credentials, results. Only what
//! the command line named is offered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use ::buildkit::content;
use ::buildkit::line::{self, MAX_MESSAGE_BYTES};
use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::moby::buildkit::secrets::v1 as secrets;
use bollard_buildkit_proto::moby::filesync::packet::file_send_server as tree_server;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server as sync_server;
use bollard_buildkit_proto::moby::filesync::v1 as files;
use bollard_buildkit_proto::moby::sshforward::v1 as ssh;
use bollard_buildkit_proto::moby::upload::v1 as uploads;
use client::RawStream;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxStream, Service, async_trait};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use wire::build::{HandingOrder, Login};

use super::super::ask::Ask;
use super::filter::Filter;
use super::stores::Stores;
use super::{Scratch, receive, send};
use crate::base64;
use crate::failure::Failure;

/// The methods that are served, beside those of content stores.
pub(super) const METHODS: [&str; 7] = [
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/moby.upload.v1.Upload/Pull",
];
/// Where the daemon finds an archive that came on standard input.
pub(super) const ARCHIVE: &str = "http://buildkit-session/archive";
/// How much of it goes into one message.
const PIECE_BYTES: usize = 64 << 10;
/// Which output a result is for.
const OUTPUT: &str = "buildkit-attachable-exporter-id";
/// How many messages wait for the connection.
pub(super) const QUEUE: usize = 128;

/// What is offered.
pub(super) struct Offer {
    directories: HashMap<String, OwnedFd>,
    agents: HashMap<String, OwnedFd>,
    output_directories: HashMap<usize, OwnedFd>,
    output_files: Mutex<HashMap<usize, OwnedFd>>,
    secrets: HashMap<String, Vec<u8>>,
    logins: HashMap<String, Login>,
    /// What standard input began with, if it is an archive that nobody has pulled yet.
    archive: Mutex<Option<Vec<u8>>>,
    /// A Dockerfile that is in no directory of the user's.
    _scratch: Option<Scratch>,
}

impl Offer {
    /// What an order would hand over.
    pub(super) fn of(ask: &Ask) -> Result<Self, Failure> {
        let mut offer = Self {
            directories: HashMap::new(),
            agents: HashMap::new(),
            output_directories: HashMap::new(),
            output_files: Mutex::default(),
            secrets: HashMap::new(),
            logins: ask.order.credentials.clone().into_iter().collect(),
            archive: Mutex::new(ask.archive.then(|| ask.head.clone())),
            _scratch: None,
        };
        let mut output_files = HashMap::new();
        for (handing, fd) in ask.order.handings.iter().zip(&ask.descriptors) {
            let fd = fd.try_clone();
            let fd = fd.map_err(|error| Failure::new(format!("copy a descriptor: {error}")))?;
            match handing {
                HandingOrder::Directory { name } => {
                    drop(offer.directories.insert(name.clone(), fd))
                }
                HandingOrder::Agent { id } => drop(offer.agents.insert(id.clone(), fd)),
                HandingOrder::OutputDirectory { number } => {
                    drop(offer.output_directories.insert(*number, fd));
                }
                HandingOrder::OutputFile { number } => drop(output_files.insert(*number, fd)),
            }
        }
        offer.output_files = Mutex::new(output_files);
        for (id, text) in &ask.order.secrets {
            offer.secrets.insert(id.clone(), base64::decode(text).unwrap_or_default());
        }
        if let Some(text) = &ask.order.dockerfile {
            let scratch = Scratch::with_file(&ask.order.id, "Dockerfile", text)?;
            let dir = std::fs::File::open(scratch.path())
                .map_err(|error| Failure::new(format!("open the Dockerfile: {error}")))?;
            offer.directories.insert("dockerfile".to_owned(), dir.into());
            offer._scratch = Some(scratch);
        }
        Ok(offer)
    }

    /// A directory with an OCI layout, as the daemon names it: `local:<directory>` of a cache,
    /// `oci:<name>` of a context, `export` for the place of an output.
    pub(super) fn store(&self, id: &str, output: usize) -> Option<&OwnedFd> {
        match id.strip_prefix("local:") {
            Some(dir) => self.directories.get(&format!("cache:{dir}")),
            None if id == "export" => self.output_directories.get(&output),
            None if id.starts_with("oci:") => self.directories.get(id),
            None => None,
        }
    }
}

/// Serves the session until the daemon ends it.
pub(super) async fn serve(stream: RawStream, offer: Arc<Offer>) {
    let services = Services(offer);
    // A daemon that is gone is noticed by what waits for its answer.
    let _ =
        line::serve(TokioIo::new(stream), move |request| answer(services.clone(), request)).await;
}

#[derive(Clone)]
struct Services(Arc<Offer>);

async fn answer(services: Services, request: HttpRequest<Body>) -> HttpResponse<Body> {
    let service = request.uri().path().split('/').nth(1).unwrap_or_default();
    let answered: Result<_, Infallible> = match service {
        "moby.filesync.v1.FileSync" => {
            let server = sync_server::FileSyncServer::new(services);
            server.max_decoding_message_size(MAX_MESSAGE_BYTES).call(request).await
        }
        // A directory comes as packets, anything else as bytes, under one name.
        "moby.filesync.v1.FileSend" => {
            let number = request.headers().get(OUTPUT).and_then(|value| value.to_str().ok());
            let number = number.and_then(|text| text.parse().ok()).unwrap_or(0);
            match services.0.output_directories.contains_key(&number) {
                true => tree_server::FileSendServer::new(services).call(request).await,
                false => {
                    let server = files::file_send_server::FileSendServer::new(services);
                    server.max_decoding_message_size(MAX_MESSAGE_BYTES).call(request).await
                }
            }
        }
        "moby.filesync.v1.Auth" => {
            files::auth_server::AuthServer::new(services).call(request).await
        }
        "moby.buildkit.secrets.v1.Secrets" => {
            secrets::secrets_server::SecretsServer::new(services).call(request).await
        }
        "moby.upload.v1.Upload" => {
            uploads::upload_server::UploadServer::new(services).call(request).await
        }
        content::SERVICE => {
            let stores = Arc::new(Stores(Arc::clone(&services.0)));
            Ok(content::serve(stores, request).await)
        }
        "moby.sshforward.v1.SSH" => ssh::ssh_server::SshServer::new(services).call(request).await,
        other => Ok(Status::unimplemented(format!("unknown service {other}")).into_http()),
    };
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Which output a call is about; the first unless it says so.
pub(super) fn number(metadata: &MetadataMap) -> usize {
    let text = metadata.get(OUTPUT).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl sync_server::FileSync for Services {
    type DiffCopyStream = BoxStream<Packet>;
    type TarStreamStream = BoxStream<Packet>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let metadata = request.metadata();
        let name = metadata.get("dir-name").and_then(|name| name.to_str().ok());
        let name = name.unwrap_or_default().to_owned();
        let dir = self.0.directories.get(&name);
        let dir = dir.ok_or_else(|| Status::not_found(format!("no directory {name:?}")))?;
        let dir = dir.try_clone().map_err(|error| Status::internal(error.to_string()))?;
        let filter = Filter::read(metadata)?;
        let (tx, rx) = mpsc::channel(QUEUE);
        let asks = request.into_inner();
        tokio::spawn(send::directory(dir, filter, asks, tx));
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn tar_stream(
        &self,
        _request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("directories are not sent as archives"))
    }
}

#[async_trait]
impl tree_server::FileSend for Services {
    type DiffCopyStream = BoxStream<Packet>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let number = number(request.metadata());
        let dir = self.0.output_directories.get(&number);
        let dir = dir.ok_or_else(|| Status::not_found(format!("no place for output {number}")))?;
        let dir = dir.try_clone().map_err(|error| Status::internal(error.to_string()))?;
        let (tx, rx) = mpsc::channel(QUEUE);
        tokio::spawn(receive::directory(dir, request.into_inner(), tx));
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

#[async_trait]
impl files::file_send_server::FileSend for Services {
    type DiffCopyStream = BoxStream<files::BytesMessage>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<files::BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let number = number(request.metadata());
        let taken = {
            let files = &self.0.output_files;
            files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
        };
        let fd = taken.ok_or_else(|| Status::not_found(format!("no place for output {number}")))?;
        receive::file(fd, request.into_inner()).await?;
        Ok(Response::new(Box::pin(tonic::codegen::tokio_stream::empty())))
    }
}

#[async_trait]
impl secrets::secrets_server::Secrets for Services {
    async fn get_secret(
        &self,
        request: Request<secrets::GetSecretRequest>,
    ) -> Result<Response<secrets::GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let value = self.0.secrets.get(&id);
        let data = value.ok_or_else(|| Status::not_found(format!("secret {id}: not found")))?;
        Ok(Response::new(secrets::GetSecretResponse { data: data.clone() }))
    }
}

#[async_trait]
impl files::auth_server::Auth for Services {
    async fn credentials(
        &self,
        request: Request<files::CredentialsRequest>,
    ) -> Result<Response<files::CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let Some(login) = self.0.logins.get(&host) else {
            return Ok(Response::new(files::CredentialsResponse::default()));
        };
        // A token instead of a password goes without a name.
        let (username, secret) = match login.identity_token.is_empty() {
            true => (login.username.clone(), login.password.clone()),
            false => (String::new(), login.identity_token.clone()),
        };
        Ok(Response::new(files::CredentialsResponse { username, secret }))
    }

    async fn fetch_token(
        &self,
        _request: Request<files::FetchTokenRequest>,
    ) -> Result<Response<files::FetchTokenResponse>, Status> {
        Err(Status::unimplemented("tokens are fetched by the daemon"))
    }

    async fn get_token_authority(
        &self,
        _request: Request<files::GetTokenAuthorityRequest>,
    ) -> Result<Response<files::GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("tokens are fetched by the daemon"))
    }

    async fn verify_token_authority(
        &self,
        _request: Request<files::VerifyTokenAuthorityRequest>,
    ) -> Result<Response<files::VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("tokens are fetched by the daemon"))
    }
}

#[async_trait]
impl uploads::upload_server::Upload for Services {
    type PullStream = BoxStream<uploads::BytesMessage>;

    /// Standard input, once.
    async fn pull(
        &self,
        request: Request<Streaming<uploads::BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let path = request.metadata().get("urlpath").and_then(|path| path.to_str().ok());
        let known = path.is_some_and(|path| ARCHIVE.ends_with(path) && path.len() > 1);
        let head = match known {
            true => self.0.archive.lock().unwrap_or_else(PoisonError::into_inner).take(),
            false => None,
        };
        let head = head.ok_or_else(|| Status::not_found("nothing is held ready there"))?;
        let (tx, rx) = mpsc::channel(8);
        tokio::task::spawn_blocking(move || {
            let (mut data, mut stdin) = (head, std::io::stdin().lock());
            loop {
                if !data.is_empty() && tx.blocking_send(Ok(uploads::BytesMessage { data })).is_err()
                {
                    return;
                }
                data = vec![0; PIECE_BYTES];
                match stdin.read(&mut data) {
                    Ok(0) => return,
                    Ok(count) => data.truncate(count),
                    Err(error) => {
                        let message = format!("read standard input: {error}");
                        // The daemon may have left already.
                        let _ = tx.blocking_send(Err(Status::aborted(message)));
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}

/// The id of the agent that is meant when none is named.
const DEFAULT_AGENT: &str = "default";

#[async_trait]
impl ssh::ssh_server::Ssh for Services {
    type ForwardAgentStream = BoxStream<ssh::BytesMessage>;

    async fn check_agent(
        &self,
        request: Request<ssh::CheckAgentRequest>,
    ) -> Result<Response<ssh::CheckAgentResponse>, Status> {
        let id = request.into_inner().id;
        let id = if id.is_empty() { DEFAULT_AGENT } else { &id };
        match self.0.agents.contains_key(id) {
            true => Ok(Response::new(ssh::CheckAgentResponse {})),
            false => Err(Status::not_found(format!("unset ssh forward key {id}"))),
        }
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<ssh::BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get("buildkit.ssh.id").and_then(|id| id.to_str().ok());
        let id = id.filter(|id| !id.is_empty()).unwrap_or(DEFAULT_AGENT).to_owned();
        let agent = self.0.agents.get(&id);
        let agent =
            agent.ok_or_else(|| Status::not_found(format!("unset ssh forward key {id}")))?;
        // The very socket that was opened, whatever its name says by now.
        let path = format!("/proc/self/fd/{}", agent.as_raw_fd());
        let socket = UnixStream::connect(path)
            .await
            .map_err(|error| Status::unavailable(format!("connect to agent {id}: {error}")))?;
        let (mut read, mut write) = socket.into_split();
        let mut incoming = request.into_inner();
        let (tx, rx) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if write.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let mut piece = vec![0; 32 << 10];
            while let Ok(count @ 1..) = read.read(&mut piece).await {
                let data = piece[..count].to_vec();
                if tx.send(Ok(ssh::BytesMessage { data })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }
}
