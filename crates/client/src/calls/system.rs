//! Calls about the engine itself.

use bytes::Bytes;
use wire::docker::system::{BuildCachePruneReport, Info, LegacyDiskUsage, Version};

use crate::{Client, Response, Result};

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Asks whether the engine is there, and settles the version.
    pub async fn ping(&self) -> Result<()> {
        let answer = self.head("/_ping").unversioned().send().await?;
        if let Some(version) = answer.header("Api-Version").and_then(|text| text.parse().ok()) {
            self.settle(version);
        }
        answer.bytes().await.map(drop)
    }

    /// What the engine is.
    pub async fn engine_version(&self) -> Result<Version> {
        self.get("/version").fetch().await
    }

    /// How the engine is set up and what it holds.
    pub async fn info(&self) -> Result<Info> {
        self.get("/info").fetch().await
    }

    /// The same, as the engine wrote it.
    pub async fn info_raw(&self) -> Result<Bytes> {
        self.get("/info").send().await?.bytes().await
    }

    /// What takes how much space.
    pub async fn disk_usage(&self) -> Result<LegacyDiskUsage> {
        self.get("/system/df").fetch().await
    }

    /// What happens, as lines of JSON.
    pub async fn events(
        &self,
        since: &str,
        until: &str,
        filters: &[(String, String)],
    ) -> Result<Response<'_>> {
        let mut request = self.get("/events").filters(filters);
        for (name, value) in [("since", since), ("until", until)] {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        request.send().await
    }

    /// Removes what builds left behind.
    pub async fn build_prune(
        &self,
        all: bool,
        filters: &[(String, String)],
    ) -> Result<BuildCachePruneReport> {
        self.post("/build/prune").flag("all", all).filters(filters).fetch().await
    }
}
