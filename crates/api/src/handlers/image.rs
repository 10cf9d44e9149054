//! Images.

use engine::transfer::Platform;
use engine::{EngineError, LoadProgress};
use hyper::StatusCode;
use model::ImageRef;
use model::image::{ImageDraft, ImageLine};
use model::policy::Class;
use tokio::sync::mpsc;
use wire::docker::container::ContainerConfig;
use wire::docker::image::{IdResponse, ImageSummary, ImagesPruneReport, WholeImageConfig};
use wire::docker::json;
use wire::docker::progress::{ErrorDetail, ProgressDetail, ProgressLine};

use super::until;
use crate::body::{Chunks, into_engine};
use crate::call::Call;
use crate::clock;
use crate::convert::{config, image, null_if_empty};
use crate::failure::{Failure, describe};
use crate::filters::{Filters, glob};
use crate::moment;
use crate::reply::{self, JSON, Reply};

/// `GET /images/json`.
pub(crate) async fn list(call: Call) -> Reply {
    const FILTERS: [&str; 7] =
        ["dangling", "label", "label!", "before", "since", "until", "reference"];
    let filters = Filters::parse(&call.query, &FILTERS)?;
    let dangling = filters.flag("dangling")?;
    let created = async |name: &str| -> Result<Option<model::Timestamp>, Failure> {
        match filters.values(name).last() {
            None => Ok(None),
            Some(query) => Ok(call.engine.images.view(query).await?.created),
        }
    };
    let (before, since) = (created("before").await?, created("since").await?);
    let untils = filters.values("until").iter().map(|text| moment::parse(text, clock::now()));
    let until = untils.collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let wants = |image: &ImageLine| {
        !image.held
            && dangling.is_none_or(|dangling| dangling == image.tags.is_empty())
            && filters.labels(&image.labels)
            && before.is_none_or(|limit| image.created < Some(limit))
            && until.is_none_or(|limit| image.created < Some(limit))
            && since.is_none_or(|limit| image.created > Some(limit))
            && filters.any("reference", |pattern| {
                image.tags.iter().chain(&image.digests).any(|name| matches_reference(name, pattern))
            })
    };
    let shared = call.query.flag("shared-size");
    let mut images = match shared {
        true => call.engine.images.list_with_shares().await?,
        false => call.engine.images.list().await?,
    };
    images.retain(wants);
    let manifests = match call.version.at_least(47) && call.query.flag("manifests") {
        true => {
            let ids = images.iter().map(|image| image.id).collect();
            call.engine.images.manifests(ids).await?
        }
        false => Default::default(),
    };
    let line = |image: ImageLine| {
        let own = manifests.get(&image.id).into_iter().flatten();
        let own = own.map(image::manifest).collect();
        let mut summary = image::summary(image, shared, call.version);
        summary.manifests = own;
        // Of the names those that were asked for.
        for names in [&mut summary.repo_tags, &mut summary.repo_digests] {
            names.retain(|name| {
                filters.any("reference", |pattern| matches_reference(name, pattern))
            });
        }
        if call.version.at_least(43) { summary } else { with_placeholders(summary) }
    };
    let lines: Vec<ImageSummary> = images.into_iter().map(line).collect();
    reply::json(&lines)
}

/// A platform as clients write it into a query: JSON with OCI's names.
pub(crate) fn platform(text: &str) -> Result<Platform, Failure> {
    let asked: wire::docker::image::Platform = json::from_slice(text.as_bytes())
        .map_err(|error| Failure::invalid(format!("invalid platform: {error}")))?;
    let mut words = asked.os;
    for word in [asked.architecture, asked.variant].iter().filter(|word| !word.is_empty()) {
        words.push('/');
        words.push_str(word);
    }
    Ok(Platform::parse(&words)?)
}

fn asked_platform(call: &Call) -> Result<Option<Platform>, Failure> {
    if call.query.all("platform").count() > 1 {
        return Err(Failure::invalid("multiple platform parameters not supported"));
    }
    call.query.text("platform").map(platform).transpose()
}

/// Clients below 1.43 expect names on images that have none.
fn with_placeholders(mut summary: ImageSummary) -> ImageSummary {
    if summary.repo_tags.is_empty() {
        summary.repo_tags.push("<none>:<none>".to_owned());
        if summary.repo_digests.is_empty() {
            summary.repo_digests.push("<none>@<none>".to_owned());
        }
    }
    summary
}

/// Whether a name of an image matches, with its tag or without.
fn matches_reference(name: &str, pattern: &str) -> bool {
    let repository = name.split('@').next().unwrap_or(name);
    let untagged = match repository.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => repository,
    };
    // A star stands for no slash: where both have as many, none is left for it.
    let slashes = |text: &str| text.matches('/').count();
    [name, untagged].iter().any(|name| slashes(pattern) == slashes(name) && glob(pattern, name))
}

/// `GET /images/{name}/json`.
pub(crate) async fn inspect(call: Call) -> Reply {
    let manifests = call.version.at_least(48) && call.query.flag("manifests");
    let platform = asked_platform(&call)?;
    if manifests && platform.is_some() {
        return Err(Failure::invalid(
            "conflicting options: manifests and platform options cannot \
                                     both be set",
        ));
    }
    let one = platform.is_some();
    let view = call.engine.images.view_for(&call.target, platform).await?;
    let mut shown = image::inspect(&view, &call.storage_driver, call.version);
    if one
        && call.version.at_least(48)
        && let Some(found) = call.engine.images.manifest_of(view.id)
    {
        // Not what the name stands for: what it stands for on that platform.
        shown.descriptor = Some(image::of_platform(&found));
    }
    if manifests {
        let found = call.engine.images.manifests(vec![view.id]).await?;
        shown.manifests = found.values().flatten().map(image::manifest).collect();
    }
    match call.version {
        version if version.at_least(52) => reply::json(&shown),
        version if version.at_least(50) => {
            reply::json(&image::with_config::<WholeImageConfig>(shown))
        }
        // The whole configuration of a container.
        _ => reply::json(&image::with_config::<ContainerConfig>(shown)),
    }
}

/// `GET /images/{name}/history`.
pub(crate) async fn history(call: Call) -> Reply {
    let platform = asked_platform(&call)?;
    let lines = call.engine.images.history(&call.target, platform).await?;
    reply::json(&lines.iter().map(image::history).collect::<Vec<_>>())
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(call: Call) -> Reply {
    let name = reference(call.query.text_or_empty("repo"), call.query.text_or_empty("tag"));
    let name = ImageRef::parse(&name)?.or_latest();
    call.engine.images.tag(&call.target, &name).await?;
    reply::empty(StatusCode::CREATED)
}

fn reference(repository: &str, tag: &str) -> String {
    if tag.is_empty() { repository.to_owned() } else { format!("{repository}:{tag}") }
}

/// `DELETE /images/{name}`.
pub(crate) async fn remove(call: Call) -> Reply {
    let (force, prune) = (call.query.flag("force"), !call.query.flag("noprune"));
    let platforms: Result<Vec<Platform>, Failure> =
        call.query.all("platforms").filter(|text| !text.is_empty()).map(platform).collect();
    let platforms = platforms?;
    let removed = match platforms.is_empty() {
        true => call.engine.images.remove(&call.target, force, prune).await?,
        false => call.engine.images.remove_platforms(&call.target, force, platforms).await?,
    };
    reply::json(&removed.into_iter().map(image::removed).collect::<Vec<_>>())
}

/// `POST /images/create`: pull or import.
pub(crate) async fn create(call: Call) -> Reply {
    let query = &call.query;
    if let Some(name) = query.text("fromImage").filter(|name| !name.is_empty()) {
        return super::registry::pull(&call, name).await;
    }
    match query.text_or_empty("fromSrc") {
        "-" => {}
        "" => return Err(Failure::invalid("one of fromImage and fromSrc is required")),
        source => {
            return Err(Failure::unsupported(format!(
                "cannot import {source}: importing from a URL is not supported; download it and \
                 import the file"
            )));
        }
    }
    call.guard.permits(Class::ImagesWrite)?;
    let draft = ImageDraft {
        reference: reference(query.text_or_empty("repo"), query.text_or_empty("tag")),
        message: query.text_or_empty("message").to_owned(),
        author: String::new(),
        changes: query.all("changes").map(str::to_owned).collect(),
        platform: query.text_or_empty("platform").to_owned(),
    };
    let id = call.engine.images.import(draft, into_engine(call.body)).await?;
    reply::json(&ProgressLine { status: id.to_string(), ..ProgressLine::default() })
}

/// `POST /images/load`.
pub(crate) async fn load(call: Call) -> Reply {
    let quiet = call.query.flag_or("quiet", true);
    let platform = asked_platform(&call)?;
    let mut progress = call.engine.images.load(into_engine(call.body), quiet, platform).await?;
    // As with Docker, what is wrong with an archive is told in the stream: clients look there.
    let first = progress.recv().await;
    let (chunks, response) = reply::stream(JSON);
    tokio::spawn(send_progress(first, progress, chunks));
    Ok(response)
}

type Progress = Result<LoadProgress, EngineError>;

async fn send_progress(
    first: Option<Progress>,
    mut rest: mpsc::Receiver<Progress>,
    chunks: Chunks,
) {
    let mut next = first;
    while let Some(item) = next {
        let Ok(line) = reply::json_line(&progress_line(item)) else { return };
        // A client that left must not stop what was begun.
        let _ = chunks.send(line).await;
        next = rest.recv().await;
    }
}

fn progress_line(item: Progress) -> ProgressLine {
    match item {
        Ok(LoadProgress::Layer { id, current, total }) => ProgressLine {
            status: "Loading layer".to_owned(),
            progress_detail: Some(ProgressDetail {
                current: i64::try_from(current).unwrap_or(i64::MAX),
                total: i64::try_from(total).unwrap_or(i64::MAX),
                units: String::new(),
            }),
            id: id.trim_start_matches("sha256:").chars().take(12).collect(),
            ..ProgressLine::default()
        },
        Ok(LoadProgress::Loaded { reference }) => {
            let what = if reference.starts_with("sha256:") { "image ID" } else { "image" };
            let stream = format!("Loaded {what}: {reference}\n");
            ProgressLine { stream, ..ProgressLine::default() }
        }
        Err(error) => {
            let message = describe(&error);
            ProgressLine {
                error: message.clone(),
                error_detail: Some(ErrorDetail { code: 0, message }),
                ..ProgressLine::default()
            }
        }
    }
}

/// `GET /images/get` and `GET /images/{name}/get`.
pub(crate) async fn save(call: Call) -> Reply {
    let platform = asked_platform(&call)?;
    let since: Vec<String> = call.query.all("since").map(str::to_owned).collect();
    let names: Vec<String> = if call.target.is_empty() {
        call.query.all("names").map(str::to_owned).collect()
    } else {
        vec![call.target]
    };
    if names.is_empty() {
        return Err(Failure::invalid("no image names were given"));
    }
    reply::archive(call.engine.images.save(&names, platform, &since).await?).await
}

/// `POST /images/prune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &["dangling", "until", "label", "label!"])?;
    let dangling = filters.flag("dangling")?.unwrap_or(true);
    let until = until(&filters)?;
    let keep = |image: &ImageLine| {
        until.is_some_and(|until| image.created >= Some(until)) || !filters.labels(&image.labels)
    };
    let (removed, space_reclaimed) = call.engine.images.prune(dangling, &keep).await?;
    let images_deleted = null_if_empty(removed.into_iter().map(image::removed).collect());
    reply::json(&ImagesPruneReport { images_deleted, space_reclaimed })
}

/// A container that the query names, if it exists for the client.
fn own(call: &Call, query: &str) -> Result<String, Failure> {
    if !call.guard.narrows() {
        return Ok(query.to_owned());
    }
    let view = call.engine.containers.view(query)?;
    match call.guard.sees(&view.spec.labels) {
        true => Ok(view.id.to_string()),
        false => Err(EngineError::NoSuchContainer(query.to_owned()).into()),
    }
}

/// `POST /commit`.
pub(crate) async fn commit(mut call: Call) -> Reply {
    let config: Option<ContainerConfig> = call.optional_json().await?;
    let query = &call.query;
    let container = query
        .text("container")
        .ok_or_else(|| Failure::invalid("bad parameter: container cannot be empty"))?;
    let draft = ImageDraft {
        reference: reference(query.text_or_empty("repo"), query.text_or_empty("tag")),
        message: query.text_or_empty("comment").to_owned(),
        author: query.text_or_empty("author").to_owned(),
        changes: query.all("changes").flat_map(str::lines).map(str::to_owned).collect(),
        platform: String::new(),
    };
    // The command line sends an empty configuration: the container's own stays.
    let config = config.filter(|config| *config != ContainerConfig::default());
    let config = config.map(config::image_from_wire).transpose()?;
    let pause = query.flag_or("pause", true);
    let container = &own(&call, container)?;
    let id = call.engine.containers.commit(container, pause, draft, config).await?;
    reply::json_status(StatusCode::CREATED, &IdResponse { id: id.to_string() })
}
