//! Further processes in running containers.

use crate::actor::{ExecOrder, Order, answered};
use crate::node::{Node, blocking};
use crate::record::{self, ExecRecord};
use crate::streams::{ClientStream, StreamKind};
use crate::{EngineError, Result, random};
use model::error::HasKind;
use model::event::EventKind;
use model::exec::{ExecDraft, ExecState, ExecView};
use model::phase::Phase;
use model::view::ContainerView;
use model::{ContainerId, ErrorKind, ExecId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How many execs of one container are remembered; the oldest finished ones are forgotten first.
const MAX_PER_CONTAINER: usize = 1000;

/// How long looking at a running exec waits for its container's attention.
const SETTLE: Duration = Duration::from_secs(1);

/// Further processes in containers. Cheap to clone.
#[derive(Clone)]
pub struct Execs {
    pub(crate) node: Arc<Node>,
}

impl Execs {
    /// Registers a process to start in the container that `query` names.
    pub async fn create(&self, query: &str, draft: ExecDraft) -> Result<ExecId> {
        let view = self.node.registry.find(query)?.view();
        let id = &view.id;
        if draft.command.is_empty() {
            return Err(EngineError::invalid("No exec command specified"));
        }
        check_running(&view.phase, id)?;
        for entry in &draft.env {
            if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
                return Err(EngineError::invalid(format!("invalid environment variable: {entry}")));
            }
        }
        if !draft.workdir.is_empty() && !draft.workdir.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                draft.workdir
            )));
        }
        crate::actor::detach_keys(&draft.detach_keys)?;
        self.check_user(Arc::clone(&view), &draft.user).await?;
        let line = draft.command.join(" ");
        let exec = ExecId::from_bytes(random::id_bytes()?);
        let recorded = ExecRecord { id: exec.to_string(), container: *id, draft: draft.clone() };
        let forgotten = self.node.execs.insert(ExecView {
            id: exec,
            container: *id,
            draft,
            state: ExecState::Created,
        })?;
        let records = self.node.store.records();
        record::forget_execs(records, &forgotten)?;
        store::failpoint::hit("engine.exec.record");
        record::save_exec(records, &recorded)?;
        store::failpoint::hit("engine.exec.recorded");
        let mut attributes: BTreeMap<String, String> = view.spec.labels.clone();
        attributes.insert("image".to_owned(), view.draft.image.clone());
        attributes.insert("name".to_owned(), view.name.to_string());
        attributes.insert("execID".to_owned(), exec.to_string());
        let action = format!("exec_create: {line}");
        self.node.emit(EventKind::Container, action, id.to_string(), attributes);
        Ok(exec)
    }

    /// What is known of an exec, by id or unique prefix. A client asks as soon as its stream ends,
    /// so what the monitor has said by then is heard first.
    pub async fn view(&self, id: &str) -> Result<ExecView> {
        let exec = self.node.execs.find(id)?;
        if !matches!(exec.state, ExecState::Running { .. }) {
            return Ok(exec);
        }
        if let Some(handle) = self.node.registry.by_id(&exec.container) {
            let (answer, heard) = oneshot::channel();
            let settled = async {
                // A container that is gone has nothing more to say.
                if handle.send(Order::Settle(answer)).await.is_ok() {
                    let _ = heard.await;
                }
            };
            // A busy container does not freeze who only looks.
            let _ = tokio::time::timeout(SETTLE, settled).await;
        }
        self.node.execs.find(id)
    }

    /// Whether it could be started now.
    pub async fn check_start(&self, id: &str) -> Result<()> {
        let exec = self.node.execs.find(id)?;
        match exec.state {
            ExecState::Created => {}
            ExecState::Running { .. } => {
                let text = format!("Error: Exec command {} is already running", exec.id);
                return Err(EngineError::conflict(text));
            }
            ExecState::Exited { .. } => {
                let text = format!("Error: Exec command {} has already run", exec.id);
                return Err(EngineError::conflict(text));
            }
        }
        let missing = || EngineError::NoSuchContainer(exec.container.to_string());
        let view = self.node.registry.by_id(&exec.container).ok_or_else(missing)?.view();
        check_running(&view.phase, &view.id)
    }

    /// Somebody who does not exist is refused before there is anything to start, as by Docker.
    /// Numbers always mean somebody.
    async fn check_user(&self, view: Arc<ContainerView>, user: &str) -> Result<()> {
        if user.bytes().all(|c| c.is_ascii_digit() || c == b':') {
            return Ok(());
        }
        let (node, user) = (Arc::clone(&self.node), user.to_owned());
        match blocking(move || crate::containers::user(&node, &view, &user)).await {
            Err(error) if error.kind() == ErrorKind::Invalid => Err(error),
            // What else is wrong is its monitor's to say.
            _ => Ok(()),
        }
    }

    /// Starts it; with `client`, the stream is handed over. Who starts it says how output reaches
    /// the client, whether there is a terminal or not, as with Docker.
    pub async fn start(
        &self,
        id: &str,
        detach: bool,
        size: Option<(u16, u16)>,
        client: Option<(ClientStream, StreamKind)>,
    ) -> Result<()> {
        self.check_start(id).await?;
        let exec = self.node.execs.begin(&self.node.execs.find(id)?.id)?;
        let missing = || EngineError::NoSuchContainer(exec.container.to_string());
        let handle = self.node.registry.by_id(&exec.container).ok_or_else(missing)?;
        let mut draft = exec.draft.clone();
        draft.console_size = size.or(draft.console_size);
        if detach {
            draft.attach_stdin = false;
        }
        let (answer, outcome) = oneshot::channel();
        let client = client.filter(|_| !detach);
        let order = ExecOrder { id: exec.id, draft: Box::new(draft), client, answer };
        handle.send(Order::Exec(order)).await?;
        answered(id, outcome).await
    }

    /// Sets the size of its terminal.
    pub async fn resize(&self, id: &str, rows: u16, cols: u16) -> Result<()> {
        let exec = self.node.execs.find(id)?;
        if !matches!(exec.state, ExecState::Running { .. }) {
            return Err(EngineError::conflict(format!("exec {} is not running", exec.id)));
        }
        let missing = || EngineError::NoSuchContainer(exec.container.to_string());
        let handle = self.node.registry.by_id(&exec.container).ok_or_else(missing)?;
        let (answer, outcome) = oneshot::channel();
        handle.send(Order::ResizeExec { id: exec.id, rows, cols, answer }).await?;
        answered(id, outcome).await
    }
}

/// Docker's refusals of execs in containers that do not run.
fn check_running(phase: &Phase, id: &ContainerId) -> Result<()> {
    Err(EngineError::conflict(match phase {
        Phase::Running(_) | Phase::Stopping(_) => return Ok(()),
        Phase::Paused(_) => {
            format!("Container {id} is paused, unpause the container before exec")
        }
        Phase::Restarting { .. } => {
            format!("Container {id} is restarting, wait until the container is running")
        }
        _ => format!("container {id} is not running"),
    }))
}

/// Every exec that is known. What they were asked to be is written down; what became of them a
/// daemon that restarts learns from the monitors.
#[derive(Debug, Default)]
pub(crate) struct ExecTable {
    known: Mutex<BTreeMap<ExecId, Known>>,
}

#[derive(Debug)]
struct Known {
    view: ExecView,
    /// Somebody is starting it.
    begun: bool,
    /// In the order of creation.
    number: u64,
}

impl ExecTable {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExecId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was written down, until the containers are known.
    pub(crate) fn remember(&self, recorded: Vec<ExecRecord>) {
        let mut known = self.lock();
        for (number, it) in (1..).zip(recorded) {
            let Ok(id) = ExecId::parse(&it.id) else { continue };
            let (container, draft) = (it.container, it.draft);
            let view = ExecView { id, container, draft, state: ExecState::Created };
            known.insert(id, Known { view, begun: false, number });
        }
    }

    /// Says what a monitor has of one; makes it known if it was not.
    pub(crate) fn found(&self, container: ContainerId, id: ExecId, state: ExecState) {
        let mut known = self.lock();
        let number = known.values().map(|it| it.number).max().unwrap_or(0) + 1;
        let unknown = || Known {
            view: ExecView { id, container, draft: ExecDraft::default(), state },
            begun: true,
            number,
        };
        let it = known.entry(id).or_insert_with(unknown);
        (it.view.state, it.begun) = (state, true);
    }

    /// Adds one. Forgets the container's oldest finished one when there are too many, and says
    /// which.
    pub(crate) fn insert(&self, view: ExecView) -> Result<Vec<String>> {
        let mut forgotten = Vec::new();
        let mut known = self.lock();
        let of_container = known.values().filter(|it| it.view.container == view.container);
        if of_container.clone().count() >= MAX_PER_CONTAINER {
            let oldest = of_container
                .filter(|it| !matches!(it.view.state, ExecState::Running { .. }) && !it.begun)
                .min_by_key(|it| it.number)
                .map(|it| it.view.id);
            match oldest {
                Some(oldest) => {
                    known.remove(&oldest);
                    forgotten.push(oldest.to_string());
                }
                None => {
                    return Err(EngineError::Exhausted(format!(
                        "container {} has {MAX_PER_CONTAINER} execs",
                        view.container
                    )));
                }
            }
        }
        let number = known.values().map(|it| it.number).max().unwrap_or(0) + 1;
        known.insert(view.id, Known { view, begun: false, number });
        Ok(forgotten)
    }

    /// By full id or unique prefix.
    pub(crate) fn find(&self, query: &str) -> Result<ExecView> {
        let known = self.lock();
        let missing = || EngineError::NoSuchExec(query.to_owned());
        if let Ok(id) = ExecId::parse(query) {
            return known.get(&id).map(|it| it.view.clone()).ok_or_else(missing);
        }
        let mut matching = known
            .values()
            .filter(|it| !query.is_empty() && it.view.id.to_string().starts_with(query));
        match (matching.next(), matching.next()) {
            (Some(only), None) => Ok(only.view.clone()),
            _ => Err(missing()),
        }
    }

    /// Claims an exec that was not started.
    fn begin(&self, id: &ExecId) -> Result<ExecView> {
        let mut known = self.lock();
        let it = known.get_mut(id).ok_or_else(|| EngineError::NoSuchExec(id.to_string()))?;
        if it.begun {
            let text = format!("Error: Exec command {id} is already running");
            return Err(EngineError::conflict(text));
        }
        it.begun = true;
        Ok(it.view.clone())
    }

    /// Those of a container, in the order of their ids, that are not over.
    pub(crate) fn of(&self, container: &ContainerId) -> Vec<ExecId> {
        let known = self.lock();
        let living = |it: &&Known| {
            it.view.container == *container && !matches!(it.view.state, ExecState::Exited { .. })
        };
        known.values().filter(living).map(|it| it.view.id).collect()
    }

    /// Says what became of one.
    pub(crate) fn set(&self, id: &ExecId, state: ExecState) {
        if let Some(it) = self.lock().get_mut(id) {
            it.view.state = state;
        }
    }

    /// One is over.
    pub(crate) fn ended(&self, id: &ExecId, code: i32) {
        if let Some(it) = self.lock().get_mut(id) {
            let pid = match it.view.state {
                ExecState::Running { pid } | ExecState::Exited { pid, .. } => pid,
                ExecState::Created => 0,
            };
            it.view.state = ExecState::Exited { pid, code };
        }
    }

    /// A container is over, and with it whatever still ran in it.
    pub(crate) fn container_ended(&self, container: &ContainerId) {
        for it in self.lock().values_mut().filter(|it| it.view.container == *container) {
            if let ExecState::Running { pid } = it.view.state {
                it.view.state = ExecState::Exited { pid, code: 137 };
            }
        }
    }

    /// A container is gone. Returns the ids of those that were its.
    pub(crate) fn forget(&self, container: &ContainerId) -> Vec<String> {
        let mut known = self.lock();
        let its = |it: &Known| it.view.container == *container;
        let gone = known.values().filter(|it| its(it)).map(|it| it.view.id.to_string()).collect();
        known.retain(|_, it| !its(it));
        gone
    }
}
