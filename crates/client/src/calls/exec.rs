//! Calls about processes started in running containers.

use wire::docker::exec::{ExecCreateBody, ExecInspect, ExecStartBody};
use wire::docker::image::IdResponse;

use crate::request::segment;
use crate::{Client, Raw, Result};

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Prepares a process in a container and names it.
    pub async fn exec_create(&self, container: &str, body: &ExecCreateBody) -> Result<String> {
        let path = format!("/containers/{}/exec", segment(container));
        let created: IdResponse = self.post(path).json(body)?.fetch().await?;
        Ok(created.id)
    }

    /// Starts it without streams.
    pub async fn exec_start(&self, id: &str, body: &ExecStartBody) -> Result<()> {
        self.post(format!("/exec/{}/start", segment(id))).json(body)?.run().await
    }

    /// Starts it and takes its streams.
    pub async fn exec_attach(&self, id: &str, body: &ExecStartBody) -> Result<Raw> {
        self.post(format!("/exec/{}/start", segment(id))).json(body)?.hijack().await
    }

    /// How it is doing.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        self.get(format!("/exec/{}/json", segment(id))).fetch().await
    }

    /// Sets the size of its terminal.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let request = self.post(format!("/exec/{}/resize", segment(id)));
        request.query("h", rows.to_string()).query("w", columns.to_string()).run().await
    }
}
