//! One request and its answer. It never decides which call to make.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::docker::ApiVersion;
use wire::docker::error::ErrorResponse;

use crate::connection::Lease;
use crate::{Body, Client, Error, Raw, Result};

/// The longest answer that is read into memory as a whole.
const ANSWER_LIMIT_BYTES: usize = 256 << 20;

/// A request being put together.
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Body,
    versioned: bool,
    /// What the connection becomes.
    protocol: &'static str,
}

/// The head of an answer; its body is still to be read.
pub struct Response<'a> {
    client: &'a Client,
    lease: Lease,
    path: String,
    status: StatusCode,
    headers: hyper::HeaderMap,
    body: Incoming,
}

impl<'a> Request<'a> {
    pub(crate) fn new(client: &'a Client, method: Method, path: String) -> Self {
        let (query, headers, body) = (String::new(), Vec::new(), Body::empty());
        Self { client, method, path, query, headers, body, versioned: true, protocol: "tcp" }
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        encode(&mut self.query, name);
        self.query.push('=');
        encode(&mut self.query, value.as_ref());
        self
    }

    /// Adds a query parameter that is only sent when it is set.
    #[must_use]
    pub fn flag(self, name: &str, set: bool) -> Self {
        if set { self.query(name, "1") } else { self }
    }

    /// Adds the `filters` parameter: name to set of values.
    #[must_use]
    pub fn filters(self, filters: &[(String, String)]) -> Self {
        if filters.is_empty() {
            return self;
        }
        let mut map = serde_json::Map::new();
        for (name, value) in filters {
            let values = map.entry(name.clone()).or_insert_with(|| serde_json::json!({}));
            if let Some(values) = values.as_object_mut() {
                values.insert(value.clone(), true.into());
            }
        }
        self.query("filters", serde_json::Value::Object(map).to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends a document.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::Answer { path: self.path.clone(), why: error.to_string() })?;
        Ok(self.body("application/json", Body::full(bytes)))
    }

    /// Sends a body of the given type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Body) -> Self {
        self.body = body;
        self.header("Content-Type", content_type)
    }

    /// Sends the request without a version in its path.
    #[must_use]
    pub fn unversioned(mut self) -> Self {
        self.versioned = false;
        self
    }

    /// Names what [`Request::hijack`] turns the connection into; raw bytes (`tcp`) otherwise.
    #[must_use]
    pub fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sends it and waits for the head of the answer.
    ///
    /// # Errors
    /// No connection, a broken one, or an error status with the engine's words.
    pub async fn send(mut self) -> Result<Response<'a>> {
        let replay = self.body.again();
        let body = std::mem::replace(&mut self.body, Body::empty());
        let response = self.attempt(body).await?;
        if response.status.as_u16() < 400 {
            return Ok(response);
        }
        let refused = response.refused_version();
        let error = response.into_error().await;
        match (refused, replay) {
            (true, Some(body)) => {
                let response = self.attempt(body).await?;
                if response.status.as_u16() < 400 {
                    return Ok(response);
                }
                Err(response.into_error().await)
            }
            _ => Err(error),
        }
    }

    /// Sends it and reads the answer's document.
    ///
    /// # Errors
    /// As [`Request::send`], and an answer that is not the expected document.
    pub async fn fetch<T: DeserializeOwned>(self) -> Result<T> {
        self.send().await?.json().await
    }

    /// The same for a list that may be long.
    ///
    /// # Errors
    /// As [`Request::fetch`].
    pub async fn fetch_list<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        self.send().await?.list().await
    }

    /// Sends it and drops the answer's body.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn run(self) -> Result<()> {
        self.send().await?.bytes().await.map(drop)
    }

    /// Sends it and turns its connection into a raw stream.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn hijack(self) -> Result<Raw> {
        let head = self.head();
        match Raw::open(self.client, &head, self.body.bytes()).await? {
            Ok(raw) => Ok(raw),
            Err(failed) => {
                let offered = failed.version.filter(|_| failed.is_too_new());
                if !offered.is_some_and(|version| self.client.settle(version)) {
                    return Err(failed.error);
                }
                let head = self.head();
                Raw::open(self.client, &head, self.body.bytes()).await?.map_err(|f| f.error)
            }
        }
    }

    fn target(&self) -> String {
        match self.versioned {
            true => format!("/v{}{}{}", self.client.version(), self.path, self.query),
            false => format!("{}{}", self.path, self.query),
        }
    }

    fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", self.method, self.target());
        for (name, value) in self.client.headers().iter().chain(&self.headers) {
            let clean = |c: char| c != '\r' && c != '\n';
            let value: String = value.chars().filter(|c| clean(*c)).collect();
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let protocol = self.protocol;
        let _ = write!(head, "User-Agent: {AGENT}\r\nConnection: Upgrade\r\n");
        let _ = write!(head, "Upgrade: {protocol}\r\n");
        let _ =
            write!(head, "Content-Length: {}\r\n\r\n", self.body.bytes().map_or(0, <[u8]>::len));
        head
    }

    async fn attempt(&self, body: Body) -> Result<Response<'a>> {
        let broken = |error: hyper::Error| Error::Transport(error.to_string());
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(self.target())
            .header("Host", HOST)
            .header("User-Agent", AGENT);
        for (name, value) in self.client.headers().iter().chain(&self.headers) {
            request = request.header(name, value);
        }
        let request =
            request.body(body).map_err(|error| Error::Endpoint(format!("request: {error}")))?;
        let mut lease = self.client.lease().await?;
        let answer = lease.sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status, head.headers);
        Ok(Response { client: self.client, lease, path: self.path.clone(), status, headers, body })
    }
}

const HOST: &str = "api.moby.localhost";
const AGENT: &str = concat!("estiba/", env!("CARGO_PKG_VERSION"), " (linux)");

impl Response<'_> {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// The connection breaks, or the body is larger than this client reads into memory.
    pub async fn bytes(self) -> Result<Bytes> {
        let mut collected = BytesMut::new();
        let (client, lease, mut body) = (self.client, self.lease, self.body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::Transport(error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                if collected.len() + data.len() > ANSWER_LIMIT_BYTES {
                    let why = format!("more than {ANSWER_LIMIT_BYTES} bytes");
                    return Err(Error::Answer { path: self.path, why });
                }
                collected.extend_from_slice(data);
            }
        }
        client.give_back(lease);
        Ok(collected.freeze())
    }

    /// Reads the whole body as a document.
    ///
    /// # Errors
    /// As [`Response::bytes`], and a body that is not the expected document.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let path = self.path.clone();
        let bytes = self.bytes().await?;
        wire::docker::json::from_slice(&bytes)
            .map_err(|error| Error::Answer { path, why: error.to_string() })
    }

    /// Reads the whole body as a list, which may be long: as engines write it, and only where that
    /// will not do as Go reads it, which takes longer.
    async fn list<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        let path = self.path.clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .or_else(|_| wire::docker::json::from_slice(&bytes))
            .map_err(|error| Error::Answer { path, why: error.to_string() })
    }

    /// The next piece of the body; nothing at its end.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| Error::Transport(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads the body line by line, as it arrives.
    pub fn lines(self) -> Lines<impl AsyncFnMut() -> Result<Option<Bytes>>> {
        let mut this = self;
        Lines { chunk: async move || this.chunk().await, pending: BytesMut::new(), ended: false }
    }

    fn refused_version(&self) -> bool {
        let offered = self.header("Api-Version").and_then(|text| text.parse::<ApiVersion>().ok());
        let settled = offered.is_some_and(|version| self.client.settle(version));
        settled && self.status == StatusCode::BAD_REQUEST
    }

    async fn into_error(self) -> Error {
        let (status, reason) = (self.status.as_u16(), self.status);
        match self.bytes().await {
            Ok(bytes) => Error::Api { status, message: message(&bytes, &reason.to_string()) },
            Err(error) => error,
        }
    }
}

/// The engine's words in the body of an error.
pub(crate) fn message(body: &[u8], reason: &str) -> String {
    match serde_json::from_slice::<ErrorResponse>(body) {
        Ok(error) if !error.message.is_empty() => error.message.trim().to_owned(),
        _ if body.is_empty() => reason.to_owned(),
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

/// A body read line by line.
pub struct Lines<F> {
    chunk: F,
    pending: BytesMut,
    ended: bool,
}

impl<F: AsyncFnMut() -> Result<Option<Bytes>>> Lines<F> {
    /// The next line that is not blank, without its end; nothing at the end of the body.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(end + 1);
                let line = line.trim_ascii();
                if !line.is_empty() {
                    return Ok(Some(Bytes::copy_from_slice(line)));
                }
                continue;
            }
            if self.ended {
                let rest = self.pending.split().freeze();
                let blank = rest.trim_ascii().is_empty();
                return Ok((!blank).then_some(rest));
            }
            match (self.chunk)().await? {
                Some(chunk) => self.pending.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// A name as one segment of a path; slashes stay, as in image names.
pub(crate) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (index, part) in name.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        for (index, part) in part.split(':').enumerate() {
            if index > 0 {
                out.push(':');
            }
            encode(&mut out, part);
        }
    }
    out
}
