//! Counters, and how Prometheus reads them. Format: Prometheus text exposition, 0.0.4.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::Index;

/// What happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [AtomicU64; 6],
    pulled: AtomicU64,
    pushed: AtomicU64,
    mounted: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    fetched: AtomicU64,
    collected: AtomicU64,
}

impl Metrics {
    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).min(5);
        self.requests[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pulled(&self) {
        self.pulled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pushed(&self) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn mounted(&self) {
        self.mounted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn collected(&self, changes: usize) {
        self.collected.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Everything, as text.
    pub(crate) fn text(&self, index: &Index) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "# HELP estiba_registry_requests_total Answers by class of status.");
        let _ = writeln!(out, "# TYPE estiba_registry_requests_total counter");
        for (class, count) in self.requests.iter().enumerate().skip(2) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "estiba_registry_requests_total{{code=\"{class}xx\"}} {count}");
        }
        for (name, about, counter) in [
            ("manifests_pulled", "Manifests sent.", &self.pulled),
            ("manifests_pushed", "Manifests taken.", &self.pushed),
            ("blobs_mounted", "Blobs taken from another repository.", &self.mounted),
            ("sent_bytes", "Bytes of blobs sent.", &self.sent),
            ("received_bytes", "Bytes of blobs received.", &self.received),
            ("upstream_fetches", "Blobs and manifests fetched from upstream.", &self.fetched),
            ("collected", "Tags, manifests and blobs let go of.", &self.collected),
        ] {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(out, "# HELP estiba_registry_{name}_total {about}");
            let _ = writeln!(out, "# TYPE estiba_registry_{name}_total counter");
            let _ = writeln!(out, "estiba_registry_{name}_total {count}");
        }
        for (name, about, value) in [
            ("repositories", "Repositories.", index.repositories().count() as u64),
            ("content_bytes", "Bytes of distinct content.", index.bytes()),
        ] {
            let _ = writeln!(out, "# HELP estiba_registry_{name} {about}");
            let _ = writeln!(out, "# TYPE estiba_registry_{name} gauge");
            let _ = writeln!(out, "estiba_registry_{name} {value}");
        }
        out
    }
}
