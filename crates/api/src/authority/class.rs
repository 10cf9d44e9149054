//! The class of every operation, by method and path. What is nobody's is the administrator's: an
//! operation that is added and forgotten here is closed, not open.

use hyper::Method;
use model::policy::Class;

/// The class of an operation of the table.
pub(super) fn of(method: &Method, pattern: &str) -> Class {
    let looks = method == Method::GET || method == Method::HEAD;
    let mut parts = pattern.trim_start_matches('/').split('/');
    let room = parts.next().unwrap_or_default();
    let act = pattern.rsplit('/').next().unwrap_or_default();
    match room {
        "_ping" | "version" => Class::Ping,
        "info" | "events" | "system" => Class::SystemRead,
        "containers" => container(method, pattern, act),
        "exec" if looks => Class::ContainersRead,
        "exec" => Class::ContainersRun,
        "commit" => Class::ImagesWrite,
        "images" => image(method, act, looks),
        "build" if act == "prune" => Class::ImagesRemove,
        "build" | "session" | "grpc" => Class::ImagesBuild,
        "distribution" if looks => Class::ImagesRead,
        "distribution" => Class::ImagesPush,
        // Credentials are checked with a registry, on the way to a pull.
        "auth" => Class::ImagesPull,
        "networks" if looks => Class::NetworksRead,
        "networks" => Class::NetworksWrite,
        "volumes" if looks => Class::VolumesRead,
        "volumes" => Class::VolumesWrite,
        "plugins" if looks => Class::PluginsRead,
        "plugins" => Class::PluginsWrite,
        "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs" if looks => {
            Class::SwarmRead
        }
        "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs" => Class::SwarmWrite,
        "estiba" => own(parts.next().unwrap_or_default(), looks),
        _ => Class::Admin,
    }
}

fn container(method: &Method, pattern: &str, act: &str) -> Class {
    match (method, act) {
        (_, "archive" | "export") => Class::ContainersCopy,
        (_, "ws" | "attach") => Class::ContainersRun,
        (&Method::GET | &Method::HEAD, _) | (_, "wait") => Class::ContainersRead,
        (&Method::POST, "create" | "start" | "restart" | "exec" | "update" | "resize") => {
            Class::ContainersRun
        }
        (&Method::POST, "stop" | "kill" | "pause" | "unpause" | "rename" | "prune")
        | (&Method::DELETE, _) => Class::ContainersControl,
        (&Method::POST, _) if pattern.contains("/checkpoints") => Class::ContainersRun,
        _ => Class::Admin,
    }
}

fn image(method: &Method, act: &str, looks: bool) -> Class {
    match (method, act) {
        _ if looks => Class::ImagesRead,
        (&Method::POST, "create") => Class::ImagesPull,
        (&Method::POST, "push") => Class::ImagesPush,
        (&Method::POST, "tag" | "load") => Class::ImagesWrite,
        (&Method::POST, "prune") | (&Method::DELETE, _) => Class::ImagesRemove,
        _ => Class::Admin,
    }
}

fn own(room: &str, looks: bool) -> Class {
    match room {
        "build" => Class::ImagesBuild,
        "containers" if looks => Class::ContainersRead,
        "containers" => Class::ContainersControl,
        "ports" => Class::NetworksRead,
        "volumes" if looks => Class::VolumesRead,
        "volumes" => Class::VolumesWrite,
        _ => Class::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::TABLE;

    /// Every operation, with its class.
    const LEDGER: &str = include_str!("../../ledger.tsv");

    #[test]
    fn the_ledger_says_the_class_of_every_operation() {
        for line in LEDGER.lines().skip(1) {
            let fields: Vec<_> = line.split('\t').collect();
            let (method, path) = (Method::from_bytes(fields[0].as_bytes()).unwrap(), fields[1]);
            let Some(said) = fields.get(4).copied() else { continue };
            assert_eq!(of(&method, path).name(), said, "{method} {path}");
        }
    }

    #[test]
    fn looking_is_never_changing() {
        for route in &TABLE {
            let class = of(&route.method, route.path);
            let looks = route.method == Method::GET || route.method == Method::HEAD;
            let waits = route.path.ends_with("/wait") || route.path == "/auth";
            assert!(looks || waits || !class.is_read(), "{} {}", route.method, route.path);
        }
    }
}
