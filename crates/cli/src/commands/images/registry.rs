//! `pull`, `push` and `search`.

use client::Client;

use super::super::auth;
use super::reference::full;
use super::{check_reference, familiar, platform, platform_json, split_tag};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::flags::Matches;
use crate::format::{self, Row, Table, ellipsis};
use crate::invocation::Invocation;
use crate::progress::{self, Target};
use crate::terminal::print;

/// The widest description that a table of search results shows.
const DESCRIPTION_WIDTH: usize = 45;

const SEARCH: Table = Table {
    default: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    titles: &[
        ("Description", "DESCRIPTION"),
        ("IsAutomated", "AUTOMATED"),
        ("IsOfficial", "OFFICIAL"),
        ("Name", "NAME"),
        ("StarCount", "STARS"),
    ],
    type_name: "*registry.searchContext",
};

/// `pull`.
pub(crate) async fn pull(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = invocation.arg(0);
    check_reference(name)?;
    // What is no platform is the engine's to refuse.
    let wanted = matches.text("platform");
    let wanted = platform(wanted).unwrap_or_else(|_| wanted.to_owned());
    trusted(matches)?;
    let (all, quiet) = (matches.bool("all-tags"), matches.bool("quiet"));
    let tagged = name.contains('@') || !split_tag(name).1.is_empty();
    if all && tagged {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !tagged && !all && !quiet {
        print("Using default tag: latest\n")?;
    }
    let client = invocation.client()?;
    let target = if quiet { Target::Nowhere } else { Target::Stdout };
    fetch(invocation, &client, name, (&wanted, all), target).await?;
    print(format!("{}\n", canonical(name, all)))?;
    Ok(0)
}

/// Refuses to check signatures rather than to pretend.
pub(crate) fn trusted(matches: &Matches) -> Result<(), Failure> {
    if matches.bool_or("disable-content-trust", true) {
        return Ok(());
    }
    Err(Failure::new(
        "content trust (--disable-content-trust=false) is not available in this version",
    ))
}

/// Fetches an image that a container is to be made of; the progress goes to standard error.
pub(crate) async fn pull_for_run(
    invocation: &Invocation,
    client: &Client,
    name: &str,
    platform: &str,
    quiet: bool,
) -> Result<(), Failure> {
    let target = if quiet { Target::Nowhere } else { Target::Stderr };
    fetch(invocation, client, name, (platform, false), target).await
}

async fn fetch(
    invocation: &Invocation,
    client: &Client,
    name: &str,
    (platform, all): (&str, bool),
    target: Target,
) -> Result<(), Failure> {
    let (repository, tag) = split_tag(name);
    let digest = name.split_once('@').map(|(_, digest)| digest);
    let tag = match (digest, tag) {
        (Some(digest), _) => digest,
        (None, "") if !all => "latest",
        (None, tag) => tag,
    };
    let auth = auth::header(invocation, repository)?;
    let answer = client.image_pull(&full(repository), tag, platform, &auth).await?;
    progress::show(answer, target, |_| ()).await
}

fn canonical(name: &str, all: bool) -> String {
    let (repository, _) = split_tag(name);
    let familiar = familiar(name);
    let rest = familiar.rsplit_once(['@', ':']).map_or("latest", |(_, tag)| tag);
    match (all, name.contains('@')) {
        (true, _) => full(repository),
        (_, true) => {
            let digest = name.split_once('@').map_or("", |(_, digest)| digest);
            format!("{}@{digest}", full(repository))
        }
        _ => format!("{}:{rest}", full(repository)),
    }
}

/// What a push of one platform leaves behind, in Docker's words.
const ONE_PLATFORM: &str =
    "\n Info -> Using --platform pushes only the specified platform manifest of \
                            a multi-platform image index.
         Other components, like attestations, will not be included.
         To push the complete multi-platform image, remove the --platform flag.
\x20        \n";

/// `push`.
pub(crate) async fn push(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = invocation.arg(0);
    let platform = platform_json(matches.text("platform"))?;
    if platform.is_some() {
        print(ONE_PLATFORM)?;
    }
    check_reference(name)?;
    trusted(matches)?;
    if name.contains('@') {
        return Err(Failure::new("cannot push a digest reference"));
    }
    let (repository, tag) = split_tag(name);
    let (all, quiet) = (matches.bool("all-tags"), matches.bool("quiet"));
    if all && !tag.is_empty() {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    let mut wanted = tag;
    if tag.is_empty() && !all {
        wanted = "latest";
        if !quiet {
            print("Using default tag: latest\n")?;
        }
    }
    let auth = auth::header(invocation, repository)?;
    let client = invocation.client()?;
    let full = full(repository);
    let answer = client.image_push(&full, wanted, platform.as_deref(), &auth).await?;
    let target = if quiet { Target::Nowhere } else { Target::Stdout };
    progress::show(answer, target, |_| ()).await?;
    if quiet {
        let tag = if all { String::new() } else { format!(":{wanted}") };
        print(format!("{full}{tag}\n"))?;
    }
    Ok(0)
}

/// `search`.
pub(crate) async fn search(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let limit = matches.int("limit").unwrap_or_default();
    let client = invocation.client()?;
    let mut found =
        client.image_search(invocation.arg(0), limit, &matches.filters("filter")).await?;
    found.sort_by_key(|result| std::cmp::Reverse(result.star_count));
    let whole = matches.bool("no-trunc");
    let mark = |set: bool| if set { "[OK]" } else { "" };
    let rows = found.iter().map(|result| {
        // What strangers wrote must not command the terminal.
        let plain = |text: &str| text.replace(char::is_control, " ");
        let description = plain(&result.description);
        let shown = if whole { description } else { ellipsis(&description, DESCRIPTION_WIDTH) };
        Row::default()
            .with("Description", shown)
            .with("IsAutomated", mark(result.is_automated))
            .with("IsOfficial", mark(result.is_official))
            .with("Name", plain(&result.name))
            .with("StarCount", result.star_count.to_string())
    });
    format::list(&SEARCH, matches.text("format"), rows.collect())
}
