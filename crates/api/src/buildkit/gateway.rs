//! Builds that a client drives itself (`LLBBridge` on the control connection, as buildx does): it
//! asks for results by name first, and says at the end which of them the build gives. Nothing is
//! solved before that: a result is what was asked for, remembered.
//!
//! ```text
//! Control.Solve(no definition) ──▶ waits ──────────────────────▶ solve, export
//! LLBBridge.Solve(front end) ────▶ ref 1     LLBBridge.Return(ref 1) ─┘
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::fsutil::types::Stat;
use bollard_buildkit_proto::moby::buildkit::v1::apicaps::ApiCap;
use bollard_buildkit_proto::moby::buildkit::v1::frontend as pb;
use build::platform::Platform;
use build::progress::Progress;
use build::request::SolveRequest;
use engine::{Engine, Look, Seen};
use tokio::sync::watch;
use tonic::codegen::{BoxStream, async_trait};
use tonic::{Request, Response, Status, Streaming};

use super::BuildKit;
use super::control::workers;
use super::offer::Offer;
use super::session::Session;
use super::solve::{self, Wanted};
use super::{fault, request, stat};
use crate::authority::Guard;

/// How many results one build may ask for.
const MAX_RESULTS: usize = 1024;
/// How long a call of a client waits for its build to begin.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);
/// The header that names the build a call is for.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// What the gateway offers.
const FRONTEND_CAPS: [&str; 14] = [
    "gateway.solve.metadata",
    "readfile",
    "readdir",
    "statfile",
    "resolveimage",
    "frontend.caps",
    "solve.base",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "importcaches",
    "proto.refarray",
    "frontend.inputs",
    "gateway.solve.evaluate",
];

/// The parts of LLB that are understood.
const LLB_CAPS: &str = "source.image source.image.resolvemode source.image.layerlimit \
    source.image.checksum source.local source.local.unique source.local.sessionid \
    source.local.includepatterns source.local.followpaths source.local.excludepatterns \
    source.local.sharedkeyhint source.local.differ source.git source.git.keepgitdir \
    source.git.fullurl source.git.httpauth source.git.knownsshhosts source.git.mountsshsock \
    source.git.subdir source.git.checksum source.git.skipsubmodules source.http source.http.auth \
    source.http.checksum source.http.perm soruce.http.uidgid source.http.header \
    source.ocilayout exec.meta.base exec.meta.cgroup.parent exec.meta.network exec.meta.proxyenv \
    exec.meta.security exec.meta.setsdefaultpath exec.meta.ulimit exec.meta.cdi \
    exec.meta.removemountstubs.recursive exec.mount.bind exec.mount.bind.readwrite-nooutput \
    exec.mount.cache exec.mount.cache.sharing exec.mount.selector exec.mount.tmpfs \
    exec.mount.tmpfs.size exec.mount.secret exec.mount.ssh exec.cgroup exec.secretenv \
    exec.validexitcode file.base file.rm.wildcard file.copy.includeexcludepatterns \
    file.copy.requiredpaths file.copy.alwaysreplaceexistingdestpaths file.copy.modestring \
    file.symlink.create constraints platform meta.ignorecache meta.description \
    meta.exportcache mergeop diffop exporter.image.annotations exporter.image.attestations \
    exporter.sourcedateepoch exporter.multiple";

/// Builds that clients drive.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    builds: Mutex<HashMap<String, Arc<Driven>>>,
    changed: watch::Sender<()>,
}

/// One of them.
#[derive(Debug)]
struct Driven {
    results: Mutex<HashMap<String, Wanted>>,
    /// Whose build it is.
    session: Arc<Session>,
    returned: watch::Sender<Option<Result<Wanted, Status>>>,
}

impl Gateway {
    /// Waits until the client of build `id` says what the build gives.
    pub(super) async fn wait(&self, id: &str, session: &Arc<Session>) -> Result<Wanted, Status> {
        let driven = Arc::new(Driven {
            results: Mutex::default(),
            session: Arc::clone(session),
            returned: watch::Sender::new(None),
        });
        let mut returned = driven.returned.subscribe();
        lock(&self.builds).insert(id.to_owned(), driven);
        let _forget = Forget { gateway: self, id };
        self.changed.send_replace(());
        let answer = async {
            let value = returned.wait_for(Option::is_some).await;
            value.ok().and_then(|value| value.clone())
        };
        tokio::select! {
            answer = answer => answer.unwrap_or_else(|| Err(Status::cancelled("build ended"))),
            () = session.gone() => Err(Status::cancelled("the client's session ended")),
        }
    }

    async fn find<T>(&self, request: &Request<T>) -> Result<Arc<Driven>, Status> {
        let id = request.metadata().get(BUILD_ID).and_then(|value| value.to_str().ok());
        let id = id.ok_or_else(|| Status::invalid_argument("no build is named"))?;
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(driven) = lock(&self.builds).get(id) {
                    return Some(Arc::clone(driven));
                }
                changed.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(FIND_TIMEOUT, search).await.ok().flatten();
        found.ok_or_else(|| Status::not_found(format!("no such job {id}")))
    }
}

/// Forgets a build when its solve ends, however it ends.
struct Forget<'a> {
    gateway: &'a Gateway,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.gateway.builds).remove(self.id);
    }
}

impl Driven {
    /// Remembers what was asked for and names it.
    fn remember(&self, wanted: Wanted) -> Result<String, Status> {
        let mut results = lock(&self.results);
        if results.len() >= MAX_RESULTS {
            let message = format!("a build asks for more than {MAX_RESULTS} results");
            return Err(Status::resource_exhausted(message));
        }
        let name = format!("result-{}", results.len());
        results.insert(name.clone(), wanted);
        Ok(name)
    }

    fn named(&self, name: &str) -> Result<Wanted, Status> {
        let found = lock(&self.results).get(name).cloned();
        found.ok_or_else(|| Status::not_found(format!("no result {name}")))
    }

    fn result(&self, result: pb::Result) -> Result<Wanted, Status> {
        let config = result.metadata.get("containerimage.config").cloned();
        let name = match result.result {
            None => return Ok(Wanted { config, ..Wanted::default() }),
            Some(pb::result::Result::RefDeprecated(name)) => name,
            Some(pb::result::Result::Ref(one)) => one.id,
            Some(pb::result::Result::Refs(map)) if map.refs.len() == 1 => {
                map.refs.into_values().next().map(|one| one.id).unwrap_or_default()
            }
            Some(_) => {
                return Err(Status::unimplemented("a build that returns several results"));
            }
        };
        if name.is_empty() {
            return Ok(Wanted { config, ..Wanted::default() });
        }
        let mut wanted = self.named(&name)?;
        wanted.config = config.or(wanted.config);
        Ok(wanted)
    }
}

/// The service.
#[derive(Clone)]
pub(super) struct Bridge {
    pub(super) engine: Engine,
    pub(super) kit: Arc<BuildKit>,
    /// What the rules say of the connection.
    pub(super) guard: Guard,
}

impl Bridge {
    /// What is asked on the way of a build: nothing is exported, nothing is told.
    fn quiet(&self, driven: &Driven, wanted: &Wanted) -> Result<SolveRequest, Status> {
        let definition = solve::definition(wanted).map_err(|error| fault::status(&error))?;
        let session = Arc::clone(&driven.session);
        Ok(SolveRequest {
            id: String::new(),
            definition,
            outputs: Vec::new(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            attest: Default::default(),
            entitlements: Default::default(),
            no_cache: request::no_cache(&wanted.attrs),
            network_name: String::new(),
            source_date_epoch: None,
            review: self.guard.images(),
            client: Arc::new(Offer::new(session, self.engine.clone(), None)),
            progress: Progress::silent(),
        })
    }

    /// Looks at a result that was asked for before.
    async fn look(&self, driven: &Driven, name: &str, look: Look) -> Result<Seen, Status> {
        let wanted = driven.named(name)?;
        let request = self.quiet(driven, &wanted)?;
        let seen = self.engine.builds.look(request, look).await;
        seen.map_err(|error| fault::status(&error))
    }

    async fn entries(&self, driven: &Driven, name: &str, look: Look) -> Result<Vec<Stat>, Status> {
        match self.look(driven, name, look).await? {
            Seen::Entries(entries) => Ok(entries.into_iter().map(stat::stat).collect()),
            Seen::Content(_) => Err(Status::internal("a directory was read as a file")),
        }
    }

    /// Answers a question about the Dockerfile.
    async fn question(
        &self,
        driven: &Driven,
        asked: pb::SolveRequest,
    ) -> Result<Response<pb::SolveResponse>, Status> {
        let wanted = Wanted {
            frontend: asked.frontend,
            attrs: asked.frontend_opt,
            definition: asked.definition,
            config: None,
        };
        let solved = self.engine.builds.solve(self.quiet(driven, &wanted)?).await;
        let outcome = solved.map_err(|error| fault::status(&error))?;
        let answers = outcome.answers.into_iter();
        let metadata = answers.map(|(name, value)| (name, value.into_bytes())).collect();
        let result = pb::Result { metadata, ..pb::Result::default() };
        Ok(Response::new(pb::SolveResponse { r#ref: String::new(), result: Some(result) }))
    }
}

fn absent<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("{what} is not supported")))
}

#[async_trait]
impl pb::llb_bridge_server::LlbBridge for Bridge {
    async fn ping(
        &self,
        _request: Request<pb::PingRequest>,
    ) -> Result<Response<pb::PongResponse>, Status> {
        let cap = |id: &str| ApiCap { id: id.to_owned(), enabled: true, ..ApiCap::default() };
        Ok(Response::new(pb::PongResponse {
            frontend_api_caps: FRONTEND_CAPS.into_iter().map(cap).collect(),
            llb_caps: LLB_CAPS.split_ascii_whitespace().map(cap).collect(),
            workers: workers(&self.engine),
        }))
    }

    async fn solve(
        &self,
        request: Request<pb::SolveRequest>,
    ) -> Result<Response<pb::SolveResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        if asked.frontend_opt.contains_key("requestid") {
            return self.question(&driven, asked).await;
        }
        let id = driven.remember(Wanted {
            frontend: asked.frontend,
            attrs: asked.frontend_opt,
            definition: asked.definition,
            config: None,
        })?;
        let one = pb::Ref { id: id.clone(), def: None };
        let result =
            pb::Result { result: Some(pb::result::Result::Ref(one)), ..pb::Result::default() };
        Ok(Response::new(pb::SolveResponse { r#ref: id, result: Some(result) }))
    }

    async fn r#return(
        &self,
        request: Request<pb::ReturnRequest>,
    ) -> Result<Response<pb::ReturnResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        let returned = match (asked.error, asked.result) {
            (Some(error), _) => Err(Status::new(tonic::Code::from(error.code), error.message)),
            (None, Some(result)) => driven.result(result),
            (None, None) => Err(Status::invalid_argument("neither a result nor an error")),
        };
        driven.returned.send_replace(Some(returned));
        Ok(Response::new(pb::ReturnResponse {}))
    }

    async fn evaluate(
        &self,
        _request: Request<pb::EvaluateRequest>,
    ) -> Result<Response<pb::EvaluateResponse>, Status> {
        // Solving is left to the end; what fails, fails there.
        Ok(Response::new(pb::EvaluateResponse {}))
    }

    async fn inputs(
        &self,
        _request: Request<pb::InputsRequest>,
    ) -> Result<Response<pb::InputsResponse>, Status> {
        Ok(Response::new(pb::InputsResponse::default()))
    }

    async fn warn(
        &self,
        _request: Request<pb::WarnRequest>,
    ) -> Result<Response<pb::WarnResponse>, Status> {
        Ok(Response::new(pb::WarnResponse {}))
    }

    async fn resolve_image_config(
        &self,
        request: Request<pb::ResolveImageConfigRequest>,
    ) -> Result<Response<pb::ResolveImageConfigResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        let host = Platform::of_this_build();
        let platform =
            asked.platform.map_or(host, |it| Platform::new(&it.os, &it.architecture, &it.variant));
        let client = Offer::new(Arc::clone(&driven.session), self.engine.clone(), None);
        let denied = |failure: crate::failure::Failure| Status::permission_denied(failure.message);
        self.guard.image(&asked.r#ref).map_err(denied)?;
        let always = asked.resolve_mode == "pull";
        let found = self.engine.builds.image_config(&asked.r#ref, &platform, always, &client).await;
        let found = found.map_err(|error| fault::status(&error))?;
        Ok(Response::new(pb::ResolveImageConfigResponse {
            digest: found.digest.map(|digest| digest.to_string()).unwrap_or_default(),
            config: found.config.to_vec(),
            r#ref: asked.r#ref,
        }))
    }

    async fn resolve_source_meta(
        &self,
        _request: Request<pb::ResolveSourceMetaRequest>,
    ) -> Result<Response<pb::ResolveSourceMetaResponse>, Status> {
        absent("resolving a source")
    }

    async fn read_file(
        &self,
        request: Request<pb::ReadFileRequest>,
    ) -> Result<Response<pb::ReadFileResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        let (offset, length) = match asked.range {
            // Without a length it is to the end.
            Some(range) => (bytes(range.offset), Some(bytes(range.length)).filter(|it| *it > 0)),
            None => (0, None),
        };
        let look = Look::File { path: asked.file_path, offset, length };
        match self.look(&driven, &asked.r#ref, look).await? {
            Seen::Content(data) => Ok(Response::new(pb::ReadFileResponse { data })),
            Seen::Entries(_) => Err(Status::internal("a file was read as a directory")),
        }
    }

    async fn read_dir(
        &self,
        request: Request<pb::ReadDirRequest>,
    ) -> Result<Response<pb::ReadDirResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        let look = Look::Directory { path: asked.dir_path };
        let mut entries = self.entries(&driven, &asked.r#ref, look).await?;
        if !asked.include_pattern.is_empty() {
            let pattern = build::ignore::Matcher::new(&[asked.include_pattern]);
            let pattern = pattern.map_err(|error| Status::invalid_argument(error.to_string()))?;
            entries.retain(|entry| pattern.matches(&entry.path));
        }
        Ok(Response::new(pb::ReadDirResponse { entries }))
    }

    async fn stat_file(
        &self,
        request: Request<pb::StatFileRequest>,
    ) -> Result<Response<pb::StatFileResponse>, Status> {
        let driven = self.kit.gateway.find(&request).await?;
        let asked = request.into_inner();
        let entries = self.entries(&driven, &asked.r#ref, Look::Entry { path: asked.path }).await?;
        Ok(Response::new(pb::StatFileResponse { stat: entries.into_iter().next() }))
    }

    async fn new_container(
        &self,
        _request: Request<pb::NewContainerRequest>,
    ) -> Result<Response<pb::NewContainerResponse>, Status> {
        absent("running a container in a build")
    }

    async fn release_container(
        &self,
        _request: Request<pb::ReleaseContainerRequest>,
    ) -> Result<Response<pb::ReleaseContainerResponse>, Status> {
        absent("running a container in a build")
    }

    type ExecProcessStream = BoxStream<pb::ExecMessage>;

    async fn exec_process(
        &self,
        _request: Request<Streaming<pb::ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        absent("running a container in a build")
    }

    async fn read_file_container(
        &self,
        _request: Request<pb::ReadFileRequest>,
    ) -> Result<Response<pb::ReadFileResponse>, Status> {
        absent("running a container in a build")
    }

    async fn read_dir_container(
        &self,
        _request: Request<pb::ReadDirRequest>,
    ) -> Result<Response<pb::ReadDirResponse>, Status> {
        absent("running a container in a build")
    }

    async fn stat_file_container(
        &self,
        _request: Request<pb::StatFileRequest>,
    ) -> Result<Response<pb::StatFileResponse>, Status> {
        absent("running a container in a build")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
