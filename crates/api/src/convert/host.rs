//! `HostConfig`: how the host is asked to run a container.

use model::Denied;
use model::draft::{BindDraft, Draft, HostDraft, LogDraft, UpdateDraft};
use model::publish::HostPorts;
use model::resources::Resources;
use model::restart::RestartPolicy;
use wire::docker::host_config::{ContainerUpdateBody, HostConfig, LogConfig};

use super::bind::{self, Bind};
use super::{console_size, mount, namespace, null_if_empty, null_if_empty_map, port, resources};
use super::{restart, security};

/// How the host is asked to run a container. Anonymous volumes among the binds go to `volumes`.
pub(crate) fn from_wire(host: HostConfig, volumes: &mut Vec<String>) -> Result<HostDraft, Denied> {
    let binds = binds(&host, volumes)?;
    let restart = restart::from_wire(&host.restart_policy)?;
    if host.auto_remove && restart != RestartPolicy::No {
        return Err(Denied::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if host.shm_size < 0 {
        return Err(Denied::invalid("SHM size can not be less than 0"));
    }
    check_annotations(&host)?;
    let cgroup_parent = host.resources.cgroup_parent.clone();
    let security_opt = host.security_opt.unwrap_or_default();
    let (add, drop) = (host.cap_add.unwrap_or_default(), host.cap_drop.unwrap_or_default());
    let (cap_add, cap_drop) = security::capabilities(&security_opt, add, drop)?;
    Ok(HostDraft {
        binds,
        mounts: host
            .mounts
            .unwrap_or_default()
            .into_iter()
            .map(mount::from_wire)
            .collect::<Result<_, _>>()?,
        tmpfs: host.tmpfs.unwrap_or_default(),
        volumes_from: host.volumes_from.unwrap_or_default(),
        volume_driver: host.volume_driver,
        resources: resources::from_wire(host.resources)?,
        restart,
        auto_remove: host.auto_remove,
        network: namespace::network(&host.network_mode)?,
        ports: port::bindings(host.port_bindings.unwrap_or_default())?,
        publish_all: host.publish_all_ports,
        dns: host.dns.unwrap_or_default(),
        dns_search: host.dns_search.unwrap_or_default(),
        dns_options: host.dns_options.unwrap_or_default(),
        extra_hosts: host.extra_hosts.unwrap_or_default(),
        links: host.links.unwrap_or_default(),
        ipc: namespace::ipc(&host.ipc_mode)?,
        pid: namespace::pid(&host.pid_mode)?,
        uts: namespace::uts(&host.uts_mode)?,
        userns: namespace::userns(&host.userns_mode)?,
        cgroupns: namespace::cgroupns(&host.cgroupns_mode)?,
        cgroup_parent,
        cap_add,
        cap_drop,
        group_add: host.group_add.unwrap_or_default(),
        security: security::parse(security_opt)?,
        privileged: host.privileged,
        readonly_rootfs: host.readonly_rootfs,
        shm_size_bytes: host.shm_size,
        sysctls: host.sysctls.unwrap_or_default(),
        init: host.init,
        runtime: host.runtime,
        log: LogDraft {
            driver: host.log_config.kind,
            options: host.log_config.config.unwrap_or_default(),
        },
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        oom_score_adj: oom_score_adj(host.oom_score_adj)?,
        storage_opt: host.storage_opt.unwrap_or_default(),
        annotations: host.annotations.unwrap_or_default(),
        container_id_file: host.container_id_file,
        isolation: isolation(host.isolation)?,
        console_size: console_size(host.console_size),
    })
}

/// The ways that Windows has are none of Linux.
fn isolation(text: String) -> Result<String, Denied> {
    if matches!(text.to_ascii_lowercase().as_str(), "" | "default") {
        return Ok(text);
    }
    Err(Denied::invalid(format!("invalid isolation '{text}' on linux")))
}

fn binds(host: &HostConfig, anonymous: &mut Vec<String>) -> Result<Vec<BindDraft>, Denied> {
    let mut binds = Vec::new();
    for text in host.binds.iter().flatten() {
        match bind::parse(text)? {
            Bind::Named(bind) => binds.push(bind),
            Bind::Anonymous(target) => anonymous.push(target),
        }
    }
    Ok(binds)
}

fn check_annotations(host: &HostConfig) -> Result<(), Denied> {
    match host.annotations.iter().flatten().any(|(key, _)| key.is_empty()) {
        false => Ok(()),
        true => Err(Denied::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        )),
    }
}

fn oom_score_adj(value: i64) -> Result<i32, Denied> {
    let narrow = i32::try_from(value).ok().filter(|value| (-1000..=1000).contains(value));
    narrow.ok_or_else(|| {
        Denied::invalid(format!("Invalid value {value}, range for oom score adj is [-1000, 1000]"))
    })
}

/// What update asks for.
pub(crate) fn update_from_wire(body: ContainerUpdateBody) -> Result<UpdateDraft, Denied> {
    let restart = match body.restart_policy.name.as_str() {
        "" => None,
        _ => Some(restart::from_wire(&body.restart_policy)?),
    };
    // Of an update every value was asked for: also none.
    let pids_limit = body.resources.pids_limit.map(|limit| if limit > 0 { limit } else { -1 });
    let resources = Resources { pids_limit, ..resources::from_wire(body.resources)? };
    let unpublish = body.publish_remove.iter().map(|text| HostPorts::parse(text));
    Ok(UpdateDraft {
        resources,
        restart,
        publish: port::bindings(body.publish_add)?,
        unpublish: unpublish.collect::<Result<_, _>>()?,
    })
}

/// How the host was asked to run a container, with what was decided where inspect shows that.
pub(crate) fn to_wire(draft: &Draft, masked: &[String], readonly: &[String]) -> HostConfig {
    let host = &draft.host;
    // Docker has no lists where all is privileged and none was asked for.
    let shown = |decided: &[String], asked: &Option<Vec<String>>| {
        (!host.privileged || asked.is_some()).then(|| decided.to_vec())
    };
    let size = host.console_size.unwrap_or_default();
    HostConfig {
        binds: null_if_empty(host.binds.iter().map(|bind| bind.text.clone()).collect()),
        container_id_file: host.container_id_file.clone(),
        isolation: host.isolation.clone(),
        log_config: LogConfig {
            kind: host.log.driver.clone(),
            config: Some(host.log.options.clone()),
        },
        network_mode: namespace::network_text(&host.network),
        port_bindings: Some(port::bindings_map(&host.ports)),
        restart_policy: restart::to_wire(host.restart),
        auto_remove: host.auto_remove,
        volume_driver: host.volume_driver.clone(),
        volumes_from: null_if_empty(host.volumes_from.clone()),
        console_size: [u32::from(size.0), u32::from(size.1)],
        annotations: null_if_empty_map(host.annotations.clone()),
        cap_add: null_if_empty(host.cap_add.clone()),
        cap_drop: null_if_empty(host.cap_drop.clone()),
        cgroupns_mode: host
            .cgroupns
            .as_ref()
            .map_or_else(|| "private".to_owned(), |mode| namespace::text(mode, "private")),
        dns: Some(host.dns.clone()),
        dns_options: Some(host.dns_options.clone()),
        dns_search: Some(host.dns_search.clone()),
        extra_hosts: null_if_empty(host.extra_hosts.clone()),
        group_add: null_if_empty(host.group_add.clone()),
        ipc_mode: namespace::text(&host.ipc, "private"),
        links: null_if_empty(host.links.clone()),
        oom_score_adj: i64::from(host.oom_score_adj),
        pid_mode: namespace::text(&host.pid, ""),
        privileged: host.privileged,
        publish_all_ports: host.publish_all,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: null_if_empty(host.security.text.clone()),
        storage_opt: null_if_empty_map(host.storage_opt.clone()),
        tmpfs: null_if_empty_map(host.tmpfs.clone()),
        uts_mode: namespace::text(&host.uts, ""),
        userns_mode: namespace::userns_text(host.userns),
        shm_size: host.shm_size_bytes,
        sysctls: null_if_empty_map(host.sysctls.clone()),
        runtime: host.runtime.clone(),
        resources: resources::to_wire(&host.resources, &host.cgroup_parent),
        mounts: null_if_empty(host.mounts.iter().map(mount::to_wire).collect()),
        masked_paths: shown(masked, &host.masked_paths),
        readonly_paths: shown(readonly, &host.readonly_paths),
        init: host.init,
        ..HostConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::json;

    fn parse(text: &str) -> Result<(HostDraft, Vec<String>), Denied> {
        let mut volumes = Vec::new();
        let host = from_wire(json::from_slice(text.as_bytes()).unwrap(), &mut volumes)?;
        Ok((host, volumes))
    }

    #[test]
    fn a_lone_target_is_an_anonymous_volume() {
        let (host, volumes) = parse(r#"{"Binds":["/data","/a:/b:ro"]}"#).unwrap();
        assert_eq!(volumes, ["/data"]);
        assert_eq!(host.binds[0].target, "/b");
    }

    #[test]
    fn refusals() {
        for (text, part) in [
            (r#"{"ShmSize":-1}"#, "SHM size can not be less than 0"),
            (r#"{"Annotations":{"":"a"}}"#, "invalid Annotations: the empty string is not"),
            (r#"{"Isolation":"hyperv"}"#, "invalid isolation 'hyperv' on linux"),
            (r#"{"OomScoreAdj":1001}"#, "Invalid value 1001, range for oom score adj"),
            (
                r#"{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}"#,
                "can't create 'AutoRemove' container with restart policy",
            ),
            (r#"{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}"#, "invalid port specification"),
        ] {
            let denied = parse(text).unwrap_err();
            assert!(denied.message.contains(part), "{text}: {denied}");
        }
    }

    #[test]
    fn an_update_changes_only_what_it_names() {
        let body = json::from_slice(br#"{"Memory":9,"RestartPolicy":{"Name":""}}"#).unwrap();
        let update = update_from_wire(body).unwrap();
        assert_eq!(update.restart, None);
        assert_eq!(update.resources.memory_bytes, Some(9));
        assert_eq!(update.resources.pids_limit, None);
        let body = json::from_slice(br#"{"PidsLimit":0}"#).unwrap();
        assert_eq!(update_from_wire(body).unwrap().resources.pids_limit, Some(-1));
    }
}
