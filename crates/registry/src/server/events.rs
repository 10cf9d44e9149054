//! Telling others: who pushed, pulled and deleted what, posted in the envelope that Docker's
//! registry made common. Telling never delays a request: when a listener is slow for long, the
//! newest events are dropped and counted in the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::config::Notify;
use super::name::{Digest, Name, Reference};
use crate::client::body::Payload;
use crate::client::transport::{Outgoing, Transport};
use crate::client::url::Url;
use crate::{Error, Settings};

/// Events that wait for a listener.
const QUEUE: usize = 4096;
/// Attempts for one event.
const ATTEMPTS: u32 = 5;
/// The first pause between two; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Push,
    Pull,
    Delete,
}

/// The way to the listeners.
pub(crate) struct Events {
    queues: Vec<mpsc::Sender<Value>>,
}

struct Listener {
    url: Url,
    header: Option<(&'static str, String)>,
    transport: Arc<Transport>,
}

impl Events {
    /// Starts a task per listener. Must be called inside an event loop.
    pub(crate) fn start(listeners: &[Notify]) -> Result<Self, String> {
        let mut queues = Vec::new();
        for notify in listeners {
            let url = Url::parse(&notify.url).map_err(|error| error.to_string())?;
            let header = notify.header.as_deref().map(header).transpose()?;
            let transport = Transport::new(Arc::new(Settings::default()));
            let (queue, events) = mpsc::channel(QUEUE);
            tokio::spawn(Listener { url, header, transport }.run(events));
            queues.push(queue);
        }
        Ok(Self { queues })
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, kind: Kind, name: &Name, digest: &Digest, by: Option<&Reference>) {
        if self.queues.is_empty() {
            return;
        }
        let action = match kind {
            Kind::Push => "push",
            Kind::Pull => "pull",
            Kind::Delete => "delete",
        };
        let mut target = json!({ "digest": digest.to_string(), "repository": name.as_str() });
        if let Some(Reference::Tag(tag)) = by {
            target["tag"] = json!(tag.as_str());
        }
        let mut id = [0u8; 16];
        // An event without a unique id is better than none.
        let _ = getrandom::fill(&mut id);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let timestamp = jiff::Timestamp::now().to_string();
        let event = json!({
            "id": id, "timestamp": timestamp, "action": action, "target": target,
        });
        for queue in &self.queues {
            if queue.try_send(event.clone()).is_err() {
                tracing::warn!(repository = %name, action, "a listener is behind: not told");
            }
        }
    }
}

/// `Name: value`; the two names that listeners ask for.
fn header(text: &str) -> Result<(&'static str, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text:?} is not a header: Name: value"))?;
    let name = match name.trim().to_ascii_lowercase().as_str() {
        "authorization" => "Authorization",
        "x-token" => "X-Token",
        _ => return Err(format!("{name:?}: only Authorization and X-Token can be sent along")),
    };
    Ok((name, value.trim().to_owned()))
}

impl Listener {
    async fn run(self, mut events: mpsc::Receiver<Value>) {
        while let Some(event) = events.recv().await {
            let body = json!({ "events": [event] }).to_string();
            let body = Bytes::from(body);
            for attempt in 0..ATTEMPTS {
                match self.post(&body).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(url = %self.url, %error, "a listener was not told");
                        tokio::time::sleep(PAUSE * (1 << attempt)).await;
                    }
                }
            }
        }
    }

    async fn post(&self, body: &Bytes) -> Result<(), Error> {
        let media_type = "application/vnd.docker.distribution.events.v1+json";
        let mut headers = vec![("Content-Type", media_type.to_owned())];
        headers.extend(self.header.clone());
        let outgoing = Outgoing {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: Payload::Bytes(body.clone()),
            reach: None,
        };
        let answer = self.transport.send(&outgoing).await?;
        if answer.status.is_success() {
            return answer.bytes(1 << 20).await.map(drop);
        }
        Err(Error::bad(format!("it answered {}", answer.status)))
    }
}
