//! What a session's client offers a build: files, secrets, agents, credentials, and a place for
//! results. Secrets pass through; nothing here shows or keeps them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ::buildkit::line::{Line, MAX_MESSAGE_BYTES};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest};
use bollard_buildkit_proto::moby::upload::v1 as uploads;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use build::client::{Client, Content, Credentials, Future, LocalAsk, LocalDir, Secret};
use build::layout::Layout;
use build::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request};

use super::fault::failed;
use super::session::Session;
use super::stores::Store;
use super::sync;

/// The largest secret, as in BuildKit.
const MAX_SECRET_BYTES: usize = 500 << 10;
/// How much of an agent's conversation is copied at once.
const SSH_BYTES: usize = 32 << 10;

/// The client of a session, as builds see it.
pub(crate) struct Offer {
    session: Arc<Session>,
    engine: engine::Engine,
    /// A context that came another way than through the session.
    context: Option<LocalDir>,
}

impl Offer {
    /// What `session` offers. A `context` that came with the request stands for the directory of
    /// that name.
    pub(crate) fn new(
        session: Arc<Session>,
        engine: engine::Engine,
        context: Option<LocalDir>,
    ) -> Self {
        Self { session, engine, context }
    }

    async fn receive(&self, ask: &LocalAsk) -> Result<LocalDir> {
        if let Some(context) = &self.context
            && matches!(ask.name.as_str(), "context" | "dockerfile")
        {
            return Ok(context.clone());
        }
        let service = "/moby.filesync.v1.FileSync/DiffCopy";
        if !self.session.serves(service) {
            return Err(Error::invalid("the client's session offers no files"));
        }
        // Without a key of the client's there is nothing to recognise its directory by.
        let key = match self.session.shared_key() {
            "" => String::new(),
            // A look for one file (`.dockerignore`) must not empty the mirror of the whole.
            key => format!("{}:{}:{key}", ask.name, ask.include.join("\n")),
        };
        let mirror = self.engine.builds.mirror(&key).await.map_err(internal)?;
        sync::receive(&self.session, ask, mirror).await
    }

    async fn fetch_secret(&self, id: &str) -> Result<Option<Secret>> {
        let mut client = SecretsClient::with_origin(self.session.line(), Line::origin());
        let request = GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() };
        match client.get_secret(request).await {
            Ok(answer) => {
                let data = answer.into_inner().data;
                if data.len() > MAX_SECRET_BYTES {
                    return Err(Error::invalid(format!(
                        "secret {id:?} is larger than {MAX_SECRET_BYTES} bytes"
                    )));
                }
                Ok(Some(Secret(data.into())))
            }
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
                Ok(None)
            }
            Err(status) => Err(failed(format!("ask the client for secret {id:?}"), &status)),
        }
    }

    /// Follows a file that the client holds ready, as it comes.
    async fn pull(&self, path: &str) -> Result<Content> {
        let asking = format!("ask the client for {path:?}");
        let named = AsciiMetadataValue::try_from(path)
            .map_err(|_| Error::invalid(format!("invalid path {path:?} of an upload")))?;
        let mut client = UploadClient::with_origin(self.session.line(), Line::origin())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        // Nothing is said but where: the client's side of the call stays empty.
        let silence = tonic::codegen::tokio_stream::empty::<uploads::BytesMessage>();
        let mut request = Request::new(silence);
        request.metadata_mut().insert("urlpath", named);
        let host = AsciiMetadataValue::from_static("buildkit-session");
        request.metadata_mut().insert("urlhost", host);
        let stream = client.pull(request).await.map_err(|status| failed(asking.clone(), &status));
        let mut stream = stream?.into_inner();
        let (tx, rx) = mpsc::channel(8);
        tokio::spawn(async move {
            loop {
                let piece = match stream.message().await {
                    Ok(Some(message)) => Ok(message.data.into()),
                    Ok(None) => return,
                    Err(status) => Err(failed(asking.clone(), &status)),
                };
                let last = piece.is_err();
                if tx.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(rx)
    }

    async fn check_agent(&self, id: &str) -> Result<bool> {
        let mut client = SshClient::with_origin(self.session.line(), Line::origin());
        match client.check_agent(CheckAgentRequest { id: id.to_owned() }).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::Unavailable => {
                Err(failed(format!("ask the client for SSH agent {id:?}"), &status))
            }
            // Whatever else it says, it has none.
            Err(_) => Ok(false),
        }
    }

    fn connect_agent(&self, id: &str) -> Result<UnixStream> {
        let connecting = || format!("connect to the client's SSH agent {id:?}");
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io(connecting(), error))?;
        let id = AsciiMetadataValue::try_from(id)
            .map_err(|_| Error::invalid(format!("invalid SSH agent id {id:?}")))?;
        let mut client = SshClient::with_origin(self.session.line(), Line::origin());
        tokio::spawn(async move {
            let (mut read, mut write) = ours.into_split();
            let (tx, rx) = mpsc::channel(8);
            let mut request = Request::new(ReceiverStream::new(rx));
            request.metadata_mut().insert("buildkit.ssh.id", id);
            let up = async move {
                let mut piece = vec![0; SSH_BYTES];
                while let Ok(count @ 1..) = read.read(&mut piece).await {
                    let data = piece[..count].to_vec();
                    if tx.send(BytesMessage { data }).await.is_err() {
                        return;
                    }
                }
            };
            let down = async {
                let mut stream = match client.forward_agent(request).await {
                    Ok(stream) => stream.into_inner(),
                    Err(error) => return tracing::debug!(%error, "forward an SSH agent"),
                };
                while let Ok(Some(message)) = stream.message().await {
                    if write.write_all(&message.data).await.is_err() {
                        return;
                    }
                }
                let _ = write.shutdown().await;
            };
            tokio::join!(up, down);
        });
        Ok(theirs)
    }

    async fn credentials(&self, host: &str) -> Result<Option<Credentials>> {
        if !self.session.serves("/moby.filesync.v1.Auth/Credentials") {
            return Ok(None);
        }
        // Clients know Docker Hub by the name of its registry.
        let host = match host {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        };
        let mut client = AuthClient::with_origin(self.session.line(), Line::origin());
        let answer = client.credentials(CredentialsRequest { host: host.to_owned() }).await;
        let answer = answer
            .map_err(|status| failed(format!("ask the client for credentials of {host}"), &status))?
            .into_inner();
        Ok(match (answer.username.is_empty(), answer.secret.is_empty()) {
            (true, true) => None,
            // A secret without a name is an identity token.
            (true, false) => {
                Some(Credentials { identity_token: answer.secret, ..Credentials::default() })
            }
            (false, _) => Some(Credentials {
                username: answer.username,
                password: answer.secret,
                identity_token: String::new(),
            }),
        })
    }
}

impl Client for Offer {
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, Result<LocalDir>> {
        Box::pin(self.receive(ask))
    }

    fn secret<'a>(&'a self, id: &'a str) -> Future<'a, Result<Option<Secret>>> {
        Box::pin(self.fetch_secret(id))
    }

    fn upload<'a>(&'a self, path: &'a str) -> Future<'a, Result<Content>> {
        Box::pin(self.pull(path))
    }

    fn has_ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<bool>> {
        Box::pin(self.check_agent(id))
    }

    fn ssh<'a>(&'a self, id: &'a str) -> Future<'a, Result<UnixStream>> {
        Box::pin(async move { self.connect_agent(id) })
    }

    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, Result<Option<Credentials>>> {
        Box::pin(self.credentials(host))
    }

    fn layout<'a>(&'a self, name: &'a str) -> Future<'a, Result<Arc<dyn Layout>>> {
        Box::pin(async move {
            // Clients know their caches by the directory, contexts by the name they gave.
            let id = match name.strip_prefix("cache:") {
                Some(dir) => format!("local:{dir}"),
                None => name.to_owned(),
            };
            let store = Store::new(&self.session, &id, None)?;
            Ok(Arc::new(store) as Arc<dyn Layout>)
        })
    }

    fn output_layout<'a>(&'a self, output: usize) -> Future<'a, Result<Arc<dyn Layout>>> {
        Box::pin(async move {
            let store = Store::new(&self.session, "export", Some(output))?;
            Ok(Arc::new(store) as Arc<dyn Layout>)
        })
    }

    fn file<'a>(&'a self, output: usize, content: Content) -> Future<'a, Result<()>> {
        Box::pin(sync::send_file(&self.session, output, content))
    }

    fn directory<'a>(&'a self, output: usize, dir: OwnedFd) -> Future<'a, Result<()>> {
        Box::pin(sync::send_directory(&self.session, output, dir))
    }
}

fn internal(error: engine::EngineError) -> Error {
    Error::internal(crate::failure::describe(&error))
}
