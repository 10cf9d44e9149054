//! A build's query parameters and headers as a request for a Dockerfile's build.

use std::collections::BTreeMap;

use build::client::Credentials;
use build::dockerfile_build::{DockerfileBuild, DockerfileSource};
use build::frontend::{CacheUse, History, PlanOptions};
use build::graph::{Limits, NetworkMode, Pull, Ulimit};
use build::platform::Platform;
use engine::Engine;
use hyper::header::HeaderMap;
use model::ImageRef;
use serde::Deserialize;
use wire::docker::json;

use super::client::credentials;
use crate::failure::Failure;
use crate::query::Query;

/// What was asked for.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) build: DockerfileBuild,
    /// The context's address; `None`: it is the request's body.
    pub(super) remote: Option<String>,
    pub(super) names: Vec<ImageRef>,
    pub(super) no_cache: bool,
    /// Images whose steps may be used; empty is all there is.
    pub(super) from: Vec<String>,
    pub(super) network_name: String,
    pub(super) source_date_epoch: Option<i64>,
    pub(super) credentials: BTreeMap<String, Credentials>,
    pub(super) show: Show,
}

/// What the client wants to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    /// Only the image's id.
    pub(super) quiet: bool,
    /// Say that a step's container was removed.
    pub(super) removed: bool,
}

/// One resource limit as clients write it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AskedUlimit {
    name: String,
    soft: i64,
    hard: i64,
}

/// Reads everything that can be wrong before the body.
pub(super) fn parse(query: &Query, headers: &HeaderMap) -> Result<Asked, Failure> {
    if query.flag("squash") {
        return Err(Failure::unsupported(
            "squash is not supported: one layer comes of a last stage with COPY --from",
        ));
    }
    let platform = Platform::of_this_build();
    let mut options = PlanOptions::new(platform.clone());
    options.target = query.text("target").map(str::to_owned);
    options.build_args = arguments(query)?;
    options.labels = json(query, "labels")?.unwrap_or_default();
    if let Some(text) = query.text("platform") {
        options.platforms = vec![Platform::parse(text, &platform)?];
    }
    options.pull = if query.flag("pull") { Pull::Always } else { Pull::Missing };
    let no_cache = query.flag("nocache");
    options.cache = if no_cache { CacheUse::None } else { CacheUse::All };
    options.extra_hosts = extra_hosts(query)?;
    options.ulimits = ulimits(query)?;
    options.shm_bytes = query.number::<u64>("shmsize")?.filter(|size| *size > 0);
    options.cgroup_parent = query.text_or_empty("cgroupparent").to_owned();
    options.limits = limits(query)?;
    options.history = History::Legacy;
    let (network, network_name) = network(query.text_or_empty("networkmode"));
    options.network = network;
    let remote = query.text("remote").map(str::to_owned);
    let path = query.text("dockerfile").unwrap_or("Dockerfile").to_owned();
    let source_date_epoch = epoch(&options.build_args)?;
    let dockerfile = DockerfileSource::Context { path };
    let names =
        query.all("t").filter(|name| !name.is_empty()).map(name).collect::<Result<_, _>>()?;
    Ok(Asked {
        id: query.text_or_empty("buildid").to_owned(),
        build: DockerfileBuild { dockerfile, remote: remote.clone(), options },
        remote,
        names,
        no_cache,
        from: json(query, "cachefrom")?.unwrap_or_default(),
        network_name,
        source_date_epoch,
        credentials: credentials(headers)?,
        show: Show { quiet: query.flag("q"), removed: query.flag_or("rm", true) },
    })
}

fn name(text: &str) -> Result<ImageRef, Failure> {
    let name = ImageRef::parse(text)?;
    if name.digest().is_some() {
        return Err(Failure::invalid("build tag cannot contain a digest"));
    }
    Ok(name.or_latest())
}

fn json<T: for<'de> Deserialize<'de>>(query: &Query, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let read = json::from_slice::<Option<T>>(text.as_bytes());
    read.map_err(|error| Failure::invalid(format!("error reading {name}: {error}")))
}

/// A build argument without a value takes the daemon's, which gives none away.
fn arguments(query: &Query) -> Result<BTreeMap<String, String>, Failure> {
    let all: BTreeMap<String, Option<String>> = json(query, "buildargs")?.unwrap_or_default();
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn extra_hosts(query: &Query) -> Result<Vec<(String, String)>, Failure> {
    // One JSON list, or one parameter each.
    let all: Vec<String> = match query.text("extrahosts") {
        Some(text) if text.starts_with('[') => json(query, "extrahosts")?.unwrap_or_default(),
        Some(text) if text.starts_with('{') => {
            let map: BTreeMap<String, String> = json(query, "extrahosts")?.unwrap_or_default();
            map.into_iter().map(|(name, at)| format!("{name}:{at}")).collect()
        }
        _ => query.all("extrahosts").filter(|it| !it.is_empty()).map(str::to_owned).collect(),
    };
    all.iter()
        .map(|host| {
            let (name, at) = host
                .split_once([':', '='])
                .ok_or_else(|| Failure::invalid(format!("bad format for add-host: {host:?}")))?;
            Ok((name.to_owned(), at.to_owned()))
        })
        .collect()
}

fn ulimits(query: &Query) -> Result<Vec<Ulimit>, Failure> {
    let all: Vec<AskedUlimit> = json(query, "ulimits")?.unwrap_or_default();
    let limit = |it: AskedUlimit| Ulimit { name: it.name, soft: it.soft, hard: it.hard };
    Ok(all.into_iter().map(limit).collect())
}

fn limits(query: &Query) -> Result<Option<Limits>, Failure> {
    let limits = Limits {
        memory_bytes: query.number("memory")?.unwrap_or(0),
        memory_swap_bytes: query.number("memswap")?.unwrap_or(0),
        cpu_shares: query.number("cpushares")?.unwrap_or(0),
        cpu_period_us: query.number("cpuperiod")?.unwrap_or(0),
        cpu_quota_us: query.number("cpuquota")?.unwrap_or(0),
        cpuset_cpus: query.text_or_empty("cpusetcpus").to_owned(),
        cpuset_mems: query.text_or_empty("cpusetmems").to_owned(),
    };
    Ok((limits != Limits::default()).then_some(limits))
}

/// The mode in the graph's words, and the name of a network of the node's.
fn network(mode: &str) -> (NetworkMode, String) {
    match mode {
        "" | "default" | "bridge" => (NetworkMode::Sandbox, String::new()),
        "none" => (NetworkMode::None, String::new()),
        "host" => (NetworkMode::Host, String::new()),
        name => (NetworkMode::Sandbox, name.to_owned()),
    }
}

fn epoch(args: &BTreeMap<String, String>) -> Result<Option<i64>, Failure> {
    let Some(text) = args.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let invalid = || Failure::invalid(format!("invalid SOURCE_DATE_EPOCH: {text:?}"));
    text.parse().map(Some).map_err(|_| invalid())
}

/// Whether steps may only come from images of which there is none.
pub(super) async fn nothing_to_cache_from(engine: &Engine, from: &[String]) -> bool {
    for name in from {
        if engine.images.view(name).await.is_ok() {
            return false;
        }
    }
    !from.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, Failure> {
        parse(&Query::parse(text).unwrap(), &HeaderMap::new())
    }

    #[test]
    fn parameters_become_options() {
        let asked = asked(
            "dockerfile=D&target=t&nocache=1&pull=1&t=a&t=b:1&shmsize=5&memory=7&cpusetcpus=0\
             &networkmode=mine&q=1&rm=0&extrahosts=%5B%22h%3A1.2.3.4%22%2C%22i%3A%3A%3A1%22%5D\
             &buildargs=%7B%22A%22%3A%22b%22%2C%22C%22%3Anull%7D&cachefrom=%5B%22x%22%5D\
             &ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A1%2C%22Hard%22%3A2%7D%5D",
        )
        .unwrap();
        let options = &asked.build.options;
        assert_eq!(options.target.as_deref(), Some("t"));
        assert_eq!(options.build_args.get("A").map(String::as_str), Some("b"));
        assert_eq!(options.build_args.len(), 1);
        assert_eq!(options.pull, Pull::Always);
        assert_eq!(options.shm_bytes, Some(5));
        assert_eq!(options.limits.as_ref().unwrap().memory_bytes, 7);
        assert_eq!(options.limits.as_ref().unwrap().cpuset_cpus, "0");
        assert_eq!(options.ulimits[0].hard, 2);
        let host = |name: &str, at: &str| (name.to_owned(), at.to_owned());
        assert_eq!(options.extra_hosts, [host("h", "1.2.3.4"), host("i", "::1")]);
        assert_eq!(asked.network_name, "mine");
        assert!(asked.no_cache && asked.show.quiet && !asked.show.removed);
        assert_eq!(asked.from, ["x"]);
        let names: Vec<_> = asked.names.iter().map(ImageRef::familiar).collect();
        assert_eq!(names, ["a:latest", "b:1"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "squash=1",
            "t=UPPER",
            "buildargs=%5B%5D",
            "labels=x",
            "platform=a/b/c/d",
            "memory=lots",
            "extrahosts=nothing",
        ] {
            assert!(asked(text).is_err(), "{text}");
        }
    }
}
