//! The open sockets. Each is served by itself, so that one can be closed or opened while the
//! others go on.

use super::config::{Config, Listen};
use super::sockets;
use api::{Authority, Certificates, Listener, Requests};
use engine::Engine;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is served, and where.
pub(crate) struct Doors {
    engine: Engine,
    authority: Arc<Authority>,
    requests: Requests,
    open: Vec<Door>,
    /// Where it is told what was counted.
    metrics: Option<Door>,
}

struct Door {
    address: Listen,
    /// Of those that speak TLS.
    certificates: Vec<Certificates>,
    /// Tells the server to end.
    tell: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Doors {
    /// Serves nothing yet.
    pub(crate) fn new(engine: Engine, authority: Arc<Authority>) -> Self {
        Self { engine, authority, requests: Requests::default(), open: Vec::new(), metrics: None }
    }

    /// Serves what was opened for an address.
    pub(crate) fn serve(&mut self, address: Listen, listeners: Vec<Listener>) {
        let (tell, told) = watch::channel(false);
        let certificates = listeners.iter().filter_map(Listener::certificates).collect();
        let (engine, authority) = (self.engine.clone(), Arc::clone(&self.authority));
        let requests = self.requests.clone();
        let served = tokio::spawn(api::serve(engine, listeners, authority, requests, told));
        self.open.push(Door { address, certificates, tell, served });
    }

    /// Tells what was counted, on an address that was opened for that.
    pub(crate) fn serve_metrics(&mut self, address: SocketAddr, listener: Listener) {
        let (tell, told) = watch::channel(false);
        let (engine, requests) = (self.engine.clone(), self.requests.clone());
        let served = tokio::spawn(api::serve_metrics(engine, listener, requests, told));
        let (address, certificates) = (Listen::Tcp(address), Vec::new());
        self.metrics = Some(Door { address, certificates, tell, served });
    }

    /// Opens what is new, reads certificates again, and closes what is not wanted any more. When
    /// something cannot be opened, everything stays as it was.
    pub(crate) async fn change(&mut self, old: &Config, new: &Config) -> Result<(), String> {
        // Plain TCP and TLS are not the same door.
        let other_kind = old.tls.files().is_some() != new.tls.files().is_some();
        let stays = |address: &Listen| {
            old.listen.contains(address) && !(other_kind && matches!(address, Listen::Tcp(_)))
        };
        let mut fresh = Vec::new();
        for address in new.listen.iter().filter(|address| !stays(address)) {
            if old.listen.contains(address) {
                self.close(address).await;
            }
            fresh.push((address.clone(), sockets::open(address, new).await?));
        }
        let metrics = match new.metrics.filter(|_| old.metrics != new.metrics) {
            Some(address) => Some((address, sockets::open_metrics(address).await?)),
            None => None,
        };
        if let Some(files) = new.tls.files() {
            for certificates in self.open.iter().flat_map(|door| &door.certificates) {
                certificates.reload(&files).map_err(|error| error.to_string())?;
            }
        }
        if old.group != new.group {
            sockets::give(new)?;
        }
        for address in old.listen.iter().filter(|address| !new.listen.contains(address)) {
            self.close(address).await;
            tracing::info!("not listening on {address} any more");
        }
        for (address, listeners) in fresh {
            self.serve(address, listeners);
        }
        if old.metrics != new.metrics {
            end(self.metrics.take().into_iter().collect()).await;
        }
        if let Some((address, listener)) = metrics {
            self.serve_metrics(address, listener);
        }
        Ok(())
    }

    async fn close(&mut self, address: &Listen) {
        let (closing, rest) =
            std::mem::take(&mut self.open).into_iter().partition(|door| door.address == *address);
        self.open = rest;
        end(closing).await;
    }

    /// Lets running requests end for a short while.
    pub(crate) async fn close_all(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        open.extend(self.metrics.take());
        end(open).await;
    }
}

async fn end(doors: Vec<Door>) {
    for door in &doors {
        // The server may have ended by itself; then there is nobody to tell.
        let _ = door.tell.send(true);
    }
    for door in doors {
        if let Err(error) = door.served.await {
            tracing::error!(%error, "serve {}", door.address);
        }
    }
}
