//! Searching a registry: Docker Hub's index, or `/v1/search` of a registry that still has it.

use super::body::Payload;
use super::session::{Ask, Session};
use super::url::Url;
use super::{Client, Credentials, registry_host};
use crate::error::{Error, Result};
use hyper::Method;
use model::reference::DEFAULT_HOST;
use serde::Deserialize;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Results when nobody says how many.
const DEFAULT_LIMIT: u32 = 25;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchHit {
    /// Its name.
    pub name: String,
    /// One line.
    pub description: String,
    /// Stars.
    pub star_count: i64,
    /// Official image.
    pub is_official: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    results: Vec<SearchHit>,
}

impl Client {
    /// Searches for `[host/]term`.
    ///
    /// # Errors
    /// The registry does not answer, or not with results.
    pub async fn search(
        &self,
        term: &str,
        limit: Option<u32>,
        credentials: Option<Credentials>,
    ) -> Result<Vec<SearchHit>> {
        let (host, term) = match term.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => ("", term),
        };
        let host = registry_host(host);
        let session = Session::to_write(&self.settings, (&host, ""), credentials)?;
        let hub = host == DEFAULT_HOST;
        let known = session.endpoint(session.endpoints().saturating_sub(1)).await;
        let mut endpoint = match (hub, known) {
            // The index is another machine than the registry.
            (true, _) => self.settings.registry((&host, ""), false)?,
            (false, known) => known?.clone(),
        };
        let mut url = match hub {
            true => Url::parse(&self.settings.search)?,
            false => Url { origin: endpoint.origin.clone(), target: "/v1/search".into() },
        };
        if hub {
            endpoint.origin = url.origin.clone();
        }
        url = url.with("q", term).with("n", &limit.unwrap_or(DEFAULT_LIMIT).to_string());
        let ask = Ask {
            endpoint: &endpoint,
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Payload::Empty,
            scopes: Vec::new(),
        };
        let bytes = session.expect(&ask, &[200]).await?.bytes(MAX_ANSWER_BYTES).await?;
        // Indexes are as loose with nulls as what they were written in.
        let answer: Answer = wire::docker::json::from_slice(&bytes)
            .map_err(|error| Error::bad(format!("search results: {error}")))?;
        Ok(answer.results)
    }
}
