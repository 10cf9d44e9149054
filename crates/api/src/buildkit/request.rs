//! A build as BuildKit's clients ask for it (`SolveRequest` with its free-text attributes) as the
//! builder takes it. Everything is parsed here, once. Knows no connection.

use std::collections::{BTreeMap, HashMap};

use build::call::Call;
use build::dockerfile_build::{DockerfileBuild, DockerfileSource};
use build::frontend::{CacheUse, ContextSource, PlanOptions};
use build::graph::{Limits, NetworkMode, Pull, Ulimit};
use build::platform::Platform;
use build::request::Entitlements;
use build::{Error, Result};

/// The most attributes of one request.
const MAX_ATTRS: usize = 16_384;
/// The front end that is built in.
pub(super) const DOCKERFILE: &str = "dockerfile.v0";
/// A front end in an image.
const GATEWAY: &str = "gateway.v0";

/// Free-text attributes of a front end or an exporter.
pub(super) type Attrs = HashMap<String, String>;

/// Whether the built-in front end answers: asked for itself, or as an image of it.
///
/// # Errors
/// Another front end.
pub(super) fn check_frontend(frontend: &str, attrs: &Attrs) -> Result<()> {
    let source = attrs.get("source").map(String::as_str).unwrap_or_default();
    match frontend {
        DOCKERFILE => Ok(()),
        GATEWAY if is_dockerfile(source) => Ok(()),
        GATEWAY => Err(Error::unsupported(format!(
            "front end {source:?}: only docker/dockerfile is supported, which is built in"
        ))),
        other => Err(Error::unsupported(format!("frontend {other:?} not found"))),
    }
}

/// What is asked instead of a build, if anything.
///
/// # Errors
/// A question that nobody answers.
pub(super) fn question(attrs: &Attrs) -> Result<Option<Call>> {
    let Some(name) = attrs.get("requestid").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match Call::parse(name) {
        Some(call) => Ok(Some(call)),
        None => Err(Error::unsupported(format!("unsupported request {name:?}"))),
    }
}

/// Whether an image is the Dockerfile front end's.
fn is_dockerfile(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = image.split(['@', ':']).next().unwrap_or_default();
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

/// The Dockerfile's build that a front end's attributes ask for.
///
/// # Errors
/// An attribute that makes no sense.
pub(super) fn dockerfile(attrs: &Attrs, worker: Platform) -> Result<DockerfileBuild> {
    if attrs.len() > MAX_ATTRS {
        return Err(Error::invalid(format!("more than {MAX_ATTRS} attributes")));
    }
    let text = |name: &str| attrs.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let path = text("filename").unwrap_or("Dockerfile").to_owned();
    let remote = text("context").map(str::to_owned);
    let local = text("dockerfilekey").or(remote.is_none().then_some("dockerfile"));
    let dockerfile = match local {
        Some(name) => DockerfileSource::Local { name: name.to_owned(), path },
        None => DockerfileSource::Context { path },
    };
    let mut options = PlanOptions::new(worker);
    options.context = ContextSource::Local(text("contextkey").unwrap_or("context").to_owned());
    options.target = text("target").map(str::to_owned);
    options.build_args = prefixed(attrs, "build-arg:");
    options.labels = prefixed(attrs, "label:");
    options.contexts = prefixed(attrs, "context:");
    options.platforms = text("platform")
        .map(|list| platforms(list, &options.build_platform))
        .transpose()?
        .unwrap_or_default();
    options.pull = match text("image-resolve-mode") {
        None | Some("default" | "local") => Pull::Missing,
        Some("pull") => Pull::Always,
        Some(other) => return Err(Error::invalid(format!("invalid image-resolve-mode {other:?}"))),
    };
    // Without a value all stages are meant.
    options.cache = match attrs.get("no-cache").map(String::as_str) {
        None => CacheUse::All,
        Some("") => CacheUse::None,
        Some(stages) => CacheUse::Without(stages.split(',').map(str::to_owned).collect()),
    };
    options.network = match text("force-network-mode") {
        None | Some("default" | "sandbox") => NetworkMode::Sandbox,
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(other) => return Err(Error::invalid(format!("invalid network mode {other:?}"))),
    };
    options.extra_hosts = text("add-hosts").map(hosts).transpose()?.unwrap_or_default();
    options.ulimits = text("ulimit").map(ulimits).transpose()?.unwrap_or_default();
    options.shm_bytes = text("shm-size").map(number).transpose()?;
    options.cgroup_parent = text("cgroup-parent").unwrap_or_default().to_owned();
    options.limits = limits(attrs)?;
    options.hostname = text("hostname").unwrap_or_default().to_owned();
    options.multi_platform = text("multi-platform").map(flag);
    Ok(DockerfileBuild { dockerfile, remote, options })
}

/// Limits of steps, which only this product's own command line sends.
fn limits(attrs: &Attrs) -> Result<Option<Limits>> {
    let text = |name: &str| attrs.get(name).cloned().unwrap_or_default();
    let number = |name: &str| match text(name).as_str() {
        "" => Ok(0),
        digits => digits
            .parse::<i64>()
            .map_err(|_| Error::invalid(format!("invalid number {digits:?} for {name}"))),
    };
    let positive = |name: &str| {
        let value = number(name)?;
        u64::try_from(value)
            .map_err(|_| Error::invalid(format!("invalid number {value} for {name}")))
    };
    let limits = Limits {
        memory_bytes: number("memory")?,
        memory_swap_bytes: number("memory-swap")?,
        cpu_shares: positive("cpu-shares")?,
        cpu_period_us: positive("cpu-period")?,
        cpu_quota_us: number("cpu-quota")?,
        cpuset_cpus: text("cpuset-cpus"),
        cpuset_mems: text("cpuset-mems"),
    };
    Ok((limits != Limits::default()).then_some(limits))
}

/// `SOURCE_DATE_EPOCH` among the build arguments.
pub(super) fn epoch(attrs: &Attrs) -> Result<Option<i64>> {
    let text = attrs.get("build-arg:SOURCE_DATE_EPOCH").filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse().map_err(|_| Error::invalid(format!("invalid SOURCE_DATE_EPOCH {text:?}")))
    })
    .transpose()
}

/// Whether the whole build takes nothing from the cache.
pub(super) fn no_cache(attrs: &Attrs) -> bool {
    attrs.get("no-cache").is_some_and(String::is_empty)
}

/// What steps are granted.
///
/// # Errors
/// An entitlement that is not known.
pub(super) fn entitlements(names: &[String]) -> Result<Entitlements> {
    let mut granted = Entitlements::default();
    for name in names {
        match name.as_str() {
            "network.host" => granted.network_host = true,
            "security.insecure" => granted.security_insecure = true,
            "device" => granted.device = true,
            one if one.starts_with("device=") => granted.device = true,
            other => return Err(Error::invalid(format!("unknown entitlement {other:?}"))),
        }
    }
    Ok(granted)
}

fn prefixed(attrs: &Attrs, prefix: &str) -> BTreeMap<String, String> {
    let pairs = attrs.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(prefix)?;
        (!key.is_empty()).then(|| (key.to_owned(), value.clone()))
    });
    pairs.collect()
}

fn platforms(list: &str, host: &Platform) -> Result<Vec<Platform>> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(|name| Platform::parse(name, host).map_err(Error::from)).collect()
}

/// `name=address,name=address`.
fn hosts(list: &str) -> Result<Vec<(String, String)>> {
    let entry = |entry: &str| {
        let pair = entry.split_once('=').or_else(|| entry.split_once(':'));
        pair.map(|(name, address)| (name.to_owned(), address.to_owned()))
            .ok_or_else(|| Error::invalid(format!("invalid host {entry:?}: want name=address")))
    };
    list.split(',').filter(|entry_text| !entry_text.is_empty()).map(entry).collect()
}

/// `nofile=1024:2048,nproc=3`.
fn ulimits(list: &str) -> Result<Vec<Ulimit>> {
    let limit = |text: &str| {
        let (name, range) = text.split_once('=')?;
        let (soft, hard) = range.split_once(':').unwrap_or((range, range));
        let (soft, hard) = (soft.parse().ok()?, hard.parse().ok()?);
        Some(Ulimit { name: name.to_owned(), soft, hard })
    };
    let parse =
        |text: &str| limit(text).ok_or_else(|| Error::invalid(format!("invalid ulimit {text:?}")));
    list.split(',').filter(|text| !text.is_empty()).map(parse).collect()
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::invalid(format!("invalid number {text:?}")))
}

/// Go's `strconv.ParseBool`, with the empty text as true.
pub(super) fn flag(text: &str) -> bool {
    matches!(text, "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(pairs: &[(&str, &str)]) -> Attrs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn host() -> Platform {
        Platform::new("linux", "amd64", "")
    }

    #[test]
    fn attributes_become_options() {
        let attrs = attrs(&[
            ("filename", "sub/Dockerfile"),
            ("build-arg:A", "b"),
            ("build-arg:SOURCE_DATE_EPOCH", "7"),
            ("label:l", "m"),
            ("target", "last"),
            ("memory", "1048576"),
            ("cpuset-cpus", "0"),
            ("platform", "linux/amd64,arm64"),
            ("no-cache", "one,two"),
            ("add-hosts", "h=1.2.3.4,i=5.6.7.8"),
            ("ulimit", "nofile=1:2"),
            ("image-resolve-mode", "pull"),
            ("force-network-mode", "none"),
            ("context:base", "docker-image://alpine"),
        ]);
        let build = dockerfile(&attrs, host()).unwrap();
        let path = "sub/Dockerfile".to_owned();
        let want = DockerfileSource::Local { name: "dockerfile".to_owned(), path };
        assert_eq!(build.dockerfile, want);
        let options = build.options;
        assert_eq!(options.build_args["A"], "b");
        assert_eq!(options.labels["l"], "m");
        assert_eq!(options.platforms.len(), 2);
        assert_eq!(options.cache, CacheUse::Without(["one".into(), "two".into()].into()));
        assert_eq!(options.extra_hosts.len(), 2);
        assert_eq!((options.ulimits[0].soft, options.ulimits[0].hard), (1, 2));
        assert_eq!((options.pull, options.network), (Pull::Always, NetworkMode::None));
        assert_eq!(options.contexts.len(), 1);
        let limits = options.limits.unwrap();
        assert_eq!((limits.memory_bytes, limits.cpuset_cpus.as_str()), (1 << 20, "0"));
        assert_eq!(epoch(&attrs).unwrap(), Some(7));
        assert!(!no_cache(&attrs));
    }

    #[test]
    fn a_remote_context_brings_its_dockerfile() {
        let remote = [("context", "https://example.test/x.git")];
        let build = dockerfile(&attrs(&remote), host()).unwrap();
        assert!(matches!(build.dockerfile, DockerfileSource::Context { .. }));
        assert_eq!(build.remote.as_deref(), Some("https://example.test/x.git"));
        let local = [("context", "https://example.test/x.git"), ("dockerfilekey", "d")];
        let build = dockerfile(&attrs(&local), host()).unwrap();
        assert!(matches!(build.dockerfile, DockerfileSource::Local { name, .. } if name == "d"));
    }

    #[test]
    fn nonsense_is_refused() {
        for pair in [
            ("platform", "a/b/c/d"),
            ("add-hosts", "nothing"),
            ("ulimit", "nofile"),
            ("shm-size", "-1"),
            ("memory", "much"),
            ("cpu-shares", "-1"),
            ("image-resolve-mode", "maybe"),
            ("force-network-mode", "container:x"),
        ] {
            assert!(dockerfile(&attrs(&[pair]), host()).is_err(), "{pair:?}");
        }
        assert!(entitlements(&["nonsense".to_owned()]).is_err());
    }

    #[test]
    fn the_front_end_is_built_in() {
        let source = |image: &str| attrs(&[("source", image)]);
        assert!(check_frontend(DOCKERFILE, &Attrs::new()).is_ok());
        for image in [
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile@sha256:0",
            "docker/dockerfile-upstream:master",
        ] {
            assert!(check_frontend(GATEWAY, &source(image)).is_ok(), "{image}");
        }
        for image in ["example/front", "docker/dockerfilex", ""] {
            assert!(check_frontend(GATEWAY, &source(image)).is_err(), "{image}");
        }
        assert!(check_frontend("other.v0", &Attrs::new()).is_err());
    }
}
