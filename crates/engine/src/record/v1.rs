//! Records, version 1: what is written, field by field.

use super::runs::Runs;
use super::stored::{Stored, stored_enums, stored_structs};
use model::Denied;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

stored_structs! {
    struct Definition = super::Definition {
        id: String,
        name: String,
        created: i64,
        draft: Draft,
        spec: ContainerSpec,
        warnings: Vec<String>,
    }
    struct ExecRecord = super::ExecRecord {
        id: String,
        container: String,
        draft: ExecDraft,
    }
    struct ExecDraft = model::exec::ExecDraft {
        command: Vec<String>,
        env: Vec<String>,
        workdir: String,
        user: String,
        tty: bool,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        privileged: bool,
        detach_keys: String,
        console_size: Option<(u16, u16)>,
    }
    struct State = super::State {
        phase: Phase,
        last_exit: Option<Exit>,
        restart_count: u32,
        last_delay_ns: u64,
        stop_asked: bool,
        #[serde(default)]
        heal: bool,
        #[serde(default)]
        with_volumes: bool,
        endpoints: Vec<Endpoint>,
        ports: Runs<PortBinding>,
        #[serde(default)]
        leaving: Option<Endpoint>,
        id_range: Option<u32>,
        cgroup: String,
    }
    struct Draft = model::draft::Draft {
        image: String,
        platform: Option<String>,
        entrypoint: Option<Vec<String>>,
        command: Option<Vec<String>>,
        env: Vec<String>,
        workdir: String,
        user: String,
        hostname: String,
        domainname: String,
        labels: BTreeMap<String, String>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        exposed_ports: Runs<PortSpec>,
        volumes: Vec<String>,
        stop_signal: Option<String>,
        stop_timeout: Option<i64>,
        health: Option<HealthDraft>,
        network_disabled: bool,
        shell: Option<Vec<String>>,
        host: HostDraft,
        endpoints: BTreeMap<String, EndpointDraft>,
    }
    struct HealthDraft = model::draft::HealthDraft {
        test: Vec<String>,
        interval_ns: i64,
        timeout_ns: i64,
        start_period_ns: i64,
        start_interval_ns: i64,
        retries: u32,
        #[serde(default)]
        on_failure: Option<OnUnhealthy>,
    }
    struct HostDraft = model::draft::HostDraft {
        binds: Vec<BindDraft>,
        mounts: Vec<MountDraft>,
        tmpfs: BTreeMap<String, String>,
        volumes_from: Vec<String>,
        volume_driver: String,
        resources: Resources,
        restart: RestartPolicy,
        auto_remove: bool,
        network: NetworkMode,
        ports: Runs<PortBinding>,
        publish_all: bool,
        dns: Vec<String>,
        dns_search: Vec<String>,
        dns_options: Vec<String>,
        extra_hosts: Vec<String>,
        links: Vec<String>,
        ipc: SharedNamespace,
        pid: SharedNamespace,
        uts: SharedNamespace,
        userns: UsernsMode,
        cgroupns: Option<SharedNamespace>,
        cgroup_parent: String,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        group_add: Vec<String>,
        security: SecurityDraft,
        privileged: bool,
        readonly_rootfs: bool,
        shm_size_bytes: i64,
        sysctls: BTreeMap<String, String>,
        init: Option<bool>,
        runtime: String,
        log: LogDraft,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        oom_score_adj: i32,
        storage_opt: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        container_id_file: String,
        #[serde(default)]
        isolation: String,
        console_size: Option<(u16, u16)>,
    }
    struct BindDraft = model::draft::BindDraft {
        source: String,
        target: String,
        readonly: bool,
        nocopy: bool,
        propagation: Option<Propagation>,
        #[serde(default)]
        owner: MountOwner,
        #[serde(default)]
        relabel: Option<Relabel>,
        text: String,
    }
    struct MountOwner = model::mount::MountOwner {
        uid: Option<u32>,
        gid: Option<u32>,
        mode: Option<u32>,
    }
    struct SelinuxLabels = model::selinux::Labels {
        process: String,
        mount: String,
    }
    struct SecurityDraft = model::draft::SecurityDraft {
        profile: Option<SecurityProfile>,
        no_new_privileges: Option<bool>,
        seccomp: SeccompDraft,
        apparmor: String,
        labels: Vec<String>,
        unmasked: bool,
        #[serde(default)]
        unscoped: bool,
        #[serde(default)]
        writable_cgroups: bool,
        text: Vec<String>,
    }
    struct LogDraft = model::draft::LogDraft {
        driver: String,
        options: BTreeMap<String, String>,
    }
    struct MountDraft = model::mount::MountDraft {
        target: String,
        readonly: bool,
        kind: MountKind,
        consistency: String,
        #[serde(default)]
        owner: MountOwner,
    }
    struct Mount = model::mount::Mount {
        target: String,
        writable: bool,
        source: MountSource,
        mode: String,
        #[serde(default)]
        owner: MountOwner,
        #[serde(default)]
        relabel: Option<Relabel>,
    }
    struct Resources = model::resources::Resources {
        cpu_shares: Option<u64>,
        nano_cpus: Option<i64>,
        cpu_quota_us: Option<i64>,
        cpu_period_us: Option<u64>,
        cpu_rt_runtime_us: Option<i64>,
        cpu_rt_period_us: Option<u64>,
        cpuset_cpus: Option<String>,
        cpuset_mems: Option<String>,
        memory_bytes: Option<i64>,
        memory_reservation_bytes: Option<i64>,
        memory_swap_bytes: Option<i64>,
        memory_swappiness: Option<i64>,
        oom_kill_disable: Option<bool>,
        pids_limit: Option<i64>,
        blkio_weight: Option<u16>,
        blkio_weight_device: Vec<DeviceWeight>,
        blkio_read_bps: Vec<DeviceRate>,
        blkio_write_bps: Vec<DeviceRate>,
        blkio_read_iops: Vec<DeviceRate>,
        blkio_write_iops: Vec<DeviceRate>,
        devices: Vec<Device>,
        device_rules: Vec<String>,
        device_requests: Vec<DeviceRequest>,
        ulimits: Vec<Ulimit>,
    }
    struct DeviceWeight = model::resources::DeviceWeight {
        path: String,
        weight: u16,
    }
    struct DeviceRate = model::resources::DeviceRate {
        path: String,
        rate: u64,
    }
    struct Device = model::resources::Device {
        host_path: String,
        container_path: String,
        access: String,
    }
    struct DeviceRequest = model::resources::DeviceRequest {
        driver: String,
        count: i64,
        device_ids: Vec<String>,
        capabilities: Vec<Vec<String>>,
        options: BTreeMap<String, String>,
    }
    struct Ulimit = model::resources::Ulimit {
        name: String,
        soft: i64,
        hard: i64,
    }
    struct PortSpec = model::network::PortSpec {
        port: u16,
        protocol: Protocol,
    }
    struct PortBinding = model::network::PortBinding {
        container: PortSpec,
        host_ip: Option<IpAddr>,
        host_ports: Option<(u16, u16)>,
    }
    struct EndpointDraft = model::network::EndpointDraft {
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        link_local: Vec<IpAddr>,
        mac: Option<[u8; 6]>,
        aliases: Vec<String>,
        links: Vec<String>,
        options: BTreeMap<String, String>,
        gateway_priority: i32,
    }
    struct Endpoint = model::network::Endpoint {
        id: String,
        network: String,
        network_name: String,
        container: String,
        draft: EndpointDraft,
        ipv4: Option<Cidr>,
        ipv6: Option<Cidr>,
        gateway: Option<Ipv4Addr>,
        gateway6: Option<Ipv6Addr>,
        mac: Option<[u8; 6]>,
        dns_names: Vec<String>,
        host_interface: Option<String>,
        interface: Option<String>,
    }
    struct NetworkSpec = model::network::NetworkSpec {
        id: String,
        name: String,
        created: i64,
        driver: DriverKind,
        internal: bool,
        attachable: bool,
        #[serde(default)]
        config_only: bool,
        #[serde(default)]
        config_from: String,
        enable_ipv6: bool,
        pools: Vec<Pool>,
        options: BTreeMap<String, String>,
        #[serde(default)]
        ipam_driver: String,
        ipam_options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        bridge: Option<String>,
    }
    struct Pool = model::network::Pool {
        subnet: Cidr,
        range: Option<Cidr>,
        gateway: Option<IpAddr>,
        reserved: BTreeMap<String, IpAddr>,
        #[serde(default)]
        remote: String,
    }
    struct Cidr = model::network::Cidr {
        addr: IpAddr,
        prefix: u8,
    }
    struct ContainerSpec = model::spec::ContainerSpec {
        image: String,
        command: Vec<String>,
        entrypoint_len: usize,
        env: Vec<String>,
        workdir: String,
        user: String,
        group_add: Vec<String>,
        hostname: String,
        domainname: String,
        labels: BTreeMap<String, String>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        stop_signal: i32,
        stop_timeout: i64,
        #[serde(default)]
        volumes: Vec<String>,
        mounts: Vec<Mount>,
        resources: Resources,
        restart: RestartPolicy,
        auto_remove: bool,
        network: NetworkMode,
        endpoints: BTreeMap<String, EndpointDraft>,
        ports: Runs<PortBinding>,
        exposed_ports: Runs<PortSpec>,
        dns: DnsSpec,
        isolation: Isolation,
        readonly_rootfs: bool,
        shm_size_bytes: i64,
        sysctls: BTreeMap<String, String>,
        init: bool,
        runtime: String,
        log: LogSpec,
        health: Option<HealthSpec>,
        cgroup_parent: String,
        console_size: Option<(u16, u16)>,
    }
    struct Isolation = model::spec::Isolation {
        privileged: bool,
        capabilities: Vec<String>,
        #[serde(default)]
        ping_only: bool,
        no_new_privileges: bool,
        own_ids: bool,
        seccomp: SeccompDraft,
        profile: SecurityProfile,
        apparmor: String,
        #[serde(default)]
        scoped: bool,
        labels: Vec<String>,
        #[serde(default)]
        selinux: SelinuxLabels,
        #[serde(default)]
        writable_cgroups: bool,
        masked_paths: Vec<String>,
        readonly_paths: Vec<String>,
        ipc: SharedNamespace,
        pid: SharedNamespace,
        uts: SharedNamespace,
        cgroupns: SharedNamespace,
        oom_score_adj: i32,
    }
    struct DnsSpec = model::spec::DnsSpec {
        servers: Vec<IpAddr>,
        search: Vec<String>,
        options: Vec<String>,
        extra_hosts: Vec<(String, String)>,
    }
    struct HealthSpec = model::spec::HealthSpec {
        command: Vec<String>,
        interval_ns: u64,
        timeout_ns: u64,
        start_period_ns: u64,
        start_interval_ns: u64,
        retries: u32,
        #[serde(default)]
        on_failure: OnUnhealthy,
    }
    struct LogFile = model::log::LogFile {
        max_size_bytes: u64,
        max_files: u32,
        compress: bool,
    }
    struct LogSink = model::log::LogSink {
        kind: SinkKind,
        tag: String,
        attributes: BTreeMap<String, String>,
    }
    struct Run = model::phase::Run {
        pid: i32,
        started: i64,
    }
    struct Exit = model::phase::Exit {
        code: i32,
        oom_killed: bool,
        started: i64,
        finished: i64,
        error: String,
    }
}

stored_enums! {
    enum SharedNamespace = model::draft::SharedNamespace {
        Private,
        Shareable,
        Absent,
        Host,
        Container(inner: String),
    }
    enum OnUnhealthy = model::draft::OnUnhealthy {
        None,
        Restart,
        Stop,
        Kill,
    }
    enum UsernsMode = model::draft::UsernsMode {
        Auto,
        Host,
    }
    enum SecurityProfile = model::draft::SecurityProfile {
        Estiba,
        Docker,
    }
    enum SeccompDraft = model::draft::SeccompDraft {
        Default,
        Unconfined,
        Profile(inner: String),
    }
    enum MountKind = model::mount::MountKind {
        Bind {
            source: String,
            propagation: Option<Propagation>,
            non_recursive: bool,
            create_source: bool,
            readonly_non_recursive: bool,
            readonly_force_recursive: bool,
        },
        Volume {
            name: String,
            nocopy: bool,
            labels: BTreeMap<String, String>,
            driver: String,
            driver_opts: BTreeMap<String, String>,
            subpath: String,
        },
        Tmpfs { size_bytes: i64, mode: u32, options: Vec<String> },
        Image { source: String, subpath: String },
    }
    enum Relabel = model::selinux::Relabel {
        Shared,
        Private,
    }
    enum Propagation = model::mount::Propagation {
        Private,
        RPrivate,
        Shared,
        RShared,
        Slave,
        RSlave,
    }
    enum MountSource = model::mount::MountSource {
        Bind {
            path: String,
            propagation: Propagation,
            recursive: bool,
            create: bool,
            #[serde(default)]
            readonly_recursive: bool,
            #[serde(default)]
            within: Option<String>,
        },
        Volume { name: String, driver: String, subpath: String, copy_up: bool, anonymous: bool },
        Tmpfs { options: Vec<String> },
        Layers { layers: Vec<String>, subpath: String },
        Image {
            source: String,
            subpath: String,
            #[serde(default)]
            image: Option<String>,
        },
    }
    enum NetworkMode = model::network::NetworkMode {
        Default,
        None,
        Host,
        Container(inner: String),
        Named(inner: String),
    }
    enum Protocol = model::network::Protocol {
        Tcp,
        Udp,
        Sctp,
    }
    enum DriverKind = model::network::DriverKind {
        Bridge,
        Host,
        Null,
        Macvlan,
        Ipvlan,
        Overlay,
        Plugin(inner: String),
    }
    enum RestartPolicy = model::restart::RestartPolicy {
        No,
        Always,
        UnlessStopped,
        OnFailure(inner: u32),
    }
    enum LogSpec = model::spec::LogSpec {
        None,
        JsonFile {
            max_size_bytes: u64,
            max_files: u32,
            #[serde(default)]
            compress: bool,
            attributes: BTreeMap<String, String>,
        },
        Sent { file: LogFile, sinks: Vec<LogSink>, readable: bool },
    }
    enum SinkKind = model::log::SinkKind {
        Syslog { address: SinkAddress, facility: u8, format: SyslogFormat },
        Journald,
        Gelf { address: SinkAddress, compression: GelfCompression, level: Option<u8> },
        Fluentd { address: SinkAddress, sub_second: bool, acknowledge: bool },
        Plugin { name: String, options: BTreeMap<String, String> },
    }
    enum SyslogFormat = model::log::SyslogFormat {
        Local,
        Rfc3164,
        Rfc5424,
        Rfc5424Micro,
    }
    enum GelfCompression = model::log::GelfCompression {
        Gzip,
        Zlib,
        None,
    }
    enum SinkAddress = model::log::SinkAddress {
        Local,
        Udp(inner: String),
        Tcp(inner: String),
        Tls { address: String, ca: String, cert: String, key: String },
        Unix(inner: String),
        Unixgram(inner: String),
    }
    enum Phase = model::phase::Phase {
        Created,
        Starting,
        Running(inner: Run),
        Paused(inner: Run),
        Stopping(inner: Run),
        Exited(inner: Exit),
        Restarting { last: Exit, due: i64, delay_ns: u64 },
        Removing,
        Dead { error: String },
    }
}

/// Of records from before the field.
impl Default for OnUnhealthy {
    fn default() -> Self {
        Self::None
    }
}

/// Of records from before the field.
impl Default for MountOwner {
    fn default() -> Self {
        Self { uid: None, gid: None, mode: None }
    }
}

/// Of records from before the field.
impl Default for SelinuxLabels {
    fn default() -> Self {
        Self { process: String::new(), mount: String::new() }
    }
}
