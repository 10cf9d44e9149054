//! `buildx history` and `buildx dial-stdio`: builds that were, over BuildKit's protocol.

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use serde_json::{Value, json};
use tonic::{Request, Status};

use std::collections::BTreeMap;

use super::build::{Control, control, status};
use super::builder::BUILDER;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format;
use crate::invocation::Invocation;
use crate::tabwriter;
use crate::terminal::print;
use crate::time;

/// `buildx history ls`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let records = records(&mut open(invocation).await?, "").await?;
    let mut filters = matches.filters("filter");
    filters.retain(|(name, _)| !name.is_empty());
    let shown = records.iter().filter(|record| {
        filters.iter().all(|(name, value)| match name.as_str() {
            "ref" => record.r#ref.starts_with(value.as_str()),
            "status" => state(record).eq_ignore_ascii_case(value),
            _ => false,
        })
    });
    match matches.text("format") {
        "" | "table" => {
            let mut rows = "BUILD ID\tNAME\tSTATUS\tCREATED AT\tDURATION\n".to_owned();
            for record in shown {
                let name = name(record);
                let name = if matches.bool("no-trunc") { name } else { cut(&name) };
                let created = record.created_at.as_ref().map_or(0, |at| at.seconds);
                rows.push_str(&format!(
                    "{}\t{name}\t{}\t{}\t{}\n",
                    record.r#ref,
                    state(record),
                    time::ago(created),
                    duration(record),
                ));
            }
            print(tabwriter::align(&rows, 1, 3))?;
        }
        "json" => {
            for record in shown {
                print(format!("{}\n", document(record)))?;
            }
        }
        template => {
            for record in shown {
                format::document(template, document(record))?;
            }
        }
    }
    Ok(0)
}

/// `buildx history inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let mut control = open(invocation).await?;
    let record = find(&mut control, invocation.matches.arg(0)).await?;
    match invocation.matches.text("format") {
        "" | "pretty" => {}
        "json" => {
            let text = serde_json::to_string_pretty(&document(&record)).unwrap_or_default();
            print(format!("{text}\n"))?;
            return Ok(0);
        }
        template => return format::document(template, document(&record)),
    }
    let attrs = &record.frontend_attrs;
    let attr = |name: &str| attrs.get(name).map(String::as_str).unwrap_or_default();
    let mut rows = String::new();
    let mut row = |label: &str, value: &str| {
        if !value.is_empty() {
            rows.push_str(&format!("{label}:\t{value}\n"));
        }
    };
    row("Name", &name(&record));
    row("Context", attr("context"));
    row("Dockerfile", attr("filename"));
    row("Target", attr("target"));
    row("Platforms", attr("platform"));
    let created = record.created_at.as_ref().map_or(0, |at| at.seconds);
    row("Started", &time::ago(created));
    row("Duration", &duration(&record));
    row("Status", state(&record));
    let (done, total) = (record.num_completed_steps, record.num_total_steps);
    let cached = if total > 0 { record.num_cached_steps * 100 / total } else { 0 };
    row("Build Steps", &format!("{done}/{total} ({cached}% cached)"));
    row("Warnings", &record.num_warnings.to_string());
    row("Image Digest", record.exporter_response.get("containerimage.digest").map_or("", |it| it));
    if let Some(error) = &record.error {
        row("Error", &error.message);
    }
    print(tabwriter::align(&rows, 1, 3))?;
    let mut args: Vec<_> =
        attrs.iter().filter_map(|(key, it)| Some((key.strip_prefix("build-arg:")?, it))).collect();
    args.sort_unstable();
    if !args.is_empty() {
        let mut rows = "\nBUILD ARG\tVALUE\n".to_owned();
        args.iter().for_each(|(key, value)| rows.push_str(&format!("{key}\t{value}\n")));
        print(tabwriter::align(&rows, 1, 3))?;
    }
    Ok(0)
}

/// `buildx history logs`.
pub(crate) async fn logs(invocation: &Invocation) -> Outcome {
    let mut control = open(invocation).await?;
    let record = find(&mut control, invocation.matches.arg(0)).await?;
    let screen = super::build::replay_screen(invocation.matches.text("progress"))?;
    let asked = pb::StatusRequest { r#ref: record.r#ref.clone() };
    let mut news = control.status(Request::new(asked)).await.map_err(failed)?.into_inner();
    while let Some(response) = news.message().await.map_err(failed)? {
        screen.show(&status(&response))?;
    }
    screen.finish();
    Ok(0)
}

/// `buildx history rm`.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let mut control = open(invocation).await?;
    let mut ids = matches.args().to_vec();
    if matches.bool("all") {
        let mut over = records(&mut control, "").await?;
        over.retain(|record| record.completed_at.is_some());
        ids = over.into_iter().map(|record| record.r#ref).collect();
    } else if ids.is_empty() {
        return Err(Failure::new("ERROR: rm requires at least one argument or --all"));
    }
    let mut failures = super::Failures::default();
    for id in ids {
        let r#ref = bare(&id).to_owned();
        let request = pb::UpdateBuildHistoryRequest { r#ref, delete: true, ..Default::default() };
        let removed = control.update_build_history(Request::new(request)).await;
        failures.note(removed.map_err(failed));
    }
    failures.outcome()
}

/// What only Docker Desktop and viewers of traces do.
pub(crate) fn elsewhere(invocation: &Invocation) -> Outcome {
    Err(Failure::new(format!(
        "ERROR: {} is for Docker Desktop, or for a viewer of traces; use history inspect and \
         history logs",
        invocation.path
    )))
}

/// `buildx dial-stdio`.
pub(crate) async fn dial_stdio(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let raw = client.post("/grpc").protocol("h2c").hijack().await?;
    super::system::carry(raw.split()).await
}

async fn open(invocation: &Invocation) -> Result<Control, Failure> {
    control(&invocation.client()?).await
}

fn failed(status: Status) -> Failure {
    Failure::new(format!("ERROR: {}", status.message()))
}

/// What is under way, then what is remembered, newest first.
async fn records(control: &mut Control, id: &str) -> Result<Vec<pb::BuildHistoryRecord>, Failure> {
    let request =
        pb::BuildHistoryRequest { early_exit: true, r#ref: id.to_owned(), ..Default::default() };
    let events = control.listen_build_history(Request::new(request)).await.map_err(failed)?;
    let mut events = events.into_inner();
    let mut records = Vec::new();
    while let Some(event) = events.message().await.map_err(failed)? {
        records.extend(event.record);
    }
    Ok(records)
}

/// A build by id, by the beginning of one, or by its place (`^0` is the newest).
async fn find(
    control: &mut Control,
    wanted: Option<&str>,
) -> Result<pb::BuildHistoryRecord, Failure> {
    let records = records(control, "").await?;
    let wanted = bare(wanted.unwrap_or_default());
    let back = wanted.strip_prefix('^').map(|number| number.parse::<usize>());
    let found = match back {
        Some(Ok(number)) => records.into_iter().nth(number),
        _ => records.into_iter().find(|record| record.r#ref.starts_with(wanted)),
    };
    found.ok_or_else(|| match wanted {
        "" => Failure::new("ERROR: no records found"),
        wanted => Failure::new(format!("ERROR: no record found for ref {wanted:?}")),
    })
}

/// `default/default/<id>` as well as `<id>`.
fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

fn name(record: &pb::BuildHistoryRecord) -> String {
    let attrs = &record.frontend_attrs;
    let attr = |name: &str| attrs.get(name).map(String::as_str).unwrap_or_default();
    let context = attr("vcs:localdir:context");
    let context = if context.is_empty() { attr("context") } else { context };
    // What a build calls itself goes before everything that could be guessed.
    let own = attr("build-arg:BUILDKIT_BUILD_NAME");
    if !own.is_empty() {
        return own.to_owned();
    }
    let file = attr("filename");
    let mut name = match (context, file) {
        ("", file) => file.to_owned(),
        (context, "" | "Dockerfile") => context.to_owned(),
        (context, file) => format!("{context}/{file}"),
    };
    if !attr("target").is_empty() {
        name.push_str(&format!(" ({})", attr("target")));
    }
    if name.is_empty() { BUILDER.to_owned() } else { name }
}

fn cut(name: &str) -> String {
    let count = name.chars().count();
    match count > 36 {
        true => format!("..{}", name.chars().skip(count - 34).collect::<String>()),
        false => name.to_owned(),
    }
}

fn state(record: &pb::BuildHistoryRecord) -> &'static str {
    match (&record.error, &record.completed_at) {
        (Some(error), _) if error.message.ends_with("context canceled") => "Canceled",
        (Some(_), _) => "Error",
        (None, Some(_)) => "Completed",
        (None, None) => "Running",
    }
}

fn duration(record: &pb::BuildHistoryRecord) -> String {
    let (Some(from), Some(to)) = (&record.created_at, &record.completed_at) else {
        return String::new();
    };
    let tenths =
        (to.seconds - from.seconds) * 10 + i64::from((to.nanos - from.nanos) / 100_000_000);
    match tenths / 10 {
        seconds @ 60.. => format!("{}m {:2}s", seconds / 60, seconds % 60),
        _ => format!("{}.{}s", tenths / 10, tenths % 10),
    }
}

fn document(record: &pb::BuildHistoryRecord) -> Value {
    let moment = |at: &Option<bollard_buildkit_proto::google::protobuf::Timestamp>| {
        let at = at.as_ref().and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
        at.map(|at| at.to_string())
    };
    json!({
        "ref": record.r#ref,
        "name": name(record),
        "status": state(record),
        "created_at": moment(&record.created_at),
        "completed_at": moment(&record.completed_at),
        "total_steps": record.num_total_steps,
        "completed_steps": record.num_completed_steps,
        "cached_steps": record.num_cached_steps,
        "warnings": record.num_warnings,
        "error": record.error.as_ref().map(|error| error.message.clone()),
        "frontend_attrs": record.frontend_attrs.iter().collect::<BTreeMap<_, _>>(),
        "exporter_response":
            record.exporter_response.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "pinned": record.pinned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Timestamp;

    #[test]
    fn records_are_shown() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        let mut record = pb::BuildHistoryRecord {
            created_at: at(1, 900_000_000),
            completed_at: at(3, 0),
            ..pb::BuildHistoryRecord::default()
        };
        assert_eq!((state(&record), duration(&record).as_str()), ("Completed", "1.1s"));
        assert_eq!(name(&record), "default");
        record.frontend_attrs.insert("filename".into(), "D".into());
        record.frontend_attrs.insert("target".into(), "t".into());
        assert_eq!(name(&record), "D (t)");
        record.completed_at = at(75, 0);
        assert_eq!(duration(&record), "1m 13s");
        assert_eq!(bare("default/default/abc"), "abc");
        assert!(cut(&"x".repeat(50)).starts_with("..x"));
    }
}
