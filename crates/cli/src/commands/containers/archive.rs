//! `cp` and `export`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use client::Client;
use wire::docker::container::PathStat;
use wire::file_mode;

use crate::command::Outcome;
use crate::create::mount::absolute;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, is_terminal};
use crate::{base64, transfer, units};

/// `export`.
pub(crate) async fn export(invocation: &Invocation) -> Outcome {
    let output = invocation.matches.text("output");
    transfer::check_output(output, "export container")?;
    let client = invocation.client()?;
    let answer = client.container_export(invocation.arg(0)).await?;
    transfer::save(answer, output).await?;
    Ok(0)
}

/// `cp`.
pub(crate) async fn cp(invocation: &Invocation) -> Outcome {
    let (source, target) = (invocation.arg(0), invocation.arg(1));
    if source.is_empty() {
        return Err(Failure::new("source can not be empty"));
    }
    if target.is_empty() {
        return Err(Failure::new("destination can not be empty"));
    }
    match (split(source), split(target)) {
        (Some(_), Some(_)) => Err(Failure::new("copying between containers is not supported")),
        (None, None) => Err(Failure::new("must specify at least one container source")),
        (Some((container, path)), None) => fetch(invocation, container, path, target).await,
        (None, Some((container, path))) => send(invocation, source, container, path).await,
    }
}

/// `container:path`; an argument that begins like a path is a local one.
fn split(argument: &str) -> Option<(&str, &str)> {
    if argument.starts_with(['/', '.']) {
        return None;
    }
    argument.split_once(':').filter(|(container, _)| !container.is_empty())
}

/// The path inside, absolute, with what says "a directory" at its end kept.
fn inner(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// What is at a path of a container.
async fn stat(client: &Client, container: &str, path: &str) -> Result<PathStat, Failure> {
    let answer = client.container_stat(container, path).await?;
    let header = answer.header("X-Docker-Container-Path-Stat").unwrap_or_default().to_owned();
    answer.bytes().await?;
    decode(&header)
}

fn decode(header: &str) -> Result<PathStat, Failure> {
    base64::decode(header)
        .and_then(|bytes| wire::docker::json::from_slice(&bytes).ok())
        .ok_or_else(|| Failure::new("the engine did not say what is at the path"))
}

/// From a container to here.
async fn fetch(invocation: &Invocation, container: &str, path: &str, target: &str) -> Outcome {
    let client = invocation.client()?;
    let mut path = inner(path);
    if invocation.matches.bool("follow-link") {
        let stat = stat(&client, container, &path).await?;
        if stat.mode & file_mode::SYMLINK != 0 {
            path = resolve_link(&path, &stat.link_target);
        }
    }
    let answer = client.container_archive(container, &path).await?;
    if target == "-" {
        transfer::save(answer, "").await?;
        return Ok(0);
    }
    let stat = decode(answer.header("X-Docker-Container-Path-Stat").unwrap_or_default())?;
    let is_directory = stat.mode & file_mode::DIR != 0;
    let (root, name) = placed(target, base(&path), is_directory, path.ends_with("/."))?;
    let root = if root.is_empty() { "/".to_owned() } else { root };
    let keep_owner = invocation.matches.bool("archive");
    let size = transfer::unpack(answer, PathBuf::from(root), name, keep_owner).await?;
    report(invocation, size, &format!("to {}", absolute(target)));
    Ok(0)
}

/// From here to a container.
async fn send(invocation: &Invocation, source: &str, container: &str, path: &str) -> Outcome {
    let client = invocation.client()?;
    let path = inner(path);
    let mut target = path.clone();
    let found = match stat(&client, container, &target).await {
        Ok(found) if found.mode & file_mode::SYMLINK != 0 => {
            target = resolve_link(&target, &found.link_target);
            stat(&client, container, &target).await.ok()
        }
        found => found.ok(),
    };
    let directory = found.as_ref().map(|found| found.mode & file_mode::DIR != 0);
    let keep_owner = invocation.matches.bool("archive");
    if source == "-" {
        if directory != Some(true) {
            return Err(Failure::new(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        let body = transfer::file_body(Box::new(io::stdin()))?;
        client.container_extract(container, &target, keep_owner, body).await?;
        return Ok(0);
    }
    let follow = invocation.matches.bool("follow-link") || source.ends_with('/');
    let local = PathBuf::from(absolute(source));
    let metadata = if follow { fs::metadata(&local) } else { fs::symlink_metadata(&local) };
    let metadata = metadata.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(format!("lstat {}: no such file or directory", local.display()))
        }
        _ => Failure::new(format!("lstat {}: {error}", local.display())),
    })?;
    let name = local.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let content = source.ends_with("/.") || source == "." || name.is_empty();
    let (root, name) = match directory {
        Some(true) if content => (target, String::new()),
        Some(true) => (target, name),
        Some(false) if metadata.is_dir() => {
            return Err(Failure::new("cannot copy directory"));
        }
        Some(false) if asserts_directory(&path) => {
            return Err(Failure::new("not a directory"));
        }
        None if !metadata.is_dir() && asserts_directory(&path) => {
            return Err(Failure::new("no such directory"));
        }
        _ => {
            let trimmed = target.trim_end_matches("/.").trim_end_matches('/');
            let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
            (if parent.is_empty() { "/" } else { parent }.to_owned(), name.to_owned())
        }
    };
    let (body, packing) = transfer::pack(local, name, follow)?;
    client.container_extract(container, &root, keep_owner, body).await?;
    report(invocation, packing.outcome()?, &format!("to {container}:{path}"));
    Ok(0)
}

fn resolve_link(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let parent = path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/{target}")
}

/// The local directory that an archive is unpacked in, and the name that replaces its first one;
/// an empty name drops it.
fn placed(
    target: &str,
    name: &str,
    is_directory: bool,
    content: bool,
) -> Result<(String, String), Failure> {
    let local = absolute(target);
    match fs::metadata(&local) {
        Ok(found) if found.is_dir() => {
            Ok((local, if content { String::new() } else { name.to_owned() }))
        }
        Ok(_) if is_directory => Err(Failure::new("cannot copy directory")),
        Ok(_) if asserts_directory(target) => Err(Failure::new("not a directory")),
        Err(_) if !is_directory && asserts_directory(target) => {
            Err(Failure::new("no such directory"))
        }
        _ => {
            let path = Path::new(&local);
            let parent = path.parent().unwrap_or(Path::new("/"));
            if !parent.is_dir() {
                return Err(Failure::new(format!(
                    "invalid output path: directory \"{}\" does not exist",
                    parent.display()
                )));
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            Ok((parent.to_string_lossy().into_owned(), name.unwrap_or_default()))
        }
    }
}

fn report(invocation: &Invocation, size: u64, what: &str) {
    if invocation.matches.bool("quiet") || !is_terminal(rustix::stdio::stderr()) {
        return;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let size = units::human_size(size as f64, 4);
    complain(format!("Successfully copied {size} {what}\n"));
}
