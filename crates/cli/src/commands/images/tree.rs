//! `images --tree`: each image with the platforms behind its name, those that are not here too.

use std::fmt::Write as _;

use wire::docker::image::{ImageSummary, ManifestSummary};

use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::short_id;
use crate::invocation::Invocation;
use crate::terminal::{complain, is_terminal, print, size};
use crate::units;

/// What a line is wide when nobody says how wide the terminal is.
const DEFAULT_WIDTH: usize = 80;
/// The columns after the name: title, width, and whether they stand to the right.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];
/// Between two columns.
const GAP: &str = "   ";
/// The narrowest column of names.
const NARROWEST: usize = 20;

/// One image, or one platform of it.
struct Line {
    names: Vec<String>,
    id: String,
    disk: String,
    content: String,
    in_use: bool,
    available: bool,
}

struct Entry {
    top: Line,
    platforms: Vec<Line>,
}

/// `images --tree`.
pub(super) async fn show(invocation: &Invocation, filters: &[(String, String)]) -> Outcome {
    let matches = &invocation.matches;
    for (flag, shown) in [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest")]
    {
        if matches.bool(flag) {
            return Err(Failure::new(format!("--{shown} is not yet supported with --tree")));
        }
    }
    if matches.changed("format") {
        return Err("--format is not yet supported with --tree".into());
    }
    let all = matches.bool("all");
    let mut images = invocation.client()?.image_list_manifests(all, filters).await?;
    // Without a name and not known by one either: shown with the rest only.
    images.retain(|image| all || !image.repo_tags.is_empty() || !image.repo_digests.is_empty());
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    if invocation.prog == "docker" {
        complain(
            "WARNING: This is an experimental feature. The output may change and shouldn't be \
             depended on.\n",
        );
    }
    let stdout = rustix::stdio::stdout();
    let style = is_terminal(stdout) && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let width = size(stdout).map_or(DEFAULT_WIDTH, |(_, columns)| usize::from(columns));
    let entries: Vec<Entry> = images.iter().map(entry).collect();
    print(page(&entries, if width == 0 { DEFAULT_WIDTH } else { width }, style))?;
    Ok(0)
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn human(bytes: i64) -> String {
    units::human_size(bytes as f64, 3)
}

fn entry(image: &ImageSummary) -> Entry {
    let shown: Vec<&ManifestSummary> =
        image.manifests.iter().filter(|manifest| manifest.kind == "image").collect();
    let platforms: Vec<Line> = shown.iter().map(|manifest| of_platform(manifest)).collect();
    let top = Line {
        names: image.repo_tags.clone(),
        id: short_id(&image.id).to_owned(),
        disk: human(image.size),
        content: human(shown.iter().map(|manifest| manifest.size.content).sum()),
        in_use: image.containers > 0 || platforms.iter().any(|platform| platform.in_use),
        available: true,
    };
    Entry { top, platforms }
}

fn of_platform(manifest: &ManifestSummary) -> Line {
    let data = manifest.image_data.clone().unwrap_or_default();
    let words = [data.platform.os, data.platform.architecture, data.platform.variant];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Line {
        names: vec![if words.is_empty() { "unknown".to_owned() } else { words.join("/") }],
        id: short_id(&manifest.id).to_owned(),
        disk: human(manifest.size.total),
        content: human(manifest.size.content),
        in_use: !data.containers.is_empty(),
        available: manifest.available,
    }
}

/// The whole output. `style` is for terminals.
fn page(entries: &[Entry], width: usize, style: bool) -> String {
    let rest: usize = COLUMNS.iter().map(|(_, width, _)| GAP.len() + width).sum();
    let names = entries.iter().flat_map(|entry| {
        let tops = entry.top.names.iter().map(|name| name.chars().count());
        let below = entry.platforms.iter().flat_map(|line| &line.names);
        tops.chain(below.map(|name| name.chars().count() + 3))
    });
    let widest = names.max().unwrap_or(0).max(NARROWEST);
    let column = widest.min(width.saturating_sub(rest)).max(NARROWEST);
    let legend = "Info ->  U In Use ";
    let mut out = format!("{legend:>width$}\n\n");
    let mut title = format!("{:column$}", "IMAGE");
    for (name, width, _) in COLUMNS {
        title.push_str(GAP);
        title.push_str(&cell(name, width, false));
    }
    let _ = writeln!(out, "{}", styled(&title, "1", style));
    for entry in entries {
        of_entry(&mut out, entry, column, style);
        out.push('\n');
    }
    out
}

fn of_entry(out: &mut String, entry: &Entry, column: usize, style: bool) {
    match entry.top.names.split_last() {
        None => {
            let name = styled(&cell("<untagged>", column, false), "2", style);
            let _ = writeln!(out, "{name}{}", details(&entry.top));
        }
        Some((last, before)) => {
            for name in before {
                let _ = writeln!(out, "{}", styled(&shortened(name, column), "1", style));
            }
            let name = styled(&cell(&shortened(last, column), column, false), "1", style);
            let _ = writeln!(out, "{name}{}", details(&entry.top));
        }
    }
    let last = entry.platforms.len().saturating_sub(1);
    for (at, line) in entry.platforms.iter().enumerate() {
        let branch = if at == last { "└─" } else { "├─" };
        let name = shortened(&format!("{branch} {}", line.names.join(" ")), column);
        let text = format!("{}{}", cell(&name, column, false), details(line));
        let faint = style && !line.available;
        let _ = writeln!(out, "{}", styled(&text, "2", faint));
    }
}

fn details(line: &Line) -> String {
    let extra = if line.in_use { "U" } else { "" };
    let values = [line.id.as_str(), &line.disk, &line.content, extra];
    let mut text = String::new();
    for (value, (_, width, right)) in values.into_iter().zip(COLUMNS) {
        text.push_str(GAP);
        text.push_str(&cell(value, width, right));
    }
    text
}

fn cell(text: &str, width: usize, right: bool) -> String {
    if right { format!("{text:>width$}") } else { format!("{text:width$}") }
}

/// The text, or its beginning and a sign that there is more.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn styled(text: &str, code: &str, style: bool) -> String {
    if style { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What Docker 28.2 prints of the same answer, without its colours.
    const WANT: &str =
        "                                                              Info ->  U In Use 

IMAGE                           ID             DISK USAGE   CONTENT SIZE   EXTRA
alpine:latest
alpine:3                        111111111111          9MB         1.23MB   U    
├─ linux/amd64                  aaaaaaaaaaaa       5.23MB         1.23MB   U    
└─ linux/arm64/v8               bbbbbbbbbbbb           0B             0B        

localhost:5000/very/long/nam…   222222222222          9MB             0B        

<untagged>                      333333333333          9MB             0B        

";

    #[test]
    fn a_page_is_dockers() {
        let id = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let manifest = |digit: &str, arch: &str, variant: &str, content: i64, users: &[&str]| {
            let total = content + if content > 0 { 4_000_000 } else { 0 };
            json!({"ID": id(digit), "Available": content > 0, "Kind": "image",
                "Size": {"Content": content, "Total": total},
                "ImageData": {"Containers": users,
                    "Platform": {"os": "linux", "architecture": arch, "variant": variant}}})
        };
        let attestation = json!({"ID": id("c"), "Kind": "attestation"});
        let image = |digit: &str, tags: &[&str], manifests: &[serde_json::Value]| {
            json!({"Id": id(digit), "RepoTags": tags, "Size": 9_000_000, "Containers": -1,
                "Manifests": manifests})
        };
        let platforms = [
            manifest("a", "amd64", "", 1_234_567, &["x"]),
            manifest("b", "arm64", "v8", 0, &[]),
            attestation,
        ];
        let images = json!([
            image("1", &["alpine:latest", "alpine:3"], &platforms),
            image("2", &["localhost:5000/very/long/name/of/an/image/indeed:1.0.0-rc1"], &[]),
            image("3", &[], &[]),
        ]);
        let images: Vec<ImageSummary> = serde_json::from_value(images).unwrap();
        let entries: Vec<Entry> = images.iter().map(entry).collect();
        assert_eq!(page(&entries, 80, false), WANT);
        assert!(page(&entries, 80, true).contains("\u{1b}[1mIMAGE"));
    }
}
