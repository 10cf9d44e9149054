//! Settings become values: [`Config`] is all the daemon is told. Pure, but for the defaults that
//! depend on the name it was started by.

use super::given::Given;
use engine::Options;
use engine::settings::{
    AddressPool, ApiVersion, Cidr, FirewallMark, PublishPolicy, SeccompDraft, SecurityProfile,
    SharedNamespace, Ulimit,
};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;

/// Everything the daemon is told.
#[derive(Debug)]
pub(crate) struct Config {
    /// For the engine.
    pub(crate) options: Options,
    /// Where to listen.
    pub(crate) listen: Vec<Listen>,
    /// Serve TCP without TLS.
    pub(crate) allow_plain_tcp: bool,
    /// How TCP is served.
    pub(crate) tls: Tls,
    /// Where metrics are served, to whoever asks.
    pub(crate) metrics: Option<SocketAddr>,
    /// Who may do what.
    pub(crate) authority: api::AuthorityConfig,
    /// Group of unix sockets; `None` leaves them to root alone.
    pub(crate) group: Option<String>,
    /// Where to write the process id.
    pub(crate) pidfile: PathBuf,
    /// Least important messages logged.
    pub(crate) log_level: LevelFilter,
    /// Log lines as JSON.
    pub(crate) log_json: bool,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A unix socket's path.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
    /// Sockets that the supervisor bound, by name; empty for all.
    Activated(String),
}

/// TLS as given. Files that were not named are where Docker's tools put them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    on: bool,
    verify: bool,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    /// Certificates to serve with; `None` without TLS.
    pub(crate) fn files(&self) -> Option<api::TlsFiles> {
        if !self.on && !self.verify {
            return None;
        }
        let dir = std::env::var_os("DOCKER_CERT_PATH").filter(|dir| !dir.is_empty());
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
        let dir = dir.map_or_else(|| home().join(".docker"), PathBuf::from);
        let path = |given: &Option<PathBuf>, name| given.clone().unwrap_or_else(|| dir.join(name));
        Some(api::TlsFiles {
            certificate: path(&self.certificate, "cert.pem"),
            key: path(&self.key, "key.pem"),
            client_authority: self.verify.then(|| path(&self.authority, "ca.pem")),
        })
    }

    /// Whether every client proves who it is.
    fn verifies(&self) -> bool {
        self.verify
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Activated(name) => write!(f, "fd://{name}"),
        }
    }
}

impl Config {
    /// The defaults of a daemon called `name`.
    pub(crate) fn defaults(name: &str) -> Self {
        let as_docker = name.contains("docker");
        let (socket, pidfile) = match as_docker {
            true => ("/var/run/docker.sock", "/var/run/docker.pid"),
            false => ("/run/estiba/estiba.sock", "/run/estiba/estiba.pid"),
        };
        let mut options = Options::default();
        let own = super::rootless::Places::of_user();
        let (socket, pidfile) = match &own {
            Some(own) => own.give(&mut options),
            None => (socket.into(), pidfile.into()),
        };
        options.registry.proxies = super::proxies::of(&|name| std::env::var(name).ok());
        Self {
            options,
            listen: vec![Listen::Unix(socket)],
            allow_plain_tcp: false,
            tls: Tls::default(),
            metrics: None,
            authority: api::AuthorityConfig::default(),
            group: (as_docker && own.is_none()).then(|| "docker".to_owned()),
            pidfile,
            log_level: LevelFilter::INFO,
            log_json: false,
        }
    }

    /// Where a daemon called `name` looks for its configuration file.
    pub(crate) fn file_of(name: &str) -> PathBuf {
        if let Some(own) = super::rootless::Places::of_user() {
            return own.configuration(name);
        }
        let dir = if name.contains("docker") { "/etc/docker" } else { "/etc/estiba" };
        PathBuf::from(dir).join("daemon.json")
    }

    /// These defaults with what was given.
    pub(crate) fn with(mut self, given: &Given) -> Result<Self, String> {
        for (name, texts) in given {
            self.set(name, texts).map_err(|why| format!("--{name}: {why}"))?;
        }
        for address in &self.listen {
            if let Listen::Tcp(address) = address
                && !self.allow_plain_tcp
                && !self.tls.verifies()
            {
                return Err(format!(
                    "refusing to serve tcp://{address} without TLS and client certificates: \
                     whoever reaches it is root on this host; use --tlsverify, a unix socket or \
                     ssh, or force it with --allow-plain-tcp"
                ));
            }
        }
        Ok(self)
    }

    /// The first setting that cannot be as given, and why.
    pub(crate) fn first_wrong(mut self, given: &Given) -> Option<(&'static str, String)> {
        given.iter().find_map(|(name, texts)| Some((*name, self.set(name, texts).err()?)))
    }

    fn set(&mut self, name: &str, texts: &[String]) -> Result<(), String> {
        let text = texts.last().map(String::as_str).unwrap_or_default();
        match name {
            "host" => self.listen = texts.iter().map(|t| listen(t)).collect::<Result<_, _>>()?,
            "allow-plain-tcp" => self.allow_plain_tcp = switch(text)?,
            "authorization-plugin" => {
                // Each is asked once, however often it is named.
                let mut seen = std::collections::BTreeSet::new();
                let names = texts.iter().filter(|name| seen.insert(name.as_str()));
                self.authority.plugins = names.cloned().collect();
            }
            "metrics-addr" => {
                self.metrics = (!text.is_empty()).then(|| tcp_address(text)).transpose()?;
            }
            "authorization-policy" => self.authority.policy = Some(absolute(text)?),
            "tls" => self.tls.on = switch(text)?,
            "tlsverify" => self.tls.verify = switch(text)?,
            "tlscacert" => self.tls.authority = Some(text.into()),
            "tlscert" => self.tls.certificate = Some(text.into()),
            "tlskey" => self.tls.key = Some(text.into()),
            "group" => self.group = (!text.is_empty()).then(|| text.to_owned()),
            "pidfile" => self.pidfile = text.into(),
            "log-level" => self.log_level = level(text)?,
            "log-format" => self.log_json = one_of(text, &["text", "json"])? == "json",
            "debug" => {
                self.options.debug = switch(text)?;
                if self.options.debug {
                    self.log_level = LevelFilter::DEBUG;
                }
            }
            "storage-driver" => {
                one_of(text, &["overlay2", "overlay", "overlayfs"])?;
            }
            "exec-opt" => {
                for text in texts {
                    let drivers = ["native.cgroupdriver=cgroupfs", "native.cgroupdriver=systemd"];
                    self.options.systemd_cgroup = one_of(text, &drivers)? == drivers[1];
                }
            }
            "firewall-backend" => {
                // Either way: `DOCKER-USER` is in iptables where the host has it.
                one_of(text, &["nftables", "iptables"])?;
            }
            _ => {
                let o = &mut self.options;
                if !set_network(o, name, texts, text)? && !set_registry(o, name, texts, text)? {
                    set_engine(o, name, texts, text)?;
                }
            }
        }
        Ok(())
    }
}

/// Applies a network setting; false when it is none.
fn set_network(o: &mut Options, name: &str, texts: &[String], text: &str) -> Result<bool, String> {
    match name {
        "bridge" => o.net.bridge = text.to_owned(),
        "bip" => o.net.bridge_address = Some(cidr(text)?),
        "fixed-cidr" => o.net.fixed_range = Some(cidr(text)?),
        "default-address-pool" => {
            o.net.pools = texts.iter().map(|t| pool(t)).collect::<Result<_, _>>()?;
        }
        "default-gateway" => o.net.default_gateway = Some(address(text)?),
        "default-gateway-v6" => o.net.default_gateway6 = Some(address(text)?),
        "bip6" => o.net.bridge_address6 = Some(cidr(text)?),
        "fixed-cidr-v6" => o.net.fixed_range6 = Some(cidr(text)?),
        "ipv6" => o.net.ipv6 = switch(text)?,
        "default-network-opt" => {
            for text in texts {
                let (driver, options) = pair(text)?;
                let options = options.split(',').map(pair).collect::<Result<Vec<_>, _>>()?;
                o.net.network_options.entry(driver).or_default().extend(options);
            }
        }
        "publish-policy" => {
            let known = PublishPolicy::parse(text);
            let wanted = "want docker, host-firewall or loopback";
            o.net.publish_policy = known.ok_or_else(|| format!("{text:?}: {wanted}"))?;
        }
        "anti-spoofing" => o.net.anti_spoofing = switch(text)?,
        "allow-direct-routing" => o.net.direct_routing = switch(text)?,
        "bridge-accept-fwmark" => o.net.accept_mark = Some(FirewallMark::parse(text)?),
        "iptables" => o.net.firewall = switch(text)?,
        "ip-forward" => o.net.ip_forward = switch(text)?,
        "ip-forward-no-drop" => o.net.drop_foreign = !switch(text)?,
        "ip-masq" => o.net.masquerade = switch(text)?,
        "icc" => o.net.icc = switch(text)?,
        "ip" => o.net.host_binding = address(text)?,
        "mtu" => o.net.mtu = number(text, 68..=65_535)?,
        "resolv-conf" => o.net.resolv_conf = absolute(text)?,
        "dns" => o.dns = texts.iter().map(|t| address(t)).collect::<Result<_, _>>()?,
        "dns-opt" => o.dns_options = texts.to_vec(),
        "dns-search" => o.dns_search = texts.to_vec(),
        "host-gateway-ip" => {
            // As often as flags are given, or several at once: one of each family.
            let words = texts.iter().flat_map(|text| text.split(','));
            o.host_gateways = words.map(address).collect::<Result<_, _>>()?;
            if o.host_gateways.iter().filter(|ip| ip.is_ipv4()).count() > 1
                || o.host_gateways.iter().filter(|ip| ip.is_ipv6()).count() > 1
            {
                return Err(
                    "only one IPv4 and one IPv6 host gateway IP address can be specified".into()
                );
            }
        }
        "http-proxy" => o.registry.proxies.0 = text.to_owned(),
        "https-proxy" => o.registry.proxies.1 = text.to_owned(),
        "no-proxy" => o.registry.proxies.2 = text.to_owned(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Whether it was one of where images come from and go to.
fn set_registry(o: &mut Options, name: &str, texts: &[String], text: &str) -> Result<bool, String> {
    match name {
        "insecure-registry" => o.registry.insecure = texts.to_vec(),
        "registry-mirror" => {
            o.registry.mirrors = texts.to_vec();
            o.registry.check().map_err(|error| error.to_string())?;
        }
        "registry-certificates" => {
            o.registry.certificates =
                texts.iter().map(|t| absolute(t)).collect::<Result<_, _>>()?;
        }
        "blocked-registry" => o.registry.blocked = texts.to_vec(),
        "pull-only-from" => o.registry.pull_only_from = texts.to_vec(),
        "registry-rules" => o.registry.registries = Some(absolute(text)?),
        "registry-realm" => {
            let pairs = texts.iter().map(|t| pair(t).map(|_| t.clone()));
            o.registry.realms = pairs.collect::<Result<_, _>>()?;
        }
        "keep-compressed-layers" => o.registry.keep_packed = switch(text)?,
        "max-concurrent-downloads" => o.registry.max_downloads = number(text, 1..=64)?,
        "max-concurrent-uploads" => o.registry.max_uploads = number(text, 1..=64)?,
        "max-download-attempts" => o.registry.attempts = number(text, 1..=100)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_engine(o: &mut Options, name: &str, texts: &[String], text: &str) -> Result<(), String> {
    match name {
        "rootless" => o.rootless = switch(text)?,
        "data-root" => o.data_root = absolute(text)?,
        "exec-root" => o.exec_root = absolute(text)?,
        "cpu-rt-period" => o.cpu_rt_period_us = some_us(number(text, 0..=MAX_RT_US)?),
        "cpu-rt-runtime" => {
            let us = some_us(number(text, 0..=MAX_RT_US)?);
            o.cpu_rt_runtime_us = us.map(u64::cast_signed);
        }
        "cgroup-parent" => o.cgroup_parent = text.to_owned(),
        "log-driver" => o.log_driver = text.to_owned(),
        "log-opt" => o.log_options = texts.iter().map(|t| pair(t)).collect::<Result<_, _>>()?,
        "security-profile" => {
            o.security_profile = match one_of(text, &["estiba", "docker"])? {
                "docker" => SecurityProfile::Docker,
                _ => SecurityProfile::Estiba,
            };
        }
        "no-new-privileges" => o.no_new_privileges = switch(text)?,
        "selinux-enabled" => o.selinux = switch(text)?,
        "userns" => o.userns = switch(text)?,
        "default-ulimit" => {
            o.default_ulimits = texts.iter().map(|t| ulimit(t)).collect::<Result<_, _>>()?;
        }
        "default-pids-limit" => o.default_pids_limit = number(text, 0..=4_194_304)?,
        "default-shm-size" => o.default_shm_size_bytes = bytes(text)?,
        "default-stop-timeout" => o.default_stop_timeout = number(text, -1..=86_400)?,
        "default-ipc-mode" => o.default_ipc = shared(text, ["private", "shareable"])?,
        "default-cgroupns-mode" => o.default_cgroupns = shared(text, ["private", "host"])?,
        "seccomp-profile" => o.default_seccomp = seccomp(text)?,
        "init" => o.init = switch(text)?,
        "add-runtime" => {
            let named = |(name, words): (String, String)| (name, other_runtime(&words));
            let pairs = texts.iter().map(|text| pair(text).map(named));
            o.runtimes = pairs.collect::<Result<_, String>>()?;
        }
        "default-runtime" => o.default_runtime = text.to_owned(),
        "label" => o.labels = texts.to_vec(),
        "runtime-path" => o.runtime_exe = absolute(text)?,
        "live-restore" => o.live_restore = switch(text)?,
        "shutdown-timeout" => o.shutdown_timeout = number(text, 0..=86_400)?,
        "builder" => o.builder = engine::BuilderOptions::parse(text)?,
        "experimental" => o.experimental = switch(text)?,
        "min-api-version" => o.min_api_version = api_version(text)?,
        "cdi-spec-dir" => {
            let named = texts.iter().filter(|text| !text.is_empty());
            o.cdi_dirs = named.map(PathBuf::from).collect();
        }
        "feature" => o.features = texts.iter().map(|t| feature(t)).collect::<Result<_, _>>()?,
        "storage-opt" => {
            for text in texts {
                match pair(text)? {
                    (name, size) if name == "overlay2.size" || name == "size" => {
                        o.root_limit_bytes = Some(engine::settings::size_bytes(&size)?);
                    }
                    // Kernels without overlayfs over several layers are none that run this.
                    (name, _) if name == "overlay2.override_kernel_check" => {}
                    (name, _) => return Err(format!("{name:?}: want overlay2.size=SIZE")),
                }
            }
        }
        // Read before: they say what to do, not how to be.
        "config-file" | "validate" | "version" => {}
        // Accepted and without effect; `given::served` has said so.
        _ => {}
    }
    Ok(())
}

/// The longest period of real-time scheduling that the kernel knows, µs (`sched_rt_period_us`).
const MAX_RT_US: u64 = 2_147_483_647;

/// Microseconds; none are no wish, as with dockerd.
fn some_us(us: u64) -> Option<u64> {
    (us > 0).then_some(us)
}

/// `name=true`, `name=false`, or a name alone.
fn feature(text: &str) -> Result<(String, bool), String> {
    let (name, on) = text.split_once('=').unwrap_or((text, "true"));
    Ok((name.to_owned(), switch(on)?))
}

fn shared(text: &str, words: [&str; 2]) -> Result<SharedNamespace, String> {
    Ok(match one_of(text, &words)? {
        "shareable" => SharedNamespace::Shareable,
        "host" => SharedNamespace::Host,
        _ => SharedNamespace::Private,
    })
}

fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix://") {
        return absolute(path).map(Listen::Unix);
    }
    if let Some(name) = text.strip_prefix("fd://") {
        return Ok(Listen::Activated(name.to_owned()));
    }
    // An address alone is one of TCP, as with Docker.
    let bare = !text.contains("://") && text.contains(':');
    if let Some(address) = text.strip_prefix("tcp://").or(bare.then_some(text)) {
        return match address.contains(':') {
            true => tcp_address(address).map(Listen::Tcp),
            false => tcp_address(&format!("{address}:2375")).map(Listen::Tcp),
        };
    }
    Err(format!("cannot listen on {text:?}: want unix://PATH, tcp://ADDRESS:PORT or fd://"))
}

/// `HOST:PORT`; without a host that of loopback.
fn tcp_address(text: &str) -> Result<SocketAddr, String> {
    let bad = || format!("bad address {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let whole = format!("{}:{port}", host.replace("localhost", "127.0.0.1"));
    whole.parse().map_err(|_| bad())
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn api_version(text: &str) -> Result<ApiVersion, String> {
    let served = ApiVersion::MIN..=ApiVersion::MAX;
    text.parse().ok().filter(|version| served.contains(version)).ok_or_else(|| {
        format!("{text:?} is not a version from {} to {}", served.start(), served.end())
    })
}

fn level(text: &str) -> Result<LevelFilter, String> {
    Ok(match one_of(text, &["trace", "debug", "info", "warn", "error", "fatal"])? {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    })
}

fn one_of<'a>(text: &'a str, known: &[&str]) -> Result<&'a str, String> {
    if known.contains(&text) {
        return Ok(text);
    }
    Err(format!("{text:?} is not supported: want {}", known.join(" or ")))
}

fn number<T>(text: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
        format!("{text:?} is not a number from {} to {}", range.start(), range.end())
    })
}

fn bytes(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i').trim() {
        "" => 1i64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(format!("{text:?} is not a size")),
    };
    let whole = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(unit));
    whole.ok_or_else(|| format!("{text:?} is not a size"))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address"))
}

fn cidr(text: &str) -> Result<Cidr, String> {
    Cidr::parse(text).map_err(|denied| denied.message)
}

fn other_runtime(words: &str) -> engine::OtherRuntime {
    let mut words = words.split(super::given::BETWEEN_WORDS);
    engine::OtherRuntime {
        program: words.next().unwrap_or_default().into(),
        arguments: words.map(str::to_owned).collect(),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no ="))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn pool(text: &str) -> Result<AddressPool, String> {
    let mut base = None;
    let mut size = None;
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", value)) => base = Some(cidr(value)?.network()),
            Some(("size", value)) => size = Some(number(value, 1u8..=128)?),
            _ => return Err(format!("{part:?}: want base=CIDR,size=BITS")),
        }
    }
    match (base, size) {
        (Some(base), Some(size)) if size >= base.prefix => Ok(AddressPool { base, size }),
        (Some(base), Some(size)) => Err(format!("a /{size} does not fit into {base}")),
        _ => Err(format!("{text:?}: want base=CIDR,size=BITS")),
    }
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = pair(text)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((&limits, &limits));
    let (soft, hard) = (number(soft, -1..=i64::MAX)?, number(hard, -1..=i64::MAX)?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("{name}: the soft limit {soft} is above the hard limit {hard}"));
    }
    Ok(Ulimit { name, soft, hard })
}

/// The filter's text is read now: what containers run under does not change behind their back.
fn seccomp(text: &str) -> Result<SeccompDraft, String> {
    match text {
        "" | "builtin" | "default" => Ok(SeccompDraft::Default),
        "unconfined" => Ok(SeccompDraft::Unconfined),
        path => match std::fs::read_to_string(path) {
            Ok(profile) => Ok(SeccompDraft::Profile(profile)),
            Err(error) => Err(format!("opening seccomp profile ({path}) failed: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> Result<Config, String> {
        let given = pairs.iter().map(|(name, text)| (*name, vec![(*text).to_owned()])).collect();
        Config::defaults("estiba daemon").with(&given)
    }

    #[test]
    fn every_applied_setting_is_read() {
        let config = with(&[
            ("data-root", "/d"),
            ("bip", "10.9.0.1/24"),
            ("default-shm-size", "128m"),
            ("default-ulimit", "nofile=64:128"),
            ("security-profile", "docker"),
            ("default-address-pool", "base=10.0.0.0/8,size=24"),
            ("mtu", "1400"),
            ("debug", "true"),
            ("host", "unix:///x.sock"),
            ("log-opt", "max-size=1m"),
        ])
        .unwrap();
        assert_eq!(config.options.data_root, PathBuf::from("/d"));
        assert_eq!(config.options.default_shm_size_bytes, 128 << 20);
        assert_eq!(config.options.net.mtu, 1400);
        assert_eq!(config.options.net.pools.len(), 1);
        assert_eq!(config.log_level, LevelFilter::DEBUG);
        assert_eq!(config.listen, [Listen::Unix("/x.sock".into())]);
        let config = with(&[("storage-opt", "overlay2.size=1g"), ("feature", "cdi=false")]);
        let options = config.unwrap().options;
        assert_eq!(options.root_limit_bytes, Some(1 << 30));
        assert!(options.cdi_dirs().is_empty() && !options.cdi_dirs.is_empty());
    }

    #[test]
    fn what_is_wrong_names_the_setting() {
        for (name, text, want) in [
            ("data-root", "relative", "--data-root"),
            ("mtu", "12", "--mtu"),
            ("bip", "10.9.0.1", "--bip"),
            ("default-shm-size", "1q", "--default-shm-size"),
            ("default-ulimit", "nofile=9:8", "above the hard limit"),
            ("storage-driver", "zfs", "overlay2"),
            ("storage-opt", "overlay2.size=much", "invalid size"),
            ("storage-opt", "dm.basesize=1g", "want overlay2.size"),
            ("feature", "cdi=maybe", "neither true nor false"),
            ("host", "0.0.0.0:2375", "without TLS and client certificates"),
            ("host", "npipe://x", "cannot listen"),
            ("host", "tcp://0.0.0.0:2375", "without TLS and client certificates"),
            ("default-address-pool", "base=10.0.0.0/24,size=16", "does not fit"),
        ] {
            let why = with(&[(name, text)]).unwrap_err();
            assert!(why.contains(want), "{name}={text}: {why}");
        }
        assert!(with(&[("host", "tcp://127.0.0.1:2375"), ("allow-plain-tcp", "true")]).is_ok());
        // Encryption alone keeps nobody out.
        assert!(with(&[("host", "tcp://127.0.0.1:2376"), ("tls", "true")]).is_err());
        let verified = with(&[("host", "tcp://127.0.0.1:2376"), ("tlsverify", "true")]).unwrap();
        assert!(verified.tls.files().unwrap().client_authority.is_some());
    }

    #[test]
    fn started_as_dockerd_it_listens_where_docker_does() {
        let config = Config::defaults("dockerd");
        assert_eq!(config.listen, [Listen::Unix("/var/run/docker.sock".into())]);
        assert_eq!(Config::file_of("dockerd"), PathBuf::from("/etc/docker/daemon.json"));
    }
}
