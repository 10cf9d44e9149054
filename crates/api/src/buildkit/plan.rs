//! What a client wants built, and what is to become of it, parsed: everything of a build but who
//! asks and how it is told. Pure.

use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use build::attest::Attestations;
use build::client::Client;
use build::progress::Progress;
use build::request::{CacheSource, CacheTarget, Definition, Entitlements, Output, SolveRequest};
use build::{Error, Result};

use super::solve::{self, Wanted};
use super::{request, results};

/// The most exporters of one build.
const MAX_EXPORTERS: usize = 64;

/// A build, parsed.
pub(super) struct Plan {
    pub definition: Definition,
    pub outputs: Vec<Output>,
    cache_from: Vec<CacheSource>,
    cache_to: Vec<CacheTarget>,
    attest: Attestations,
    no_cache: bool,
    epoch: Option<i64>,
}

impl Plan {
    /// # Errors
    /// Something that makes no sense.
    pub(super) fn new(
        wanted: &Wanted,
        exporters: &[pb::Exporter],
        cache: Option<&pb::CacheOptions>,
    ) -> Result<Self> {
        if exporters.len() > MAX_EXPORTERS {
            return Err(Error::invalid(format!("more than {MAX_EXPORTERS} outputs")));
        }
        let outputs = exporters.iter().map(|it| results::output(&it.r#type, &it.attrs));
        Ok(Self {
            outputs: outputs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(),
            definition: solve::definition(wanted)?,
            cache_from: results::cache_from(cache, &wanted.attrs),
            cache_to: results::cache_to(cache, &wanted.attrs)?,
            attest: results::attestations(&wanted.attrs)?,
            no_cache: request::no_cache(&wanted.attrs),
            epoch: request::epoch(&wanted.attrs)?,
        })
    }

    /// The builder's request, with nothing granted, on the default network.
    pub(super) fn request(
        self,
        id: String,
        client: Arc<dyn Client>,
        progress: Progress,
    ) -> SolveRequest {
        SolveRequest {
            id,
            definition: self.definition,
            outputs: self.outputs,
            cache_from: self.cache_from,
            cache_to: self.cache_to,
            attest: self.attest,
            entitlements: Entitlements::default(),
            no_cache: self.no_cache,
            network_name: String::new(),
            source_date_epoch: self.epoch,
            review: None,
            client,
            progress,
        }
    }
}
