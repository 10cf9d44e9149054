//! `POST /build` as clients without BuildKit speak it: a tar (or an address) in, a stream of JSON
//! messages out. Also pruning and cancelling. The build itself is the engine's.

mod ask;
mod client;
mod tell;

use std::sync::Arc;

use build::attest::Attestations;
use build::cache::{CacheKind, PruneOptions};
use build::request::{
    CacheSource, CacheTarget, Definition, Entitlements, Form, Output, Push, SolveRequest,
};
use hyper::StatusCode;
use model::error::HasKind;
use tokio::sync::mpsc;
use wire::docker::system::BuildCachePruneReport;

use crate::body::into_engine;
use crate::buildkit;
use crate::call::Call;
use crate::clock;
use crate::failure::Failure;
use crate::filters::Filters;
use crate::moment;
use crate::reply::{self, JSON, Reply};
pub(crate) use client::{TarClient, credentials};
use tell::Teller;

/// `POST /build`.
pub(crate) async fn build(call: Call) -> Reply {
    if call.query.text("version") == Some("2") {
        return buildkit::build(call).await;
    }
    let asked = ask::parse(&call.query, &call.headers)?;
    call.guard.build_network(&call.engine, &asked.network_name)?;
    let network_host = call.guard.lends_host_network();
    let context = match &asked.remote {
        Some(_) => None,
        None => Some(call.engine.builds.receive(into_engine(call.body)).await?),
    };
    let client = TarClient::new(context, asked.credentials);
    let no_cache = asked.no_cache || ask::nothing_to_cache_from(&call.engine, &asked.from).await;
    let (tx, rx) = mpsc::unbounded_channel();
    let names = asked.names.clone();
    let request = SolveRequest {
        id: asked.id,
        definition: Definition::Dockerfile(Box::new(asked.build)),
        outputs: vec![Output::Image {
            names: asked.names,
            push: Push::No,
            store: true,
            form: Form::default(),
        }],
        // Who names images to take steps from will name this one the next time.
        cache_to: if asked.from.is_empty() { Vec::new() } else { vec![CacheTarget::Inline] },
        cache_from: asked.from.into_iter().map(CacheSource::Here).collect(),
        attest: Attestations::default(),
        // Whoever may build here may run containers with as much.
        entitlements: Entitlements { network_host, ..Entitlements::default() },
        no_cache,
        network_name: asked.network_name,
        source_date_epoch: asked.source_date_epoch,
        review: call.guard.images(),
        client: Arc::new(client),
        // The teller may have left.
        progress: build::progress::Progress::new(move |event| drop(tx.send(event))).with_steps(),
    };
    let (chunks, response) = reply::stream(JSON);
    let builds = call.engine.builds.clone();
    let (first, flushed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut teller = Teller::new(chunks, asked.show, first);
        // A client that left does not want the image any more.
        let gone = teller.gone();
        tokio::select! {
            () = teller.run(rx, builds.solve(request), &names) => {}
            () = gone => {}
        }
    });
    // What fails before anything was told has an answer of its own, not a stream.
    match flushed.await {
        Ok(Some(error)) => Err(refused(&error)),
        _ => Ok(response),
    }
}

fn refused(error: &build::Error) -> Failure {
    let denied = model::Denied { kind: error.kind(), message: tell::words(error) };
    Failure::from(denied)
}

/// `POST /build/cancel`.
pub(crate) async fn cancel(call: Call) -> Reply {
    let id = call.query.text("id").ok_or_else(|| Failure::invalid("build ID not provided"))?;
    call.engine.builds.cancel(id);
    reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /build/prune`.
pub(crate) async fn prune(call: Call) -> Reply {
    const FILTERS: [&str; 11] = [
        "until",
        "unused-for",
        "id",
        "parent",
        "type",
        "description",
        "inuse",
        "shared",
        "private",
        "label",
        "label!",
    ];
    let query = &call.query;
    let filters = Filters::parse(query, &FILTERS)?;
    if !filters.values("label").is_empty() {
        // Nothing in the cache has a label; `system prune` passes its filters on to here as well.
        return reply::json(&BuildCachePruneReport {
            caches_deleted: Vec::new().into(),
            space_reclaimed: 0,
        });
    }
    let mut options = PruneOptions {
        all: query.flag("all"),
        ids: filters.values("id").iter().map(|id| (*id).to_owned()).collect(),
        max_used_bytes: query.number("max-used-space")?.unwrap_or(0),
        min_free_bytes: query.number("min-free-space")?.unwrap_or(0),
        ..PruneOptions::default()
    };
    let reserved = match query.number("reserved-space")? {
        Some(bytes) => Some(bytes),
        None => query.number("keep-storage")?,
    };
    options.reserved_bytes = reserved.unwrap_or(0);
    let age = filters.values("until").iter().chain(filters.values("unused-for")).last();
    if let Some(text) = age {
        let now = clock::now();
        let limit = moment::parse(text, now)?;
        options.unused_for_s = now.since(limit) / 1_000_000_000;
    }
    for kind in filters.values("type") {
        let known = [
            CacheKind::Regular,
            CacheKind::SourceLocal,
            CacheKind::SourceGit,
            CacheKind::SourceHttp,
            CacheKind::CacheMount,
        ];
        options.kinds.extend(known.into_iter().filter(|known| known.name() == *kind));
    }
    let (removed, freed) = call.engine.builds.prune(options).await?;
    reply::json(&BuildCachePruneReport {
        caches_deleted: removed.into_iter().map(|record| record.id).collect::<Vec<_>>().into(),
        space_reclaimed: freed,
    })
}
