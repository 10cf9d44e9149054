//! Resource use, once or every second.

use std::time::Duration;

use engine::{Engine, Stats};
use hyper::StatusCode;
use wire::docker::ApiVersion;

use crate::body::Chunks;
use crate::call::Call;
use crate::convert::stats as convert;
use crate::failure::Failure;
use crate::reply::{self, JSON, Reply};

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/stats`.
pub(crate) async fn stats(call: Call) -> Reply {
    let streaming = call.query.flag_or("stream", true);
    let one_shot = call.query.flag("one-shot");
    if streaming && one_shot {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "cannot have stream=true and one-shot=true",
        ));
    }
    let view = call.engine.containers.view(&call.target)?;
    let (id, name) = (view.id.to_string(), view.name.to_string());
    drop(view);
    let first = call.engine.containers.stats(&id).await?;
    let gauge = Gauge { engine: call.engine, id, name, version: call.version };
    if streaming {
        let (chunks, response) = reply::stream(JSON);
        tokio::spawn(gauge.stream(first, chunks));
        return Ok(response);
    }
    if one_shot || !first.running {
        return reply::json(&gauge.show(&first, None));
    }
    tokio::time::sleep(PERIOD).await;
    let second = gauge.engine.containers.stats(&gauge.id).await?;
    reply::json(&gauge.show(&second, Some(&first)))
}

/// One container whose use is told.
struct Gauge {
    engine: Engine,
    id: String,
    name: String,
    version: ApiVersion,
}

impl Gauge {
    fn show(&self, now: &Stats, before: Option<&Stats>) -> wire::docker::stats::Stats {
        convert::to_wire((&self.id, &self.name), now, before, self.version)
    }

    /// A sample every second until the container or the client is gone.
    async fn stream(self, first: Stats, chunks: Chunks) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        let (mut now, mut before) = (first, None);
        loop {
            let Ok(line) = reply::json_line(&self.show(&now, before.as_ref())) else { return };
            if chunks.send(line).await.is_err() {
                return;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = chunks.gone() => return,
            }
            before = Some(now).filter(|sample| sample.running);
            now = match self.engine.containers.stats(&self.id).await {
                Ok(sample) => sample,
                Err(_removed) => return,
            };
        }
    }
}
