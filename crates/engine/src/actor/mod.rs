//! The one owner of a container: a task that takes orders one by one, hears its monitor, keeps its
//! timers, and publishes what it is. Every change of phase goes through [`model::step::step`];
//! this module executes what that decides, and decides nothing itself.
//!
//! ```text
//!  orders ──▶ ┌───────┐ ──effects──▶ store, net, runtime
//!  monitor ─▶ │ actor │ ──snapshot─▶ readers, without waiting
//!  timers ──▶ └───────┘ ──answers──▶ who asked, who waits
//! ```

mod attach;
mod change;
mod devices;
mod effects;
mod ending;
mod exec;
mod health;
mod launch;
pub(crate) mod links;
mod network;
mod order;
mod prepare;
mod publish;
mod restore;
mod view;
mod ways;

use effects::Stop;

pub(crate) use attach::detach_keys;
pub(crate) use ending::{clear, clear_files, kill_cgroup, orphans};
pub(crate) use network::{DEFAULT_NETWORK, gateways_of_host};
pub(crate) use order::{Answer, ExecOrder, Order, answered};
pub(crate) use prepare::missing_bind;
pub(crate) use restore::{First, abandon};

use crate::containers::{ExitStatus, Outcome, RemoveOptions, WaitCondition};
use crate::link::Link;
use crate::node::Node;
use crate::record::{Definition, State};
use crate::roster::Handle;
use crate::selinux::Held;
use crate::shipping::Shipping;
use crate::streams::{AttachOptions, ClientStream};
use crate::{EngineError, Result};
use model::phase::{Exit, Phase};
use model::signal::Signal;
use model::step::{Facts, Input, Refusal};
use model::view::{ContainerPaths, HealthView};
use runtime::monitor::protocol::{Event, ProcessId, Request};
use std::sync::Arc;
use store::snapshot::Snapshot;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many orders wait in a container's queue before askers do.
const QUEUE_DEPTH: usize = 64;

/// The owner of one container.
pub(crate) struct Actor {
    node: Arc<Node>,
    handle: Arc<Handle>,
    definition: Definition,
    state: State,
    snapshot: Option<Snapshot>,
    paths: ContainerPaths,
    /// Its level of SELinux is nobody else's while it exists.
    _level: Option<Held>,
    orders: mpsc::Receiver<Order>,
    link: Option<Link>,
    waits: Vec<(WaitCondition, oneshot::Sender<ExitStatus>)>,
    stops: Vec<Answer<Outcome>>,
    removals: Vec<(RemoveOptions, Answer<()>)>,
    /// Start again when this stop is over.
    restart: Option<Answer<()>>,
    /// Clients that attached before it ran.
    attaching: Vec<(AttachOptions, ClientStream)>,
    /// The signal and the patience of the stop under way.
    stop_signal: Option<Signal>,
    stop_timeout: i64,
    /// SIGKILL then.
    deadline: Option<Instant>,
    /// The policy starts it then.
    due: Option<Instant>,
    /// Receivers of its output, while there may be some to come.
    shipping: Option<Shipping>,
    health: Option<health::Check>,
    health_view: Option<HealthView>,
    /// Why the launch just tried failed.
    launch_error: Option<EngineError>,
    /// It is removed, and the task over.
    gone: bool,
    /// Its life is nobody's news: a step of a build.
    quiet: bool,
    /// Its root filesystem is not started again, and no power cut need spare it.
    fleeting: bool,
}

impl Actor {
    /// Makes the owner of a container and its handle; [`Actor::run`] brings it to life.
    pub(crate) fn new(
        node: Arc<Node>,
        definition: Definition,
        state: State,
        snapshot: Option<Snapshot>,
    ) -> Self {
        let (sender, orders) = mpsc::channel(QUEUE_DEPTH);
        let paths = view::paths(&node, &definition, snapshot.as_ref());
        let view = view::of(&node, &definition, &state, None, &paths);
        let handle = Arc::new(Handle::new(sender, view));
        let _level = node.levels.hold(definition.spec.isolation.selinux.level());
        Self {
            _level,
            node,
            handle,
            definition,
            state,
            snapshot,
            paths,
            orders,
            link: None,
            waits: Vec::new(),
            stops: Vec::new(),
            removals: Vec::new(),
            restart: None,
            attaching: Vec::new(),
            stop_signal: None,
            stop_timeout: 0,
            deadline: None,
            due: None,
            shipping: None,
            health: None,
            health_view: None,
            launch_error: None,
            gone: false,
            quiet: false,
            fleeting: false,
        }
    }

    /// The same, but what happens to it is told to nobody.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The same, and its root filesystem goes with it, whatever happens to the host meanwhile.
    pub(crate) fn fleeting(mut self) -> Self {
        self.fleeting = true;
        self.quiet()
    }

    /// How the others see it.
    pub(crate) fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Lives until the container is removed, or until the engine is dropped. What it does is boxed:
    /// a container that does nothing takes no room for all that it could do.
    pub(crate) async fn run(mut self) {
        while !self.gone {
            let timer = [self.deadline, self.due, self.health_due()].into_iter().flatten().min();
            tokio::select! {
                biased;
                event = next_event(&mut self.link) => Box::pin(self.heard(event)).await,
                order = self.orders.recv() => match order {
                    Some(order) => Box::pin(self.obey(order)).await,
                    None => return,
                },
                () = sleep_until(timer) => Box::pin(self.timer()).await,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start(answer) => reply(answer, self.start().await),
            Order::Stop { signal, timeout_s, answer } => {
                self.state.stop_asked = true;
                self.stop(signal, timeout_s, answer).await;
            }
            Order::Leave { timeout_s, answer } => self.stop(None, timeout_s, answer).await,
            Order::Restart { signal, timeout_s, answer } => {
                self.restart(signal, timeout_s, answer).await;
            }
            Order::Kill { signal, answer } => reply(answer, self.kill(signal).await),
            Order::Pause(answer) => reply(answer, self.apply(Input::Pause).await),
            Order::Unpause(answer) => reply(answer, self.apply(Input::Unpause).await),
            Order::Rename { name, answer } => reply(answer, self.rename(name).await),
            Order::Update { change, answer } => reply(answer, self.update(&change).await),
            Order::Remove { options, answer } => self.remove(options, answer).await,
            Order::Wait { condition, exit } => self.wait(condition, exit),
            Order::Unlink { alias, answer } => reply(answer, self.unlink(&alias)),
            Order::Resize { rows, cols, answer } => {
                reply(answer, self.resize(ProcessId::Init, rows, cols).await);
            }
            Order::Attach { options, client, answer } => {
                reply(answer, self.attach(options, client).await);
            }
            Order::Exec(order) => self.exec(order).await,
            Order::Dismiss(answer) => {
                self.part_from_monitor().await;
                self.gone = true;
                reply(answer, Ok(()));
            }
            // Events come first in the loop; whoever asked may be gone.
            Order::Settle(answer) => drop(answer.send(())),
            Order::ResizeExec { id, rows, cols, answer } => {
                let process = ProcessId::Exec(id.to_string());
                reply(answer, self.resize(process, rows, cols).await);
            }
            Order::Connect { network, draft, answer } => {
                reply(answer, self.connect(&network, &draft).await);
            }
            Order::Disconnect { network, answer } => {
                reply(answer, self.disconnect(&network).await);
            }
        }
    }

    async fn heard(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Exited { exit }) => {
                let exit = Exit {
                    code: exit.code,
                    oom_killed: exit.oom_killed,
                    started: self.state.phase.run().map(|run| run.started).unwrap_or_default(),
                    finished: model::Timestamp(exit.finished_at_ns),
                    error: String::new(),
                };
                self.exited(exit).await;
            }
            Some(Event::ExecExited { exec_id, exit }) => {
                self.exec_exited(&exec_id, exit.code).await
            }
            Some(Event::Oom) => self.emit("oom", &[]),
            Some(Event::Detached { process: ProcessId::Init }) => self.emit("detach", &[]),
            Some(_) => {}
            None => self.monitor_ended().await,
        }
    }

    async fn timer(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.emit("kill", &[("signal", Signal::KILL.number().to_string())]);
            if let Err(error) = self.signal(Signal::KILL).await {
                tracing::warn!(container = %self.definition.id, %error, "kill after stop");
            }
        }
        if self.due.is_some_and(|at| at <= now) {
            self.due = None;
            // It may have been stopped, or started by hand, meanwhile.
            if matches!(self.state.phase, Phase::Restarting { .. }) {
                self.state.restart_count = self.state.restart_count.saturating_add(1);
                self.state.heal = false;
                self.state.stop_asked = false;
                // The failure is in the container's state, for whoever looks.
                let _ = self.apply(Input::Due).await;
            }
        }
        if self.health_due().is_some_and(|at| at <= now) {
            self.probe().await;
        }
    }

    async fn start(&mut self) -> Result<Outcome> {
        if !matches!(self.state.phase, Phase::Running(_) | Phase::Stopping(_)) {
            self.state.restart_count = 0;
            self.state.last_delay_ns = 0;
            self.state.stop_asked = false;
            self.state.heal = false;
            self.due = None;
        }
        match self.decide(Input::Start).await {
            Err(Stop::Refused(Refusal::NotModified)) => Ok(Outcome::NotModified),
            outcome => self.told(outcome).map(|()| Outcome::Done),
        }
    }

    async fn kill(&mut self, signal: Signal) -> Result<()> {
        if signal == Signal::KILL || signal == self.definition.spec.stop_signal {
            self.state.stop_asked = true;
            self.state.heal = false;
        }
        self.apply(Input::Kill(signal)).await
    }

    async fn stop(
        &mut self,
        signal: Option<Signal>,
        timeout_s: Option<i64>,
        answer: Answer<Outcome>,
    ) {
        match self.begin_stop(signal, timeout_s).await {
            Err(Stop::Refused(Refusal::NotModified)) => reply(answer, Ok(Outcome::NotModified)),
            Ok(()) if self.state.phase.run().is_some() => self.stops.push(answer),
            outcome => reply(answer, self.told(outcome).map(|()| Outcome::Done)),
        }
    }

    async fn restart(
        &mut self,
        signal: Option<Signal>,
        timeout_s: Option<i64>,
        answer: Answer<()>,
    ) {
        // Told before the stop: a container that is removed when it exits stays this once.
        self.restart = Some(answer);
        self.state.stop_asked = true;
        let outcome = self.begin_stop(signal, timeout_s).await;
        if self.state.phase.run().is_some() && outcome.is_ok() {
            return;
        }
        let Some(answer) = self.restart.take() else { return };
        match outcome {
            Ok(()) | Err(Stop::Refused(Refusal::NotModified)) => self.start_again(answer).await,
            Err(_) => reply(answer, self.told(outcome)),
        }
    }

    async fn start_again(&mut self, answer: Answer<()>) {
        let outcome = self.start().await.map(drop);
        if outcome.is_ok() {
            self.emit("restart", &[]);
        }
        reply(answer, outcome);
    }

    async fn begin_stop(
        &mut self,
        signal: Option<Signal>,
        timeout_s: Option<i64>,
    ) -> std::result::Result<(), Stop> {
        self.stop_signal = signal;
        self.stop_timeout = timeout_s.unwrap_or(self.definition.spec.stop_timeout);
        self.state.heal = false;
        self.decide(Input::Stop).await
    }

    async fn resize(&mut self, process: ProcessId, rows: u16, cols: u16) -> Result<()> {
        let size = runtime::monitor::protocol::TerminalSize { rows, cols };
        self.ask(&Request::Resize { process, size }).await
    }

    /// One order to the monitor; refused when there is none.
    async fn ask(&mut self, request: &Request) -> Result<()> {
        let Some(link) = self.link.as_mut().filter(|_| self.state.phase.run().is_some()) else {
            return Err(self.refused(Refusal::NotRunning));
        };
        link.call(request, &[]).await.map(drop)
    }

    async fn signal(&mut self, signal: Signal) -> Result<()> {
        store::failpoint::hit("engine.signal.send");
        let request = Request::Signal { process: ProcessId::Init, signal: signal.number() };
        match self.ask(&request).await {
            // The container has just ended, and its monitor with it: that is the next news.
            Err(_) if self.link.as_ref().is_some_and(Link::is_closed) => Ok(()),
            asked => asked,
        }
    }

    fn wait(&mut self, condition: WaitCondition, exit: oneshot::Sender<ExitStatus>) {
        let over = matches!(
            self.state.phase,
            Phase::Created | Phase::Exited(_) | Phase::Dead { .. } | Phase::Removing
        );
        if condition == WaitCondition::NotRunning && over {
            // Whoever asked may have left.
            let _ = exit.send(self.exit_status());
            return;
        }
        self.waits.retain(|(_, waiting)| !waiting.is_closed());
        self.waits.push((condition, exit));
    }

    fn exit_status(&self) -> ExitStatus {
        let exit = self.state.last_exit.clone().unwrap_or_default();
        ExitStatus { code: exit.code.into(), error: exit.error }
    }

    fn facts(&self) -> Facts {
        Facts {
            policy: self.definition.spec.restart,
            auto_remove: self.definition.spec.auto_remove && self.restart.is_none(),
            restart_count: self.state.restart_count,
            last_delay_ns: self.state.last_delay_ns,
            stop_asked: self.state.stop_asked,
            stop_signal: self.stop_signal.unwrap_or(self.definition.spec.stop_signal),
            heal: self.state.heal,
            proven: self.proven(),
        }
    }

    fn refused(&self, refusal: Refusal) -> EngineError {
        refusal.denied(&self.definition.id, &self.definition.name).into()
    }
}

/// Answers; whoever asked may have left.
fn reply<T>(answer: Answer<T>, outcome: Result<T>) {
    let _ = answer.send(outcome);
}

async fn next_event(link: &mut Option<Link>) -> Option<Event> {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
