//! `bake`: builds described in a file. Files become targets, targets become `build`'s arguments,
//! and those that do not wait for one another are built at the same time, on one screen.
//!
//! ```text
//! files ── file (expressions) ── target (values) ── arguments ── build
//!           └ eval, functions      └ inherits, matrix, --set
//! ```

mod arguments;
mod compose;
mod eval;
mod file;
mod functions;
mod remote;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use serde_json::{Map, Value, json};

use super::build::{self, Ask, Screen};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::flags::{Matches, Parsed, parse};
use crate::invocation::Invocation;
use crate::table::BUILD_FLAGS;
use crate::tabwriter;
use crate::terminal::print;
use file::File;
use remote::Remote;
use target::{Target, Targets};

/// The files that are read when none is named, all that are there, later ones over earlier ones.
const FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];
/// The largest file.
const MAX_FILE_BYTES: u64 = 2 << 20;
/// A context that is the result of another target.
const LINKED: &str = "target:";

/// `bake`.
pub(crate) async fn bake(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let wrong = |why: String| Failure::new(format!("ERROR: {why}"));
    let (remote, names) = Remote::of(matches.args());
    let file = read(invocation, remote.as_ref()).await?;
    if let Some(what) = matches.string("list") {
        return list(&file, what);
    }
    let targets = Targets::read(&file, &overrides(matches)?).map_err(wrong)?;
    let names = match names {
        [] => vec!["default".to_owned()],
        names => names.to_vec(),
    };
    let chosen = targets.select(&names).map_err(wrong)?;
    if matches.bool("print") {
        return show(&targets, &names, chosen);
    }
    let mut chosen = linked(&targets, chosen).map_err(wrong)?;
    if let Some(remote) = &remote {
        chosen.iter_mut().try_for_each(|(_, target)| remote.place(target)).map_err(wrong)?;
    }
    bake_all(invocation, chosen).await
}

/// The definitions: of files here, or of where they are.
async fn read(invocation: &Invocation, remote: Option<&Remote>) -> Result<File, Failure> {
    let matches = &invocation.matches;
    let wrong = |why: String| Failure::new(format!("ERROR: {why}"));
    let mut given = BTreeMap::new();
    for entry in matches.list("var") {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        given.insert(name.to_owned(), value.to_owned());
    }
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        other => other,
    };
    let mut file = File::new(given, platform);
    let mut paths: Vec<String> = matches.list("file").into_iter().map(str::to_owned).collect();
    if paths.is_empty() {
        let from = std::env::var("BUILDX_BAKE_FILE").unwrap_or_default();
        paths = from.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    }
    if let Some(remote) = remote {
        // Files of this host say so, and go over those from elsewhere.
        let (here, there): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| path.starts_with(arguments::HERE));
        let fetched = remote.files(invocation, &there).await?;
        if fetched.is_empty() && here.is_empty() {
            return Err(wrong("couldn't find a bake definition".to_owned()));
        }
        for (path, text) in fetched {
            add(&mut file, &path, &text).map_err(wrong)?;
        }
        paths = here;
        if paths.is_empty() {
            return Ok(file);
        }
    }
    if paths.is_empty() {
        let there = FILES.iter().filter(|path| Path::new(path).exists());
        paths = there.map(|path| (*path).to_owned()).collect();
    }
    if paths.is_empty() {
        return Err(wrong("couldn't find a bake definition".to_owned()));
    }
    for path in paths {
        let text = contents(&path)?;
        add(&mut file, &path, &text).map_err(wrong)?;
    }
    Ok(file)
}

fn contents(path: &str) -> Result<String, Failure> {
    let failed = |error| Failure::new(format!("ERROR: read {path}: {error}"));
    let mut text = String::new();
    match path.strip_prefix("cwd://").unwrap_or(path) {
        "-" => std::io::stdin().lock().take(MAX_FILE_BYTES).read_to_string(&mut text),
        path => std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    Ok(text)
}

/// Adds a file by what its name says it is; any other as what it can be read as.
fn add(file: &mut File, path: &str, text: &str) -> Result<(), String> {
    let ends = |list: &[&str]| list.iter().any(|end| path.ends_with(end));
    if ends(&[".yml", ".yaml"]) {
        return compose::add(file, path, text);
    }
    if ends(&[".json"]) || text.trim_start().starts_with('{') {
        return file.add_json(path, text);
    }
    let as_hcl = file.add_hcl(path, text);
    match as_hcl.is_err() && !ends(&[".hcl"]) {
        true => compose::add(file, path, text).or(as_hcl),
        false => as_hcl,
    }
}

/// `--set`, and the flags that mean it for all targets.
fn overrides(matches: &Matches) -> Result<Vec<String>, Failure> {
    let mut all: Vec<String> = Vec::new();
    for flag in ["push", "load", "pull", "no-cache"] {
        if matches.changed(flag) {
            all.push(format!("*.{flag}={}", matches.bool(flag)));
        }
    }
    for flag in ["provenance", "sbom"] {
        match matches.text(flag) {
            "" => {}
            "false" => all.push(format!("*.attest+=type={flag},disabled=true")),
            "true" => all.push(format!("*.attest+=type={flag}")),
            value => all.push(format!("*.attest+=type={flag},{value}")),
        }
    }
    for name in matches.list("allow") {
        // Paths are the user's own; only what steps may do is asked of the daemon.
        if !name.starts_with("fs") && name != "ssh" {
            all.push(format!("*.entitlements+={name}"));
        }
    }
    let call = if matches.bool("check") { "check" } else { matches.text("call") };
    if !call.is_empty() {
        all.push(format!("*.call={call}"));
    }
    all.extend(matches.list("set").into_iter().map(str::to_owned));
    Ok(all)
}

/// `--list targets|variables`.
fn list(file: &File, what: &str) -> Outcome {
    let wrong = |why: String| Failure::new(format!("ERROR: {why}"));
    let (what, json) = match what.split_once(',') {
        Some((what, format)) => (what, format == "format=json"),
        None => (what.strip_prefix("type=").unwrap_or(what), false),
    };
    let what = what.strip_prefix("type=").unwrap_or(what);
    if what == "variables" {
        let variables = file.variables().map_err(wrong)?;
        if json {
            let list: Vec<Value> = variables
                .into_iter()
                .map(|(name, value, about)| {
                    json!({"name": name, "description": about, "value": value})
                })
                .collect();
            print(format!("{}\n", serde_json::to_string_pretty(&list).unwrap_or_default()))?;
            return Ok(0);
        }
        let mut rows = "VARIABLE\tVALUE\tDESCRIPTION\n".to_owned();
        for (name, value, about) in variables {
            let value = eval::text(&value).unwrap_or_else(|_| match value {
                Value::Null => "<null>".to_owned(),
                other => other.to_string(),
            });
            rows.push_str(&format!("{name}\t{value}\t{about}\n"));
        }
        print(tabwriter::align(&rows, 1, 3))?;
        return Ok(0);
    }
    if what != "targets" {
        return Err(wrong(format!("invalid list type {what:?}: want targets or variables")));
    }
    let targets = Targets::read(file, &[]).map_err(wrong)?;
    let mut rows = "TARGET\tDESCRIPTION\n".to_owned();
    for (name, target) in targets.all() {
        rows.push_str(&format!("{name}\t{}\n", target.text("description")));
    }
    print(tabwriter::align(&rows, 1, 3))?;
    Ok(0)
}

/// `--print`.
fn show(targets: &Targets, names: &[String], chosen: Vec<(String, Target)>) -> Outcome {
    let mut groups = Map::new();
    let members: Vec<&String> = chosen.iter().map(|(name, _)| name).collect();
    groups.insert("default".to_owned(), json!({ "targets": members }));
    for name in names.iter().filter(|name| *name != "default") {
        let inside = targets.select(std::slice::from_ref(name)).unwrap_or_default();
        if inside.len() != 1 || inside[0].0 != *name {
            let members: Vec<_> = inside.into_iter().map(|(name, _)| name).collect();
            groups.insert(name.clone(), json!({ "targets": members }));
        }
    }
    let mut sorted = chosen;
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let shown: Map<String, Value> =
        sorted.into_iter().map(|(name, target)| (name, target.shown())).collect();
    let document = json!({"group": groups, "target": shown});
    print(format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default()))?;
    Ok(0)
}

/// Adds the targets whose results others take as contexts, before them.
fn linked(
    targets: &Targets,
    chosen: Vec<(String, Target)>,
) -> Result<Vec<(String, Target)>, String> {
    let mut all: Vec<(String, Target)> = Vec::new();
    for (name, target) in chosen {
        add_linked(targets, (name, target), true, &mut all, &mut Vec::new())?;
    }
    Ok(all)
}

fn add_linked(
    targets: &Targets,
    (name, target): (String, Target),
    wanted: bool,
    all: &mut Vec<(String, Target)>,
    open: &mut Vec<String>,
) -> Result<(), String> {
    if open.contains(&name) {
        return Err(format!("infinite loop from {} to {name}", open.join(" to ")));
    }
    if let Some(known) = all.iter_mut().find(|(known, _)| *known == name) {
        if wanted {
            known.1.values.shift_remove("bake-only-for-others");
        }
        return Ok(());
    }
    open.push(name.clone());
    for other in links(&target) {
        let found = targets.select(std::slice::from_ref(&other))?;
        for found in found {
            add_linked(targets, found, false, all, open)?;
        }
    }
    open.pop();
    let mut target = target;
    if !wanted {
        target.values.insert("bake-only-for-others".to_owned(), true.into());
    }
    all.push((name, target));
    Ok(())
}

/// The targets whose results a target takes.
fn links(target: &Target) -> Vec<String> {
    let contexts = target.values.get("contexts").and_then(Value::as_object);
    let linked = contexts.into_iter().flatten().filter_map(|(_, value)| value.as_str());
    linked.filter_map(|value| value.strip_prefix(LINKED)).map(str::to_owned).collect()
}

/// A target that is to be built.
struct Job {
    name: String,
    ask: Ask,
    matches: Matches,
    waits_for: Vec<String>,
}

async fn bake_all(invocation: &Invocation, chosen: Vec<(String, Target)>) -> Outcome {
    let mut jobs = Vec::new();
    let several = chosen.len() > 1;
    let run = format!("{:x}", std::process::id());
    // What others build upon is kept under a name of its own while they are built.
    let mut names = Vec::new();
    for (name, target) in &chosen {
        if chosen.iter().any(|(_, other)| links(other).contains(name)) {
            names.push((name.clone(), format!("estiba-bake-{run}/{}:latest", name.to_lowercase())));
        }
        let _ = target;
    }
    for (name, target) in chosen {
        jobs.push(job(invocation, name, target, &names)?);
    }
    let Some(first) = jobs.first() else { return Ok(0) };
    let screen = first.ask.screen();
    let outcome = waves(invocation, &jobs, &screen, several).await;
    screen.finish();
    forget(invocation, &names).await;
    let done = outcome?;
    screen.warn();
    finish(&invocation.matches, &jobs, &done)
}

fn job(
    invocation: &Invocation,
    name: String,
    mut target: Target,
    names: &[(String, String)],
) -> Result<Job, Failure> {
    let wrong = |why: String| Failure::new(format!("ERROR: target {name}: {why}"));
    let waits_for = links(&target);
    if let Some(Value::Object(contexts)) = target.values.get_mut("contexts") {
        for value in contexts.values_mut() {
            let linked = value.as_str().and_then(|text| text.strip_prefix(LINKED));
            let place = linked.and_then(|other| names.iter().find(|(known, _)| known == other));
            if let Some((_, place)) = place {
                *value = format!("docker-image://{place}").into();
            }
        }
    }
    if target.values.contains_key("bake-only-for-others") {
        for key in ["output", "tags", "push", "cache-to"] {
            target.values.shift_remove(key);
        }
    }
    if let Some((_, place)) = names.iter().find(|(known, _)| *known == name) {
        let tags = target.values.entry("tags").or_insert_with(|| json!([]));
        if let Some(tags) = tags.as_array_mut() {
            tags.push(place.clone().into());
        }
        if target.values.contains_key("output") {
            target.values.insert("load".to_owned(), true.into());
        }
    }
    let mut words = arguments::of(&target).map_err(wrong)?;
    let own = &invocation.matches;
    for flag in ["progress", "metadata-file"] {
        if flag != "metadata-file" && own.changed(flag) {
            words.insert(0, format!("--{flag}={}", own.text(flag)));
        }
    }
    let call = target.text("call");
    if let Some("check" | "lint" | "outline" | "targets") = call.split(',').next() {
        words.insert(0, format!("--call={call}"));
    }
    let matches = match parse(BUILD_FLAGS.iter().collect(), true, &words).map_err(wrong)? {
        Parsed::Run(matches) => matches,
        Parsed::Help(_) => return Err(wrong("asks for help".to_owned())),
    };
    let inline = target.values.get("dockerfile-inline").and_then(Value::as_str);
    let ask = build::ask_inline(invocation, &matches, inline)?;
    Ok(Job { name, ask, matches, waits_for })
}

/// What each target came to.
type Done = BTreeMap<String, wire::build::BuildDone>;

/// Builds, those first that others wait for.
async fn waves(
    invocation: &Invocation,
    jobs: &[Job],
    screen: &Screen,
    several: bool,
) -> Result<Done, Failure> {
    let mut done = Done::new();
    while done.len() < jobs.len() {
        let ready = jobs.iter().filter(|job| {
            let waits = |other: &String| {
                jobs.iter().any(|it| it.name == *other) && !done.contains_key(other)
            };
            !done.contains_key(&job.name) && !job.waits_for.iter().any(waits)
        });
        let work = ready.map(|job| {
            let screen = if several { screen.named(&job.name) } else { screen.clone() };
            Box::pin(async move {
                let built = build::carry_out(invocation, &job.matches, &job.ask, &screen).await?;
                Ok::<_, Failure>((job.name.clone(), built))
            })
        });
        let work: Vec<_> = work.collect();
        if work.is_empty() {
            return Err(Failure::new("ERROR: targets wait for one another"));
        }
        done.extend(all(work).await?);
    }
    Ok(done)
}

/// Waits for all, or for the first that fails; the others end with it.
async fn all<T, F>(mut work: Vec<Pin<Box<F>>>) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut done = Vec::new();
    std::future::poll_fn(move |cx| {
        let mut at = 0;
        while at < work.len() {
            match work[at].as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(value)) => {
                    done.push(value);
                    drop(work.swap_remove(at));
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
            }
        }
        match work.is_empty() {
            true => Poll::Ready(Ok(std::mem::take(&mut done))),
            false => Poll::Pending,
        }
    })
    .await
}

/// Takes back the names under which results were kept for others.
async fn forget(invocation: &Invocation, names: &[(String, String)]) {
    let Ok(client) = invocation.client() else { return };
    for (_, name) in names {
        // A build that failed has left none.
        let _ = client.delete(format!("/images/{name}")).query("noprune", "1").run().await;
    }
}

fn finish(matches: &Matches, jobs: &[Job], done: &Done) -> Outcome {
    let mut code = 0;
    let answers = jobs.iter().filter_map(|job| Some((job, done.get(&job.name)?)));
    if let Some(path) = matches.string("metadata-file").filter(|path| !path.is_empty()) {
        let documents: Map<String, Value> = answers
            .clone()
            .map(|(job, built)| (job.name.clone(), build::metadata(&job.ask, built).into()))
            .collect();
        let text = serde_json::to_string_pretty(&documents).unwrap_or_default();
        build::write(path, &format!("{text}\n"))?;
    }
    for (job, built) in answers {
        let Some(call) = &job.ask.call else { continue };
        if jobs.len() > 1 && !call.is_json() {
            print(format!("{}\n", job.name))?;
        }
        code = code.max(call.show(&built.answers)?);
    }
    Ok(code)
}
