//! `build`: a Dockerfile and its context to an image. A daemon on the same host gets the context's
//! directory itself; others get an archive of it.
//!
//! ```text
//! flags ── ask ──▶ order, descriptors ── unix socket ──▶ lines ── display
//!             └──▶ archive ── POST /build ─────────────▶ messages
//! ```

mod ask;
mod classic;
mod display;
mod error;
mod logins;
mod output;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use wire::build::{BuildDone, BuildLine};

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::print;
use ask::Ask;
use display::Display;

/// The longest line of progress; the output of a step comes in pieces far smaller.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// `build`.
pub(crate) async fn build(invocation: &Invocation) -> Outcome {
    let ask = ask::read(invocation)?;
    if let Some(path) = &ask.iid_file {
        // An id of an earlier build must not be taken for this one's.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(format!("remove {path}: {error}")));
            }
            _ => {}
        }
    }
    match hand_over(invocation, &ask).await? {
        Some(socket) => follow(&ask, socket).await,
        None => classic::build(invocation, ask).await,
    }
}

/// Asks for the build on a connection that takes descriptors; nothing if this daemon does not.
async fn hand_over(invocation: &Invocation, ask: &Ask) -> Result<Option<UnixStream>, Failure> {
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
    let Some(socket) = raw.into_unix() else { return Ok(None) };
    for fd in &ask.descriptors {
        let sent = socket.async_io(Interest::WRITABLE, || send(&socket, fd)).await;
        sent.map_err(|error| Failure::new(format!("hand a directory over: {error}")))?;
    }
    Ok(Some(socket))
}

/// One byte with one descriptor.
fn send(socket: &UnixStream, fd: &OwnedFd) -> std::io::Result<()> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"d")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Shows the progress to its end.
async fn follow(ask: &Ask, socket: UnixStream) -> Outcome {
    let mut display = Display::new(ask.progress, ask.quiet);
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    let mut tick = tokio::time::interval(display::REDRAW);
    loop {
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES.saturating_sub(line.len() as u64));
        let read = tokio::select! {
            read = bounded.read_until(b'\n', &mut line) => {
                read.map_err(|error| Failure::new(format!("read the progress: {error}")))?
            }
            _ = tick.tick(), if display.is_live() => {
                display.redraw();
                continue;
            }
        };
        if read == 0 || line.last() != Some(&b'\n') {
            display.finish();
            return Err(Failure::new("the daemon ended the connection before the build was done"));
        }
        let parsed: BuildLine = serde_json::from_slice(&line)
            .map_err(|error| Failure::new(format!("read the progress: {error}")))?;
        line.clear();
        match parsed {
            BuildLine::Status(status) => display.take(&status)?,
            BuildLine::Done(done) => {
                display.finish();
                display.warn();
                return finish(ask, &done);
            }
            BuildLine::Failed(failed) => {
                display.finish();
                return Err(error::failure(&display, &failed));
            }
        }
    }
}

/// Files with ids, and the id for scripts.
fn finish(ask: &Ask, done: &BuildDone) -> Outcome {
    let id = done.images.first().map(String::as_str).unwrap_or_default();
    let write = |path: &str, text: &str| {
        std::fs::write(path, text).map_err(|error| Failure::new(format!("write {path}: {error}")))
    };
    if let Some(path) = &ask.iid_file {
        write(path, id)?;
    }
    if let Some(path) = &ask.metadata_file {
        let mut metadata = serde_json::Map::new();
        metadata.insert("buildx.build.ref".to_owned(), ask.order.id.clone().into());
        for (name, value) in &done.answers {
            // Documents are written as such.
            let value = serde_json::from_str(value)
                .ok()
                .filter(serde_json::Value::is_object)
                .unwrap_or_else(|| value.clone().into());
            metadata.insert(name.clone(), value);
        }
        if !id.is_empty() {
            let entry = metadata.entry("containerimage.config.digest");
            entry.or_insert_with(|| id.into());
        }
        let text = serde_json::to_string_pretty(&metadata).unwrap_or_default();
        write(path, &format!("{text}\n"))?;
    }
    if ask.quiet && !id.is_empty() {
        print(format!("{id}\n"))?;
    }
    Ok(0)
}
