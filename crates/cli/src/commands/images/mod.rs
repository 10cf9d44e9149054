//! Commands about images.

mod archive;
mod list;
mod reference;
mod registry;
mod tree;

pub(crate) use archive::{import, load, save};
pub(crate) use list::{TABLE, history, list, rows};
pub(crate) use reference::{
    check_reference, familiar, full, normal, platform, repository, split_tag,
};
pub(crate) use registry::{pull, pull_for_run, push, search, trusted};

use super::{Failures, inspect as inspection, prune as pruning};
use crate::command::Outcome;
use crate::invocation::Invocation;
use crate::terminal::{complain, print};

/// `tag`.
pub(crate) async fn tag(invocation: &Invocation) -> Outcome {
    let (source, target) = (invocation.arg(0), invocation.arg(1));
    check_reference(target).map_err(|why| {
        format!("Error parsing reference: {target:?} is not a valid repository/tag: {why}")
    })?;
    let (repository, tag) = split_tag(target);
    let tag = if tag.is_empty() { "latest" } else { tag };
    invocation.client()?.image_tag(source, repository, tag).await?;
    Ok(0)
}

/// `rmi`. With `--force`, what does not exist counts as removed.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (force, keep) = (matches.bool("force"), matches.bool("no-prune"));
    let mut platforms = Vec::new();
    for text in matches.strings("platform") {
        platforms.extend(platform_json(&text)?);
    }
    let client = invocation.client()?;
    let mut failures = Failures::default();
    for name in matches.args() {
        match client.image_remove(name, (force, keep), &platforms).await {
            Err(error) if force && error.is_not_found() => complain(format!("{error}\n")),
            outcome => {
                for item in failures.note(outcome).unwrap_or_default() {
                    match item.deleted.as_str() {
                        "" => print(format!("Untagged: {}\n", item.untagged))?,
                        id => print(format!("Deleted: {id}\n"))?,
                    }
                }
            }
        }
    }
    failures.outcome()
}

/// `image inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let platform = platform_json(invocation.matches.text("platform"))?;
    inspection::each(invocation, async |name| {
        client.image_inspect_raw(name, platform.as_deref()).await
    })
    .await
}

/// `image prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    let all = invocation.matches.bool("all");
    let warning = match all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !pruning::agreed(invocation, warning)? {
        return Ok(0);
    }
    let mut filters = pruning::filters(invocation);
    filters.push(("dangling".to_owned(), (!all).to_string()));
    let report = invocation.client()?.image_prune(&filters).await?;
    print(pruning::section("Deleted Images:", &removed(report.images_deleted)))?;
    print(pruning::total(report.space_reclaimed))?;
    Ok(0)
}

/// What a prune removed, a line each.
pub(crate) fn removed(items: Option<Vec<wire::docker::image::ImageDeleteItem>>) -> Vec<String> {
    let line = |item: wire::docker::image::ImageDeleteItem| match item.untagged.as_str() {
        "" => format!("deleted: {}", item.deleted),
        name => format!("untagged: {name}"),
    };
    items.unwrap_or_default().into_iter().map(line).collect()
}

/// `os[/arch[/variant]]` as the API takes it; nothing when it is empty.
pub(crate) fn platform_json(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = platform(text)?;
    let mut parts = text.split('/');
    let mut fields = serde_json::Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.into());
        }
    };
    let os = parts.next();
    put("architecture", parts.next());
    put("os", os);
    put("variant", parts.next());
    Ok(Some(serde_json::Value::Object(fields).to_string()))
}
