//! `run` and `create`.
//!
//! ```text
//! create ──> attach ─┐
//!            wait ───┴──> start ──> streams until they end ──> exit status
//! ```
//! Attach and wait are asked for at the same time, before the start, so that nothing the
//! container does is missed.

use std::fs::File;
use std::io::Write;

use client::{Client, Endpoint, Error, Raw, Response};
use wire::docker::container::{
    ContainerConfig, ContainerCreateBody, ContainerCreateResponse, WaitResponse,
};
use wire::docker::host_config::{BindOptions, Mount};

use super::super::images;
use crate::command::Outcome;
use crate::create;
use crate::failure::{CANNOT_RUN, DAEMON_FAILED, Failure, NOT_FOUND};
use crate::invocation::Invocation;
use crate::stream::keys::Keys;
use crate::stream::signals::{Screen, caught, follow_size, forward};
use crate::stream::{self, End, Plan};
use crate::terminal::{complain, is_terminal, print};

/// `run`.
pub(crate) async fn run(invocation: &Invocation) -> Outcome {
    match launch(invocation).await {
        Ok(code) => Ok(code),
        Err(Stop::Plain(failure)) => Err(failure),
        // A silent failure has said what there was to say, and has its status.
        Err(Stop::Failed(failure)) if failure.message.is_empty() => Err(failure),
        Err(Stop::Failed(failure)) => {
            let code = status_of(&failure.message);
            Err(helpful(invocation, &failure.message).with_code(code))
        }
    }
}

/// `create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let body = create::body(&invocation.matches)
        .map_err(|why| helpful(invocation, &why).with_code(DAEMON_FAILED))?;
    check_pull(invocation).map_err(|why| helpful(invocation, &why).with_code(DAEMON_FAILED))?;
    create::check_system(&invocation.matches)?;
    let client = invocation.client()?;
    let id = create_container(invocation, &client, body).await?;
    print(format!("{id}\n"))?;
    Ok(0)
}

/// Why a run ended without the container's status.
enum Stop {
    /// Reported as it is.
    Plain(Failure),
    /// Reported with the hint to the help page.
    Failed(Failure),
}

impl<T: Into<Failure>> From<T> for Stop {
    fn from(failure: T) -> Self {
        Stop::Failed(failure.into())
    }
}

/// `docker: <what failed>`, and where help is.
fn helpful(invocation: &Invocation, why: &str) -> Failure {
    let Invocation { prog, path, .. } = invocation;
    Failure::new(format!("{prog}: {why}\n\nRun '{path} --help' for more information"))
}

/// The exit status that tells what kind of start failed.
fn status_of(message: &str) -> i32 {
    let has = |text: &str| message.contains(text);
    match () {
        () if has("executable file not found") || has("no such file or directory") => NOT_FOUND,
        () if has("permission denied") || has("is a directory") => CANNOT_RUN,
        () => DAEMON_FAILED,
    }
}

async fn launch(invocation: &Invocation) -> Result<i32, Stop> {
    let matches = &invocation.matches;
    let with_125 = |why: String| Stop::Plain(helpful(invocation, &why).with_code(DAEMON_FAILED));
    let mut body = create::body(matches).map_err(with_125)?;
    check_pull(invocation).map_err(with_125)?;
    create::check_system(matches).map_err(|why| Stop::Plain(why.into()))?;
    let detached = matches.bool("detach");
    if detached && !matches.list("attach").is_empty() {
        return Err(Stop::Plain(
            "conflicting options: cannot specify both --attach and --detach".into(),
        ));
    }
    let keys = Keys::parse(detach_keys(invocation)).map_err(with_125);
    let stdin = rustix::stdio::stdin();
    let config = &body.config;
    if !detached && config.tty && config.attach_stdin && !is_terminal(stdin) {
        return Err(Stop::Plain(Failure::new("the input device is not a TTY")));
    }
    console_size(&mut body);
    let client = invocation.client()?;
    let id = create_container(invocation, &client, body.clone()).await?;
    if detached {
        let started = client.container_start(&id, matches.text("detach-keys")).await;
        // The id is printed even so: the container exists.
        print(format!("{id}\n")).map_err(Stop::Plain)?;
        started?;
        return Ok(0);
    }
    let mut signals = matches.bool_or("sig-proxy", true).then(caught);
    let run = attended(invocation, &client, &id, &body, keys?);
    let proxy = async {
        match &mut signals {
            Some(signals) => forward(&client, &id, signals).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = run => outcome,
        () = proxy => Ok(0),
    }
}

/// Starts a created container and stays with it to its end.
async fn attended(
    invocation: &Invocation,
    client: &Client,
    id: &str,
    body: &ContainerCreateBody,
    keys: Keys,
) -> Result<i32, Stop> {
    let config = &body.config;
    let removed = invocation.matches.bool("rm");
    let condition = if removed { "removed" } else { "next-exit" };
    let (raw, waiting) = tokio::join!(
        attach_before_start(invocation, client, id, config),
        client.container_wait(id, condition)
    );
    let (raw, waiting) = (raw?, waiting?);
    if let Err(error) = client.container_start(id, "").await {
        if removed {
            // The container is on its way out; what follows should not find it.
            let _ = client.container_waited(waiting).await;
        }
        return Err(error.into());
    }
    let streams = async {
        let Some(raw) = raw else { return Ok(End::Closed) };
        let plan = Plan {
            stdin: config.attach_stdin,
            output: config.attach_stdout || config.attach_stderr,
            tty: config.tty,
            keys,
            proxied: invocation.matches.bool_or("sig-proxy", true),
        };
        stream::carry(raw, plan).await
    };
    let screen = async {
        match config.tty && is_terminal(rustix::stdio::stdout()) {
            true => follow_size(client, Screen::Container(id)).await,
            false => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = streams => end.map_err(Stop::Plain)?,
        () = screen => End::Closed,
    };
    match end {
        End::Detached => Ok(0),
        End::Closed => finished(client, waiting).await,
    }
}

/// The exit status of a container that was waited for.
async fn finished(client: &Client, waiting: Response<'_>) -> Result<i32, Stop> {
    let WaitResponse { status_code, error } = client.container_waited(waiting).await?;
    if let Some(error) = error {
        complain(format!("Error waiting for container: {}\n", error.message));
        return Ok(DAEMON_FAILED);
    }
    Ok(i32::try_from(status_code).unwrap_or(DAEMON_FAILED))
}

async fn attach_before_start(
    invocation: &Invocation,
    client: &Client,
    id: &str,
    config: &ContainerConfig,
) -> Result<Option<Raw>, Error> {
    if !(config.attach_stdin || config.attach_stdout || config.attach_stderr) {
        return Ok(None);
    }
    let mut query = vec![("stream", "1")];
    let keys = detach_keys(invocation);
    if !keys.is_empty() {
        query.push(("detachKeys", keys));
    }
    for (name, attached) in [
        ("stdin", config.attach_stdin),
        ("stdout", config.attach_stdout),
        ("stderr", config.attach_stderr),
    ] {
        if attached {
            query.push((name, "1"));
        }
    }
    client.container_attach(id, &query).await.map(Some)
}

/// The flag's detach keys, or the configured ones.
pub(super) fn detach_keys(invocation: &Invocation) -> &str {
    match invocation.matches.text("detach-keys") {
        "" => invocation.config().text("detachKeys").unwrap_or_default(),
        keys => keys,
    }
}

/// The size of this terminal, so that the container's is right from its first line on.
fn console_size(body: &mut ContainerCreateBody) {
    let size = crate::terminal::size(rustix::stdio::stdout());
    if let (Some(host), Some((rows, columns))) = (&mut body.host_config, size) {
        host.console_size = [u32::from(rows), u32::from(columns)];
    }
}

fn check_pull(invocation: &Invocation) -> Result<(), String> {
    match invocation.matches.string("pull").unwrap_or("missing") {
        "always" | "missing" | "never" => {}
        other => {
            return Err(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \
                 \"never\""
            ));
        }
    }
    Ok(())
}

/// Creates the container, after fetching its image when that is missing and allowed.
async fn create_container(
    invocation: &Invocation,
    client: &Client,
    mut body: ContainerCreateBody,
) -> Result<String, Failure> {
    let matches = &invocation.matches;
    let (name, platform) = (matches.text("name"), images::platform(matches.text("platform"))?);
    images::check_reference(&body.config.image)?;
    images::trusted(matches)?;
    crate::proxies::add(&mut body.config.env, invocation.proxies()?);
    if matches.bool("use-api-socket") {
        share_socket(client, &mut body)?;
    }
    let cid = match matches.text("cidfile") {
        "" => None,
        path => Some((path, open_cidfile(path)?)),
    };
    let pull = matches.string("pull").unwrap_or("missing");
    let quiet = matches.bool("quiet");
    let created = create_with_pull(invocation, client, &body, (name, &platform, pull, quiet));
    let created = match created.await {
        Ok(created) => created,
        Err(failure) => {
            if let Some((path, _)) = cid {
                let _ = std::fs::remove_file(path);
            }
            return Err(failure);
        }
    };
    super::super::warn(&created.warnings);
    if let Some((path, mut file)) = cid {
        file.write_all(created.id.as_bytes()).map_err(|error| {
            Failure::new(format!("failed to write the container ID ({path}): {error}"))
        })?;
    }
    Ok(created.id)
}

async fn create_with_pull(
    invocation: &Invocation,
    client: &Client,
    body: &ContainerCreateBody,
    (name, platform, pull, quiet): (&str, &str, &str, bool),
) -> Result<ContainerCreateResponse, Failure> {
    let image = body.config.image.as_str();
    if pull == "always" {
        images::pull_for_run(invocation, client, image, platform, quiet).await?;
    }
    let error = match client.container_create(name, platform, body).await {
        Ok(created) => return Ok(created),
        Err(error) => error,
    };
    if !(error.is_not_found() && pull == "missing") {
        return Err(error.into());
    }
    if !quiet {
        complain(format!("Unable to find image '{}' locally\n", images::familiar(image)));
    }
    images::pull_for_run(invocation, client, image, platform, quiet).await?;
    Ok(client.container_create(name, platform, body).await?)
}

/// `--use-api-socket`: the engine's socket, where programs in the container look for it.
fn share_socket(client: &Client, body: &mut ContainerCreateBody) -> Result<(), Failure> {
    let Endpoint::Unix(path) = client.endpoint() else {
        return Err(Failure::new("the flag --use-api-socket needs a daemon on a unix socket"));
    };
    let mount = Mount {
        kind: "bind".to_owned(),
        source: path.to_string_lossy().into_owned(),
        target: "/var/run/docker.sock".to_owned(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    };
    let host = body.host_config.get_or_insert_default();
    host.mounts.get_or_insert_default().push(mount);
    Ok(())
}

fn open_cidfile(path: &str) -> Result<File, Failure> {
    if std::path::Path::new(path).exists() {
        return Err(Failure::new(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    File::create_new(path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!("failed to create the container ID file: open {path}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::status_of;

    #[test]
    fn exit_status_of_a_failed_start() {
        for (message, status) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            ("exec: \"/x\": stat /x: no such file or directory", 127),
            ("exec: \"/etc\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("No such image: x", 125),
        ] {
            assert_eq!(status_of(message), status, "{message}");
        }
    }
}
