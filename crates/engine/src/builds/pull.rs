//! Images of registries, for builds: with the credentials of whoever asked for the build.

use crate::node::Node;
use crate::transfer::{Caller, PullOrder, PullPolicy, ResolvedImage, Step};
use crate::{Images, Result};
use build::client::Client;
use build::graph::Pull;
use build::worker::{BaseImage, ImageAsk, KnownConfig, Push};
use model::error::HasKind;
use model::{Digest, ErrorKind, ImageRef};
use registry::client::manifest::Kind;
use registry::{Credentials, Event, Events, LayerState, Platform};
use std::sync::{Arc, Mutex, PoisonError};

/// Finds an image, pulling it as the policy says.
pub(super) async fn image(node: &Arc<Node>, ask: &ImageAsk<'_>) -> build::Result<BaseImage> {
    let failed = super::worker::failed;
    let images = Images { node: Arc::clone(node) };
    let reference = ImageRef::parse(ask.reference)?;
    let policy = match ask.pull {
        Pull::Missing => PullPolicy::Missing,
        Pull::Always => PullPolicy::Always,
        Pull::Never => PullPolicy::Never,
    };
    let credentials = credentials(ask.client, reference.host()).await?;
    let platform = Platform::parse(&ask.platform.to_string())?;
    let order = PullOrder { reference, platform: Some(platform), credentials };
    let found = match resolve(&images, order.clone(), policy, ask).await {
        Err(error) if error.kind() == ErrorKind::NotFound && policy != PullPolicy::Never => {
            match only(&images, &order).await {
                Some(order) => resolve(&images, order, policy, ask).await,
                None => Err(error),
            }
        }
        found => found,
    };
    let found = found.map_err(failed)?;
    let layers = found.record.diff_ids.clone();
    Ok(BaseImage { id: found.id, config: found.config, layers })
}

async fn resolve(
    images: &Images,
    order: PullOrder,
    policy: PullPolicy,
    ask: &ImageAsk<'_>,
) -> Result<ResolvedImage> {
    let (events, told) = gathered();
    watched(images.resolve(order, policy, events), &told, ask.progress).await
}

/// The same order for the one platform that there is, where a registry has an image without an
/// index under the name: a Dockerfile that names it takes it as it is, and is warned of it.
async fn only(images: &Images, order: &PullOrder) -> Option<PullOrder> {
    let caller = Caller { credentials: order.credentials.clone(), insecure: false };
    let found = images.distribution(&order.reference, caller).await.ok()?;
    let Kind::Manifest(_) = found.document.kind else { return None };
    let [one] = found.platforms.as_slice() else { return None };
    let platform = Some(Platform {
        os: one.os.clone(),
        architecture: one.architecture.clone(),
        variant: one.variant.clone().unwrap_or_default(),
    });
    Some(PullOrder { platform, ..order.clone() })
}

/// The configuration of an image: of one that is here, else of the registry's.
pub(super) async fn config(node: &Arc<Node>, ask: &ImageAsk<'_>) -> build::Result<KnownConfig> {
    let failed = super::worker::failed;
    let images = Images { node: Arc::clone(node) };
    let reference = ImageRef::parse(ask.reference)?;
    let platform = Some(Platform::parse(&ask.platform.to_string())?);
    if ask.pull != Pull::Always {
        let (reference, platform) = (reference.clone(), platform.clone());
        let order = PullOrder { reference, platform, credentials: None };
        if let Ok(found) = images.resolve(order, PullPolicy::Never, gathered().0).await {
            let store = node.store.clone();
            let config =
                crate::node::blocking(move || Ok(store.images().config_bytes(found.id)?));
            let config = config.await.map_err(failed)?.into();
            return Ok(KnownConfig { digest: found.digest, config });
        }
    }
    if ask.pull == Pull::Never {
        return Err(build::Error::not_found(format!("no such image: {}", reference.familiar())));
    }
    let credentials = credentials(ask.client, reference.host()).await?;
    let order = PullOrder { reference, platform, credentials };
    let found = match images.describe(order.clone()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => match only(&images, &order).await {
            Some(order) => images.describe(order).await,
            None => Err(error),
        },
        found => found,
    };
    let found = found.map_err(failed)?;
    Ok(KnownConfig { digest: Some(found.digest), config: found.config.into() })
}

/// Pushes an image, which has the name here.
pub(super) async fn push(node: &Arc<Node>, push: Push<'_>) -> build::Result<Digest> {
    let failed = super::worker::failed;
    let images = Images { node: Arc::clone(node) };
    let reference = push.name.clone().or_latest();
    let credentials = credentials(push.client, reference.host()).await?;
    let mut steps = images.push(&reference, None, credentials).await.map_err(failed)?;
    while let Some(step) = steps.recv().await {
        match step.map_err(failed)? {
            Step::Pushed(pushed) => return Ok(pushed.digest),
            Step::Event(event) => {
                if let Some((part, done, total)) = progress_of(event) {
                    (push.progress)(&part, done, total);
                }
            }
            Step::Pulled(_) => {}
        }
    }
    Err(build::Error::internal("the push ended without a word"))
}

async fn credentials(client: &dyn Client, host: &str) -> build::Result<Option<Credentials>> {
    let found = client.auth(host).await?;
    Ok(found.map(|found| Credentials {
        username: found.username,
        password: found.password,
        identity_token: found.identity_token,
        registry_token: String::new(),
    }))
}

/// A layer, bytes done and bytes in all.
fn progress_of(event: Event) -> Option<(String, u64, u64)> {
    let Event::Layer { id, state } = event else { return None };
    let (done, total) = match state {
        LayerState::Downloading(it) | LayerState::Uploading(it) => (it.current, it.total),
        LayerState::Downloaded | LayerState::Pushed => (1, 1),
        _ => return None,
    };
    Some((id, done, total))
}

/// News that another thread gathers, until the build's own asks for them.
type Told = Arc<Mutex<Vec<(String, u64, u64)>>>;

fn gathered() -> (Events, Told) {
    let told: Told = Arc::default();
    let into = Arc::clone(&told);
    let events: Events = Arc::new(move |event| {
        let Some(news) = progress_of(event) else { return };
        let mut told = into.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the last word on a layer counts.
        told.retain(|(known, ..)| *known != news.0);
        told.push(news);
    });
    (events, told)
}

/// Passes news on while the work goes on.
async fn watched<T>(
    work: impl Future<Output = Result<T>>,
    told: &Told,
    progress: &(dyn Fn(&str, u64, u64) + Send + Sync),
) -> Result<T> {
    let pass_on = || {
        let news = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        news.iter().for_each(|(part, done, total)| progress(part, *done, *total));
    };
    tokio::pin!(work);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                pass_on();
                return done;
            }
            _ = tick.tick() => pass_on(),
        }
    }
}
