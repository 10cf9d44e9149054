//! Images from and to registries: pull, push, credentials, search, and what a registry has.

use engine::transfer::{
    Caller, Credentials, Event, Found, LayerState, Platform, Progress, PullOrder, Pulled, Pushed,
    Step, Steps,
};
use engine::{EngineError, Images};
use hyper::StatusCode;
use model::ImageRef;
use wire::docker::image::{Descriptor, Platform as ShownPlatform};
use wire::docker::json;
use wire::docker::progress::{ErrorDetail, ProgressDetail, ProgressLine};
use wire::docker::registry::{
    AuthConfig, AuthResponse, DistributionInspect, ManifestPublished, ManifestToPublish,
    SearchResult,
};

use crate::base64;
use crate::body::Chunks;
use crate::call::Call;
use crate::failure::{Failure, describe};
use crate::filters::Filters;
use crate::reply::{self, JSON, Reply};

/// The most results of a search.
const MAX_RESULTS: u32 = 100;

/// The credentials a request carries, if any.
pub(crate) fn credentials(call: &Call) -> Result<Option<Credentials>, Failure> {
    let header = call.headers.get("x-registry-auth").and_then(|value| value.to_str().ok());
    let Some(text) = header.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = |why: &str| Failure::invalid(format!("invalid X-Registry-Auth header: {why}"));
    let bytes = base64::decode(text).ok_or_else(|| bad("not base64url"))?;
    let auth: AuthConfig =
        json::from_slice(&bytes).map_err(|_| bad("must be a valid base64url-encoded JSON"))?;
    Ok(Some(from_wire(auth)).filter(|credentials| !credentials.is_empty()))
}

fn from_wire(auth: AuthConfig) -> Credentials {
    let mut credentials = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    };
    // Old clients send both in one field.
    if credentials.username.is_empty()
        && let Some(pair) = base64::decode(&auth.auth).and_then(|b| String::from_utf8(b).ok())
        && let Some((user, password)) = pair.split_once(':')
    {
        credentials.username = user.to_owned();
        credentials.password = password.trim_end_matches('\0').to_owned();
    }
    credentials
}

/// `POST /images/create?fromImage=…`.
pub(crate) async fn pull(call: &Call, name: &str) -> Reply {
    let credentials = credentials(call)?;
    let tag = call.query.text_or_empty("tag");
    let mut reference = ImageRef::parse(name)?;
    if reference.digest().is_none() && !tag.is_empty() {
        reference = match tag.contains(':') {
            true => ImageRef::parse(&format!("{}/{}@{tag}", reference.host(), reference.path()))?,
            false => reference.with_tag(tag)?,
        };
    }
    let platform = match call.query.text_or_empty("platform") {
        "" => None,
        text => Some(Platform::parse(text)?),
    };
    call.guard.image(&reference.clone().or_latest().to_string())?;
    let mut references = vec![reference.clone()];
    if reference.tag().is_none() && reference.digest().is_none() {
        references = call.engine.images.tags(&reference, credentials.clone()).await?;
    }
    let orders = references.into_iter().map(|reference| PullOrder {
        reference,
        platform: platform.clone(),
        credentials: credentials.clone(),
    });
    let pulls = Pulls { images: call.engine.images.clone(), orders: orders.collect() };
    pulls.answer().await
}

/// Pulls one after another, answered as one stream.
struct Pulls {
    images: Images,
    orders: Vec<PullOrder>,
}

impl Pulls {
    async fn answer(self) -> Reply {
        let mut orders = self.orders.into_iter();
        let Some(first) = orders.next() else {
            return Err(Failure::new(StatusCode::NOT_FOUND, "the repository has no tags"));
        };
        let shown = first.reference.familiar();
        let mut steps = self.images.pull(first);
        // While nothing was answered, a failure can still be told by the status.
        let head = match steps.recv().await {
            Some(Err(error)) => return Err(error.into()),
            head => head,
        };
        let (chunks, response) = reply::stream(JSON);
        tokio::spawn(async move {
            if !tell(head, &mut steps, &shown, &chunks).await {
                return;
            }
            for order in orders {
                let shown = order.reference.familiar();
                let mut steps = self.images.pull(order);
                let head = steps.recv().await;
                if !tell(head, &mut steps, &shown, &chunks).await {
                    return;
                }
            }
        });
        Ok(response)
    }
}

/// `POST /images/{name}/push`.
pub(crate) async fn push(call: Call) -> Reply {
    let credentials = credentials(&call)?;
    let mut reference = ImageRef::parse(&call.target)?;
    let tag = call.query.text_or_empty("tag");
    if !tag.is_empty() {
        reference = reference.with_tag(tag)?;
    }
    call.guard.image(&reference.clone().or_latest().to_string())?;
    let platform = call.query.text("platform").map(super::image::platform).transpose()?;
    let mut steps = call.engine.images.push(&reference, platform, credentials).await?;
    let (chunks, response) = reply::stream(JSON);
    tokio::spawn(async move {
        let head = steps.recv().await;
        tell(head, &mut steps, &reference.familiar(), &chunks).await;
    });
    Ok(response)
}

type Item = Result<Step, EngineError>;

/// Sends the lines of an operation. Whether there may be a next one.
pub(super) async fn tell(
    head: Option<Item>,
    rest: &mut Steps,
    shown: &str,
    chunks: &Chunks,
) -> bool {
    let mut next = head;
    while let Some(item) = next {
        let failed = item.is_err();
        for line in lines(item, shown) {
            let Ok(line) = reply::json_line(&line) else { return false };
            if chunks.send(line).await.is_err() {
                // The client left: the operation ends with the stream.
                return false;
            }
        }
        if failed {
            return false;
        }
        next = tokio::select! {
            next = rest.recv() => next,
            // Noticed at once, not with the next line: a pull that nobody wants must end.
            () = chunks.gone() => return false,
        };
    }
    true
}

fn lines(item: Item, shown: &str) -> Vec<ProgressLine> {
    match item {
        Ok(Step::Event(event)) => vec![event_line(event)],
        Ok(Step::Pulled(Pulled { digest, newer, .. })) => {
            let what = if newer { "Downloaded newer image" } else { "Image is up to date" };
            vec![status(format!("Digest: {digest}")), status(format!("Status: {what} for {shown}"))]
        }
        Ok(Step::Pushed(pushed)) => pushed_lines(&pushed),
        Err(error) => {
            let message = describe(&error);
            vec![ProgressLine {
                error: message.clone(),
                error_detail: Some(ErrorDetail { code: 0, message }),
                ..ProgressLine::default()
            }]
        }
    }
}

fn pushed_lines(pushed: &Pushed) -> Vec<ProgressLine> {
    let Pushed { tag, digest, size } = pushed;
    let aux = serde_json::json!({"Tag": tag, "Digest": digest.to_string(), "Size": size});
    vec![
        status(format!("{tag}: digest: {digest} size: {size}")),
        ProgressLine {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(aux),
            ..ProgressLine::default()
        },
    ]
}

fn status(text: String) -> ProgressLine {
    ProgressLine { status: text, ..ProgressLine::default() }
}

fn event_line(event: Event) -> ProgressLine {
    match event {
        Event::Pulling { name, reference } => {
            ProgressLine { id: reference, ..status(format!("Pulling from {name}")) }
        }
        Event::Pushing { repository } => {
            status(format!("The push refers to repository [{repository}]"))
        }
        Event::Notice(text) => status(text),
        Event::Layer { id, state } => {
            let (text, detail) = layer(state);
            ProgressLine { id, progress_detail: Some(detail), ..status(text) }
        }
    }
}

/// Docker's words for what happens to a layer.
fn layer(state: LayerState) -> (String, ProgressDetail) {
    let plain = |text: &str| (text.to_owned(), ProgressDetail::default());
    match state {
        LayerState::Found => plain("Pulling fs layer"),
        LayerState::Waiting => plain("Waiting"),
        LayerState::Downloading(progress) => ("Downloading".to_owned(), detail(progress)),
        LayerState::Retrying(1) => plain("Retrying in 1 second"),
        LayerState::Retrying(seconds) => plain(&format!("Retrying in {seconds} seconds")),
        LayerState::Downloaded => plain("Download complete"),
        LayerState::Extracting(progress) => ("Extracting".to_owned(), detail(progress)),
        LayerState::Pulled => plain("Pull complete"),
        LayerState::Present => plain("Already exists"),
        LayerState::Preparing => plain("Preparing"),
        LayerState::Uploading(progress) => ("Pushing".to_owned(), detail(progress)),
        LayerState::Pushed => plain("Pushed"),
        LayerState::Held => plain("Layer already exists"),
        LayerState::Mounted(from) => plain(&format!("Mounted from {from}")),
    }
}

fn detail(progress: Progress) -> ProgressDetail {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    ProgressDetail {
        current: number(progress.current),
        total: number(progress.total),
        units: String::new(),
    }
}

/// `POST /auth`.
pub(crate) async fn auth(mut call: Call) -> Reply {
    let auth: AuthConfig = call.json().await?;
    let host = auth.serveraddress.clone();
    let token = call.engine.images.login(&host, from_wire(auth)).await?;
    reply::json(&AuthResponse {
        status: "Login Succeeded".to_owned(),
        identity_token: token.unwrap_or_default(),
    })
}

/// `GET /distribution/{name}/json`.
pub(crate) async fn distribution(call: Call) -> Reply {
    let credentials = credentials(&call)?;
    let reference = ImageRef::parse(&call.target)?.or_latest();
    call.guard.image(&reference.to_string())?;
    let caller = Caller { credentials, insecure: false };
    let found = call.engine.images.distribution(&reference, caller).await?;
    reply::json(&DistributionInspect {
        descriptor: descriptor(&found),
        platforms: found.platforms.iter().map(platform).collect(),
    })
}

fn descriptor(found: &Found) -> Descriptor {
    Descriptor {
        media_type: found.document.media_type.clone(),
        digest: found.document.digest.to_string(),
        size: i64::try_from(found.document.bytes.len()).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

fn platform(platform: &wire::oci::image::Platform) -> ShownPlatform {
    ShownPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

/// `GET /distribution/{name}/manifest`: the document itself, for `manifest`.
pub(crate) async fn manifest(call: Call) -> Reply {
    let credentials = credentials(&call)?;
    let reference = ImageRef::parse(&call.target)?.or_latest();
    call.guard.image(&reference.to_string())?;
    let caller = Caller { credentials, insecure: call.query.flag("insecure") };
    let found = call.engine.images.distribution(&reference, caller).await?;
    let text = String::from_utf8(found.document.bytes.clone())
        .map_err(|_| Failure::invalid("the manifest is not UTF-8"))?;
    reply::json(&wire::docker::registry::ManifestDocument {
        descriptor: descriptor(&found),
        platforms: found.platforms.iter().map(platform).collect(),
        document: text,
    })
}

/// `PUT /distribution/{name}/manifest`: gives a registry a manifest list.
pub(crate) async fn publish(mut call: Call) -> Reply {
    let credentials = credentials(&call)?;
    let wanted: ManifestToPublish = call.json().await?;
    let reference = ImageRef::parse(&call.target)?.or_latest();
    call.guard.image(&reference.to_string())?;
    let from: Result<Vec<ImageRef>, _> =
        wanted.from.iter().map(|name| ImageRef::parse(name)).collect();
    let document = (wanted.media_type, wanted.document.into_bytes());
    let caller = Caller { credentials, insecure: call.query.flag("insecure") };
    let images = &call.engine.images;
    let digest = images.publish_manifest(&reference, document, from?, caller).await?;
    reply::json_status(StatusCode::CREATED, &ManifestPublished { digest: digest.to_string() })
}

/// `GET /images/search`.
pub(crate) async fn search(call: Call) -> Reply {
    let credentials = credentials(&call)?;
    let filters = Filters::parse(&call.query, &["is-automated", "is-official", "stars"])?;
    let (official, automated) = (filters.flag("is-official")?, filters.flag("is-automated")?);
    let mut stars = 0;
    for text in filters.values("stars") {
        let least: i64 =
            text.parse().map_err(|_| Failure::invalid(format!("invalid filter 'stars={text}'")))?;
        stars = stars.max(least);
    }
    let limit = match call.query.text_or_empty("limit") {
        "" => None,
        text => match text.parse::<u32>() {
            Ok(0) => None,
            Ok(limit) if limit <= MAX_RESULTS => Some(limit),
            _ => {
                return Err(Failure::invalid(format!(
                    "limit {text} is outside the range of [1, {MAX_RESULTS}]"
                )));
            }
        },
    };
    let term = call.query.text_or_empty("term");
    if term.is_empty() || term.contains("://") {
        return Err(Failure::invalid(format!("invalid search term: {term:?}")));
    }
    let found = call.engine.images.search(term, limit, credentials).await?;
    let results = found.into_iter().filter(|hit| {
        official.is_none_or(|official| hit.is_official == official)
            && automated != Some(true)
            && hit.star_count >= stars
    });
    let results: Vec<SearchResult> = results
        .map(|hit| SearchResult {
            star_count: hit.star_count,
            is_official: hit.is_official,
            name: hit.name,
            is_automated: false,
            description: hit.description,
        })
        .collect();
    reply::json(&results)
}
