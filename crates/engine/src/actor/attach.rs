//! Clients at a container's streams. A client's socket is given to the monitor, which serves it
//! from then on; before the container runs, it is kept here.

use super::{Actor, Order};
use crate::link::{Asked, Link};
use crate::logs;
use crate::streams::{AttachOptions, ClientStream, LogOptions};
use crate::{EngineError, Result};
use model::error::HasKind;
use model::phase::Phase;
use model::{Denied, ErrorKind};
use runtime::monitor::protocol::{self, DEFAULT_DETACH_KEYS, ProcessId, Request};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd};

/// How many clients wait for a container to start.
const MAX_WAITING: usize = 256;

impl Actor {
    /// Attaches a client now, or when the container starts.
    pub(super) async fn attach(
        &mut self,
        mut options: AttachOptions,
        client: ClientStream,
    ) -> Result<()> {
        detach_keys(&options.detach_keys)?;
        options.stdin &= self.definition.spec.open_stdin;
        // Before its first start there is no log, and the start must not be missed over reading it.
        if options.logs && !matches!(self.state.phase, Phase::Created) {
            self.replay_log(options, client);
            return Ok(());
        }
        if !options.stream {
            return Ok(());
        }
        self.emit("attach", &[]);
        let tty = self.definition.spec.tty;
        if self.state.phase.run().is_some()
            && let Some(link) = self.link.as_mut()
        {
            match hand_over(link, tty, &options, &client).await {
                // It has just ended, which is heard next: the client waits for another start.
                Err(error) if link.is_closed() || error.kind() == ErrorKind::NotFound => {}
                handed => return handed,
            }
        }
        if self.attaching.len() >= MAX_WAITING {
            return Err(EngineError::Exhausted(format!(
                "{MAX_WAITING} clients wait for container {} to start",
                self.definition.id
            )));
        }
        self.attaching.push((options, client));
        Ok(())
    }

    /// What was logged so far first, at the client's own pace; then the attach itself.
    fn replay_log(&self, options: AttachOptions, client: ClientStream) {
        let handle = self.handle();
        let wanted =
            LogOptions { stdout: options.stdout, stderr: options.stderr, ..LogOptions::default() };
        let readable = self.definition.spec.log.readable();
        let path = readable.then(|| self.paths.log.clone().into());
        let framed = options.framed && !self.definition.spec.tty;
        tokio::spawn(async move {
            let replayed = crate::node::blocking(move || {
                if let Some(path) = path {
                    logs::replay(
                        path,
                        &wanted,
                        |piece, it| put_output(piece, framed.then_some(it.stream), it.line),
                        |piece| send_all(client.fd.as_fd(), piece),
                    )?;
                }
                Ok(client)
            });
            let Ok(client) = replayed.await else { return };
            let (answer, _) = tokio::sync::oneshot::channel();
            let options = AttachOptions { logs: false, ..options };
            // A container that is gone meanwhile closes the client's connection.
            let _ = handle.send(Order::Attach { options, client, answer }).await;
        });
    }
}

/// Gives a client's socket to the monitor.
async fn hand_over(
    link: &mut Link,
    tty: bool,
    options: &AttachOptions,
    client: &ClientStream,
) -> Result<()> {
    let asked = ask(link, tty, options, client)?;
    link.answer(asked).await.map(drop)
}

/// Asks the monitor to serve a client, whose socket it is given.
pub(super) fn ask(
    link: &mut Link,
    tty: bool,
    options: &AttachOptions,
    client: &ClientStream,
) -> Result<Asked> {
    let request = Request::Attach(protocol::Attach {
        process: ProcessId::Init,
        options: protocol::AttachOptions {
            framed: options.framed && !tty,
            ..monitor_options(options, client)?
        },
    });
    link.ask(&request, &[client.fd.as_fd()])
}

/// The options in the monitor's words.
pub(super) fn monitor_options(
    options: &AttachOptions,
    client: &ClientStream,
) -> Result<protocol::AttachOptions> {
    Ok(protocol::AttachOptions {
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
        framed: options.framed,
        detach_keys: detach_keys(&options.detach_keys)?,
        preamble: Vec::new(),
        initial: client.read_ahead.to_vec(),
    })
}

/// `ctrl-p,ctrl-q`, `a,b`, `ctrl-[`: the bytes typed. Empty means the default sequence.
pub(crate) fn detach_keys(text: &str) -> std::result::Result<Vec<u8>, Denied> {
    if text.is_empty() {
        return Ok(DEFAULT_DETACH_KEYS.to_vec());
    }
    let invalid = || Denied::invalid(format!("Invalid detach keys ({text}) provided"));
    let key = |word: &str| match (word.as_bytes(), word.strip_prefix("ctrl-")) {
        ([byte], _) => Ok(*byte),
        (_, Some(key)) => match key.as_bytes() {
            [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
            [b'@'] => Ok(0),
            [special @ b'['..=b'_'] => Ok(special - b'[' + 27),
            _ => Err(invalid()),
        },
        _ => Err(invalid()),
    };
    text.split(',').map(key).collect()
}

/// Writes output to a client, framed when the stream is said. Waits for a slow one.
pub(super) fn write_output(
    fd: BorrowedFd<'_>,
    stream: Option<crate::streams::Stream>,
    bytes: &[u8],
) -> Result<()> {
    let mut frame = Vec::with_capacity(bytes.len() + 8);
    put_output(&mut frame, stream, bytes);
    send_all(fd, &frame)
}

fn put_output(out: &mut Vec<u8>, stream: Option<crate::streams::Stream>, bytes: &[u8]) {
    if let Some(stream) = stream {
        let number = match stream {
            crate::streams::Stream::Stdout => 1,
            crate::streams::Stream::Stderr => 2,
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&[number, 0, 0, 0]);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

fn send_all(fd: BorrowedFd<'_>, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        match rustix::net::send(fd, rest, rustix::net::SendFlags::NOSIGNAL) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::AGAIN) => {
                let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
                poll(&mut ready, None)
                    .map_err(|errno| EngineError::io("wait for an attached client", errno))?;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(EngineError::io("write to an attached client", errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_as_users_write_them() {
        for (text, want) in [
            ("", &[16, 17][..]),
            ("ctrl-p,ctrl-q", &[16, 17]),
            ("a,ctrl-z,~", &[b'a', 26, b'~']),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", &[0, 27, 28, 29, 30, 31]),
        ] {
            assert_eq!(detach_keys(text).unwrap(), want, "{text}");
        }
        for bad in ["ctrl-", "ctrl-A", "ab", "a,", "ctrl-p ctrl-q", "é"] {
            assert!(detach_keys(bad).is_err(), "{bad}");
        }
    }
}
