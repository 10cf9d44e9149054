//! The engine about itself.

use build::cache::{CacheKind, CacheRecord};
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use wire::docker::system::FirewallInfo;

use crate::call::Call;
use crate::clock;
use crate::convert::null_if_empty;
use crate::convert::system::{self, Kinds};
use crate::failure::Failure;
use crate::reply::{self, Reply};

/// `GET /_ping` and `HEAD /_ping`.
pub(crate) async fn ping(call: Call) -> Reply {
    let mut response = reply::text("OK")?;
    let headers = response.headers_mut();
    let builder = if call.engine.system.feature("buildkit") { "2" } else { "1" };
    for (name, value) in [("builder-version", builder), ("swarm", "inactive")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// `GET /version`.
pub(crate) async fn version(call: Call) -> Reply {
    let of = &call.engine.system;
    reply::json(&system::version(&of.view(), of.min_api_version()))
}

/// `GET /info`.
pub(crate) async fn info(call: Call) -> Reply {
    let mut info = system::info(call.engine.system.view());
    info.plugins.authorization = null_if_empty(call.authority.plugins().to_vec());
    if !call.version.at_least(42) {
        info.kernel_memory = Some(info.memory_limit);
    }
    if !call.version.at_least(49) {
        info.runc_commit.expected = Some(info.runc_commit.id.clone());
    }
    if call.version.at_least(49) {
        let driver = "nftables".to_owned();
        info.firewall_backend = Some(FirewallInfo { driver, ..FirewallInfo::default() });
    }
    if call.version.at_least(50) {
        (info.bridge_nf_iptables, info.bridge_nf_ip6tables) = (false, false);
    }
    reply::json(&info)
}

/// `GET /system/df`.
pub(crate) async fn disk_usage(call: Call) -> Reply {
    let asked: Vec<&str> = call.query.all("type").collect();
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(kind) = asked.iter().find(|kind| !known.contains(kind)) {
        return Err(Failure::invalid(format!("unknown object type: {kind}")));
    }
    let wants = |kind: &str| asked.is_empty() || asked.contains(&kind);
    let kinds = Kinds {
        images: wants("image"),
        containers: wants("container"),
        volumes: wants("volume"),
        build_cache: wants("build-cache"),
    };
    let mut usage = call.engine.system.disk_usage().await?;
    usage.build_cache = call.engine.builds.usage().await?;
    // Nothing is counted twice: what only the cache holds lies among the layers, too.
    let is_layer = |record: &CacheRecord| record.kind == CacheKind::Regular;
    let own = usage.build_cache.iter().filter(|record| !record.shared && is_layer(record));
    let own: u64 = own.map(|record| record.size_bytes).sum();
    usage.layers_bytes = usage.layers_bytes.saturating_sub(own);
    usage.containers.retain(|(view, ..)| call.guard.sees(&view.spec.labels));
    usage.volumes.retain(|view| call.guard.sees(&view.labels));
    let now = clock::now();
    if call.version.at_least(52) {
        let verbose = call.query.flag("verbose");
        reply::json(&system::disk_usage(&usage, kinds, (verbose, now), call.version))
    } else {
        reply::json(&system::legacy_disk_usage(&usage, kinds, now, call.version))
    }
}
