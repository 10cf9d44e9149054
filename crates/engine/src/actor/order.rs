//! What can be asked of a container: one enum, each order with the way back for its answer.

use crate::containers::{ExitStatus, Outcome, RemoveOptions, WaitCondition};
use crate::streams::{AttachOptions, ClientStream, StreamKind};
use crate::{EngineError, Result};
use model::draft::UpdateDraft;
use model::exec::ExecDraft;
use model::network::{EndpointDraft, NetworkSpec};
use model::signal::Signal;
use model::{ContainerName, ExecId};
use tokio::sync::oneshot;

/// The way back.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// One order in a container's queue.
#[derive(Debug)]
pub(crate) enum Order {
    Start(Answer<Outcome>),
    Stop {
        signal: Option<Signal>,
        timeout_s: Option<i64>,
        answer: Answer<Outcome>,
    },
    /// Stop because the daemon stops: nobody asked for this container, and its policy holds.
    Leave {
        timeout_s: Option<i64>,
        answer: Answer<Outcome>,
    },
    Restart {
        signal: Option<Signal>,
        timeout_s: Option<i64>,
        answer: Answer<()>,
    },
    Kill {
        signal: Signal,
        answer: Answer<()>,
    },
    Pause(Answer<()>),
    Unpause(Answer<()>),
    Rename {
        name: ContainerName,
        answer: Answer<()>,
    },
    Update {
        change: Box<UpdateDraft>,
        answer: Answer<Vec<String>>,
    },
    Remove {
        options: RemoveOptions,
        answer: Answer<()>,
    },
    Wait {
        condition: WaitCondition,
        exit: oneshot::Sender<ExitStatus>,
    },
    /// Forget a legacy link.
    Unlink {
        alias: String,
        answer: Answer<()>,
    },
    Resize {
        rows: u16,
        cols: u16,
        answer: Answer<()>,
    },
    Attach {
        options: AttachOptions,
        client: ClientStream,
        answer: Answer<()>,
    },
    Exec(ExecOrder),
    /// End the task of a container that does not run and stays as it is: only whoever made it
    /// without putting it on the roster may ask this.
    Dismiss(Answer<()>),
    /// Answered when everything the monitor has said so far was heard.
    Settle(oneshot::Sender<()>),
    ResizeExec {
        id: ExecId,
        rows: u16,
        cols: u16,
        answer: Answer<()>,
    },
    Connect {
        network: Box<NetworkSpec>,
        draft: Box<EndpointDraft>,
        answer: Answer<()>,
    },
    Disconnect {
        network: Box<NetworkSpec>,
        answer: Answer<()>,
    },
}

/// Start a further process.
#[derive(Debug)]
pub(crate) struct ExecOrder {
    pub(crate) id: ExecId,
    pub(crate) draft: Box<ExecDraft>,
    pub(crate) client: Option<(ClientStream, StreamKind)>,
    pub(crate) answer: Answer<()>,
}

/// Waits for an answer. The queue of a container that is removed is dropped with its answers.
pub(crate) async fn answered<T>(id: &str, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    match answer.await {
        Ok(outcome) => outcome,
        Err(_) => Err(EngineError::NoSuchContainer(id.to_owned())),
    }
}
