//! A build by the classic call: the context goes as an archive, messages come back. For engines of
//! other makers and on other hosts.

use std::io::{Cursor, Read};

use client::{Body, Request};
use wire::build::BuildDone;

use super::ask::{Ask, size};
use crate::failure::Failure;
use crate::flags::Matches;
use crate::invocation::Invocation;
use crate::progress::{self, Target};
use crate::transfer;

/// Builds.
pub(super) async fn build(
    invocation: &Invocation,
    matches: &Matches,
    ask: &Ask,
) -> Result<BuildDone, Failure> {
    refuse(ask)?;
    let client = invocation.client()?;
    let remote = ask.order.attrs.get("context").map(String::as_str).unwrap_or_default();
    let mut request = parameters(client.post("/build"), matches, ask);
    let (body, packing) = match &ask.context {
        _ if !remote.is_empty() => {
            request = request.query("remote", remote);
            (Body::empty(), None)
        }
        Some(dir) => {
            let (body, packing) = transfer::pack(dir.clone(), String::new(), false)?;
            (body, Some(packing))
        }
        None => {
            let stdin: Box<dyn Read + Send> =
                Box::new(Cursor::new(ask.head.clone()).chain(std::io::stdin()));
            (transfer::file_body(stdin)?, None)
        }
    };
    let sent = request.body("application/x-tar", body).send().await;
    let packed = packing.map(|packing| packing.outcome()).transpose();
    let answer = sent?;
    packed?;
    let mut id = String::new();
    let target = if ask.quiet { Target::Nowhere } else { Target::Stdout };
    progress::show(answer, target, |aux| {
        if let Some(text) = aux.get("ID").and_then(serde_json::Value::as_str) {
            text.clone_into(&mut id);
        }
    })
    .await?;
    Ok(BuildDone { images: vec![id], ..BuildDone::default() })
}

/// The query's parameters.
fn parameters<'a>(mut request: Request<'a>, matches: &Matches, ask: &Ask) -> Request<'a> {
    let attrs = &ask.order.attrs;
    let attr = |name: &str| attrs.get(name).map(String::as_str).unwrap_or_default();
    request = request.flag("nocache", attrs.contains_key("no-cache"));
    request = request.flag("pull", attr("image-resolve-mode") == "pull");
    request = request.flag("q", ask.quiet);
    request = request.query("rm", if matches.bool_or("rm", true) { "1" } else { "0" });
    request = request.flag("forcerm", matches.bool("force-rm"));
    for tag in matches.list("tag") {
        request = request.query("t", tag);
    }
    for host in matches.list("add-host") {
        request = request.query("extrahosts", host);
    }
    for (name, parameter) in [
        ("target", "target"),
        ("platform", "platform"),
        ("cgroup-parent", "cgroupparent"),
        ("filename", "dockerfile"),
    ] {
        if !attr(name).is_empty() {
            request = request.query(parameter, attr(name));
        }
    }
    for (flag, parameter) in [
        ("network", "networkmode"),
        ("cpu-period", "cpuperiod"),
        ("cpu-quota", "cpuquota"),
        ("cpu-shares", "cpushares"),
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
    ] {
        if let Some(value) = matches.string(flag) {
            request = request.query(parameter, value);
        }
    }
    for (flag, parameter) in
        [("memory", "memory"), ("memory-swap", "memswap"), ("shm-size", "shmsize")]
    {
        if let Some(value) = matches.string(flag) {
            let bytes = if value == "-1" { -1 } else { size(value) };
            request = request.query(parameter, bytes.to_string());
        }
    }
    for (prefix, parameter) in [("build-arg:", "buildargs"), ("label:", "labels")] {
        let given =
            attrs.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
        let given: std::collections::BTreeMap<_, _> = given.collect();
        if !given.is_empty() {
            request = request.query(parameter, serde_json::json!(given).to_string());
        }
    }
    request
}

/// What this call cannot carry is refused, not forgotten.
fn refuse(ask: &Ask) -> Result<(), Failure> {
    let order = &ask.order;
    let image = |kind: &str| kind == "image";
    let directories = order.attrs.keys().any(|name| name.starts_with("context:"));
    let outside = ask.context.as_ref().is_some_and(|dir| {
        let name = order.attrs.get("filename").map(String::as_str).unwrap_or_default();
        !name.is_empty() && !dir.join(name).exists()
    });
    for (set, what) in [
        (!order.secrets.is_empty(), "--secret"),
        (order.handings.iter().any(is_agent), "--ssh"),
        (!order.outputs.iter().all(|output| image(&output.kind)), "--output"),
        (order.outputs.iter().any(|output| output.attrs.contains_key("push")), "--push"),
        (!order.cache_to.is_empty(), "--cache-to"),
        (directories, "--build-context"),
        (ask.call.is_some(), "--call"),
        (ask.metadata_file.is_some(), "--metadata-file"),
        (order.dockerfile.is_some(), "a Dockerfile on standard input"),
        (outside, "a Dockerfile outside of the context"),
    ] {
        if set {
            return Err(Failure::new(format!(
                "{what} needs a daemon that speaks BuildKit's protocol; this one offers only the \
                 classic build"
            )));
        }
    }
    Ok(())
}

fn is_agent(handing: &wire::build::HandingOrder) -> bool {
    matches!(handing, wire::build::HandingOrder::Agent { .. })
}
