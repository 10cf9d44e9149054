//! `build`: a Dockerfile and its context to an image. A daemon on the same host gets the context's
//! directory itself; others are served it over BuildKit's protocol, and those that do not speak
//! that get an archive.
//!
//! ```text
//! flags ── ask ──▶ order, descriptors ── unix socket ──▶ lines ───┐
//!             ├──▶ session ── /session, /grpc ─────────▶ status ──┼──▶ screen
//!             └──▶ archive ── POST /build ─────────────▶ messages ┘
//! ```

mod ask;
mod call;
mod classic;
mod display;
mod error;
mod logins;
mod output;
mod places;
mod screen;
mod session;

pub(crate) use ask::{Ask, is_remote, read as ask, read_inline as ask_inline};
pub(crate) use screen::Screen;
pub(crate) use session::{Control, control, glob, status};

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use wire::build::{BuildDone, BuildFailed, BuildLine};

use crate::base64;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::flags::Matches;
use crate::invocation::Invocation;
use crate::terminal::print;
use display::Display;

/// How many descriptors the daemon takes with one byte.
const FDS_AT_ONCE: usize = 8;
/// The longest line of progress; the output of a step comes in pieces far smaller.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// `build`.
pub(crate) async fn build(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let ask = ask(invocation, matches)?;
    let screen = ask.screen();
    let done = carry_out(invocation, matches, &ask, &screen).await;
    screen.finish();
    let done = done?;
    screen.warn();
    finish(&ask, &done)
}

impl Ask {
    /// The screen that it asks for.
    pub(crate) fn screen(&self) -> Screen {
        Screen::new(Display::new(self.progress, self.quiet))
    }
}

/// A screen for what was told before.
pub(crate) fn replay_screen(progress: &str) -> Result<Screen, Failure> {
    let progress = if progress.is_empty() { "plain" } else { progress };
    let mode = display::Mode::parse(progress).map_err(Failure::new)?;
    Ok(Screen::new(Display::new(mode, false)))
}

/// Builds, by the best way that the daemon offers.
pub(crate) async fn carry_out(
    invocation: &Invocation,
    matches: &Matches,
    ask: &Ask,
    screen: &Screen,
) -> Result<BuildDone, Failure> {
    if let Some(path) = &ask.iid_file {
        // An id of an earlier build must not be taken for this one's.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(format!("remove {path}: {error}")));
            }
            _ => {}
        }
    }
    let built = match hand_over(invocation, ask).await? {
        Some(begun) => follow(begun, screen).await?,
        None => match session::build(&invocation.client()?, ask, screen).await? {
            Some(built) => built,
            None => return classic::build(invocation, matches, ask).await,
        },
    };
    built.map_err(|failed| {
        screen.finish();
        error::failure(&screen.display(), &failed)
    })
}

/// Asks for the build on a connection that takes descriptors; nothing if this daemon does not.
async fn hand_over(
    invocation: &Invocation,
    ask: &Ask,
) -> Result<Option<(UnixStream, Vec<u8>)>, Failure> {
    let client = invocation.client()?;
    if ask.archive || !matches!(client.endpoint(), client::Endpoint::Unix(_)) {
        return Ok(None);
    }
    let request = client.post("/estiba/build").unversioned().json(&ask.order)?;
    let raw = match request.hijack().await {
        Ok(raw) => raw,
        // Another engine, or one that does not trust this user with descriptors.
        Err(client::Error::Api { status: 403..=405, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some((socket, early)) = raw.into_unix() else { return Ok(None) };
    for fds in ask.descriptors.chunks(FDS_AT_ONCE) {
        let sent = socket.async_io(Interest::WRITABLE, || send(&socket, fds)).await;
        sent.map_err(|error| Failure::new(format!("hand a directory over: {error}")))?;
    }
    Ok(Some((socket, early)))
}

/// One byte with descriptors.
fn send(socket: &UnixStream, fds: &[OwnedFd]) -> std::io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"d")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Shows the progress to its end.
async fn follow(
    (socket, early): (UnixStream, Vec<u8>),
    screen: &Screen,
) -> Result<Result<BuildDone, BuildFailed>, Failure> {
    // A build that waits for nothing tells of itself before we have heard that it may.
    let mut reader = BufReader::new(early.as_slice().chain(socket));
    let mut line = Vec::new();
    let redrawing = screen.redrawing();
    tokio::pin!(redrawing);
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES);
        let read = tokio::select! {
            read = bounded.read_until(b'\n', &mut line) => {
                read.map_err(|error| Failure::new(format!("read the progress: {error}")))?
            }
            () = &mut redrawing => return Err(Failure::silent(1)),
        };
        if read == 0 || line.last() != Some(&b'\n') {
            screen.finish();
            return Err(Failure::new("the daemon ended the connection before the build was done"));
        }
        let parsed: BuildLine = serde_json::from_slice(&line)
            .map_err(|error| Failure::new(format!("read the progress: {error}")))?;
        match parsed {
            BuildLine::Status(status) => screen.take(&status)?,
            BuildLine::Done(done) => return Ok(Ok(done)),
            BuildLine::Failed(failed) => return Ok(Err(failed)),
        }
    }
}

/// Files with ids, the id for scripts, or the answer to what was asked instead of building.
fn finish(ask: &Ask, done: &BuildDone) -> Outcome {
    let id = done.images.first().map(String::as_str).unwrap_or_default();
    if let Some(path) = &ask.iid_file {
        write(path, id)?;
    }
    if let Some(path) = &ask.metadata_file {
        let text = serde_json::to_string_pretty(&metadata(ask, done)).unwrap_or_default();
        write(path, &format!("{text}\n"))?;
    }
    if let Some(call) = &ask.call {
        return call.show(&done.answers);
    }
    if ask.quiet && !id.is_empty() {
        print(format!("{id}\n"))?;
    }
    Ok(0)
}

/// Writes a file for scripts.
pub(crate) fn write(path: &str, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("write {path}: {error}")))
}

/// What exporters answer, as `--metadata-file` has it.
pub(crate) fn metadata(ask: &Ask, done: &BuildDone) -> serde_json::Map<String, serde_json::Value> {
    let mut metadata = serde_json::Map::new();
    let reference = format!("default/default/{}", ask.order.id);
    metadata.insert("buildx.build.ref".to_owned(), reference.into());
    for (name, value) in &done.answers {
        // Documents are written as such, also those that travel in base64.
        let packed = base64::decode(value).filter(|_| name.ends_with(".descriptor"));
        let value = serde_json::from_slice(packed.as_deref().unwrap_or(value.as_bytes()))
            .ok()
            .filter(serde_json::Value::is_object)
            .unwrap_or_else(|| value.clone().into());
        metadata.insert(name.clone(), value);
    }
    if let Some(id) = done.images.first() {
        let entry = metadata.entry("containerimage.config.digest");
        entry.or_insert_with(|| id.clone().into());
    }
    metadata
}
