//! From the flags of `run` and `create` to the body of `POST /containers/create`, byte for byte
//! what Docker's own command line sends. Reads the files that flags name; never connects.

pub(crate) mod device;
pub(crate) mod environment;
mod health;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod resource;
mod security;

use std::collections::BTreeMap;

use wire::docker::container::{ContainerConfig, ContainerCreateBody};
use wire::docker::host_config::{HostConfig, LogConfig, RestartPolicy};
use wire::docker::{Empty, Strings};

use crate::flags::Matches;

/// Reads the flags and arguments of `run` or `create`.
///
/// # Errors
/// What is wrong with them, in one sentence.
pub(crate) fn body(matches: &Matches) -> Result<ContainerCreateBody, String> {
    check_modes(matches)?;
    let (ports, bindings) = port::published(matches)?;
    let (binds, volumes) = mount::volumes(matches)?;
    let config = config(matches, ports, volumes)?;
    let host = host_config(matches, binds, bindings)?;
    let networking = network::config(matches, &host.network_mode)?;
    Ok(ContainerCreateBody { config, host_config: Some(host), networking_config: Some(networking) })
}

/// Refuses flags that only an engine on another system has.
pub(crate) fn check_system(matches: &Matches) -> Result<(), String> {
    let other = ["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"];
    match other.into_iter().find(|flag| matches.changed(flag)) {
        Some(flag) => Err(format!(
            "\"--{flag}\" is only supported on a Docker daemon running on windows, but the Docker \
             daemon is running on linux"
        )),
        None => Ok(()),
    }
}

/// Refuses namespace modes that do not exist.
fn check_modes(matches: &Matches) -> Result<(), String> {
    let refuse = |flag: &str, kind: &str, known: &dyn Fn(&str) -> bool| match matches.text(flag) {
        "" => Ok(()),
        mode if known(mode) => Ok(()),
        _ => Err(format!("--{flag}: invalid {kind} mode")),
    };
    let container = |mode: &str| mode.strip_prefix("container:").is_some_and(|id| !id.is_empty());
    refuse("pid", "PID", &|mode| mode == "host" || container(mode))?;
    refuse("uts", "UTS", &|mode| mode == "host")?;
    refuse("userns", "USER", &|mode| mode == "host")?;
    refuse("cgroupns", "CGROUP", &|mode| matches!(mode, "host" | "private"))?;
    if let Some(swappiness) = matches.int("memory-swappiness")
        && !(-1..=100).contains(&swappiness)
    {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    if matches.bool("rm") && !matches!(matches.text("restart"), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    Ok(())
}

fn config(
    matches: &Matches,
    exposed_ports: BTreeMap<String, Empty>,
    volumes: BTreeMap<String, Empty>,
) -> Result<ContainerConfig, String> {
    let attached: Vec<String> =
        matches.list("attach").iter().map(|stream| stream.to_lowercase()).collect();
    let attach = |name: &str| attached.iter().any(|stream| stream == name);
    let (interactive, all) = (matches.bool("interactive"), attached.is_empty());
    let detached = matches.changed_if_known("detach") && matches.bool("detach");
    let attach_stdin = (attach("stdin") || (all && interactive)) && !detached;
    let (image, command) = matches.args().split_first().ok_or("an image is required")?;
    let entrypoint = matches.string("entrypoint");
    Ok(ContainerConfig {
        hostname: matches.text("hostname").to_owned(),
        domainname: matches.text("domainname").to_owned(),
        user: matches.text("user").to_owned(),
        attach_stdin,
        attach_stdout: (attach("stdout") || all) && !detached,
        attach_stderr: (attach("stderr") || all) && !detached,
        exposed_ports,
        tty: matches.bool("tty"),
        open_stdin: interactive,
        stdin_once: interactive && attach_stdin,
        env: none_if_empty(environment::variables(matches)?),
        cmd: none_if_empty(command.to_vec()),
        healthcheck: health::check(matches)?,
        image: image.clone(),
        volumes: Some(volumes),
        working_dir: matches.text("workdir").to_owned(),
        entrypoint: entrypoint.map(|word| vec![word.to_owned()]),
        labels: Some(environment::labels(matches)?),
        stop_signal: matches.text("stop-signal").to_owned(),
        stop_timeout: matches.int("stop-timeout"),
        ..ContainerConfig::default()
    })
}

fn host_config(
    matches: &Matches,
    binds: Vec<String>,
    port_bindings: wire::docker::endpoint::PortMap,
) -> Result<HostConfig, String> {
    let (security_opt, masked_paths, readonly_paths) = security::options(matches)?;
    let list = |flag: &str| none_if_empty(matches.list(flag));
    let text = |flag: &str| matches.text(flag).to_owned();
    Ok(HostConfig {
        binds: none_if_empty(binds),
        container_id_file: text("cidfile"),
        log_config: log_config(matches)?,
        network_mode: network::mode(matches),
        port_bindings: Some(port_bindings),
        restart_policy: restart_policy(matches.string("restart").unwrap_or("no"))?,
        auto_remove: matches.bool("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: list("volumes-from"),
        annotations: environment::pairs(&matches.list("annotation")).filled(),
        cap_add: none_if_empty(capabilities(&matches.list("cap-add"))),
        cap_drop: none_if_empty(capabilities(&matches.list("cap-drop"))),
        cgroupns_mode: text("cgroupns"),
        dns: Some(owned(&matches.list("dns"))),
        dns_options: Some(owned(&matches.lists(&["dns-option", "dns-opt"]))),
        dns_search: Some(owned(&matches.list("dns-search"))),
        extra_hosts: none_if_empty(extra_hosts(&matches.list("add-host"))),
        group_add: list("group-add"),
        ipc_mode: text("ipc"),
        links: list("link"),
        oom_score_adj: matches.int("oom-score-adj").unwrap_or_default(),
        pid_mode: text("pid"),
        privileged: matches.bool("privileged"),
        publish_all_ports: matches.bool("publish-all"),
        readonly_rootfs: matches.bool("read-only"),
        security_opt: none_if_empty(security_opt),
        storage_opt: storage_opt(matches)?.filled(),
        tmpfs: mount::tmpfs(&matches.list("tmpfs")).filled(),
        uts_mode: text("uts"),
        userns_mode: text("userns"),
        shm_size: matches.bytes("shm-size"),
        sysctls: environment::pairs(&matches.list("sysctl")).filled(),
        runtime: text("runtime"),
        isolation: text("isolation"),
        resources: resource::resources(matches)?,
        mounts: mount::long(matches)?,
        masked_paths,
        readonly_paths,
        init: matches.changed("init").then(|| matches.bool("init")),
        ..HostConfig::default()
    })
}

/// `name[:count]` of `--restart`.
pub(crate) fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if name.is_empty() && !text.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let maximum_retry_count = match count {
        None => 0,
        Some(count) => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn log_config(matches: &Matches) -> Result<LogConfig, String> {
    let kind = matches.text("log-driver").to_owned();
    let config = environment::pairs(&matches.list("log-opt"));
    if kind == "none" && !config.is_empty() {
        return Err(format!("invalid logging opts for driver {kind}"));
    }
    Ok(LogConfig { kind, config: Some(config) })
}

fn storage_opt(matches: &Matches) -> Result<BTreeMap<String, String>, String> {
    let options = matches.list("storage-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    Ok(environment::pairs(&options))
}

/// Capabilities by their whole names, sorted, each once.
fn capabilities(list: &[&str]) -> Vec<String> {
    let whole = |name: &&str| {
        let name = name.trim().to_uppercase();
        match name.as_str() {
            "" | "ALL" => name,
            name if name.starts_with("CAP_") => name.to_owned(),
            name => format!("CAP_{name}"),
        }
    };
    let all: std::collections::BTreeSet<String> = list.iter().map(whole).collect();
    all.into_iter().filter(|name| !name.is_empty()).collect()
}

/// `name=address` is sent as `name:address`, brackets of an IPv6 address go.
fn extra_hosts(hosts: &[&str]) -> Vec<String> {
    let colon = |host: &&str| match host.split_once(['=', ':']) {
        Some((name, address)) => {
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            format!("{name}:{}", bare.unwrap_or(address))
        }
        None => (*host).to_owned(),
    };
    hosts.iter().map(colon).collect()
}

/// A list as Go sends it: `null` when nothing was given.
fn none_if_empty<T: Into<String>>(list: Vec<T>) -> Strings {
    match list.is_empty() {
        true => None,
        false => Some(list.into_iter().map(Into::into).collect()),
    }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A map that is left out of the document when it is empty.
trait Filled: Sized {
    fn filled(self) -> Option<Self>;
}

impl Filled for BTreeMap<String, String> {
    fn filled(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }
}
