//! `manifest`: looking at documents of registries, and putting lists of them together. Lists are
//! kept on disk between commands, in the form and the place of Docker's command line
//! ([`lists::Lists`]); registries are spoken to by the engine.

mod entry;
mod lists;

use client::{Client, Error};
use wire::docker::registry::{ManifestDocument, ManifestToPublish};

use super::auth;
use super::images::{normal, repository};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::json;
use crate::terminal::print;
use entry::{Entry, is_list, list_text};
use lists::Lists;

/// Operating systems and the architectures that an annotation may name with them; Docker's table.
const PLATFORMS: [(&str, &[&str]); 9] = [
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

/// `manifest inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let verbose = invocation.matches.bool("verbose");
    let lists = Lists::of(invocation);
    if let Some(member) = invocation.matches.arg(1) {
        let (list, member) = (normal(invocation.arg(0))?, normal(member)?);
        let entry = lists.entry(&list, &member)?.ok_or_else(|| unknown(&member))?;
        return show_entry(&entry, verbose);
    }
    let name = normal(invocation.arg(0))?;
    let local = lists.entries(&name)?;
    if !local.is_empty() {
        return show_list(&local, verbose);
    }
    let remote = Remote::of(invocation)?;
    let found = remote.fetch(&name).await?;
    if !is_list(&found.descriptor.media_type) {
        return show_entry(&Entry::of(&name, &found)?, verbose);
    }
    let mut entries = Entry::members(&name, &found)?;
    if verbose {
        for entry in &mut entries {
            let document = remote.fetch(&entry.reference).await?;
            entry.fill(&document)?;
        }
    }
    show_list(&entries, verbose)
}

/// `manifest create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let (target, members) = (invocation.arg(0), &invocation.matches.args()[1..]);
    let list = normal(target)
        .map_err(|why| format!("error parsing name for manifest list {target}: {why}"))?;
    let lists = Lists::of(invocation);
    if lists.exists(&list) && !invocation.matches.bool("amend") {
        return Err("refusing to amend an existing manifest list with no --amend flag".into());
    }
    for member in members {
        let member = normal(member)?;
        let entry = match lists.entry(&list, &member)? {
            Some(known) => known,
            None => {
                let found = Remote::of(invocation)?.fetch(&member).await?;
                if is_list(&found.descriptor.media_type) {
                    return Err(Failure::new(format!("{member} is a manifest list")));
                }
                Entry::of(&member, &found)?
            }
        };
        lists.keep(&list, &entry)?;
    }
    print(format!("Created manifest list {list}\n"))?;
    Ok(0)
}

/// `manifest annotate`.
pub(crate) fn annotate(invocation: &Invocation) -> Outcome {
    let (matches, target, member) = (&invocation.matches, invocation.arg(0), invocation.arg(1));
    let parsed = |what: &str, text: &str| {
        normal(text).map_err(|why| format!("annotate: error parsing name for {what} {text}: {why}"))
    };
    let list = parsed("manifest list", target)?;
    let member_name = parsed("manifest", member)?;
    let lists = Lists::of(invocation);
    let mut entry = lists.entry(&list, &member_name)?.ok_or_else(|| {
        Failure::new(format!("manifest for image {member} does not exist in {target}"))
    })?;
    let platform = entry.descriptor.platform.get_or_insert_default();
    let set = |field: &mut String, flag: &str| {
        if !matches.text(flag).is_empty() {
            matches.text(flag).clone_into(field);
        }
    };
    set(&mut platform.os, "os");
    set(&mut platform.architecture, "arch");
    set(&mut platform.variant, "variant");
    set(&mut platform.os_version, "os-version");
    for feature in matches.strings("os-features") {
        if !platform.os_features.contains(&feature) {
            platform.os_features.push(feature);
        }
    }
    let (os, architecture) = (platform.os.as_str(), platform.architecture.as_str());
    let known = |(name, with): &(&str, &[&str])| *name == os && with.contains(&architecture);
    if !PLATFORMS.iter().any(known) {
        return Err(Failure::new(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            matches.text("os"),
            matches.text("arch")
        )));
    }
    lists.keep(&list, &entry)?;
    Ok(0)
}

/// `manifest push`.
pub(crate) async fn push(invocation: &Invocation) -> Outcome {
    let list = normal(invocation.arg(0))?;
    let lists = Lists::of(invocation);
    let entries = lists.entries(&list)?;
    if entries.is_empty() {
        return Err(unknown(&list));
    }
    let (host, target) = (host(&list), repository(&list));
    let mut elsewhere = Vec::new();
    for entry in &entries {
        let platform = entry.descriptor.platform.as_ref();
        if platform.is_none_or(|own| own.os.is_empty() || own.architecture.is_empty()) {
            return Err(Failure::new(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                entry.reference
            )));
        }
        let from = repository(&entry.reference);
        if self::host(&entry.reference) != host {
            return Err(Failure::new(format!(
                "cannot use source images from a different registry than the target image: {} \
                 != {host}",
                self::host(&entry.reference)
            )));
        }
        if from != target {
            elsewhere.push((from.to_owned(), entry.descriptor.digest.as_str()));
        }
    }
    let (media_type, document) = list_text(&entries);
    let mut from: Vec<String> = elsewhere.iter().map(|(from, _)| from.clone()).collect();
    from.dedup();
    let wanted = ManifestToPublish { media_type, document, from };
    let digest = Remote::of(invocation)?.publish(&list, &wanted).await?;
    for (_, digest) in &elsewhere {
        print(format!("Pushed ref {target}@{digest} with digest: {digest}\n"))?;
    }
    print(format!("{digest}\n"))?;
    if invocation.matches.bool("purge") {
        lists.remove(&list)?;
    }
    Ok(0)
}

/// `manifest rm`.
pub(crate) fn remove(invocation: &Invocation) -> Outcome {
    let lists = Lists::of(invocation);
    let mut failures = super::Failures::default();
    for name in invocation.matches.args() {
        let removed =
            normal(name).map_err(Failure::from).and_then(|list| match lists.exists(&list) {
                true => lists.remove(&list),
                false => Err(unknown(&list)),
            });
        failures.note(removed);
    }
    failures.outcome()
}

/// The engine, asked about one registry at a time.
struct Remote<'a> {
    invocation: &'a Invocation,
    client: Client,
    insecure: bool,
}

impl<'a> Remote<'a> {
    fn of(invocation: &'a Invocation) -> Result<Self, Failure> {
        let insecure = invocation.matches.bool("insecure");
        Ok(Self { invocation, client: invocation.client()?, insecure })
    }

    async fn fetch(&self, name: &str) -> Result<ManifestDocument, Failure> {
        let auth = auth::header(self.invocation, repository(name))?;
        let found = self.client.distribution_manifest(name, self.insecure, &auth).await;
        found.map_err(|error| missing(error, name))
    }

    async fn publish(&self, name: &str, wanted: &ManifestToPublish) -> Result<String, Failure> {
        let auth = auth::header(self.invocation, repository(name))?;
        let done = self.client.distribution_publish(name, wanted, self.insecure, &auth).await;
        done.map_err(|error| missing(error, name))
    }
}

/// What a registry does not have, in the words of Docker's command line.
fn missing(error: Error, name: &str) -> Failure {
    let message = error.to_string();
    match error.is_not_found() && message.contains("manifest for ") {
        true => Failure::new(format!("no such manifest: {name}")),
        false => error.into(),
    }
}

fn unknown(name: &str) -> Failure {
    Failure::new(format!("No such manifest: {name}"))
}

fn host(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

fn show_entry(entry: &Entry, verbose: bool) -> Outcome {
    let text = match verbose {
        true => json::escape_html(&entry.json()?),
        false => entry.document()?,
    };
    print(format!("{}\n", json::indent(&text, "\t")))?;
    Ok(0)
}

fn show_list(entries: &[Entry], verbose: bool) -> Outcome {
    if !verbose {
        print(format!("{}\n", list_text(entries).1))?;
        return Ok(0);
    }
    let texts: Result<Vec<String>, Failure> = entries.iter().map(Entry::json).collect();
    let text = json::escape_html(&format!("[{}]", texts?.join(",")));
    print(format!("{}\n", json::indent(&text, "\t")))?;
    Ok(0)
}
