//! Calls about managed plugins.

use bytes::Bytes;
use wire::docker::plugin::{Plugin, PluginPrivilege};

use crate::request::segment;
use crate::{Body, Client, Response, Result};

fn path(name: &str, rest: &str) -> String {
    format!("/plugins/{}{rest}", segment(name))
}

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists plugins.
    pub async fn plugin_list(&self, filters: &[(String, String)]) -> Result<Vec<Plugin>> {
        self.get("/plugins").filters(filters).fetch().await
    }

    /// A plugin.
    pub async fn plugin_inspect(&self, name: &str) -> Result<Plugin> {
        self.get(path(name, "/json")).fetch().await
    }

    /// Everything about a plugin, as the engine wrote it.
    pub async fn plugin_inspect_raw(&self, name: &str) -> Result<Bytes> {
        self.get(path(name, "/json")).send().await?.bytes().await
    }

    /// What a plugin of a registry wants to be granted.
    pub async fn plugin_privileges(
        &self,
        remote: &str,
        auth: &str,
    ) -> Result<Vec<PluginPrivilege>> {
        let request = self.get("/plugins/privileges").query("remote", remote);
        request.header("X-Registry-Auth", auth).fetch().await
    }

    /// Installs a plugin; the answer is progress, and its name a header.
    pub async fn plugin_pull(
        &self,
        (remote, name): (&str, &str),
        granted: &[PluginPrivilege],
        auth: &str,
    ) -> Result<Response<'_>> {
        let request = self.post("/plugins/pull").query("remote", remote).query("name", name);
        request.header("X-Registry-Auth", auth).json(&granted)?.send().await
    }

    /// Replaces a plugin by another version; the answer is progress.
    pub async fn plugin_upgrade(
        &self,
        (name, remote): (&str, &str),
        granted: &[PluginPrivilege],
        auth: &str,
    ) -> Result<Response<'_>> {
        let request = self.post(path(name, "/upgrade")).query("remote", remote);
        request.header("X-Registry-Auth", auth).json(&granted)?.send().await
    }

    /// Sends a plugin to its registry; the answer is progress.
    pub async fn plugin_push(&self, name: &str, auth: &str) -> Result<Response<'_>> {
        self.post(path(name, "/push")).header("X-Registry-Auth", auth).send().await
    }

    /// Makes a plugin of an archive.
    pub async fn plugin_create(&self, name: &str, archive: Body) -> Result<()> {
        let request = self.post("/plugins/create").query("name", name);
        request.body("application/x-tar", archive).run().await
    }

    /// Lets a plugin run; zero seconds stand for the engine's usual patience.
    pub async fn plugin_enable(&self, name: &str, timeout_s: i64) -> Result<()> {
        self.post(path(name, "/enable")).query("timeout", timeout_s.to_string()).run().await
    }

    /// Stops a plugin.
    pub async fn plugin_disable(&self, name: &str, force: bool) -> Result<()> {
        self.post(path(name, "/disable")).flag("force", force).run().await
    }

    /// Sets what a plugin lets be set.
    pub async fn plugin_set(&self, name: &str, words: &[String]) -> Result<()> {
        self.post(path(name, "/set")).json(&words)?.run().await
    }

    /// Removes a plugin.
    pub async fn plugin_remove(&self, name: &str, force: bool) -> Result<()> {
        self.delete(path(name, "")).flag("force", force).run().await
    }
}
