//! Plain files over HTTP, for those who are not registries: same connections, proxies and
//! certificates. Redirects are followed, and what authorizes a request stays with its origin.

use super::Client;
use super::body::Payload;
use super::transport::{Answer, Outgoing, Transport};
use super::url::Url;
use crate::error::{Error, Result};
use bytes::Bytes;
use hyper::Method;
use std::sync::Arc;

/// Redirects followed for one file; Go's limit.
const MAX_REDIRECTS: usize = 10;

/// A file on its way.
pub struct Download {
    answer: Answer,
}

impl Client {
    /// Asks for a file. `authorization` is the value of a header for the address's own origin;
    /// empty for none.
    ///
    /// # Errors
    /// The address is none, nobody answers there, or not with success.
    pub async fn get(&self, address: &str, authorization: &str) -> Result<Download> {
        let transport = Transport::new(Arc::clone(&self.settings));
        let mut url = Url::parse(address)?;
        let first = url.origin.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = Vec::new();
            if !authorization.is_empty() && url.origin == first {
                headers.push(("authorization", authorization.to_owned()));
            }
            let outgoing = Outgoing {
                method: Method::GET,
                url: url.clone(),
                headers,
                body: Payload::Empty,
                reach: None,
            };
            let answer = transport.send(&outgoing).await?;
            if answer.status.is_success() {
                return Ok(Download { answer });
            }
            let location = answer.header("location").map(str::to_owned);
            match location.filter(|_| answer.status.is_redirection()) {
                Some(location) => url = url.follow(&location)?,
                None => {
                    let status = answer.status;
                    return Err(Error::Status {
                        act: format!("get {}", url.shown()),
                        status: status.as_u16(),
                        message: format!("invalid response status {}", status.as_u16()),
                        retry_after: None,
                    });
                }
            }
        }
        Err(Error::bad(format!("{address}: more than {MAX_REDIRECTS} redirects")))
    }
}

impl Download {
    /// A header of the answer, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing arrives any more.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.answer.chunk().await
    }
}
