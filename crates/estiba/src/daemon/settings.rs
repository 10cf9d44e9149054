//! table: every setting of the daemon, by the name of its flag. Names and types are dockerd's
//! (docs.docker.com, dockerd reference); a setting that has no effect says so when it is used.

use cli::flags::Flag;

/// How far a setting is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does what it says.
    Applied,
    /// It is accepted and changes nothing here, for this reason.
    Moot(&'static str),
    /// It is known and refused: what it asks for does not exist yet.
    NotYet,
}
use Support::{Applied, Moot, NotYet};

/// One setting.
pub(crate) struct Setting {
    /// Its flag; the key in `daemon.json` is the same name, or its plural in [`JSON_NAMES`].
    pub(crate) flag: Flag,
    /// How far it is served.
    pub(crate) support: Support,
}

const fn row(flag: Flag, support: Support) -> Setting {
    Setting { flag, support }
}

const NO_PROXY_PROCESS: &str = "ports are published in the kernel, without a proxy process";
const NO_CONTAINERD: &str = "there is no containerd underneath";

/// The settings, sorted by name.
pub(crate) static SETTINGS: &[Setting] = &[
    row(Flag::list("add-runtime", "Register a further OCI runtime, name=path"), Applied),
    row(
        Flag::bool("allow-direct-routing", "Published ports at containers' own addresses too"),
        Applied,
    ),
    row(
        Flag::bool("allow-plain-tcp", "Serve tcp:// without TLS: anyone who reaches it is root"),
        Applied,
    ),
    row(Flag::bool("anti-spoofing", "Containers send under their own addresses alone"), Applied),
    row(Flag::list("authorization-plugin", "Authorization plugins to load"), Applied),
    row(Flag::string("authorization-policy", "File that says who may do what"), Applied),
    row(Flag::string("bip", "Address and subnet of the default bridge, CIDR"), Applied),
    row(Flag::string("bip6", "IPv6 address and subnet of the default bridge"), Applied),
    row(
        Flag::list("blocked-registry", "Registries, or repositories, that may not be used"),
        Applied,
    ),
    row(Flag::string("bridge", "Interface of the default bridge").short('b'), Applied),
    row(
        Flag::string("bridge-accept-fwmark", "Accept packets with this mark/mask in networks"),
        Applied,
    ),
    row(Flag::string("builder", "Bounds of the build cache, grants of builds; JSON"), Applied),
    row(Flag::list("cdi-spec-dir", "Directories of CDI specifications"), Applied),
    row(Flag::string("cgroup-parent", "Parent of all containers' cgroups"), Applied),
    row(Flag::string("config-file", "Configuration file"), Applied),
    row(Flag::string("containerd", "containerd's address"), Moot(NO_CONTAINERD)),
    row(Flag::string("containerd-namespace", "containerd's namespace"), Moot(NO_CONTAINERD)),
    row(
        Flag::string("containerd-plugins-namespace", "containerd's namespace"),
        Moot(NO_CONTAINERD),
    ),
    row(Flag::int("cpu-rt-period", "Realtime period of the parent cgroup, µs"), Applied),
    row(Flag::int("cpu-rt-runtime", "Realtime runtime of the parent cgroup, µs"), Applied),
    row(Flag::bool("cri-containerd", "Serve CRI"), NotYet),
    row(Flag::string("data-root", "Where images, containers and volumes are kept"), Applied),
    row(Flag::bool("debug", "Log more").short('D'), Applied),
    row(
        Flag::list("default-address-pool", "Where subnets come from: base=CIDR,size=BITS"),
        Applied,
    ),
    row(
        Flag::string("default-cgroupns-mode", "cgroup namespace of containers: private or host"),
        Applied,
    ),
    row(Flag::string("default-gateway", "IPv4 gateway of the default bridge"), Applied),
    row(Flag::string("default-gateway-v6", "IPv6 gateway of the default bridge"), Applied),
    row(Flag::string("default-init", "The init of containers"), Moot("the init is built in")),
    row(
        Flag::string("default-ipc-mode", "IPC namespace of containers: private or shareable"),
        Applied,
    ),
    row(Flag::list("default-network-opt", "Options of networks, driver=key=value"), Applied),
    row(Flag::int("default-pids-limit", "Tasks a container may have; 0 for no limit"), Applied),
    row(Flag::string("default-runtime", "OCI runtime of containers that name none"), Applied),
    row(Flag::string("default-shm-size", "Size of /dev/shm"), Applied),
    row(Flag::int("default-stop-timeout", "Seconds between stop signal and SIGKILL"), Applied),
    row(Flag::list("default-ulimit", "Resource limit, name=soft[:hard]"), Applied),
    row(Flag::list("dns", "Name servers of containers"), Applied),
    row(Flag::list("dns-opt", "resolv.conf options of containers"), Applied),
    row(Flag::list("dns-search", "Search domains of containers"), Applied),
    row(Flag::list("exec-opt", "Runtime options, e.g. native.cgroupdriver=cgroupfs"), Applied),
    row(Flag::string("exec-root", "Where state that does not outlive a reboot is kept"), Applied),
    row(Flag::bool("experimental", "Experimental features"), Applied),
    row(Flag::list("feature", "Features, name=true|false: cdi, buildkit"), Applied),
    row(Flag::string("firewall-backend", "nftables or iptables"), Applied),
    row(Flag::string("fixed-cidr", "Part of the default bridge's subnet for containers"), Applied),
    row(Flag::string("fixed-cidr-v6", "IPv6 subnet of the default bridge"), Applied),
    row(Flag::string("group", "Group of the unix socket").short('G'), Applied),
    row(Flag::list("host", "Where to listen: unix://PATH, tcp://ADDRESS:PORT").short('H'), Applied),
    row(Flag::list("host-gateway-ip", "What host-gateway in --add-host stands for"), Applied),
    row(Flag::string("http-proxy", "Proxy for HTTP"), Applied),
    row(Flag::string("https-proxy", "Proxy for HTTPS"), Applied),
    row(Flag::bool("icc", "Containers of the default bridge reach each other"), Applied),
    row(Flag::bool("init", "Run a small init as pid 1 in containers"), Applied),
    row(Flag::string("init-path", "Path of docker-init"), Moot("the init is built in")),
    row(Flag::list("insecure-registry", "Registries reached without verified TLS"), Applied),
    row(Flag::string("ip", "Host address of ports published without one"), Applied),
    row(Flag::bool("ip-forward", "Turn IP forwarding on"), Applied),
    row(Flag::bool("ip-forward-no-drop", "Do not refuse to forward what is not ours"), Applied),
    row(Flag::bool("ip-masq", "Masquerade what leaves bridges"), Applied),
    row(Flag::bool("ip6tables", "Firewall rules for IPv6"), Moot("one table holds both families")),
    row(Flag::bool("iptables", "Lay firewall rules"), Applied),
    row(Flag::bool("ipv6", "IPv6 on the default bridge"), Applied),
    row(
        Flag::bool("keep-compressed-layers", "Keep pulled layers as they came, to push them on"),
        Applied,
    ),
    row(Flag::list("label", "Labels of the daemon"), Applied),
    row(
        Flag::bool("live-restore", "Containers go on when the daemon ends (the default here)"),
        Applied,
    ),
    row(Flag::string("log-driver", "Log driver of containers"), Applied),
    row(Flag::string("log-format", "Format of the daemon's log: text or json"), Applied),
    row(Flag::string("log-level", "debug, info, warn, error or fatal").short('l'), Applied),
    row(Flag::list("log-opt", "Options of the log driver, key=value"), Applied),
    row(Flag::int("max-concurrent-downloads", "Layers downloaded at once"), Applied),
    row(Flag::int("max-concurrent-uploads", "Layers uploaded at once"), Applied),
    row(Flag::int("max-download-attempts", "Attempts of each download"), Applied),
    row(Flag::string("metrics-addr", "Where to serve metrics, ADDRESS:PORT"), Applied),
    row(Flag::string("min-api-version", "Oldest API version to serve"), Applied),
    row(Flag::int("mtu", "MTU of the default bridge"), Applied),
    row(
        Flag::int("network-control-plane-mtu", "MTU of the control plane"),
        Moot("there is no cluster yet"),
    ),
    row(Flag::int("network-diagnostic-port", "Port of the network's diagnosis"), NotYet),
    row(
        Flag::bool("no-new-privileges", "Containers cannot gain privileges (the default here)"),
        Applied,
    ),
    row(Flag::string("no-proxy", "Hosts reached without proxy"), Applied),
    row(Flag::list("node-generic-resource", "Resources to advertise"), NotYet),
    row(Flag::list("nri-opts", "Options of the node resource interface"), NotYet),
    row(Flag::string("pidfile", "Where to write the process id").short('p'), Applied),
    row(
        Flag::string(
            "publish-policy",
            "Who reaches published ports: docker (all), host-firewall or loopback",
        ),
        Applied,
    ),
    row(
        Flag::list("pull-only-from", "Registries, or repositories, that alone images come from"),
        Applied,
    ),
    row(Flag::bool("raw-logs", "Log without colours"), Moot("the log never has colours")),
    row(
        Flag::list(
            "registry-certificates",
            "Directories with certificates and hosts.toml of registries (certs.d)",
        ),
        Applied,
    ),
    row(Flag::list("registry-mirror", "Registry mirrors, [HOST=]URL"), Applied),
    row(
        Flag::list("registry-realm", "Token servers outside a registry's domain, HOST=SERVER"),
        Applied,
    ),
    row(
        Flag::string("registry-rules", "File with rules for registries (registries.conf)"),
        Applied,
    ),
    row(Flag::string("resolv-conf", "Where the host's resolvers are named"), Applied),
    row(Flag::bool("rootless", "Run without root (what an ordinary user does anyway)"), Applied),
    row(
        Flag::string("runtime-path", "The program estiba-runtime, when it is not beside this one"),
        Applied,
    ),
    row(Flag::string("seccomp-profile", "System-call filter of containers"), Applied),
    row(
        Flag::string("security-profile", "Security defaults of containers: estiba or docker"),
        Applied,
    ),
    row(Flag::bool("selinux-enabled", "Containers get labels of SELinux"), Applied),
    row(Flag::int("shutdown-timeout", "Seconds containers get when the daemon ends"), Applied),
    row(Flag::string("storage-driver", "Storage driver: overlay2").short('s'), Applied),
    row(Flag::list("storage-opt", "Size of containers' roots: overlay2.size=SIZE"), Applied),
    row(Flag::string("swarm-default-advertise-addr", "Cluster address"), NotYet),
    row(Flag::int("swarm-raft-election-tick", "Ticks until an election"), NotYet),
    row(Flag::int("swarm-raft-heartbeat-tick", "Ticks between heartbeats"), NotYet),
    row(Flag::bool("tls", "Use TLS"), Applied),
    row(Flag::string("tlscacert", "CA of client certificates"), Applied),
    row(Flag::string("tlscert", "Certificate"), Applied),
    row(Flag::string("tlskey", "Key of the certificate"), Applied),
    row(Flag::bool("tlsverify", "Use TLS and verify clients"), Applied),
    row(Flag::bool("userland-proxy", "Proxy for loopback"), Moot(NO_PROXY_PROCESS)),
    row(Flag::string("userland-proxy-path", "Path of the proxy"), Moot(NO_PROXY_PROCESS)),
    row(Flag::bool("userns", "Containers get user namespaces of their own (the default)"), Applied),
    row(
        Flag::string("userns-remap", "User namespaces: every container has its own already"),
        Moot("every container has a range of its own"),
    ),
    row(Flag::bool("validate", "Check the configuration and exit"), Applied),
    row(Flag::bool("version", "Print the version and exit").short('v'), Applied),
];

/// Settings that a later reading may not change at once, and when they change. `exec-root` holds
/// the sockets by which containers that run are reached, and a daemon that has become an ordinary
/// user's cannot become root's again (`rootless`).
pub(crate) static WAITING: &[(&str, &str)] = &[
    ("data-root", "when the daemon starts"),
    ("exec-root", "when the daemon starts"),
    ("iptables", "at once while no container is on a network, or when the daemon starts"),
    ("rootless", "when the daemon starts"),
];

/// Keys of `daemon.json` that are not the flag's name.
pub(crate) static JSON_NAMES: &[(&str, &str)] = &[
    ("authorization-plugins", "authorization-plugin"),
    ("blocked-registries", "blocked-registry"),
    ("cdi-spec-dirs", "cdi-spec-dir"),
    ("containerd-plugin-namespace", "containerd-plugins-namespace"),
    ("default-address-pools", "default-address-pool"),
    ("default-network-opts", "default-network-opt"),
    ("default-ulimits", "default-ulimit"),
    ("dns-opts", "dns-opt"),
    ("exec-opts", "exec-opt"),
    ("features", "feature"),
    ("host-gateway-ips", "host-gateway-ip"),
    ("hosts", "host"),
    ("insecure-registries", "insecure-registry"),
    ("labels", "label"),
    ("log-opts", "log-opt"),
    ("node-generic-resources", "node-generic-resource"),
    ("registry-mirrors", "registry-mirror"),
    ("registry-realms", "registry-realm"),
    ("runtimes", "add-runtime"),
    ("storage-opts", "storage-opt"),
];

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag.long == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.flag.long).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn plurals_lead_to_settings() {
        let waiting = WAITING.iter().map(|(name, _)| name);
        for name in JSON_NAMES.iter().map(|(_, name)| name).chain(waiting) {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
