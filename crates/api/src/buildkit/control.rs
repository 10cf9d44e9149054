//! BuildKit's Control service: builds and their progress, the cache, what the daemon is. Asks the
//! engine; decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, WorkerRecord};
use bollard_buildkit_proto::pb as ops;
use build::cache::{CacheKind, CacheRecord, PruneOptions};
use build::platform::Platform;
use engine::Engine;
use model::policy::Class;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxStream, async_trait};
use tonic::{Request, Response, Status, Streaming};

use super::fault::refused;
use super::session::Announcement;
use super::{BuildKit, history, solve, tunnel};
use crate::authority::Guard;

/// The protocol's version that is spoken, in BuildKit's own counting.
const VERSION: &str = "v0.26.0";
/// How many messages wait for a slow client.
const QUEUE: usize = 64;

/// The service.
#[derive(Clone)]
pub(super) struct Control {
    pub(super) engine: Engine,
    pub(super) kit: Arc<BuildKit>,
    /// What the rules say of the connection.
    pub(super) guard: Guard,
}

#[async_trait]
impl pb::control_server::Control for Control {
    type PruneStream = BoxStream<pb::UsageRecord>;
    type StatusStream = BoxStream<pb::StatusResponse>;
    type SessionStream = BoxStream<pb::BytesMessage>;
    type ListenBuildHistoryStream = BoxStream<pb::BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        request: Request<pb::DiskUsageRequest>,
    ) -> Result<Response<pb::DiskUsageResponse>, Status> {
        let filter = Filter::parse(&request.into_inner().filter)?;
        let records = self.engine.builds.usage().await.map_err(|error| refused(&error))?;
        let record = records.iter().filter(|record| filter.takes(record)).map(usage).collect();
        Ok(Response::new(pb::DiskUsageResponse { record }))
    }

    async fn prune(
        &self,
        request: Request<pb::PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        let denied = |failure: crate::failure::Failure| Status::permission_denied(failure.message);
        self.guard.permits(Class::ImagesRemove).map_err(denied)?;
        let request = request.into_inner();
        let filter = Filter::parse(&request.filter)?;
        let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let options = PruneOptions {
            all: request.all,
            kinds: filter.kinds,
            ids: filter.ids,
            unused_for_s: bytes(request.keep_duration / 1_000_000_000),
            reserved_bytes: bytes(request.reserved_space),
            max_used_bytes: bytes(request.max_used_space),
            min_free_bytes: bytes(request.min_free_space),
        };
        let (removed, _) =
            self.engine.builds.prune(options).await.map_err(|error| refused(&error))?;
        let records: Vec<_> = removed.iter().map(|record| Ok(usage(record))).collect();
        Ok(Response::new(Box::pin(tonic::codegen::tokio_stream::iter(records))))
    }

    async fn solve(
        &self,
        request: Request<pb::SolveRequest>,
    ) -> Result<Response<pb::SolveResponse>, Status> {
        let exporter_response = solve::control(self, request.into_inner()).await?;
        Ok(Response::new(pb::SolveResponse { exporter_response }))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        let id = request.into_inner().r#ref;
        if self.kit.jobs.known(&id).is_none() {
            // A build that was is told again.
            let log = self.engine.builds.past_log(&id).await.map_err(|error| refused(&error))?;
            if let Some(log) = log {
                let told = history::replay(&log).into_iter().map(Ok).collect::<Vec<_>>();
                return Ok(Response::new(Box::pin(tonic::codegen::tokio_stream::iter(told))));
            }
        }
        let Some(story) = self.kit.jobs.find(&id).await else {
            return Err(Status::not_found(format!("no such job {id}")));
        };
        let (tx, rx) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut next = 0;
            while let Some(response) = story.next(&mut next).await {
                if tx.send(Ok((*response).clone())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn session(
        &self,
        request: Request<Streaming<pb::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let refused = |failure: crate::failure::Failure| Status::invalid_argument(failure.message);
        let headers = request.metadata().clone().into_headers();
        let announcement = Announcement::read(&headers).map_err(refused)?;
        self.kit.sessions.check(&announcement.id).map_err(refused)?;
        let (io, outgoing) = tunnel::over(request.into_inner());
        let kit = Arc::clone(&self.kit);
        tokio::spawn(async move { kit.sessions.run(announcement, io).await });
        Ok(Response::new(Box::pin(outgoing)))
    }

    async fn list_workers(
        &self,
        _request: Request<pb::ListWorkersRequest>,
    ) -> Result<Response<pb::ListWorkersResponse>, Status> {
        Ok(Response::new(pb::ListWorkersResponse { record: workers(&self.engine) }))
    }

    async fn info(
        &self,
        _request: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoResponse>, Status> {
        Ok(Response::new(pb::InfoResponse { buildkit_version: Some(version()) }))
    }

    /// What is under way comes first, then what is remembered, then what follows.
    async fn listen_build_history(
        &self,
        request: Request<pb::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let request = request.into_inner();
        // Asked for first: a build that ends meanwhile is told of twice rather than not at all.
        let (active, mut news) = self.kit.listeners.listen();
        let past = history::events(&self.engine, &request).await;
        let past = past.map_err(|error| refused(&error))?;
        let (wanted, once) = (request.r#ref, request.early_exit);
        let concerns = move |event: &pb::BuildHistoryEvent| {
            let own = |record: &pb::BuildHistoryRecord| record.r#ref == wanted;
            wanted.is_empty() || event.record.as_ref().is_some_and(own)
        };
        let (tx, rx) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            for event in active.into_iter().filter(&concerns).chain(past) {
                if tx.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if once {
                return;
            }
            loop {
                let event = tokio::select! {
                    event = news.recv() => event,
                    () = tx.closed() => return,
                };
                match event {
                    Ok(event) if concerns(&event) => drop(tx.send(Ok(event)).await),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn update_build_history(
        &self,
        request: Request<pb::UpdateBuildHistoryRequest>,
    ) -> Result<Response<pb::UpdateBuildHistoryResponse>, Status> {
        let request = request.into_inner();
        // Clients ask for it after each build; there is nothing left to be done.
        if !request.finalize {
            let known = history::update(&self.engine, &request).await;
            if !known.map_err(|error| refused(&error))? {
                return Err(Status::not_found(format!("no build record {}", request.r#ref)));
            }
        }
        Ok(Response::new(pb::UpdateBuildHistoryResponse {}))
    }
}

/// The one worker: this node. By its labels clients know what they may ask for: with a snapshotter
/// that keeps images as they are in registries, also several platforms, attestations, caches
/// exported and layouts as results.
pub(super) fn workers(engine: &Engine) -> Vec<WorkerRecord> {
    let label =
        |name: &str, value: String| (format!("org.mobyproject.buildkit.worker.{name}"), value);
    let mut labels = HashMap::from([
        label("executor", "containers".to_owned()),
        label("snapshotter", "overlayfs".to_owned()),
    ]);
    if let Some(gateway) = engine.builds.host_gateways().first() {
        labels.extend([label("moby.host-gateway-ip", gateway.to_string())]);
    }
    let platform = |platform: Platform| ops::Platform {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        ..ops::Platform::default()
    };
    vec![WorkerRecord {
        id: "estiba".to_owned(),
        labels,
        platforms: engine.builds.platforms().into_iter().map(platform).collect(),
        gc_policy: Vec::new(),
        buildkit_version: Some(version()),
        cdi_devices: Vec::new(),
    }]
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "estiba".to_owned(),
        version: VERSION.to_owned(),
        revision: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn usage(record: &CacheRecord) -> pb::UsageRecord {
    let time = |at: model::Timestamp| Timestamp {
        seconds: at.seconds(),
        nanos: i32::try_from(at.subsec_nanos()).unwrap_or(0),
    };
    pb::UsageRecord {
        id: record.id.clone(),
        mutable: record.kind == CacheKind::CacheMount,
        in_use: record.in_use,
        size: i64::try_from(record.size_bytes).unwrap_or(i64::MAX),
        created_at: Some(time(record.created)),
        last_used_at: record.last_used.map(time),
        usage_count: i64::try_from(record.usage_count).unwrap_or(i64::MAX),
        description: record.description.clone(),
        record_type: record.kind.name().to_owned(),
        shared: record.shared,
        parents: record.parents.clone(),
        ..pb::UsageRecord::default()
    }
}

/// containerd's filters, as far as clients use them: `id==x`, `type==x`, `id~=x`, joined by commas.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    ids: Vec<String>,
    kinds: Vec<CacheKind>,
}

impl Filter {
    fn parse(texts: &[String]) -> Result<Self, Status> {
        let mut filter = Self::default();
        for text in texts.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()) {
            let invalid = || Status::invalid_argument(format!("invalid filter {text:?}"));
            let (field, value) =
                text.split_once("==").or_else(|| text.split_once("~=")).ok_or_else(invalid)?;
            let value = value.trim_matches('"');
            match field {
                "id" => filter.ids.push(value.to_owned()),
                "type" => filter.kinds.push(kind(value).ok_or_else(invalid)?),
                _ => return Err(invalid()),
            }
        }
        Ok(filter)
    }

    fn takes(&self, record: &CacheRecord) -> bool {
        let id = |id: &String| record.id.starts_with(id.as_str());
        (self.ids.is_empty() || self.ids.iter().any(id))
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
    }
}

fn kind(name: &str) -> Option<CacheKind> {
    use CacheKind::{CacheMount, Regular, SourceGit, SourceHttp, SourceLocal};
    [Regular, SourceLocal, SourceGit, SourceHttp, CacheMount]
        .into_iter()
        .find(|kind| kind.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_clients() {
        let parse = |text: &str| Filter::parse(&[text.to_owned()]);
        assert_eq!(parse("").unwrap(), Filter::default());
        let filter = parse("type==exec.cachemount,id~=abc").unwrap();
        assert_eq!((filter.ids.len(), filter.kinds), (1, vec![CacheKind::CacheMount]));
        for text in ["type==nonsense", "mutable", "size==3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
