//! A client of this host that hands over what it offers as descriptors: directories, agents'
//! sockets, places for results. Nothing is packed or copied on the way. Only those who may do
//! everything anyway are served so: the daemon reads with its own rights, not with theirs.

use crate::node::blocking;
use crate::streams::ClientStream;
use crate::{EngineError, Result};
use build::client::{Client, Content, Credentials, Future, LocalAsk, LocalDir, Secret};
use build::layout::{Directory, Layout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How long the client may take to hand everything over.
const HAND_TIMEOUT: Duration = Duration::from_secs(30);
/// How many descriptors may come with one message.
const MAX_FDS: usize = 8;

/// What a descriptor is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handing {
    /// A directory of that name.
    Directory(String),
    /// The socket file of an SSH agent of that id.
    Agent(String),
    /// A directory that takes the output of that number.
    OutputDirectory(usize),
    /// A file or pipe that takes the output of that number.
    OutputFile(usize),
}

/// Values that came with the request itself.
#[derive(Default)]
pub struct Valuables {
    /// Secrets by id.
    pub secrets: HashMap<String, Secret>,
    /// Credentials by registry host.
    pub credentials: HashMap<String, Credentials>,
}

/// What a client handed over.
pub struct Handed {
    directories: HashMap<String, Arc<OwnedFd>>,
    agents: HashMap<String, OwnedFd>,
    output_directories: HashMap<usize, OwnedFd>,
    output_files: Mutex<HashMap<usize, OwnedFd>>,
    valuables: Valuables,
    owner: (u32, u32),
}

impl Handed {
    /// Whether a process of this user may hand descriptors over.
    pub fn may(uid: u32) -> bool {
        uid == 0 || uid == rustix::process::geteuid().as_raw()
    }

    /// Takes what the client hands over on its connection, in the order of `list`; the connection
    /// comes back. Results will belong to `owner`.
    ///
    /// # Errors
    /// The client sends something else, or nothing in time.
    pub async fn take(
        client: ClientStream,
        list: Vec<Handing>,
        (valuables, owner): (Valuables, (u32, u32)),
    ) -> Result<(Self, UnixStream)> {
        let taking = || "take descriptors from the client".to_owned();
        let io = |source| EngineError::Io { act: taking(), source };
        let socket = std::os::unix::net::UnixStream::from(client.fd);
        let socket = UnixStream::from_std(socket).map_err(io)?;
        if !client.read_ahead.is_empty() {
            return Err(EngineError::Internal("the client spoke before it was asked".into()));
        }
        let receiving = async {
            let mut fds = Vec::new();
            while fds.len() < list.len() {
                if socket.async_io(Interest::READABLE, || receive(&socket, &mut fds)).await? == 0 {
                    break;
                }
            }
            Ok(fds)
        };
        let fds = match tokio::time::timeout(HAND_TIMEOUT, receiving).await {
            Ok(received) => received.map_err(io)?,
            Err(_) => return Err(EngineError::Internal("the client handed nothing over".into())),
        };
        if fds.len() != list.len() {
            let (have, want) = (fds.len(), list.len());
            let message = format!("the client handed over {have} descriptors of {want}");
            return Err(EngineError::Internal(message));
        }
        Ok((Self::sorted(list, fds, valuables, owner), socket))
    }

    fn sorted(
        list: Vec<Handing>,
        fds: Vec<OwnedFd>,
        valuables: Valuables,
        owner: (u32, u32),
    ) -> Self {
        let mut handed = Self {
            directories: HashMap::new(),
            agents: HashMap::new(),
            output_directories: HashMap::new(),
            output_files: Mutex::default(),
            valuables,
            owner,
        };
        let mut files = HashMap::new();
        for (handing, fd) in list.into_iter().zip(fds) {
            match handing {
                Handing::Directory(name) => {
                    handed.directories.insert(name, Arc::new(fd));
                }
                Handing::Agent(id) => {
                    handed.agents.insert(id, fd);
                }
                Handing::OutputDirectory(number) => {
                    handed.output_directories.insert(number, fd);
                }
                Handing::OutputFile(number) => {
                    files.insert(number, fd);
                }
            }
        }
        handed.output_files = Mutex::new(files);
        handed
    }
}

impl Client for Handed {
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, build::Result<LocalDir>> {
        Box::pin(async move {
            let dir = self.directories.get(&ask.name).ok_or_else(|| {
                build::Error::not_found(format!("the client offers no directory {:?}", ask.name))
            })?;
            Ok(LocalDir { dir: Arc::clone(dir), lasting: true, keep: None })
        })
    }

    fn is_near(&self) -> bool {
        true
    }

    fn secret<'a>(&'a self, id: &'a str) -> Future<'a, build::Result<Option<Secret>>> {
        Box::pin(async move { Ok(self.valuables.secrets.get(id).cloned()) })
    }

    fn has_ssh<'a>(&'a self, id: &'a str) -> Future<'a, build::Result<bool>> {
        Box::pin(async move { Ok(self.agents.contains_key(id)) })
    }

    fn ssh<'a>(&'a self, id: &'a str) -> Future<'a, build::Result<UnixStream>> {
        Box::pin(async move {
            let agent = self.agents.get(id).ok_or_else(|| {
                build::Error::not_found(format!("the client offers no SSH agent {id:?}"))
            })?;
            // The very socket file that was handed over, whatever its name says by now.
            let path = format!("/proc/self/fd/{}", agent.as_raw_fd());
            UnixStream::connect(path)
                .await
                .map_err(|error| build::Error::io(format!("connect to SSH agent {id:?}"), error))
        })
    }

    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, build::Result<Option<Credentials>>> {
        Box::pin(async move { Ok(self.valuables.credentials.get(host).cloned()) })
    }

    fn layout<'a>(&'a self, name: &'a str) -> Future<'a, build::Result<Arc<dyn Layout>>> {
        Box::pin(async move {
            let dir = self.directories.get(name).ok_or_else(|| {
                build::Error::not_found(format!("the client offers no OCI layout {name:?}"))
            })?;
            let layout: Arc<dyn Layout> = Arc::new(Directory::new(Arc::clone(dir), self.owner));
            Ok(layout)
        })
    }

    fn output_layout<'a>(&'a self, output: usize) -> Future<'a, build::Result<Arc<dyn Layout>>> {
        Box::pin(async move {
            let dir = self.output_directories.get(&output).ok_or_else(|| no_place(output))?;
            let dir = dir
                .try_clone()
                .map_err(|error| build::Error::io("duplicate a descriptor", error))?;
            let layout: Arc<dyn Layout> = Arc::new(Directory::new(Arc::new(dir), self.owner));
            Ok(layout)
        })
    }

    fn file<'a>(&'a self, output: usize, mut content: Content) -> Future<'a, build::Result<()>> {
        Box::pin(async move {
            let files = &self.output_files;
            let taken = files.lock().unwrap_or_else(PoisonError::into_inner).remove(&output);
            let fd = taken.ok_or_else(|| no_place(output))?;
            let written = tokio::task::spawn_blocking(move || {
                let mut file = File::from(fd);
                while let Some(piece) = content.blocking_recv() {
                    file.write_all(&piece?)
                        .map_err(|error| build::Error::io("write the result", error))?;
                }
                Ok(())
            });
            written.await.map_err(build::Error::internal)?
        })
    }

    fn directory<'a>(&'a self, output: usize, dir: OwnedFd) -> Future<'a, build::Result<()>> {
        Box::pin(async move {
            let to = self.output_directories.get(&output).ok_or_else(|| no_place(output))?;
            let to = to
                .try_clone()
                .map_err(|error| build::Error::io("duplicate a descriptor", error))?;
            let owner = self.owner;
            let work = blocking(move || Ok(store::mirror::deliver(dir, &to, owner)?));
            work.await.map_err(|error| build::Error::internal(describe(&error)))
        })
    }
}

/// Takes one message's byte and the descriptors that came along; zero bytes are the end.
fn receive(socket: &UnixStream, fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut data = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = part {
            fds.extend(came);
        }
    }
    Ok(received.bytes)
}

fn no_place(output: usize) -> build::Error {
    build::Error::not_found(format!("the client offers no place for output {output}"))
}

/// An error with its sources.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
