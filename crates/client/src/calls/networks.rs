//! Calls about networks.

use bytes::Bytes;
use wire::docker::network::{
    Exposure, Network, NetworkConnectBody, NetworkCreateBody, NetworkCreateResponse,
    NetworkDisconnectBody, NetworksPruneReport,
};

use crate::request::segment;
use crate::{Client, Result};

fn path(id: &str, rest: &str) -> String {
    format!("/networks/{}{rest}", segment(id))
}

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists networks.
    pub async fn network_list(&self, filters: &[(String, String)]) -> Result<Vec<Network>> {
        self.get("/networks").filters(filters).fetch().await
    }

    /// Everything about a network, as the engine wrote it.
    pub async fn network_inspect_raw(&self, id: &str, verbose: bool) -> Result<Bytes> {
        let request = self.get(path(id, ""));
        let request = if verbose { request.query("verbose", "true") } else { request };
        request.send().await?.bytes().await
    }

    /// Who reaches which port, and by which rule. Only this engine knows.
    pub async fn exposure(&self) -> Result<Vec<Exposure>> {
        self.get("/estiba/ports").fetch().await
    }

    /// Creates a network.
    pub async fn network_create(&self, body: &NetworkCreateBody) -> Result<NetworkCreateResponse> {
        self.post("/networks/create").json(body)?.fetch().await
    }

    /// Removes a network.
    pub async fn network_remove(&self, id: &str) -> Result<()> {
        self.delete(path(id, "")).run().await
    }

    /// Attaches a container to a network.
    pub async fn network_connect(&self, id: &str, body: &NetworkConnectBody) -> Result<()> {
        self.post(path(id, "/connect")).json(body)?.run().await
    }

    /// Detaches a container from a network.
    pub async fn network_disconnect(&self, id: &str, body: &NetworkDisconnectBody) -> Result<()> {
        self.post(path(id, "/disconnect")).json(body)?.run().await
    }

    /// Removes networks that nothing uses.
    pub async fn network_prune(&self, filters: &[(String, String)]) -> Result<NetworksPruneReport> {
        self.post("/networks/prune").filters(filters).fetch().await
    }
}
