//! Commands about managed plugins.

use std::path::Path;

use client::Client;
use wire::docker::plugin::{Plugin, PluginPrivilege};
use wire::plugin::Config;

use super::images::{check_reference, familiar, full, split_tag, trusted};
use super::{auth, confirm, inspect as inspection, list_format};
use crate::command::Outcome;
use crate::create::mount::absolute;
use crate::failure::Failure;
use crate::format::{self, Row, Table, ellipsis};
use crate::invocation::Invocation;
use crate::progress::{self, Target};
use crate::terminal::print;
use crate::transfer;

/// The widest description in a table.
const DESCRIPTION_WIDTH: usize = 45;
/// Digits of an id in a table.
const ID_WIDTH: usize = 12;

const TABLE: Table = Table {
    default: "{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}",
    titles: &[
        ("Description", "DESCRIPTION"),
        ("Enabled", "ENABLED"),
        ("ID", "ID"),
        ("Name", "NAME"),
        ("PluginReference", "IMAGE"),
    ],
    type_name: "*plugin.pluginContext",
};

/// `plugin ls`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let whole = matches.bool("no-trunc");
    let format = list_format(invocation, "pluginsFormat");
    let format = if matches.bool("quiet") { "{{.ID}}" } else { format };
    let mut plugins = invocation.client()?.plugin_list(&matches.filters("filter")).await?;
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    format::list(&TABLE, format, plugins.iter().map(|plugin| row(plugin, whole)).collect())
}

fn row(plugin: &Plugin, whole: bool) -> Row {
    let description = plugin.config.description.replace(['\n', '\r'], "");
    let id = plugin.id.get(..ID_WIDTH).filter(|_| !whole).unwrap_or(&plugin.id);
    Row::default()
        .with(
            "Description",
            if whole { description } else { ellipsis(&description, DESCRIPTION_WIDTH) },
        )
        .with("Enabled", plugin.enabled)
        .with("ID", id)
        .with("Name", plugin.name.clone())
        .with("PluginReference", plugin.plugin_reference.clone())
}

/// `plugin inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    inspection::each(invocation, async |name| client.plugin_inspect_raw(name).await).await
}

/// `plugin create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let (name, dir) = (invocation.arg(0), invocation.arg(1));
    check_reference(name)?;
    let path = absolute(dir);
    let metadata = std::fs::symlink_metadata(&path)
        .map_err(|error| Failure::new(format!("lstat {path}: {}", told(&error))))?;
    if !metadata.is_dir() {
        return Err(Failure::new("context must be a directory"));
    }
    let file = Path::new(dir).join("config.json");
    let text = std::fs::read(&file)
        .map_err(|error| Failure::new(format!("open {}: {}", file.display(), told(&error))))?;
    Config::read(&text).map_err(|error| Failure::new(format!("config.json: {error}")))?;
    // `--compress` is for slow networks between client and engine; the plugin is the same.
    let (body, packing) = transfer::pack(path.into(), String::new(), false)?;
    let created = invocation.client()?.plugin_create(name, body).await;
    packing.outcome()?;
    created?;
    print(format!("{name}\n"))?;
    Ok(0)
}

fn told(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

/// `plugin install`.
pub(crate) async fn install(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let shown = invocation.arg(0);
    let remote = remote(shown)?;
    trusted(matches)?;
    let alias = match matches.text("alias") {
        "" => String::new(),
        alias if alias.contains('@') => {
            return Err(Failure::new(format!("invalid name: {alias}")));
        }
        alias => {
            check_reference(alias)?;
            tagged(&familiar(alias))
        }
    };
    let client = invocation.client()?;
    let auth = auth::header(invocation, shown)?;
    let granted = granted(invocation, &client, (&remote, shown), &auth).await?;
    let answer = client.plugin_pull((&remote, &alias), &granted, &auth).await;
    let answer = answer.map_err(|error| hint(error.into()))?;
    let name = answer.header("Docker-Plugin-Name").unwrap_or_default().to_owned();
    let done = async {
        progress::show(answer, Target::Stdout, |_| ()).await?;
        let settings: Vec<String> = matches.args().iter().skip(1).cloned().collect();
        if !settings.is_empty() {
            client.plugin_set(&name, &settings).await?;
        }
        if !matches.bool("disable") {
            client.plugin_enable(&name, 0).await?;
        }
        Ok::<(), Failure>(())
    };
    if let Err(failure) = done.await {
        // What cannot be as it was asked for is not kept.
        let _ = client.plugin_remove(&name, false).await;
        return Err(failure);
    }
    print(format!("Installed plugin {shown}\n"))?;
    Ok(0)
}

fn hint(failure: Failure) -> Failure {
    match failure.message.contains("did not find plugin config") {
        true => Failure {
            message: format!("{} - Use \"docker image pull\"", failure.message),
            ..failure
        },
        false => failure,
    }
}

/// The whole name of a plugin of a registry, as it was asked for.
fn remote(name: &str) -> Result<String, Failure> {
    check_reference(name)?;
    let (repository, tag) = split_tag(name);
    Ok(match name.split_once('@') {
        Some((_, digest)) => format!("{}@{digest}", full(repository)),
        None if tag.is_empty() => full(repository),
        None => format!("{}:{tag}", full(repository)),
    })
}

fn tagged(name: &str) -> String {
    let (_, tag) = split_tag(name);
    if tag.is_empty() && !name.contains('@') { format!("{name}:latest") } else { name.to_owned() }
}

/// What the plugin wants, when the user agrees to it.
async fn granted(
    invocation: &Invocation,
    client: &Client,
    (remote, shown): (&str, &str),
    auth: &str,
) -> Result<Vec<PluginPrivilege>, Failure> {
    let wanted = client.plugin_privileges(remote, auth).await?;
    if wanted.is_empty() || invocation.matches.bool("grant-all-permissions") {
        return Ok(wanted);
    }
    print(format!("Plugin {shown:?} is requesting the following privileges:\n"))?;
    for privilege in &wanted {
        print(format!(" - {}: [{}]\n", privilege.name, privilege.value.join(" ")))?;
    }
    match confirm("Do you grant the above permissions?")? {
        true => Ok(wanted),
        false => Err(Failure::new(format!("permission denied while installing plugin {remote}"))),
    }
}

/// `plugin upgrade`.
pub(crate) async fn upgrade(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let client = invocation.client()?;
    let plugin = client.plugin_inspect(invocation.arg(0)).await.map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("error reading plugin data: {}", failure.message), ..failure }
    })?;
    if plugin.enabled {
        return Err(Failure::new("the plugin must be disabled before upgrading"));
    }
    let wanted = matches.arg(1).unwrap_or(&plugin.plugin_reference).to_owned();
    let (old, new) = (tagged(&familiar(&plugin.plugin_reference)), tagged(&familiar(&wanted)));
    print(format!("Upgrading plugin {} from {old} to {new}\n", plugin.name))?;
    if old != new
        && !matches.bool("skip-remote-check")
        && !confirm("Plugin images do not match, are you sure?")?
    {
        return Err(Failure::new("plugin upgrade has been cancelled"));
    }
    trusted(matches)?;
    let remote = remote(&wanted)?;
    let auth = auth::header(invocation, &wanted)?;
    let granted = granted(invocation, &client, (&remote, &wanted), &auth).await?;
    let answer = client.plugin_upgrade((&plugin.name, &remote), &granted, &auth).await;
    let answer = answer.map_err(|error| hint(error.into()))?;
    progress::show(answer, Target::Stdout, |_| ()).await?;
    print(format!("Upgraded plugin {} to {wanted}\n", plugin.name))?;
    Ok(0)
}

/// `plugin push`.
pub(crate) async fn push(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    check_reference(name)?;
    if name.contains('@') {
        return Err(Failure::new(format!("invalid name: {name}")));
    }
    trusted(&invocation.matches)?;
    let auth = auth::header(invocation, name)?;
    let client = invocation.client()?;
    let answer = client.plugin_push(&tagged(&familiar(name)), &auth).await?;
    progress::show(answer, Target::Stdout, |_| ()).await?;
    Ok(0)
}

/// `plugin enable`.
pub(crate) async fn enable(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    let timeout = match invocation.matches.changed("timeout") {
        true => invocation.matches.int("timeout").unwrap_or_default(),
        false => 30,
    };
    if timeout < 0 {
        return Err(Failure::new(format!("negative timeout {timeout} is invalid")));
    }
    invocation.client()?.plugin_enable(name, timeout).await?;
    print(format!("{name}\n"))?;
    Ok(0)
}

/// `plugin disable`.
pub(crate) async fn disable(invocation: &Invocation) -> Outcome {
    let name = invocation.arg(0);
    invocation.client()?.plugin_disable(name, invocation.matches.bool("force")).await?;
    print(format!("{name}\n"))?;
    Ok(0)
}

/// `plugin set`.
pub(crate) async fn set(invocation: &Invocation) -> Outcome {
    let words: Vec<String> = invocation.matches.args().iter().skip(1).cloned().collect();
    invocation.client()?.plugin_set(invocation.arg(0), &words).await?;
    Ok(0)
}

/// `plugin rm`.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let (client, force) = (invocation.client()?, invocation.matches.bool("force"));
    super::each(invocation, 1, async |name| client.plugin_remove(name, force).await).await
}
