//! `ps`.

use client::ListContainers;
use wire::docker::container::{ContainerSummary, MountPoint, Port};

use super::super::list_format;
use crate::command::Outcome;
use crate::format::{self, Row, Table, ellipsis, short_id};
use crate::invocation::Invocation;
use crate::{time, units};

/// The widest command that a table shows.
const COMMAND_WIDTH: usize = 20;
/// The widest name of a mount.
const MOUNT_WIDTH: usize = 15;

/// The list of containers.
pub(crate) const TABLE: Table = Table {
    default: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t\
              {{.Names}}",
    titles: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
    type_name: "*formatter.ContainerContext",
};

const WITH_SIZE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t\
                         {{.Ports}}\t{{.Names}}\t{{.Size}}";

/// `ps`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let quiet = matches.bool("quiet");
    let given = list_format(invocation, "psFormat");
    let sized = matches.bool("size");
    let format = match given {
        _ if quiet => "{{.ID}}",
        "" | "table" if sized => WITH_SIZE,
        format => format,
    };
    format::probe(&TABLE, format)?;
    let limit = match matches.bool("latest") {
        true => 1,
        false => matches.int("last").unwrap_or(-1),
    };
    let wanted = ListContainers {
        all: matches.bool("all") || limit > 0,
        limit,
        size: sized || given.contains(".Size") || given.contains("json .}"),
        filters: matches.filters("filter"),
    };
    let containers = invocation.client()?.container_list(&wanted).await?;
    let whole = matches.bool("no-trunc");
    format::list(&TABLE, format, containers.iter().map(|container| row(container, whole)).collect())
}

/// A container's fields; `whole` shows long values whole.
pub(crate) fn row(container: &ContainerSummary, whole: bool) -> Row {
    let command = match whole {
        true => container.command.clone(),
        false => ellipsis(&container.command, COMMAND_WIDTH),
    };
    let id = if whole { &container.id } else { short_id(&container.id) };
    let labels: Vec<String> =
        container.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let networks: Vec<&str> =
        container.network_settings.networks.keys().map(String::as_str).collect();
    let local = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    Row::default()
        .with("Command", crate::number::quote(&command))
        .with("CreatedAt", time::full(container.created))
        .with("ID", id)
        .with("Image", image(container, whole))
        .with("Labels", labels.join(","))
        .with("LocalVolumes", local.to_string())
        .with("Mounts", mounts(&container.mounts, whole))
        .with("Names", names(&container.names, whole))
        .with("Networks", networks.join(","))
        .with("Platform", platform(container))
        .with("Ports", ports(&container.ports))
        .with("RunningFor", time::ago(container.created))
        .with("Size", size(container))
        .with("State", container.state.clone())
        .with("Status", container.status.clone())
        .method("Label", container.labels.clone())
}

fn image(container: &ContainerSummary, whole: bool) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return name.to_owned();
    }
    if short_id(&container.image_id) == short_id(name) {
        return short_id(name).to_owned();
    }
    // A digest beside a tag says nothing more to a reader.
    match name.split_once('@') {
        Some((tagged, _)) if !tagged.is_empty() => tagged.to_owned(),
        _ => name.to_owned(),
    }
}

/// What its image runs on, as far as the engine tells.
fn platform(container: &ContainerSummary) -> serde_json::Value {
    let described = container.image_manifest_descriptor.as_ref();
    let platform = described.and_then(|manifest| manifest.platform.as_ref());
    platform.and_then(|platform| serde_json::to_value(platform).ok()).unwrap_or_default()
}

/// Without the leading slash; the names that links gave are left out unless all is asked for.
fn names(names: &[String], whole: bool) -> String {
    let bare = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let shown: Vec<&str> = bare.filter(|name| whole || !name.contains('/')).collect();
    shown.join(",")
}

fn mounts(mounts: &[MountPoint], whole: bool) -> String {
    let name = |mount: &MountPoint| {
        let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
        if whole { name.clone() } else { ellipsis(name, MOUNT_WIDTH) }
    };
    mounts.iter().map(name).collect::<Vec<_>>().join(",")
}

fn size(container: &ContainerSummary) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let human = |bytes: Option<i64>| units::human_size(bytes.unwrap_or_default() as f64, 3);
    match container.size_root_fs {
        Some(root) if root > 0 => {
            format!("{} (virtual {})", human(container.size_rw), human(Some(root)))
        }
        _ => human(container.size_rw),
    }
}

/// Ports in one line: runs of neighbours that map to themselves are joined, others stand alone
/// and last.
fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by_key(|port| (port.private_port, &port.ip, port.public_port, &port.protocol));
    let (mut shown, mut mapped) = (Vec::new(), Vec::new());
    let mut runs: Vec<(&str, &str, u16, u16)> = Vec::new();
    for port in sorted {
        let (private, kind) = (port.private_port, port.protocol.as_str());
        if !port.ip.is_empty() && port.public_port != private {
            let host = host(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{host}->{private}/{kind}"));
            continue;
        }
        let run = runs.iter_mut().find(|(ip, of, ..)| *ip == port.ip && *of == kind);
        match run {
            None => runs.push((&port.ip, kind, private, private)),
            Some((.., last)) if private == last.saturating_add(1) => *last = private,
            Some((ip, kind, first, last)) => {
                shown.push(group(ip, kind, *first, *last));
                (*first, *last) = (private, private);
            }
        }
    }
    shown.extend(runs.into_iter().map(|(ip, kind, first, last)| group(ip, kind, first, last)));
    shown.extend(mapped);
    shown.join(", ")
}

fn group(ip: &str, kind: &str, first: u16, last: u16) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ip {
        "" => format!("{range}/{kind}"),
        ip => format!("{}->{range}/{kind}", host(ip, &range)),
    }
}

/// `address:port`, an IPv6 address in brackets.
pub(super) fn host(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_grouped() {
        let port = |ip: &str, private_port, public_port| Port {
            ip: ip.to_owned(),
            private_port,
            public_port,
            protocol: "tcp".to_owned(),
        };
        let shown = |list: &[Port]| ports(list);
        assert_eq!(shown(&[port("", 80, 0)]), "80/tcp");
        assert_eq!(
            shown(&[port("", 80, 0), port("", 81, 0), port("", 90, 0)]),
            "80-81/tcp, 90/tcp"
        );
        assert_eq!(
            shown(&[port("0.0.0.0", 80, 8080), port("::", 80, 8080)]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            shown(&[port("0.0.0.0", 80, 80), port("0.0.0.0", 81, 81)]),
            "0.0.0.0:80-81->80-81/tcp"
        );
    }

    #[test]
    fn link_names_are_hidden() {
        let all = ["/web".to_owned(), "/db/web".to_owned()];
        assert_eq!(names(&all, false), "web");
        assert_eq!(names(&all, true), "web,db/web");
    }
}
