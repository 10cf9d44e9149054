//! `__complete`: what the scripts of `completion` ask at every press of the key. Quick, and silent
//! when anything is wrong: a shell's prompt is no place for errors.

use std::collections::BTreeSet;
use std::time::Duration;

use client::ListContainers;

use crate::command::Outcome;
use crate::complete::{self, Objects, Offer};
use crate::context;
use crate::flags::{self, Parsed};
use crate::invocation::{Globals, Invocation};
use crate::table::GLOBALS;
use crate::terminal::print;

/// How long a prompt may wait for the daemon.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints what the last of `words` could become: a word a line, its purpose behind a tab when
/// `about` is wanted, then `:` and 4 when file names make no sense, else 0.
pub(crate) fn complete(prog: &'static str, words: &[String], about: bool) -> Outcome {
    let offer = complete::offer(prog, words);
    let mut out = String::new();
    let mut line = |word: &str, purpose: &str| {
        out.push_str(word);
        if about && !purpose.is_empty() {
            out.push('\t');
            // One line each, whatever a text contains.
            out.push_str(purpose.lines().next().unwrap_or_default());
        }
        out.push('\n');
    };
    for (word, purpose) in &offer.words {
        line(word, purpose);
    }
    if !offer.objects.is_empty() {
        for name in names(prog, words, &offer) {
            line(&name, "");
        }
    }
    out.push_str(if offer.files { ":0\n" } else { ":4\n" });
    print(out)?;
    Ok(0)
}

/// The objects' names, or none when the daemon does not answer.
fn names(prog: &'static str, words: &[String], offer: &Offer) -> BTreeSet<String> {
    let Some(invocation) = invocation(prog, words) else { return BTreeSet::new() };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(executor) = executor else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for objects in &offer.objects {
        // The timer belongs to the executor, so it is made inside.
        let asked = executor.block_on(async {
            let asked = tokio::time::timeout(PATIENCE, ask(&invocation, *objects)).await;
            asked.map_err(drop)
        });
        found.extend(asked.ok().and_then(Result::ok).unwrap_or_default());
    }
    executor.shutdown_background();
    found.retain(|name| name.starts_with(&offer.prefix));
    found
}

/// The flags before the command choose the daemon here too.
fn invocation(prog: &'static str, words: &[String]) -> Option<Invocation> {
    let parse = |words| flags::parse(GLOBALS.iter().collect(), false, words);
    let Ok(Parsed::Run(globals)) = parse(words) else { return None };
    let Ok(Parsed::Run(matches)) = parse(&[]) else { return None };
    let globals = Globals::new(globals, prog);
    Some(Invocation { prog, path: prog.to_owned(), matches, globals })
}

async fn ask(
    invocation: &Invocation,
    objects: Objects,
) -> Result<Vec<String>, crate::failure::Failure> {
    if objects == Objects::Contexts {
        let stored = context::list(invocation.globals.config_dir());
        let stored = stored.into_iter().map(|context| context.name);
        return Ok(stored.chain([context::DEFAULT.to_owned()]).collect());
    }
    let client = invocation.client()?;
    let states: &[&str] = match objects {
        Objects::Images => {
            let images = client.image_list(false, &[]).await?;
            let tags = images.into_iter().flat_map(|image| image.repo_tags);
            return Ok(tags.filter(|tag| !tag.contains("<none>")).collect());
        }
        Objects::Networks => {
            return Ok(client.network_list(&[]).await?.into_iter().map(|it| it.name).collect());
        }
        Objects::Volumes => {
            let list = client.volume_list(&[]).await?;
            return Ok(list.volumes.into_iter().map(|volume| volume.name).collect());
        }
        Objects::Plugins => {
            return Ok(client.plugin_list(&[]).await?.into_iter().map(|it| it.name).collect());
        }
        Objects::Running => &["running"],
        Objects::Paused => &["paused"],
        Objects::Stopped => &["created", "exited"],
        Objects::Containers | Objects::Contexts => &[],
    };
    let filters = states.iter().map(|state| ("status".to_owned(), (*state).to_owned())).collect();
    let wanted = ListContainers { all: true, filters, ..ListContainers::default() };
    let containers = client.container_list(&wanted).await?;
    let names = containers.into_iter().flat_map(|it| it.names);
    // A name with a second slash is another container's link.
    let names = names.filter_map(|name| name.strip_prefix('/').map(str::to_owned));
    Ok(names.filter(|name| !name.contains('/')).collect())
}
