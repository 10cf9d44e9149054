//! The monitor's protocol: every request, reply and event, and nothing about how they travel.
//!
//! ```text
//!  daemon ── RequestFrame{id, request} ──▶ monitor
//!  daemon ◀── MessageFrame{id, reply} ──── monitor      one per request, in the order asked
//!  daemon ◀── MessageFrame{event} ──────── monitor      to every connection
//! ```
//! The first messages on the launch connection are [`Event::Begun`], if there is something to say
//! so early, and `reply` with id [`LAUNCH`]: `Created` or `Failed`.
//!
//! Monitors outlive the daemon that started them, so both sides meet versions of the other that
//! they have never seen. Fields are only ever added, with a default; unknown fields are ignored;
//! an unknown request is answered with [`ErrorKind::Unsupported`]; unknown events and replies
//! decode to `Unknown`. Meaning never changes under an existing name.

use serde::{Deserialize, Serialize};
use wire::oci::runtime::Process;

/// The protocol's version, told in [`Reply::Hello`]. It grows when a request is added.
pub const VERSION: u32 = 1;

/// Largest frame body in bytes; a peer that announces more is cut off.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// Most file descriptors that one frame can carry.
pub const MAX_FRAME_FDS: usize = 4;

/// The id of the reply that nobody asked for: the outcome of the launch.
pub const LAUNCH: u64 = 0;

/// Docker's default detach sequence: ctrl-p, ctrl-q.
pub const DEFAULT_DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// Name of the monitor's path socket in the state directory.
pub const SOCKET_NAME: &str = "monitor.sock";

/// Name of the file in the state directory that holds the container's [`Exit`], as JSON.
pub const EXIT_NAME: &str = "exit.json";

/// A request and the id that its reply will repeat. Ids start at 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the asker, unique among its open requests.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What a daemon can ask of a monitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Says who is talking; the reply is [`Reply::Hello`]. Optional.
    Hello {
        /// The asker's [`VERSION`].
        version: u32,
    },
    /// Lets the created container run its program. Reply: `Started` or `Failed`.
    Start,
    /// Serves one client directly on the one fd sent with the frame, which must be a stream
    /// socket. Allowed from the created phase on. Reply: `Done`.
    Attach(Attach),
    /// Starts another process in the container. With `attach`, one fd comes with the frame and
    /// sees the output from its first byte. Reply: `ExecStarted` or `Failed`.
    Exec(Box<Exec>),
    /// Sends a signal to one process. Reply: `Done`.
    Signal {
        /// Whom.
        process: ProcessId,
        /// Signal number.
        signal: i32,
    },
    /// Sends a signal to every process of the container's cgroup. Reply: `Done`.
    SignalAll {
        /// Signal number.
        signal: i32,
    },
    /// Sets the size of a process's terminal. Reply: `Done`.
    Resize {
        /// Whose terminal.
        process: ProcessId,
        /// The new size.
        size: TerminalSize,
    },
    /// Closes a process's stdin once what was written to it has been delivered. Reply: `Done`.
    CloseStdin {
        /// Whose stdin.
        process: ProcessId,
    },
    /// Asks for everything. Reply: [`Reply::State`].
    State,
    /// Kills a container that was created but not started. Reply: `Done`, then the usual end.
    Abort,
    /// Ends the monitor of a container that has exited without waiting for slow clients.
    /// Reply: `Done`; refused while the container lives.
    Quit,
    /// A request of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// Which process of the container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessId {
    /// The container's init.
    Init,
    /// An exec'd process, by the id that its request chose.
    Exec(String),
}

/// How one client is attached to a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachOptions {
    /// What the client sends becomes the process's stdin.
    pub stdin: bool,
    /// The client receives stdout; with a terminal, the terminal's output.
    pub stdout: bool,
    /// The client receives stderr; means nothing with a terminal.
    pub stderr: bool,
    /// Output goes in Docker's frames (`[stream, 0, 0, 0, length: u32 BE]`); a terminal's
    /// output is stdout.
    pub framed: bool,
    /// Typing this on a terminal detaches the client; empty: nothing does.
    #[serde(with = "hex")]
    pub detach_keys: Vec<u8>,
    /// Sent to the client before any output, only when the request succeeds: the place for an
    /// HTTP `101 Switching Protocols` head.
    #[serde(with = "hex")]
    pub preamble: Vec<u8>,
    /// Input that was already read from the client.
    #[serde(with = "hex")]
    pub initial: Vec<u8>,
}

/// [`Request::Attach`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attach {
    /// Whose streams.
    pub process: ProcessId,
    /// Which of them, and how.
    #[serde(flatten)]
    pub options: AttachOptions,
}

/// [`Request::Exec`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// The id of this exec, unique among the living execs of the container.
    pub exec_id: String,
    /// What to run. `terminal` decides between a pty and pipes.
    pub process: Process,
    /// `user[:group]` by name or number, resolved in the container's own files; it replaces the
    /// ids of `process.user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process gets a stdin that clients can write to; otherwise `/dev/null`.
    #[serde(default)]
    pub stdin_open: bool,
    /// Attaches the frame's fd before the process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<AttachOptions>,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub cols: u16,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code as a shell would see it: 128 + n when killed by signal n.
    pub code: i32,
    /// The signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory; only told of init.
    #[serde(default)]
    pub oom_killed: bool,
    /// Wall clock, nanoseconds since 1970.
    pub finished_at_ns: i64,
    /// When init's program was started; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ns: Option<i64>,
}

/// Where the container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Built, its init waiting at the gate.
    Created,
    /// Its program runs.
    Running,
    /// Its init is dead and reaped; output may still be on its way to clients.
    Exited,
}

/// [`Reply::State`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The monitor's [`VERSION`].
    pub version: u32,
    /// The container's id, as launched.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Process id of init in the monitor's pid namespace; not valid once exited.
    pub pid: i32,
    /// Wall clock, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ns: Option<i64>,
    /// Set in the exited phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Every exec that lives, and the exits of the last [`MAX_KEPT_EXECS`] that do not.
    #[serde(default)]
    pub execs: Vec<ExecState>,
    /// The container's cgroup, as the cgroup code names it.
    pub cgroup: String,
    /// How many log entries could not be written.
    #[serde(default)]
    pub log_lost_entries: u64,
}

/// How many finished execs a monitor remembers.
pub const MAX_KEPT_EXECS: usize = 1000;

/// How many execs may live at once.
pub const MAX_LIVE_EXECS: usize = 1000;

/// How many clients may be attached at once.
pub const MAX_ATTACHED: usize = 256;

/// How many control connections may be open at once.
pub const MAX_CONNECTIONS: usize = 16;

/// One exec in [`State`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// The id that its request chose.
    pub exec_id: String,
    /// Process id in the monitor's pid namespace; not valid once exited.
    pub pid: i32,
    /// Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// To `hello`.
    Hello {
        /// The monitor's [`VERSION`].
        version: u32,
    },
    /// The container is built and waits for `start`. Comes with init's pidfd.
    Created {
        /// Process id of init in the monitor's pid namespace.
        pid: i32,
        /// The container's cgroup, as the cgroup code names it.
        cgroup: String,
        /// What could not be had and was not insisted on.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// The program runs.
    Started {
        /// Wall clock, nanoseconds since 1970.
        started_at_ns: i64,
    },
    /// The exec'd program runs.
    ExecStarted {
        /// Process id in the monitor's pid namespace.
        pid: i32,
    },
    /// Everything.
    State(State),
    /// Done, with nothing to tell.
    Done,
    /// A launch, start or exec did not come about.
    Failed {
        /// 125, 126 or 127, as Docker's.
        exit_code: i32,
        /// What failed, with its objects.
        message: String,
    },
    /// The request was refused.
    Error {
        /// Why, for programs.
        kind: ErrorKind,
        /// Why, for people.
        message: String,
    },
    /// A reply of a newer monitor.
    #[serde(other)]
    Unknown,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// This monitor does not know that request.
    Unsupported,
    /// The request cannot be understood or lacks its fd.
    Invalid,
    /// There is no such process.
    NotFound,
    /// Not in this phase, or the id is taken.
    Conflict,
    /// A limit of this module is reached.
    Exhausted,
    /// The kernel refused.
    System,
    /// An error of a newer monitor.
    #[serde(other)]
    Unknown,
}

/// What happens without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Init exists and is being prepared, and has a network namespace of its own, which comes with
    /// the event: what is made there can be made meanwhile.
    Begun,
    /// Init is dead, its output is in the log and `exit.json` is written. The monitor then
    /// removes the cgroup and its socket; the end of the connection says that this is done.
    Exited {
        /// How.
        exit: Exit,
    },
    /// An exec'd process is dead and its output delivered.
    ExecExited {
        /// Which.
        exec_id: String,
        /// How.
        exit: Exit,
    },
    /// The kernel killed a process of the container for want of memory.
    Oom,
    /// A client typed its detach keys.
    Detached {
        /// From whom.
        process: ProcessId,
    },
    /// An event of a newer monitor.
    #[serde(other)]
    Unknown,
}

/// What comes from a monitor.
#[derive(Debug, Clone)]
pub enum Message {
    /// The answer to the request with this id.
    Reply(u64, Reply),
    /// News.
    Event(Event),
}

/// [`Message`] as it is written: `{"id":…,"reply":…}` or `{"event":…}`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

impl From<Message> for MessageFrame {
    fn from(message: Message) -> Self {
        match message {
            Message::Reply(id, reply) => Self { id: Some(id), reply: Some(reply), event: None },
            Message::Event(event) => Self { id: None, reply: None, event: Some(event) },
        }
    }
}

impl From<MessageFrame> for Message {
    fn from(frame: MessageFrame) -> Self {
        match frame {
            MessageFrame { id: Some(id), reply: Some(reply), .. } => Self::Reply(id, reply),
            MessageFrame { event: Some(event), .. } => Self::Event(event),
            MessageFrame { .. } => Self::Event(Event::Unknown),
        }
    }
}

/// Bytes as hexadecimal text: they are few, and may be anything.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.as_bytes();
        if digits.len() % 2 != 0 {
            return Err(D::Error::custom("odd number of hexadecimal digits"));
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        digits
            .chunks_exact(2)
            .map(|pair| match (nibble(pair[0]), nibble(pair[1])) {
                (Some(high), Some(low)) => Ok(high << 4 | low),
                _ => Err(D::Error::custom("not a hexadecimal digit")),
            })
            .collect()
    }
}
