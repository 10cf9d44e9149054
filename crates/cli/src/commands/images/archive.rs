//! `save`, `load` and `import`.

use client::Body;

use super::{check_reference, platform_json, split_tag};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::progress::{self, Target};
use crate::terminal::is_terminal;
use crate::transfer;

/// `save`.
pub(crate) async fn save(invocation: &Invocation) -> Outcome {
    let output = invocation.matches.text("output");
    transfer::check_output(output, "save image")?;
    let platform = platform_json(invocation.matches.text("platform"))?;
    let client = invocation.client()?;
    let (names, since) = (invocation.matches.args(), invocation.matches.list("since"));
    let answer = client.image_save(names, platform.as_deref(), &since).await?;
    transfer::save(answer, output).await?;
    Ok(0)
}

/// `load`.
pub(crate) async fn load(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let input = matches.text("input");
    let body = match input {
        "" => {
            transfer::check_stdin()?;
            transfer::file_body(Box::new(std::io::stdin()))?
        }
        path => transfer::file_body(Box::new(transfer::open(path)?))?,
    };
    let platform = platform_json(matches.text("platform"))?;
    let quiet = matches.bool("quiet") || !is_terminal(rustix::stdio::stdout());
    let client = invocation.client()?;
    let answer = client.image_load(quiet, platform.as_deref(), body).await?;
    progress::show(answer, Target::Stdout, |_| ()).await?;
    Ok(0)
}

/// `import`.
pub(crate) async fn import(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (source, reference) = (invocation.arg(0), matches.arg(1).unwrap_or_default());
    let (mut repository, mut tag) = ("", "");
    if !reference.is_empty() {
        check_reference(reference)?;
        (repository, tag) = split_tag(reference);
    }
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let (from, body) = match source {
        "-" => {
            if is_terminal(rustix::stdio::stdin()) {
                return Err(Failure::new("requested import from stdin, but stdin is a terminal"));
            }
            ("-", transfer::file_body(Box::new(std::io::stdin()))?)
        }
        url if remote => (url, Body::empty()),
        path => ("-", transfer::file_body(Box::new(transfer::open(path)?))?),
    };
    let mut query = vec![("fromSrc", from), ("message", matches.text("message"))];
    query.extend([("repo", repository), ("tag", tag), ("platform", matches.text("platform"))]);
    query.extend(matches.list("change").into_iter().map(|change| ("changes", change)));
    query.retain(|(_, value)| !value.is_empty());
    let client = invocation.client()?;
    let answer = client.image_import(&query, body).await?;
    progress::show(answer, Target::Stdout, |_| ()).await?;
    Ok(0)
}
