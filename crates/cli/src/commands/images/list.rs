//! `images` and `history`.

use wire::docker::image::ImageSummary;

use super::super::list_format;
use crate::command::Outcome;
use crate::format::{self, Row, Table, ellipsis, short_id};
use crate::invocation::Invocation;
use crate::{time, units};

/// The widest step that a table of history shows.
const STEP_WIDTH: usize = 45;

/// The list of images.
pub(crate) const TABLE: Table = Table {
    default: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    titles: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
    type_name: "*formatter.imageContext",
};

const WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const HISTORY: Table = Table {
    default: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    titles: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
    type_name: "*image.historyContext",
};

/// `images`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let quiet = matches.bool("quiet");
    let given = list_format(invocation, "imagesFormat");
    let digests = matches.bool("digests");
    let format = match given {
        _ if quiet => "{{.ID}}",
        "" | "table" if digests => WITH_DIGESTS,
        format => format,
    };
    let mut filters = matches.filters("filter");
    if let Some(reference) = matches.arg(0) {
        filters.push(("reference".to_owned(), reference.to_owned()));
    }
    if matches.bool("tree") {
        return super::tree::show(invocation, &filters).await;
    }
    let images = invocation.client()?.image_list(matches.bool("all"), &filters).await?;
    let whole = matches.bool("no-trunc");
    let digests = digests || given.contains(".Digest");
    let usual = matches!(format, "" | "table" | WITH_DIGESTS | "{{.ID}}");
    let shown = Shown { digests, whole, usual };
    let rows = images.iter().flat_map(|image| of_image(image, shown)).collect();
    format::list(&TABLE, format, rows)
}

/// What of an image is shown.
#[derive(Clone, Copy)]
struct Shown {
    /// A row for each digest too.
    digests: bool,
    /// Ids as they are.
    whole: bool,
    /// Only what the usual tables show: there may be thousands of images.
    usual: bool,
}

/// A row for each name of each image; with `digests`, for each name and digest.
pub(crate) fn rows(images: &[ImageSummary], digests: bool, whole: bool) -> Vec<Row> {
    let shown = Shown { digests, whole, usual: false };
    images.iter().flat_map(|image| of_image(image, shown)).collect()
}

fn of_image(image: &ImageSummary, shown: Shown) -> Vec<Row> {
    let digests = shown.digests;
    let named = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !name.starts_with("<none>")).cloned().collect()
    };
    let (tags, known) = (named(&image.repo_tags), named(&image.repo_digests));
    let digests_of = |repository: &str| -> Vec<String> {
        let digest = |name: &String| {
            let (of, digest) = name.split_once('@')?;
            (of == repository).then(|| digest.to_owned())
        };
        known.iter().filter_map(digest).collect()
    };
    let none = || "<none>".to_owned();
    let mut rows = Vec::new();
    for name in &tags {
        let (repository, tag) = super::split_tag(name);
        let found = if digests { digests_of(repository) } else { Vec::new() };
        let found = if found.is_empty() { vec![none()] } else { found };
        rows.extend(found.into_iter().map(|digest| row(image, (repository, tag, &digest), shown)));
    }
    if tags.is_empty() {
        // Known by digest only: fetched by it, or its tag moved to another image.
        for name in &known {
            let (repository, digest) = name.split_once('@').unwrap_or((name, "<none>"));
            let digest = if digests { digest } else { "<none>" };
            rows.push(row(image, (repository, "<none>", digest), shown));
        }
    }
    if rows.is_empty() {
        rows.push(row(image, ("<none>", "<none>", "<none>"), shown));
    }
    rows
}

fn row(image: &ImageSummary, (repository, tag, digest): (&str, &str, &str), shown: Shown) -> Row {
    let unknown = || "N/A".to_owned();
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let human = |bytes: i64, digits| units::human_size(bytes as f64, digits);
    let row = Row::default()
        .with("CreatedSince", since(image.created))
        .with("Digest", digest)
        .with("ID", if shown.whole { &image.id } else { short_id(&image.id) })
        .with("Repository", repository)
        .with("Size", human(image.size, 3))
        .with("Tag", tag);
    if shown.usual {
        return row;
    }
    let (mut shared, mut unique) = (unknown(), unknown());
    if image.shared_size >= 0 {
        shared = human(image.shared_size, 4);
        unique = human(image.size - image.shared_size, 4);
    }
    let containers = if image.containers < 0 { unknown() } else { image.containers.to_string() };
    row.with("Containers", containers)
        .with("CreatedAt", time::full(image.created))
        .with("SharedSize", shared)
        .with("UniqueSize", unique)
        .with("VirtualSize", human(image.size, 4))
}

/// Images without a date, such as reproducible ones, say so.
fn since(created: i64) -> String {
    if created <= 0 { "N/A".to_owned() } else { time::ago(created) }
}

/// `history`.
pub(crate) async fn history(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let (whole, human) = (matches.bool("no-trunc"), matches.bool_or("human", true));
    let platform = super::platform_json(matches.text("platform"))?;
    let client = invocation.client()?;
    let items = client.image_history(invocation.arg(0), platform.as_deref()).await?;
    let quiet = matches.bool("quiet");
    let given = list_format(invocation, "");
    let format = match given {
        _ if quiet => "{{.ID}}",
        "" | "table" if !human => {
            "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        }
        format => format,
    };
    let rows = items.iter().map(|item| {
        let step = item.created_by.replace('\t', " ");
        #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
        let size = match human {
            true => units::human_size(item.size as f64, 3),
            false => item.size.to_string(),
        };
        Row::default()
            .with("Comment", item.comment.clone())
            .with("CreatedAt", time::rfc3339(item.created))
            .with("CreatedBy", if whole { step } else { ellipsis(&step, STEP_WIDTH) })
            .with("CreatedSince", since(item.created))
            .with("ID", if whole { &item.id } else { short_id(&item.id) })
            .with("Size", size)
    });
    format::list(&HISTORY, format, rows.collect())
}
