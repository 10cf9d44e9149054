//! The documents that we write hold against the OCI image specification 1.1: layouts, indexes,
//! manifests, configurations and descriptors, by the rules of its schemas (`schema/*.json`), which
//! are written down here once more. A document that breaks one is refused by somebody else's tools.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Session, binaries, eventually};
use serde_json::Value;
use std::fs;
use std::path::Path;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

type Broken = Result<(), String>;

fn need(holds: bool, rule: &str, value: &Value) -> Broken {
    if holds { Ok(()) } else { Err(format!("{rule}: {value}")) }
}

/// `algorithm:encoded` (descriptor.md, "Digests").
fn digest(value: &Value) -> Broken {
    let text = value.as_str().unwrap_or_default();
    let holds = text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    need(holds, "a digest", value)
}

/// `type/subtype` by RFC 6838.
fn media_type(value: &Value) -> Broken {
    let part = |text: &str| {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        first
            && text.len() <= 127
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let text = value.as_str().unwrap_or_default();
    need(text.split_once('/').is_some_and(|(a, b)| part(a) && part(b)), "a media type", value)
}

fn annotations(value: &Value) -> Broken {
    let Some(map) = value.get("annotations") else { return Ok(()) };
    let holds =
        map.as_object().is_some_and(|m| m.iter().all(|(k, v)| !k.is_empty() && v.is_string()));
    need(holds, "annotations map texts to texts", map)
}

fn descriptor(value: &Value) -> Broken {
    media_type(&value["mediaType"])?;
    digest(&value["digest"])?;
    need(value["size"].as_u64().is_some(), "a size in bytes", value)?;
    if let Some(kind) = value.get("artifactType") {
        media_type(kind)?;
    }
    if let Some(platform) = value.get("platform") {
        let text = |name: &str| platform[name].as_str().is_some_and(|text| !text.is_empty());
        need(text("os") && text("architecture"), "a platform has both", platform)?;
    }
    annotations(value)
}

fn documents(value: &Value, member: &str) -> Broken {
    let list = value[member].as_array().ok_or_else(|| format!("{member} is a list: {value}"))?;
    list.iter().try_for_each(descriptor)
}

fn index(value: &Value) -> Broken {
    need(value["schemaVersion"] == 2, "schemaVersion 2", value)?;
    need(value.get("mediaType").is_none_or(|kind| kind == INDEX), "says what it is", value)?;
    need(value.get("layers").is_none() && value.get("config").is_none(), "is one thing", value)?;
    if let Some(subject) = value.get("subject") {
        descriptor(subject)?;
    }
    documents(value, "manifests").and_then(|()| annotations(value))
}

fn manifest(value: &Value) -> Broken {
    need(value["schemaVersion"] == 2, "schemaVersion 2", value)?;
    need(value.get("mediaType").is_none_or(|kind| kind == MANIFEST), "says what it is", value)?;
    need(value.get("manifests").is_none(), "is one thing", value)?;
    descriptor(&value["config"])?;
    documents(value, "layers")?;
    let layers = value["layers"].as_array().map_or(0, Vec::len);
    need(layers > 0, "at least one layer", value)?;
    if let Some(subject) = value.get("subject") {
        descriptor(subject)?;
    }
    let empty = value["config"]["mediaType"] == "application/vnd.oci.empty.v1+json";
    need(!empty || value["artifactType"].is_string(), "an artifact says its type", value)?;
    annotations(value)
}

/// RFC 3339, as far as schemas look.
fn moment(value: &Value) -> Broken {
    let text = value.as_str().unwrap_or_default();
    let holds = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-';
    need(holds, "a date-time", value)
}

fn config(value: &Value) -> Broken {
    for member in ["os", "architecture"] {
        need(value[member].as_str().is_some_and(|text| !text.is_empty()), member, value)?;
    }
    need(value["rootfs"]["type"] == "layers", "rootfs of layers", value)?;
    let layers = value["rootfs"]["diff_ids"].as_array().ok_or("diff_ids is a list")?;
    layers.iter().try_for_each(digest)?;
    if let Some(created) = value.get("created") {
        moment(created)?;
    }
    let history = value.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    for step in &history {
        step.get("created").map_or(Ok(()), moment)?;
        need(step.get("empty_layer").is_none_or(Value::is_boolean), "empty_layer", step)?;
    }
    let made = history.iter().filter(|step| step["empty_layer"] != true).count();
    need(history.is_empty() || made == layers.len(), "a step for each layer", value)?;
    let own = &value["config"];
    for (member, strings) in [("Env", true), ("Cmd", true), ("Entrypoint", true), ("Labels", false)]
    {
        let Some(found) = own.get(member).filter(|found| !found.is_null()) else { continue };
        let holds = match strings {
            true => found.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            false => found.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        };
        need(holds, member, own)?;
    }
    for member in ["ExposedPorts", "Volumes"] {
        let Some(found) = own.get(member).filter(|found| !found.is_null()) else { continue };
        let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
        need(found.as_object().is_some_and(|map| map.values().all(empty)), member, own)?;
    }
    Ok(())
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Everything that an index of a layout reaches: of the size it is said to have, and by the rules.
fn reach(blobs: &Path, descriptor: &Value) {
    let hex = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let path = blobs.join(&hex);
    let size = fs::metadata(&path).unwrap_or_else(|_| panic!("no blob for {descriptor}")).len();
    assert_eq!(Some(size), descriptor["size"].as_u64(), "{descriptor}");
    match descriptor["mediaType"].as_str().unwrap() {
        INDEX => {
            let value = read(&path);
            index(&value).unwrap();
            value["manifests"].as_array().unwrap().iter().for_each(|entry| reach(blobs, entry));
        }
        MANIFEST => {
            let value = read(&path);
            manifest(&value).unwrap();
            reach(blobs, &value["config"]);
            value["layers"].as_array().unwrap().iter().for_each(|layer| reach(blobs, layer));
        }
        CONFIG => config(&read(&path)).unwrap(),
        _ => {}
    }
}

#[test]
fn archives_are_layouts_by_the_specification() {
    let lab = Lab::new();
    let dockerfile =
        "FROM busybox\nENV A=b\nEXPOSE 80\nVOLUME /v\nLABEL l=m\nRUN echo x >/x\nCMD [\"sh\"]\n";
    fs::create_dir(lab.dir().join("context")).unwrap();
    fs::write(lab.dir().join("context/Dockerfile"), dockerfile).unwrap();
    let context = lab.dir().join("context").to_string_lossy().into_owned();
    lab.estiba(&["build", "-q", "-t", "made:1", &context]).ok();
    let (tar, into) = (lab.dir().join("all.tar"), lab.dir().join("layout"));
    fs::create_dir(&into).unwrap();
    let (tar, out) = (tar.to_string_lossy().into_owned(), into.to_string_lossy().into_owned());
    lab.estiba(&["save", "-o", &tar, "busybox", "made:1"]).ok();
    lab.in_network(&["tar", "-xf", &tar, "-C", &out]).ok();
    assert_eq!(read(&into.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let top = read(&into.join("index.json"));
    index(&top).unwrap();
    assert_eq!(top["manifests"].as_array().unwrap().len(), 2);
    top["manifests"].as_array().unwrap().iter().for_each(|e| reach(&into.join("blobs/sha256"), e));
}

/// A registry of ours that ends with the test.
struct Registry(Option<Session>);

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.signal(rustix::process::Signal::KILL);
            session.finish();
        }
    }
}

#[test]
fn what_registries_get_is_by_the_specification() {
    let lab = Lab::new();
    let program = binaries().join("estiba").to_string_lossy().into_owned();
    let root = lab.dir().join("registry").to_string_lossy().into_owned();
    let words = [&program, "registry", "serve", "--listen", "127.0.0.1:5000", "--root", &root];
    let _registry = Registry(Some(lab.start_in_network(&words)));
    let health = ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:5000/healthz"];
    eventually("the registry answers", || lab.in_network(&health).status == 0);
    let get = |path: &str| -> Value {
        let url = format!("http://127.0.0.1:5000/v2/x/{path}");
        let accept = format!("Accept: {INDEX}, {MANIFEST}");
        serde_json::from_str(lab.in_network(&["curl", "-sf", "-H", &accept, &url]).ok()).unwrap()
    };
    lab.estiba(&["tag", "busybox", "127.0.0.1:5000/x:1"]).ok();
    lab.estiba(&["push", "-q", "127.0.0.1:5000/x:1"]).ok();
    let image = get("manifests/1");
    manifest(&image).unwrap();
    config(&get(&format!("blobs/{}", image["config"]["digest"].as_str().unwrap()))).unwrap();
    let attached = lab.estiba(&["artifact", "attach", "-a", "a=b", "127.0.0.1:5000/x:1"]);
    let digest = attached.ok().split_once('@').unwrap().1.to_owned();
    let artifact = get(&format!("manifests/{digest}"));
    manifest(&artifact).unwrap();
    let subject = artifact["subject"]["digest"].as_str().unwrap();
    let referrers = get(&format!("referrers/{subject}"));
    index(&referrers).unwrap();
    assert_eq!(referrers["manifests"][0]["digest"], digest);
    lab.estiba(&[
        "buildx",
        "imagetools",
        "create",
        "--annotation",
        "index:a=b",
        "-t",
        "127.0.0.1:5000/x:2",
        "127.0.0.1:5000/x:1",
    ])
    .ok();
    let made = get("manifests/2");
    index(&made).unwrap();
}

#[test]
fn the_rules_find_what_is_wrong() {
    use serde_json::json;
    let sum = format!("sha256:{}", "a".repeat(64));
    let part = json!({"mediaType": CONFIG, "digest": sum, "size": 2});
    let good = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": part, "layers": [part]});
    manifest(&good).unwrap();
    for (member, bad) in [
        ("schemaVersion", json!(1)),
        ("mediaType", json!(INDEX)),
        ("config", json!({"mediaType": "x", "digest": sum, "size": 2})),
        ("config", json!({"mediaType": CONFIG, "digest": "sha256:A", "size": 2})),
        ("config", json!({"mediaType": CONFIG, "digest": sum, "size": -1})),
        ("layers", json!([])),
        ("manifests", json!([])),
        ("annotations", json!({"a": 1})),
    ] {
        let mut value = good.clone();
        value[member] = bad;
        assert!(manifest(&value).is_err(), "{member}: {value}");
    }
    let rootfs = json!({"type": "layers", "diff_ids": [sum]});
    let good = json!({"os": "linux", "architecture": "amd64", "rootfs": rootfs, "config": {}});
    config(&good).unwrap();
    for (member, bad) in [
        ("os", json!("")),
        ("created", json!("yesterday")),
        ("history", json!([{"empty_layer": true}])),
        ("config", json!({"Env": "A=b"})),
        ("config", json!({"Volumes": {"/v": 1}})),
    ] {
        let mut value = good.clone();
        value[member] = bad;
        assert!(config(&value).is_err(), "{member}: {value}");
    }
}
