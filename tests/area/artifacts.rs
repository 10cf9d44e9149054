//! What registries keep besides images: artifacts by name and beside images, on a registry of ours
//! and on one from before referrers; attestations that come and go with an index.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Session, binaries, eventually};
use std::fs;

/// A registry in the lab's network, that ends with the test.
struct Registry(Option<Session>);

impl Registry {
    /// Ours.
    fn own(lab: &Lab, port: u16) -> Self {
        let program = binaries().join("estiba").to_string_lossy().into_owned();
        let root = lab.dir().join(format!("own-{port}")).to_string_lossy().into_owned();
        let listen = format!("127.0.0.1:{port}");
        Self::run(lab, port, &[&program, "registry", "serve", "--listen", &listen, "--root", &root])
    }

    /// Debian's, which lists no referrers.
    fn debian(lab: &Lab, port: u16) -> Self {
        let (dir, config) = (lab.dir().join("debian"), lab.dir().join("debian.yml"));
        fs::create_dir(&dir).unwrap();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:{port}\n",
            dir.display()
        );
        fs::write(&config, text).unwrap();
        Self::run(lab, port, &["docker-registry", "serve", &config.to_string_lossy()])
    }

    fn run(lab: &Lab, port: u16, words: &[&str]) -> Self {
        let session = lab.start_in_network(words);
        let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        eventually("the port is open", || lab.in_network(&["bash", "-c", &probe]).status == 0);
        Self(Some(session))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.signal(rustix::process::Signal::KILL);
            session.finish();
        }
    }
}

fn digest_in(output: &str) -> String {
    let at = output.rfind("sha256:").unwrap_or_else(|| panic!("no digest in {output}"));
    output[at..at + 71].to_owned()
}

#[test]
fn artifacts_lie_beside_images_on_every_registry() {
    let lab = Lab::new();
    let _registries = [Registry::own(&lab, 5000), Registry::debian(&lab, 5001)];
    let sbom = lab.dir().join("sbom.json");
    fs::write(&sbom, "{\"packages\": []}").unwrap();
    let sbom = sbom.to_string_lossy().into_owned();
    for port in [5000, 5001] {
        let image = format!("localhost:{port}/lab/web:1");
        lab.estiba(&["tag", "busybox", &image]).ok();
        let pushed = digest_in(lab.estiba(&["push", &image]).ok());
        assert_eq!(lab.estiba(&["artifact", "ls", "-q", &image]).ok(), "", "{port}");

        let typed = format!("{sbom}:application/spdx+json");
        let kind = "application/vnd.lab.sbom";
        let attach =
            ["artifact", "attach", "--artifact-type", kind, "-a", "by=lab", &image, &typed];
        let first = digest_in(lab.estiba(&attach).ok());
        // Saying it twice changes nothing.
        assert_eq!(digest_in(lab.estiba(&attach).ok()), first);
        let note = ["artifact", "attach", "-a", "approved=yes", &image];
        let second = digest_in(lab.estiba(&note).ok());
        let mut listed: Vec<String> = lab
            .estiba(&["image", "referrers", "-q", &image])
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        listed.sort();
        let mut wanted = vec![first.clone(), second];
        wanted.sort();
        assert_eq!(listed, wanted, "{port}");
        let form = "{{.Type}} {{.Digest}} {{.Subject}} {{.Annotation \"by\"}}";
        let filtered =
            lab.estiba(&["artifact", "ls", "--artifact-type", kind, "--format", form, &image]);
        assert_eq!(filtered.ok(), format!("{kind} {first} {pushed} lab"), "{port}");

        let into = lab.dir().join(format!("out-{port}"));
        let by_digest = format!("localhost:{port}/lab/web@{first}");
        lab.estiba(&["artifact", "pull", "-q", "-o", &into.to_string_lossy(), &by_digest]).ok();
        assert_eq!(fs::read_to_string(into.join("sbom.json")).unwrap(), "{\"packages\": []}");
        // The image is what it was.
        assert_eq!(digest_in(lab.estiba(&["push", &image]).ok()), pushed);
    }
}

#[test]
fn files_travel_under_a_name() {
    let lab = Lab::new();
    let _registry = Registry::own(&lab, 5000);
    let (one, two) = (lab.dir().join("one.txt"), lab.dir().join("two.bin"));
    fs::write(&one, "first").unwrap();
    fs::write(&two, vec![7; 3_000_000]).unwrap();
    let name = "localhost:5000/lab/files:1";
    let (first, second) = (one.to_string_lossy().into_owned(), two.to_string_lossy().into_owned());
    let pushed = lab.estiba(&["artifact", "push", name, &format!("{first}:text/plain"), &second]);
    let digest = digest_in(pushed.ok());
    let document = lab.in_network(&[
        "curl",
        "-sf",
        "-H",
        "Accept: application/vnd.oci.image.manifest.v1+json",
        "http://localhost:5000/v2/lab/files/manifests/1",
    ]);
    let manifest: serde_json::Value = serde_json::from_str(document.ok()).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], "text/plain");
    assert_eq!(manifest["layers"][1]["annotations"]["org.opencontainers.image.title"], "two.bin");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    let into = lab.dir().join("out");
    let shown = lab.estiba(&["artifact", "pull", "-o", &into.to_string_lossy(), name]);
    assert_eq!(digest_in(shown.ok()), digest);
    assert_eq!(fs::read(into.join("one.txt")).unwrap(), b"first");
    assert!(fs::read(into.join("two.bin")).unwrap() == vec![7; 3_000_000]);
    // It is no image, and says so.
    lab.estiba(&["pull", name]).fails(1, "not an image");
    lab.estiba(&["artifact", "push", name, "/nowhere"]).fails(1, "/nowhere");
    lab.estiba(&["artifact", "attach", name]).fails(1, "nothing to attach");
}

/// An index of busybox and a statement about it, as builders make them, put together by hand.
fn attested(lab: &Lab, script: &str) -> String {
    let path = lab.dir().join("attest.py");
    fs::write(&path, script).unwrap();
    lab.in_network(&["python3", &path.to_string_lossy()]).ok().to_owned()
}

const ATTEST: &str = r#"
import hashlib, json, urllib.request
BASE = "http://localhost:5000/v2/lab/attested/"
def call(method, url, body=None, kind="application/octet-stream"):
    headers = {"Content-Type": kind, "Accept": "application/vnd.oci.image.manifest.v1+json"}
    ask = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(ask) as answer: return answer.read(), answer.headers
def blob(body, kind):
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    place = call("POST", BASE + "blobs/uploads/", b"")[1]["Location"]
    if place.startswith("/"): place = "http://localhost:5000" + place
    call("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, body)
    return {"mediaType": kind, "digest": digest, "size": len(body)}
def put(name, document, kind):
    body = json.dumps(document).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    call("PUT", BASE + "manifests/" + (name or digest), body, kind)
    return {"mediaType": kind, "digest": digest, "size": len(body)}
M, I = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
body, headers = call("GET", BASE + "manifests/plain")
image = {"mediaType": M, "digest": headers["Docker-Content-Digest"], "size": len(body),
         "platform": {"os": "linux", "architecture": "amd64"}}
SLSA = "https://slsa.dev/provenance/v0.2"
statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": SLSA,
             "subject": [{"name": "_", "digest": {"sha256": image["digest"][7:]}}],
             "predicate": {"builder": {"id": "lab"}}}
layer = blob(json.dumps(statement).encode(), "application/vnd.in-toto+json")
layer["annotations"] = {"in-toto.io/predicate-type": SLSA}
nothing = {"architecture": "unknown", "os": "unknown", "config": {},
           "rootfs": {"type": "layers", "diff_ids": []}}
config = blob(json.dumps(nothing).encode(),
              "application/vnd.oci.image.config.v1+json")
about = put(None, {"schemaVersion": 2, "mediaType": M, "config": config, "layers": [layer]}, M)
about["platform"] = {"os": "unknown", "architecture": "unknown"}
about["annotations"] = {"vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": image["digest"]}
index = put("1", {"schemaVersion": 2, "mediaType": I, "manifests": [image, about]}, I)
print(index["digest"], about["digest"])
"#;

#[test]
fn attestations_come_and_go_with_their_index() {
    let lab = Lab::new();
    let _registries = [Registry::own(&lab, 5000), Registry::own(&lab, 5001)];
    let plain = "localhost:5000/lab/attested:plain";
    lab.estiba(&["tag", "busybox", plain]).ok();
    lab.estiba(&["push", "-q", plain]).ok();
    let made = attested(&lab, ATTEST);
    let (index, about) = made.split_once(' ').unwrap();
    lab.estiba(&["rmi", "-f", plain, "busybox"]).ok();
    let name = "localhost:5000/lab/attested:1";
    lab.estiba(&["pull", "-q", name]).ok();

    let listed = lab.estiba(&["image", "referrers", "--format", "{{.Type}} {{.Digest}}", name]);
    assert_eq!(listed.ok(), format!("attestation-manifest {about}"));
    let ask = |query: &str| {
        let socket = lab.socket().to_string_lossy().into_owned();
        let url = format!("http://d/v1.52/images/{}/attestations{query}", name.replace('/', "%2F"));
        let said = lab.in_network(&["curl", "-sf", "--unix-socket", &socket, &url]);
        serde_json::from_str::<serde_json::Value>(said.ok()).unwrap()
    };
    let slsa = "https://slsa.dev/provenance/v0.2";
    let statements = ask("");
    assert_eq!(statements[0]["PredicateType"], slsa, "{statements}");
    assert_eq!(statements[0].get("Statement"), None);
    assert_eq!(ask("?statement=1")[0]["Statement"]["predicate"]["builder"]["id"], "lab");
    assert_eq!(ask("?type=https%3A%2F%2Fspdx.dev%2FDocument"), serde_json::json!([]));

    // Elsewhere, all of it is sent; nothing is left to fetch it from.
    let there = "localhost:5001/other/place:1";
    lab.estiba(&["tag", name, there]).ok();
    assert_eq!(digest_in(lab.estiba(&["push", there]).ok()), index);
    let kept = lab.estiba(&["image", "referrers", "--format", "{{.Digest}}", there]);
    assert_eq!(kept.ok(), about);
    // In an archive too, whole: what comes out of it is what was pulled, digest by digest.
    let archive = lab.dir().join("attested.tar").to_string_lossy().into_owned();
    lab.estiba(&["save", "-o", &archive, name]).ok();
    lab.estiba(&["rmi", "-f", name, there]).ok();
    lab.estiba(&["image", "prune", "-af"]).ok();
    lab.estiba(&["load", "-q", "-i", &archive]).ok();
    let loaded = lab.estiba(&["image", "referrers", "--format", "{{.Digest}}", name]);
    assert_eq!(loaded.ok(), about);
    let third = "localhost:5001/third/place:1";
    lab.estiba(&["tag", name, third]).ok();
    assert_eq!(digest_in(lab.estiba(&["push", third]).ok()), index);
    let again = lab.dir().join("again.tar").to_string_lossy().into_owned();
    lab.estiba(&["save", "-o", &again, name]).ok();
    assert!(fs::read(&archive).unwrap() == fs::read(&again).unwrap(), "the archives differ");
    // It goes with the image.
    lab.estiba(&["rmi", "-f", name, third]).ok();
    lab.estiba(&["image", "prune", "-af"]).ok();
    let blobs = lab.data_root().join("blobs/sha256");
    let left: Vec<_> = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn system_df_is_what_du_says() {
    let lab = Lab::new();
    let _registry = Registry::own(&lab, 5000);
    // Layers in both forms, a writable layer, a log, a volume, and below a build cache.
    lab.estiba(&["tag", "busybox", "localhost:5000/x:1"]).ok();
    lab.estiba(&["push", "-q", "localhost:5000/x:1"]).ok();
    let script = "head -c 9000000 /dev/urandom >/v/a; head -c 7000000 /dev/urandom >/b; \
                  for n in $(seq 20000); do echo a line of the log, number $n; done";
    lab.estiba(&["run", "--name", "writer", "-v", "data:/v", "busybox", "sh", "-c", script]).ok();
    let context = lab.dir().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("sent"), vec![1; 3_000_000]).unwrap();
    let text = "FROM busybox\nCOPY sent /sent\nRUN head -c 6000000 /dev/urandom >/made\n\
                RUN --mount=type=cache,target=/c head -c 4000000 /dev/urandom >/c/kept\n";
    fs::write(context.join("Dockerfile"), text).unwrap();
    lab.estiba(&["build", "-q", "-t", "built", &context.to_string_lossy()]).ok();
    // Only the cache holds its layers now. And what nobody holds takes space all the same: a
    // download that was cut off, a layer that a crash left.
    lab.estiba(&["rmi", "built"]).ok();
    let orphan = |place: String, bytes: usize| {
        let path = lab.data_root().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![7; bytes]).unwrap();
    };
    orphan(format!("downloads/{}", "5".repeat(64)), 5_000_000);
    orphan(format!("layers/{}/fs/left", "4".repeat(64)), 4_000_000);
    let socket = lab.socket().to_string_lossy().into_owned();
    let url = "http://d/v1.52/system/df";
    let said = lab.in_network(&["curl", "-sf", "--unix-socket", &socket, url]);
    let said: serde_json::Value = serde_json::from_str(said.ok()).unwrap();
    let kinds = ["ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage"];
    let sum: i64 = kinds.iter().map(|kind| said[kind]["TotalSize"].as_i64().unwrap_or(0)).sum();
    // All there is but the records themselves.
    let root = lab.data_root();
    let root = root.to_string_lossy();
    let words = ["du", "-sB1", "--exclude=estiba.*", &root];
    let du = lab.in_network(&words);
    let du: i64 = du.ok().lines().last().unwrap().split('\t').next().unwrap().parse().unwrap();
    assert!((sum - du).abs() * 50 <= du, "system df says {sum}, du {du}: {said}");
    // All of it comes back.
    let before = du;
    lab.estiba(&["rm", "writer"]).ok();
    lab.estiba(&["volume", "rm", "data"]).ok();
    lab.estiba(&["system", "prune", "-af", "--volumes"]).ok();
    let du = lab.in_network(&words);
    let du: i64 = du.ok().lines().last().unwrap().split('\t').next().unwrap().parse().unwrap();
    assert!(du < before / 20, "{du} of {before} bytes are left");
}
