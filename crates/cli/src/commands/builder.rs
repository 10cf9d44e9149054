//! `builder` and `buildx` beside building: the build cache, and the one builder there is, the
//! daemon.

use serde_json::Value;

use super::builders::{self, Names};
use super::confirm;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::ellipsis;
use crate::invocation::Invocation;
use crate::tabwriter;
use crate::terminal::print;
use crate::{VERSION, units};

/// The name of the builder, as clients know it.
pub(super) const BUILDER: &str = builders::DEFAULT;

/// `builder prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let all = matches.bool("all");
    if !matches.bool("force") {
        let what = match all {
            true => "all build cache",
            false => "all dangling build cache",
        };
        let question =
            format!("WARNING! This will remove {what}. Are you sure you want to continue?");
        if !confirm(&question)? {
            return Err(Failure::new("builder prune has been cancelled"));
        }
    }
    let client = invocation.client()?;
    let mut request = client.post("/build/prune").flag("all", all);
    for (flag, parameter) in [
        ("keep-storage", "keep-storage"),
        ("keep-storage", "reserved-space"),
        ("reserved-space", "reserved-space"),
        ("max-used-space", "max-used-space"),
        ("min-free-space", "min-free-space"),
    ] {
        if matches.changed(flag) {
            request = request.query(parameter, matches.bytes(flag).to_string());
        }
    }
    let mut filters = Vec::new();
    for filter in matches.list("filter") {
        let Some((name, value)) = filter.split_once('=') else {
            return Err(Failure::new(format!("invalid filter {filter:?}: want name=value")));
        };
        filters.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let report: Value = request.filters(&filters).fetch().await?;
    let deleted = report.get("CachesDeleted").and_then(Value::as_array);
    let mut text = String::new();
    if let Some(deleted) = deleted.filter(|deleted| !deleted.is_empty()) {
        text.push_str("Deleted build cache objects:\n");
        for id in deleted.iter().filter_map(Value::as_str) {
            text.push_str(&format!("{id}\n"));
        }
        text.push('\n');
    }
    let bytes = report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or(0.0);
    text.push_str(&format!("Total reclaimed space: {}\n", units::human_size(bytes, 4)));
    print(text)?;
    Ok(0)
}

/// `buildx du`.
pub(crate) async fn disk_usage(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let usage: Value = client.get("/system/df").query("type", "build-cache").fetch().await?;
    let records = usage.get("BuildCache").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |record: &Value, name: &str| {
        record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let number = |record: &Value| record.get("Size").and_then(Value::as_f64).unwrap_or(0.0);
    let flag = |record: &Value, name: &str| record.get(name) == Some(&Value::Bool(true));
    let mut rows = String::new();
    let (mut total, mut reclaimable) = (0.0, 0.0);
    let verbose = invocation.matches.bool("verbose");
    if !verbose {
        rows.push_str("ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n");
    }
    for record in &records {
        total += number(record);
        let free = !flag(record, "InUse");
        reclaimable += if free { number(record) } else { 0.0 };
        let (id, size) = (text(record, "ID"), units::human_size(number(record), 4));
        match verbose {
            true => rows.push_str(&format!(
                "ID:\t{id}\nCreated at:\t{}\nMutable:\t{}\nReclaimable:\t{free}\nShared:\t{}\n\
                 Size:\t{size}\nDescription:\t{}\nUsage count:\t{}\nType:\t{}\n\n",
                text(record, "CreatedAt"),
                text(record, "Type") == "exec.cachemount",
                flag(record, "Shared"),
                text(record, "Description"),
                record.get("UsageCount").and_then(Value::as_i64).unwrap_or(0),
                text(record, "Type"),
            )),
            false => rows.push_str(&format!(
                "{}\t{free}\t{size}\t{}\n",
                ellipsis(&id, 40),
                text(record, "LastUsedAt")
            )),
        }
    }
    print(tabwriter::align(&rows, 0, 3))?;
    let (free, all) = (units::human_size(reclaimable, 4), units::human_size(total, 4));
    print(format!("Reclaimable:\t{free}\nTotal:\t\t{all}\n"))?;
    Ok(0)
}

/// `buildx ls`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let known = Names::load(invocation)?;
    let endpoint = client.endpoint();
    let mut rows = "NAME/NODE\tDRIVER/ENDPOINT\tSTATUS\n".to_owned();
    for name in known.names.iter().map(String::as_str).chain([BUILDER]) {
        let mark = if name == known.current() { "*" } else { "" };
        rows.push_str(&format!("{name}{mark}\testiba\t\n \\_ {name}\t{endpoint}\trunning\n"));
    }
    // A builder that does not answer is not listed as running.
    client.get("/_ping").unversioned().run().await?;
    print(tabwriter::align(&rows, 0, 3))?;
    Ok(0)
}

/// `buildx inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let known = Names::load(invocation)?;
    let given = invocation.matches.arg(0).or(invocation.matches.string("builder"));
    let name = given.unwrap_or(known.current());
    known.check(name)?;
    let client = invocation.client()?;
    let version: Value = client.get("/version").fetch().await?;
    let text = |name: &str| version.get(name).and_then(Value::as_str).unwrap_or_default();
    print(format!(
        "Name:     {name}\nDriver:   estiba\n\nNodes:\nName:     {name}\nEndpoint: {}\n\
         Status:   running\nVersion:  {}\nPlatforms: {}/{}\n",
        client.endpoint(),
        text("Version"),
        text("Os"),
        text("Arch"),
    ))?;
    Ok(0)
}

/// `buildx version`.
pub(crate) fn version(_invocation: &Invocation) -> Outcome {
    print(format!("estiba {VERSION} (builds are the daemon's own)\n"))?;
    Ok(0)
}
