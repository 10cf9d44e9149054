//! One image as a registry would give it, to be spoilt by a test.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part")]

use crate::fake::{Reply, Request, headers, sha256, tar, through};
use serde_json::{Value, json};
use std::sync::Arc;

pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

type Override = Arc<dyn Fn(&Request, &Site) -> Option<Reply> + Send + Sync>;

/// What a registry has, and what it does instead.
#[derive(Clone)]
pub struct Site {
    pub manifest: Vec<u8>,
    pub manifest_type: String,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
    pub plain: Vec<u8>,
    instead: Vec<Override>,
}

impl Site {
    pub fn new() -> Self {
        let plain = tar("file", &b"content of the only layer\n".repeat(40_000));
        let layer = through(&["gzip", "-nc1"], &plain);
        let mut site = Self {
            manifest: Vec::new(),
            manifest_type: OCI.into(),
            config: Vec::new(),
            layer,
            plain,
            instead: Vec::new(),
        };
        site.config(|_| {});
        site
    }

    /// Changes the configuration; the manifest follows.
    pub fn config(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&self.plain).to_string()]},
        });
        change(&mut config);
        self.config = config.to_string().into_bytes();
        self.manifest(|_| {});
    }

    /// Takes another layer; everything follows.
    pub fn layer(&mut self, plain: Vec<u8>, packed: Vec<u8>) {
        (self.plain, self.layer) = (plain, packed);
        self.config(|_| {});
    }

    /// Changes the manifest.
    pub fn manifest(&mut self, change: impl FnOnce(&mut Value)) {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": self.manifest_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha256(&self.config).to_string(), "size": self.config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": sha256(&self.layer).to_string(), "size": self.layer.len(),
            }],
        });
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
    }

    /// Does this instead, where it answers.
    pub fn instead(
        &mut self,
        what: impl Fn(&Request, &Site) -> Option<Reply> + Send + Sync + 'static,
    ) {
        self.instead.push(Arc::new(what));
    }

    /// Answers the manifest, the configuration or the layer with this.
    pub fn part(
        &mut self,
        part: &'static str,
        what: impl Fn(&Request, &Site) -> Reply + Send + Sync + 'static,
    ) {
        self.instead(move |request, site| {
            (site.what(request) == part && request.method == "GET").then(|| what(request, site))
        });
    }

    pub fn what(&self, request: &Request) -> &'static str {
        let path = request.target.split('?').next().unwrap_or_default();
        if path.contains("/manifests/") {
            "manifest"
        } else if path.ends_with(&sha256(&self.config).to_string()) {
            "config"
        } else if path.ends_with(&sha256(&self.layer).to_string()) {
            "layer"
        } else {
            "other"
        }
    }

    pub fn answer(&self, request: &Request) -> Reply {
        for instead in &self.instead {
            if let Some(reply) = instead(request, self) {
                return reply;
            }
        }
        match self.what(request) {
            "manifest" => self.document(&self.manifest),
            "config" => Reply::Plain(200, Vec::new(), self.config.clone()),
            "layer" => self.ranged(request),
            _ => crate::fake::text(
                404,
                r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob"}]}"#,
            ),
        }
    }

    pub fn document(&self, bytes: &[u8]) -> Reply {
        Reply::Plain(200, headers(&[("Content-Type", &self.manifest_type)]), bytes.to_vec())
    }

    /// The layer from where it is asked for.
    pub fn ranged(&self, request: &Request) -> Reply {
        match start(request) {
            0 => Reply::Plain(200, Vec::new(), self.layer.clone()),
            at => Reply::Plain(206, range(at, self.layer.len()), self.layer[at..].to_vec()),
        }
    }

    /// Wraps the manifest in an index.
    pub fn index(&mut self, change: impl FnOnce(&mut Value)) {
        let inner = self.manifest.clone();
        let mut index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [{
                "mediaType": OCI, "digest": sha256(&inner).to_string(), "size": inner.len(),
                "platform": {"os": "linux", "architecture": "amd64"},
            }],
        });
        change(&mut index);
        let index = index.to_string().into_bytes();
        self.instead(move |request, _| {
            let (document, kind) = match request.target.split("/manifests/").nth(1)? {
                name if name == sha256(&inner).to_string() => (&inner, OCI),
                _ => (&index, OCI_INDEX),
            };
            Some(Reply::Plain(200, headers(&[("Content-Type", kind)]), document.clone()))
        });
    }
}

/// Where a request's range begins.
pub fn start(request: &Request) -> usize {
    let range = request.header("range").strip_prefix("bytes=").unwrap_or_default();
    range.split('-').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub fn range(at: usize, len: usize) -> Vec<(String, String)> {
    headers(&[("Content-Range", &format!("bytes {at}-{}/{len}", len - 1))])
}
