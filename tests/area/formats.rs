//! What we write, held against the image specification: every document of archives and of what is
//! pushed, with the rules of its JSON schemas (`schema/*.json` of image-spec 1.1) as code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Output};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// `defs-descriptor.json#/definitions/mediaType`: `type/subtype`, each a name of RFC 6838.
fn is_media_type(text: &str) -> bool {
    let name = |part: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
        (1..=127).contains(&part.len())
            && part.as_bytes()[0].is_ascii_alphanumeric()
            && part.bytes().all(inner)
    };
    text.split_once('/').is_some_and(|(kind, sub)| name(kind) && name(sub))
}

/// `content-descriptor.json`: digest, with the lengths that the registered algorithms have.
fn is_digest(text: &str) -> bool {
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match text.split_once(':') {
        Some(("sha256", rest)) => hex(rest, 64),
        Some(("sha512", rest)) => hex(rest, 128),
        _ => false,
    }
}

/// `config-schema.json`: date-time of RFC 3339.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    bytes.len() >= 20
        && digits(0..4)
        && bytes[4] == b'-'
        && digits(5..7)
        && bytes[7] == b'-'
        && digits(8..10)
        && bytes[10] == b'T'
        && digits(11..13)
        && bytes[13] == b':'
        && digits(14..16)
        && bytes[16] == b':'
        && digits(17..19)
        && (text.ends_with('Z') || text[19..].contains(['+', '-']))
}

/// Members of an object: required ones are there, and each has its type.
struct Object<'a>(&'a str, &'a serde_json::Map<String, Value>);

impl<'a> Object<'a> {
    fn of(what: &'a str, value: &'a Value) -> Self {
        Self(what, value.as_object().unwrap_or_else(|| panic!("{what}: no object: {value}")))
    }

    fn text(&self, name: &str, required: bool, fits: impl Fn(&str) -> bool) {
        match self.1.get(name) {
            None => assert!(!required, "{}: no {name}", self.0),
            Some(value) => {
                let text = value.as_str().unwrap_or_else(|| panic!("{}: {name}: {value}", self.0));
                assert!(fits(text), "{}: {name}: {text:?}", self.0);
            }
        }
    }

    fn number(&self, name: &str) -> i64 {
        let value = self.1.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.0));
        value.as_i64().unwrap_or_else(|| panic!("{}: {name}: {value}", self.0))
    }

    fn list(&self, name: &str, required: bool) -> &'a [Value] {
        match self.1.get(name) {
            None => {
                assert!(!required, "{}: no {name}", self.0);
                &[]
            }
            Some(value) => value.as_array().unwrap_or_else(|| panic!("{}: {name}", self.0)),
        }
    }

    fn texts(&self, name: &str) {
        assert!(self.list(name, false).iter().all(Value::is_string), "{}: {name}", self.0);
    }

    /// `defs.json#/definitions/mapStringString` and `mapStringObject`.
    fn map(&self, name: &str, fits: impl Fn(&Value) -> bool) {
        let Some(value) = self.1.get(name) else { return };
        let map = value.as_object().unwrap_or_else(|| panic!("{}: {name}", self.0));
        assert!(map.values().all(fits), "{}: {name}: {value}", self.0);
    }
}

fn descriptor(value: &Value) {
    let object = Object::of("descriptor", value);
    object.text("mediaType", true, is_media_type);
    object.text("digest", true, is_digest);
    assert!(object.number("size") >= 0);
    object.texts("urls");
    object.text("artifactType", false, is_media_type);
    object.map("annotations", Value::is_string);
    if let Some(platform) = value.get("platform") {
        let platform = Object::of("platform", platform);
        platform.text("architecture", true, |_| true);
        platform.text("os", true, |_| true);
        platform.text("os.version", false, |_| true);
        platform.texts("os.features");
        platform.text("variant", false, |_| true);
    }
}

fn index(value: &Value) {
    let object = Object::of("index", value);
    assert_eq!(object.number("schemaVersion"), 2);
    object.text("mediaType", false, |text| text == INDEX);
    object.map("annotations", Value::is_string);
    object.list("manifests", true).iter().for_each(descriptor);
}

fn manifest(value: &Value) {
    let object = Object::of("manifest", value);
    assert_eq!(object.number("schemaVersion"), 2);
    object.text("mediaType", false, |text| text == MANIFEST);
    object.text("artifactType", false, is_media_type);
    object.map("annotations", Value::is_string);
    descriptor(value.get("config").unwrap_or_else(|| panic!("no config: {value}")));
    object.list("layers", true).iter().for_each(descriptor);
}

fn config(value: &Value) {
    let object = Object::of("config", value);
    object.text("created", false, is_time);
    object.text("author", false, |_| true);
    object.text("architecture", true, |text| !text.is_empty());
    object.text("os", true, |text| !text.is_empty());
    object.text("variant", false, |_| true);
    let files = Object::of("rootfs", value.get("rootfs").unwrap());
    files.text("type", true, |text| text == "layers");
    let layers = files.list("diff_ids", true);
    assert!(layers.iter().all(|id| id.as_str().is_some_and(is_digest)), "{value}");
    let mut made = 0;
    for step in object.list("history", false) {
        let step = Object::of("history", step);
        step.text("created", false, is_time);
        for name in ["author", "created_by", "comment"] {
            step.text(name, false, |_| true);
        }
        let empty = step.1.get("empty_layer").map(|flag| flag.as_bool().unwrap());
        made += usize::from(empty != Some(true));
    }
    assert!(made == 0 || made == layers.len(), "history and layers: {value}");
    let Some(run) = value.get("config") else { return };
    let run = Object::of("config.config", run);
    for name in ["User", "WorkingDir", "StopSignal"] {
        run.text(name, false, |_| true);
    }
    for name in ["Env", "Entrypoint", "Cmd"] {
        run.texts(name);
    }
    for name in ["ExposedPorts", "Volumes"] {
        run.map(name, Value::is_object);
    }
    run.map("Labels", Value::is_string);
    let pair = |value: &Value| value.as_str().is_some_and(|text| text.contains('='));
    assert!(run.list("Env", false).iter().all(pair), "Env: {value}");
}

/// An unpacked layout: every document of it, and every blob by its digest.
struct Layout(PathBuf);

impl Layout {
    fn check(&self) {
        let layout = self.json("oci-layout");
        assert_eq!(layout["imageLayoutVersion"], "1.0.0");
        let top = self.json("index.json");
        index(&top);
        for entry in top["manifests"].as_array().unwrap() {
            self.follow(entry);
        }
    }

    fn follow(&self, entry: &Value) {
        let digest = entry["digest"].as_str().unwrap();
        let path = format!("blobs/{}", digest.replace(':', "/"));
        let file = self.0.join(&path);
        assert_eq!(fs::metadata(&file).unwrap().len(), entry["size"].as_u64().unwrap(), "{path}");
        let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
        assert!(sum.stdout.starts_with(digest.split_once(':').unwrap().1.as_bytes()), "{path}");
        match entry["mediaType"].as_str().unwrap() {
            INDEX => {
                let own = self.json(&path);
                index(&own);
                own["manifests"].as_array().unwrap().iter().for_each(|entry| self.follow(entry));
            }
            MANIFEST => {
                let own = self.json(&path);
                manifest(&own);
                self.follow(&own["config"]);
                own["layers"].as_array().unwrap().iter().for_each(|entry| self.follow(entry));
            }
            CONFIG => config(&self.json(&path)),
            layer => {
                assert!(layer.starts_with("application/vnd.oci.image.layer.v1.tar"), "{layer}")
            }
        }
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.join(path)).unwrap()).unwrap()
    }
}

#[test]
fn the_rules_refuse_what_the_schemas_refuse() {
    for bad in ["", "x", "x/", "/x", "text/pl ain", "-a/b"] {
        assert!(!is_media_type(bad), "{bad:?}");
    }
    for bad in ["", "sha256:", "sha256:A", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        assert!(!is_digest(bad), "{bad:?}");
    }
    for bad in ["2024-01-01", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00"] {
        assert!(!is_time(bad), "{bad:?}");
    }
    assert!(is_time("2024-01-01T00:00:00.123456789Z") && is_time("2024-01-01T00:00:00+01:00"));
}

/// Images made in every way there is: imported, committed, built by Dockerfile.
fn images(lab: &Lab) -> Vec<String> {
    let id = lab.estiba(&["run", "-d", "busybox", "sh", "-c", "echo made > /made"]);
    lab.estiba(&["wait", id.ok()]).ok();
    let changes =
        ["-c", "ENV A=b", "-c", "EXPOSE 80/tcp", "-c", "VOLUME /v", "-a", "me", "-m", "x"];
    lab.estiba(&[&["commit"][..], &changes, &[id.ok(), "committed:1"]].concat()).ok();
    lab.estiba(&["rm", id.ok()]).ok();
    let context = lab.dir().join("context");
    fs::create_dir(&context).unwrap();
    let text = "FROM busybox\nRUN echo one > /one\nENV X=y\nLABEL a=b\nCOPY Dockerfile /two\n\
                HEALTHCHECK CMD true\nSTOPSIGNAL SIGINT\nUSER 1:1\nWORKDIR /w\nCMD [\"sh\"]\n";
    fs::write(context.join("Dockerfile"), text).unwrap();
    lab.estiba(&["build", "-q", "-t", "built:1", &context.to_string_lossy()]).ok();
    ["busybox:latest", "committed:1", "built:1"].map(str::to_owned).to_vec()
}

#[test]
fn archives_and_pushed_images_are_as_specified() {
    let lab = Lab::new();
    let names = images(&lab);
    let tar = lab.dir().join("all.tar").to_string_lossy().into_owned();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    lab.estiba(&[&["save", "-o", &tar][..], &all].concat()).ok();
    let unpacked = lab.dir().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    lab.in_network(&["tar", "-xf", &tar, "-C", &unpacked.to_string_lossy()]).ok();
    Layout(unpacked).check();

    let root = lab.dir().join("registry").to_string_lossy().into_owned();
    let program = lab::binaries().join("estiba").to_string_lossy().into_owned();
    let serve = [&program, "registry", "serve", "--listen", "127.0.0.1:5000", "--root", &root];
    let registry = lab.start_in_network(&serve);
    let probe = ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:5000/healthz"];
    lab::eventually("the registry answers", || lab.in_network(&probe).status == 0);
    for (at, name) in names.iter().enumerate() {
        let remote = format!("localhost:5000/pushed/n{at}:1");
        lab.estiba(&["tag", name, &remote]).ok();
        lab.estiba(&["push", "-q", &remote]).ok();
        let layout = lab.dir().join(format!("copied{at}"));
        copied(&lab, &remote, &layout).ok();
        Layout(layout).check();
    }
    registry.signal(rustix::process::Signal::KILL);
    registry.finish();
}

fn copied(lab: &Lab, remote: &str, layout: &Path) -> Output {
    let home = format!("HOME={}", lab.dir().display());
    let (from, to) = (format!("docker://{remote}"), format!("oci:{}:x", layout.display()));
    let words = ["copy", "-q", "--preserve-digests", "--src-tls-verify=false", &from, &to];
    lab.in_network(&[&["env", &home, "skopeo", "--insecure-policy"], &words[..]].concat())
}
