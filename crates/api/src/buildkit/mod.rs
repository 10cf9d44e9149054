//! BuildKit's protocol: clients that build through gRPC, with files, secrets and credentials on a
//! connection in the other direction. Builds themselves are the engine's.
//!
//! ```text
//! POST /session ══ h2c ══▶ session: the daemon calls FileSync, FileSend, Auth, Secrets, SSH
//! POST /grpc    ══ h2c ══▶ control: Solve, Status, … ─┐      (offer, sync)
//! POST /estiba/build ──▶ own (descriptors, lines) ─────────▶ the same
//! POST /build?version=2 ──▶ classic ──────────────────┴─▶ solve ──▶ engine.builds
//!                              request, llb ──▶ graph ───┘   progress ──▶ status
//! ```

mod classic;
mod control;
mod fault;
mod gateway;
mod history;
mod jobs;
mod line;
mod listen;
pub(crate) mod llb;
mod offer;
mod own;
mod plan;
mod request;
mod results;
mod session;
pub(crate) mod solve;
mod stat;
mod status;
mod stores;
mod sync;
mod trace;
mod tunnel;
mod uploads;

pub(crate) use classic::build;
pub(crate) use own::build as own_build;

use std::convert::Infallible;
use std::sync::Arc;

use ::buildkit::content;
use ::buildkit::line::{MAX_MESSAGE_BYTES, serve};
use bollard_buildkit_proto::health;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::ControlServer;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridgeServer;
use hyper::header::UPGRADE;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use tonic::body::Body;
use tonic::codegen::{BoxStream, Service, async_trait};
use tonic::{Request, Response, Status};

use crate::call::Call;
use crate::failure::Failure;
use crate::reply::Reply;
use control::Control;
use gateway::{Bridge, Gateway};
use jobs::Jobs;
use listen::Listeners;
use session::{Announcement, Sessions};
use uploads::Uploads;

/// What BuildKit's clients have open.
#[derive(Debug, Default)]
pub(crate) struct BuildKit {
    sessions: Sessions,
    jobs: Jobs,
    listeners: Listeners,
    gateway: Gateway,
    uploads: Uploads,
}

/// `POST /session`.
pub(crate) async fn session(call: Call) -> Reply {
    if call.h2c.is_none() {
        let asked = call.headers.get(UPGRADE).and_then(|value| value.to_str().ok());
        return Err(Failure::invalid(match asked {
            None => "no upgrade proto in request".to_owned(),
            Some(other) => format!("protocol {other} not supported"),
        }));
    }
    let announcement = Announcement::read(&call.headers)?;
    call.buildkit.sessions.check(&announcement.id)?;
    let kit = Arc::clone(&call.buildkit);
    line::switch(call, async move |upgraded| kit.sessions.run(announcement, upgraded).await)
}

/// `POST /grpc`.
pub(crate) async fn grpc(call: Call) -> Reply {
    let services = Services::new(&call);
    line::switch(call, async move |upgraded| {
        let answer = move |request| services.clone().answer(request);
        if let Err(error) = serve(upgraded, answer).await {
            tracing::debug!(%error, "a BuildKit client's connection broke off");
        }
    })
}

/// The services of a control connection.
#[derive(Clone)]
struct Services {
    control: ControlServer<Control>,
    bridge: LlbBridgeServer<Bridge>,
    traces: Arc<trace::Traces>,
    health: health::health_server::HealthServer<Health>,
}

impl Services {
    fn new(call: &Call) -> Self {
        let kit = Arc::clone(&call.buildkit);
        let control = Control {
            engine: call.engine.clone(),
            kit: Arc::clone(&kit),
            guard: call.guard.clone(),
        };
        let (engine, guard) = (call.engine.clone(), call.guard.clone());
        let bridge = Bridge { engine, kit, guard };
        Self {
            traces: Arc::new(trace::Traces(call.engine.clone())),
            control: ControlServer::new(control).max_decoding_message_size(MAX_MESSAGE_BYTES),
            bridge: LlbBridgeServer::new(bridge).max_decoding_message_size(MAX_MESSAGE_BYTES),
            health: health::health_server::HealthServer::new(Health),
        }
    }

    async fn answer(mut self, request: HttpRequest<Body>) -> HttpResponse<Body> {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let answered: Result<_, Infallible> = match service {
            "moby.buildkit.v1.Control" => self.control.call(request).await,
            "moby.buildkit.v1.frontend.LLBBridge" => self.bridge.call(request).await,
            content::SERVICE => Ok(content::serve(self.traces, request).await),
            "grpc.health.v1.Health" => self.health.call(request).await,
            other => Ok(Status::unimplemented(format!("unknown service {other}")).into_http()),
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Says that the daemon is well, which it is when it can say so.
struct Health;

#[async_trait]
impl health::health_server::Health for Health {
    type WatchStream = BoxStream<health::HealthCheckResponse>;

    async fn check(
        &self,
        _request: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        let status = health::health_check_response::ServingStatus::Serving.into();
        Ok(Response::new(health::HealthCheckResponse { status }))
    }

    async fn list(
        &self,
        _request: Request<health::HealthListRequest>,
    ) -> Result<Response<health::HealthListResponse>, Status> {
        Ok(Response::new(health::HealthListResponse::default()))
    }

    async fn watch(
        &self,
        _request: Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watching the health is not supported"))
    }
}
