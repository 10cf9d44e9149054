//! Calls about containers.

use bytes::Bytes;
use wire::docker::container::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspect, ContainerSummary,
    ContainerUpdateResponse, ContainersPruneReport, FilesystemChange, TopResponse, WaitResponse,
};
use wire::docker::host_config::ContainerUpdateBody;

use crate::request::segment;
use crate::{Body, Client, Raw, Response, Result};
use wire::profile::{Denied, ProfileFile};

/// What `GET /containers/json` is asked for.
#[derive(Clone, Debug, Default)]
pub struct ListContainers {
    /// Also those that do not run.
    pub all: bool,
    /// Only this many of the newest; 0 is all.
    pub limit: i64,
    /// With the sizes of their file systems.
    pub size: bool,
    /// Only those that match, as name and value.
    pub filters: Vec<(String, String)>,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Go on with what will be written.
    pub follow: bool,
    /// From this time on, seconds of the epoch with an optional fraction.
    pub since: String,
    /// Up to this time.
    pub until: String,
    /// A timestamp before each line.
    pub timestamps: bool,
    /// Attributes of the log driver before each line.
    pub details: bool,
    /// This many of the last lines, or `all`.
    pub tail: String,
}

fn path(id: &str, rest: &str) -> String {
    format!("/containers/{}{rest}", segment(id))
}

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Creates a container.
    pub async fn container_create(
        &self,
        name: &str,
        platform: &str,
        body: &ContainerCreateBody,
    ) -> Result<ContainerCreateResponse> {
        let mut request = self.post("/containers/create");
        if !name.is_empty() {
            request = request.query("name", name);
        }
        if !platform.is_empty() {
            request = request.query("platform", platform);
        }
        request.json(body)?.fetch().await
    }

    /// Lists containers, newest first.
    pub async fn container_list(&self, wanted: &ListContainers) -> Result<Vec<ContainerSummary>> {
        let mut request = self.get("/containers/json").flag("all", wanted.all);
        if wanted.limit > 0 {
            request = request.query("limit", wanted.limit.to_string());
        }
        request.flag("size", wanted.size).filters(&wanted.filters).fetch_list().await
    }

    /// Everything about a container.
    pub async fn container_inspect(&self, id: &str) -> Result<ContainerInspect> {
        self.get(path(id, "/json")).fetch().await
    }

    /// Everything about a container, as the engine wrote it.
    pub async fn container_inspect_raw(&self, id: &str, size: bool) -> Result<Bytes> {
        self.get(path(id, "/json")).flag("size", size).send().await?.bytes().await
    }

    /// Starts a container.
    pub async fn container_start(&self, id: &str, detach_keys: &str) -> Result<()> {
        let mut request = self.post(path(id, "/start"));
        if !detach_keys.is_empty() {
            request = request.query("detachKeys", detach_keys);
        }
        request.run().await
    }

    /// Calls that take a signal and a grace period: `stop` and `restart`.
    pub async fn container_stop(
        &self,
        id: &str,
        action: &str,
        signal: &str,
        timeout: Option<i64>,
    ) -> Result<()> {
        let mut request = self.post(path(id, &format!("/{action}")));
        if let Some(seconds) = timeout {
            request = request.query("t", seconds.to_string());
        }
        if !signal.is_empty() {
            request = request.query("signal", signal);
        }
        request.run().await
    }

    /// Calls without parameters: `pause`, `unpause`.
    pub async fn container_act(&self, id: &str, action: &str) -> Result<()> {
        self.post(path(id, &format!("/{action}"))).run().await
    }

    /// Sends a signal.
    pub async fn container_kill(&self, id: &str, signal: &str) -> Result<()> {
        let mut request = self.post(path(id, "/kill"));
        if !signal.is_empty() {
            request = request.query("signal", signal);
        }
        request.run().await
    }

    /// Removes a container.
    pub async fn container_remove(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
        link: bool,
    ) -> Result<()> {
        let request = self.delete(path(id, "")).flag("force", force);
        request.flag("v", volumes).flag("link", link).run().await
    }

    /// Gives a container another name.
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<()> {
        self.post(path(id, "/rename")).query("name", name).run().await
    }

    /// Begins to wait for `condition` (`not-running`, `next-exit`, `removed`); when this returns,
    /// the engine is watching, and [`Client::container_waited`] reads the outcome.
    pub async fn container_wait(&self, id: &str, condition: &str) -> Result<Response<'_>> {
        let mut request = self.post(path(id, "/wait"));
        if !condition.is_empty() {
            request = request.query("condition", condition);
        }
        request.send().await
    }

    /// The outcome of a wait.
    pub async fn container_waited(&self, waiting: Response<'_>) -> Result<WaitResponse> {
        waiting.json().await
    }

    /// Attaches to a container's streams; `query` is written out by the caller.
    pub async fn container_attach(&self, id: &str, query: &[(&str, &str)]) -> Result<Raw> {
        let mut request = self.post(path(id, "/attach"));
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.hijack().await
    }

    /// Sets the size of a container's terminal.
    pub async fn container_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let request = self.post(path(id, "/resize")).query("h", rows.to_string());
        request.query("w", columns.to_string()).run().await
    }

    /// Reads a container's log.
    pub async fn container_logs(&self, id: &str, wanted: &LogQuery) -> Result<Response<'_>> {
        let mut request = self.get(path(id, "/logs")).query("stdout", "1").query("stderr", "1");
        for (name, value) in
            [("since", &wanted.since), ("until", &wanted.until), ("tail", &wanted.tail)]
        {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        request = request.flag("timestamps", wanted.timestamps).flag("follow", wanted.follow);
        request.flag("details", wanted.details).send().await
    }

    /// The processes of a container, as `ps` shows them.
    pub async fn container_top(&self, id: &str, ps_args: &str) -> Result<TopResponse> {
        let mut request = self.get(path(id, "/top"));
        if !ps_args.is_empty() {
            request = request.query("ps_args", ps_args);
        }
        request.fetch().await
    }

    /// Watches a container: from its next start on, or from now when it runs.
    pub async fn container_watch(&self, id: &str) -> Result<()> {
        self.post(format!("/estiba{}", path(id, "/watch"))).run().await
    }

    /// What a container that was watched needs.
    pub async fn container_profile(&self, id: &str) -> Result<ProfileFile> {
        self.get(format!("/estiba{}", path(id, "/profile"))).fetch().await
    }

    /// What a container was denied; it is watched for so many seconds first, when it runs.
    pub async fn container_denials(&self, id: &str, seconds: u64) -> Result<Vec<Denied>> {
        let request = self.get(format!("/estiba{}", path(id, "/denials")));
        request.query("seconds", seconds.to_string()).fetch().await
    }

    /// What a container changed in its file system.
    pub async fn container_changes(&self, id: &str) -> Result<Vec<FilesystemChange>> {
        let changes: Option<_> = self.get(path(id, "/changes")).fetch().await?;
        Ok(changes.unwrap_or_default())
    }

    /// Changes limits and the restart policy.
    pub async fn container_update(
        &self,
        id: &str,
        body: &ContainerUpdateBody,
    ) -> Result<ContainerUpdateResponse> {
        self.post(path(id, "/update")).json(body)?.fetch().await
    }

    /// Samples of a container's resource usage, one or a stream of them.
    pub async fn container_stats(&self, id: &str, stream: bool) -> Result<Response<'_>> {
        let stream = if stream { "1" } else { "0" };
        self.get(path(id, "/stats")).query("stream", stream).send().await
    }

    /// A container's file system as a tar archive.
    pub async fn container_export(&self, id: &str) -> Result<Response<'_>> {
        self.get(path(id, "/export")).send().await
    }

    /// A path of a container as a tar archive; its [`wire::docker::container::PathStat`] is in the
    /// header `X-Docker-Container-Path-Stat`.
    pub async fn container_archive(&self, id: &str, inner: &str) -> Result<Response<'_>> {
        self.get(path(id, "/archive")).query("path", inner).send().await
    }

    /// What is at a path of a container, in the header `X-Docker-Container-Path-Stat`.
    pub async fn container_stat(&self, id: &str, inner: &str) -> Result<Response<'_>> {
        self.head(path(id, "/archive")).query("path", inner).send().await
    }

    /// Unpacks a tar archive below a path of a container.
    pub async fn container_extract(
        &self,
        id: &str,
        inner: &str,
        keep_owner: bool,
        archive: Body,
    ) -> Result<()> {
        let request = self.put(path(id, "/archive")).query("path", inner);
        let request = request.query("noOverwriteDirNonDir", "true").flag("copyUIDGID", keep_owner);
        request.body("application/x-tar", archive).run().await
    }

    /// Removes containers that do not run.
    pub async fn container_prune(
        &self,
        filters: &[(String, String)],
    ) -> Result<ContainersPruneReport> {
        self.post("/containers/prune").filters(filters).fetch().await
    }
}
