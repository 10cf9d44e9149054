//! What becomes of builds: caches that others take up, layouts, archives and indexes, what is said
//! about an image, and that none of it holds a secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Output, Server, Setup, eventually, text};
use serde_json::Value;
use std::path::Path;

/// A value that must not be found anywhere but in the step that asked for it.
const CANARY: &str = "canary-5b1f2c9e";

/// How many steps of a build came from a cache.
fn cached(out: &Output) -> usize {
    assert_eq!(out.status, 0, "{out:?}");
    out.stderr.lines().filter(|line| line.ends_with(" CACHED")).count()
}

/// Everything that the builder and the store remember, removed.
fn forget(lab: &Lab, images: &[&str]) {
    for image in images {
        lab.estiba(&["rmi", "-f", image]).ok();
    }
    lab.estiba(&["builder", "prune", "-af"]).ok();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A document of an OCI layout.
fn blob(layout: &Path, digest: &str) -> Value {
    json(&layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap()))
}

/// A stage that the result only takes a file of, and a random value by which a step that ran again
/// is known.
const STAGES: &str = "FROM busybox AS make\n\
    COPY in /in\n\
    RUN cat /in > /made; head -c 16 /dev/urandom | od -An -tx1 >> /made\n\
    FROM busybox\n\
    COPY --from=make /made /made\n\
    RUN head -c 16 /dev/urandom | od -An -tx1 > /own\n";

fn values(lab: &Lab, image: &str) -> String {
    lab.estiba(&["run", "--rm", image, "cat", "/made", "/own"]).ok().to_owned()
}

#[test]
fn a_cache_in_a_directory_is_taken_up() {
    let lab = Lab::new();
    let dir = lab.context(&[("Dockerfile", STAGES), ("in", "one\n")]);
    let cache = lab.dir().join("cache");
    let to = format!("type=local,dest={},mode=max", text(&cache));
    let from = format!("type=local,src={}", text(&cache));
    let first = lab.build(&dir, &["-t", "first", "--cache-to", &to]);
    assert_eq!(cached(&first), 0);
    let want = values(&lab, "first");
    forget(&lab, &["first"]);
    let again = lab.build(&dir, &["-t", "again", "--cache-from", &from]);
    assert_eq!(cached(&again), 4, "{again:?}");
    assert_eq!(values(&lab, "again"), want);
    // What was imported is this node's own from now on.
    lab.build(&dir, &["-t", "own"]).ok();
    assert_eq!(values(&lab, "own"), want);
    // The documents are BuildKit's.
    let index = json(&cache.join("index.json"));
    let manifest = blob(&cache, index["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    let config = blob(&cache, manifest["config"]["digest"].as_str().unwrap());
    assert!(config["records"].as_array().unwrap().len() >= 4, "{config}");
    assert!(config["layers"][0]["annotations"]["diffID"].is_string(), "{config}");
    // New content is no hit, whatever the cache says.
    std::fs::write(dir.join("in"), "two\n").unwrap();
    forget(&lab, &["again", "own"]);
    let changed = lab.build(&dir, &["-t", "changed", "--cache-from", &from]);
    assert_eq!(cached(&changed), 0);
    assert!(values(&lab, "changed").starts_with("two\n"));
}

#[test]
fn a_cache_in_a_registry_is_taken_up() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let dir = lab.context(&[("Dockerfile", STAGES), ("in", "one\n")]);
    let name = "127.0.0.1:5000/cache:c";
    for form in ["image-manifest=true", "image-manifest=false,oci-mediatypes=true,compression=zstd"]
    {
        let to = format!("type=registry,ref={name},mode=max,{form}");
        lab.build(&dir, &["-t", "first", "--cache-to", &to]).ok();
        let want = values(&lab, "first");
        forget(&lab, &["first"]);
        let from = format!("type=registry,ref={name}");
        let again = lab.build(&dir, &["-t", "again", "--cache-from", &from]);
        assert_eq!(cached(&again), 4, "{form}: {again:?}");
        assert_eq!(values(&lab, "again"), want, "{form}");
        forget(&lab, &["again"]);
    }
    // A cache that is not there costs nothing but a word.
    let from = "type=registry,ref=127.0.0.1:5000/none:c";
    assert_eq!(cached(&lab.build(&dir, &["-t", "none", "--cache-from", from])), 0);
    // One that cannot be written is an error, unless that is allowed.
    let to = "type=registry,ref=127.0.0.1:1/none:c";
    assert_ne!(lab.build(&dir, &["--cache-to", to]).status, 0);
    lab.build(&dir, &["--cache-to", &format!("{to},ignore-error=true")]).ok();
}

#[test]
fn an_inline_cache_is_taken_up() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let dir = lab.context(&[("Dockerfile", STAGES), ("in", "one\n")]);
    let name = "127.0.0.1:5000/inline:1";
    let inline = ["-t", name, "--push", "--build-arg", "BUILDKIT_INLINE_CACHE=1"];
    lab.build(&dir, &inline).ok();
    let want = values(&lab, name);
    forget(&lab, &[name]);
    // The stage before has no layers in the image, and need not run.
    let again = lab.build(&dir, &["-t", "again", "--cache-from", name]);
    assert_eq!(cached(&again), 4, "{again:?}");
    assert_eq!(values(&lab, "again"), want);
    // The classic protocol: an image that is here.
    forget(&lab, &["again"]);
    lab.estiba(&["pull", name]).ok();
    let here = lab.build(&dir, &["-t", "here", "--cache-from", name]);
    assert_eq!(cached(&here), 4, "{here:?}");
    assert_eq!(values(&lab, "here"), want);
}

#[test]
fn docker_20_takes_caches_up() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let dir = lab.context(&[("Dockerfile", STAGES), ("in", "one\n")]);
    let name = "127.0.0.1:5000/docker:1";
    let words = ["build", "-t", name, "--build-arg", "BUILDKIT_INLINE_CACHE=1", text(&dir)];
    let Some(built) = lab.buildkit_docker(&words, b"") else {
        eprintln!("skipped: no docker command line 20.10 here");
        return;
    };
    assert_eq!(built.status, 0, "{built:?}");
    lab.estiba(&["push", name]).ok();
    let want = values(&lab, name);
    forget(&lab, &[name]);
    let words = ["build", "-t", "again", "--cache-from", name, text(&dir)];
    let again = lab.buildkit_docker(&words, b"").unwrap();
    assert_eq!(again.status, 0, "{again:?}");
    assert_eq!(again.stderr.matches("CACHED").count(), 4, "{again:?}");
    assert_eq!(values(&lab, "again"), want);
}

const SIMPLE: &str = "FROM busybox\nCOPY f /f\nRUN date > /now; mkdir /d; ln -s f /d/l\n";

#[test]
fn several_outputs_of_one_build() {
    let lab = Lab::new();
    let dir = lab.context(&[("Dockerfile", SIMPLE), ("f", "x")]);
    let at = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    let outputs = [
        format!("type=oci,tar=false,dest={},compression=zstd,force-compression=true", at("layout")),
        format!("type=oci,dest={},annotation.a=b", at("image.tar")),
        format!("type=docker,dest={}", at("docker.tar")),
        format!("type=tar,dest={}", at("files.tar")),
        format!("type=local,dest={}", at("files")),
        "type=image,compression=uncompressed".to_owned(),
    ];
    let mut words = vec!["-t", "several:1", "-t", "several:2"];
    outputs.iter().for_each(|output| words.extend(["--output", output]));
    lab.build(&dir, &words).ok();
    let layout = lab.dir().join("layout");
    let index = json(&layout.join("index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    let manifest = blob(&layout, index["manifests"][0]["digest"].as_str().unwrap());
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    }
    assert_eq!(std::fs::read_to_string(lab.dir().join("files/f")).unwrap(), "x");
    let list = lab.in_network(&["tar", "-tf", &at("files.tar")]);
    assert!(list.ok().contains("d/l"), "{list:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "several:2", "cat", "/f"]).ok(), "x");
    // Every archive is an image again.
    for archive in ["image.tar", "docker.tar"] {
        lab.estiba(&["rmi", "-f", "several:1", "several:2"]).ok();
        let loaded = lab.estiba(&["load", "-i", &at(archive)]);
        assert!(loaded.ok().contains("several:1"), "{archive}: {loaded:?}");
        assert_eq!(lab.estiba(&["run", "--rm", "several:1", "cat", "/f"]).ok(), "x");
    }
    let listed = lab.in_network(&["tar", "-xOf", &at("image.tar"), "index.json"]);
    let index: Value = serde_json::from_str(listed.ok()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = lab.in_network(&["tar", "-xOf", &at("image.tar"), &format!("blobs/{digest}")]);
    assert!(manifest.ok().contains(r#""annotations":{"a":"b"}"#), "{manifest:?}");
}

/// What is only sent away leaves no image here, and takes none away that was here.
#[test]
fn a_build_for_elsewhere_leaves_no_image() {
    let lab = Lab::new();
    let dir = lab.context(&[("Dockerfile", SIMPLE), ("f", "x")]);
    let images = || lab.estiba(&["images", "-aq", "--no-trunc"]).ok().to_owned();
    let send = |kind: &str| {
        let out = format!("type={kind},dest={}", text(&lab.dir().join(format!("{kind}.tar"))));
        lab.build(&dir, &["-t", "elsewhere:1", "-o", &out]).ok();
    };
    let before = images();
    ["oci", "docker", "tar"].into_iter().for_each(send);
    assert_eq!(images(), before);
    let loaded = lab.estiba(&["load", "-i", text(&lab.dir().join("oci.tar"))]);
    assert!(loaded.ok().contains("elsewhere:1"), "{loaded:?}");
    lab.estiba(&["rmi", "elsewhere:1"]).ok();
    lab.build(&dir, &[]).ok();
    let with = images();
    assert_ne!(with, before);
    ["oci", "docker"].into_iter().for_each(send);
    assert_eq!(images(), with);
    // The cache lists what is left.
    assert!(lab.estiba(&["builder", "du"]).ok().contains("Total:"));
}

#[test]
fn the_same_build_at_another_time_gives_the_same_image() {
    let lab = Lab::new();
    let dockerfile =
        "FROM busybox\nCOPY f /f\nRUN mkdir /d; echo x > /d/x; touch /f\nCMD [\"a\"]\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("f", "x")]);
    let mut digests = Vec::new();
    for number in 0..2 {
        let meta = lab.dir().join(format!("meta{number}"));
        let words = ["-t", "same", "--no-cache", "--metadata-file", text(&meta)];
        let output = format!("type=oci,rewrite-timestamp=true,dest={}/o.tar", lab.dir().display());
        let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--output", &output];
        lab.build(&dir, &[&words[..], &epoch].concat()).ok();
        digests.push(json(&meta)["containerimage.digest"].as_str().unwrap().to_owned());
        forget(&lab, &[]);
        // Another second, and so another time of whatever the step made.
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let begun = now().as_secs();
        eventually("the next second", || now().as_secs() > begun);
    }
    assert_eq!(digests[0], digests[1]);
}

/// Neither the daemon, nor its data, nor the time is in an image.
#[test]
fn two_daemons_build_the_same_image() {
    let labs = [Lab::new(), Lab::with(Setup { empty: true, ..Setup::default() })];
    let base = labs[0].dir().join("base.tar");
    labs[0].estiba(&["save", "-o", text(&base), "busybox"]).ok();
    labs[1].estiba(&["load", "-i", text(&base)]).ok();
    let dockerfile = "FROM busybox AS make\nCOPY f /f\nRUN mkdir /d; date > /d/x; ln /d/x /d/y; \
        mkfifo /d/p; adduser -D -H worker 2>/dev/null || echo worker:x:9:9::/: >> /etc/passwd; \
        echo > /d/x\nFROM busybox\nCOPY --from=make --chown=7:8 /d /d\nADD f /dir/\nUSER 7\n";
    let digests = labs.each_ref().map(|lab| {
        let dir = lab.context(&[("Dockerfile", dockerfile), ("f", "x")]);
        let (meta, out) = (lab.dir().join("meta"), lab.dir().join("o.tar"));
        let output = format!("type=oci,dest={},rewrite-timestamp=true", text(&out));
        let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--output", &output];
        lab.build(&dir, &[&["--metadata-file", text(&meta)], &epoch[..]].concat()).ok();
        json(&meta)["containerimage.digest"].as_str().unwrap().to_owned()
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn layouts_and_stages_are_contexts() {
    let lab = Lab::new();
    let base = lab.dockerfile("FROM busybox\nRUN echo from-layout > /l\n");
    let layout = lab.dir().join("base");
    let output = format!("type=oci,tar=false,dest={}", text(&layout));
    lab.build(&base, &["-t", "base:v1", "--output", &output]).ok();
    forget(&lab, &[]);
    let other = lab.context(&[("data", "from-dir")]);
    let dockerfile = "FROM base AS use\nFROM busybox AS stage\nRUN echo from-stage > /s\nFROM use\n\
        COPY --from=dir data /d\nCOPY --from=alias /s /s\nRUN cat /l /d /s > /all\n";
    let dir = lab.dockerfile(dockerfile);
    let contexts = [
        format!("base=oci-layout://{}:v1", text(&layout)),
        format!("dir={}", text(&other)),
        "alias=target:stage".to_owned(),
    ];
    let mut words = vec!["-t", "contexts"];
    contexts.iter().for_each(|context| words.extend(["--build-context", context]));
    lab.build(&dir, &words).ok();
    let all = lab.estiba(&["run", "--rm", "contexts", "cat", "/all"]);
    assert_eq!(all.ok(), "from-layout\nfrom-dirfrom-stage");
    let missing = format!("base=oci-layout://{}:v2", text(&layout));
    let refused = lab.build(&dir, &["--build-context", &missing]);
    assert!(refused.stderr.contains("no image with tag \"v2\""), "{refused:?}");
}

#[test]
fn stages_are_mounted_as_they_are() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox AS from\nRUN mkdir -p /a/b; echo 1 > /a/b/f; ln -s /a/b /link\n\
        FROM busybox\n\
        RUN --mount=from=from,target=/whole cat /whole/a/b/f > /r && ! touch /whole/x\n\
        RUN --mount=from=from,source=/link,target=/part cat /part/f >> /r\n\
        RUN --mount=from=from,source=/a/b/f,target=/file cat /file >> /r\n\
        RUN --mount=from=from,target=/rw,rw touch /rw/x && ls /rw/x >> /r\n\
        RUN --mount=from=from,target=/again test ! -e /again/x\n";
    let dir = lab.dockerfile(dockerfile);
    lab.build(&dir, &["-t", "mounted"]).ok();
    let made = lab.estiba(&["run", "--rm", "mounted", "sh", "-c", "cat /r; ls -d /whole /part"]);
    assert!(made.stdout.starts_with("1\n1\n1\n/rw/x"), "{made:?}");
    assert!(made.stderr.contains("/whole: No such file"), "{made:?}");
    let dockerfile = "FROM busybox AS from\nFROM busybox\n\
        RUN --mount=from=from,source=/none,target=/m true\n";
    let dir = lab.dockerfile(dockerfile);
    let refused = lab.build(&dir, &[]);
    assert!(refused.stderr.contains("\"/none\": not found"), "{refused:?}");
}

#[test]
fn an_index_of_platforms_is_pushed() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETARCH\n\
        RUN echo made for $TARGETARCH > /made\n\
        FROM scratch\nCOPY --from=make /made /made\n";
    let dir = lab.dockerfile(dockerfile);
    let name = "127.0.0.1:5000/multi:1";
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    lab.build(&dir, &[&["-t", name, "--push"], &platforms[..]].concat()).ok();
    let get = |path: &str| {
        let accept = "Accept: application/vnd.oci.image.index.v1+json, \
            application/vnd.oci.image.manifest.v1+json";
        let url = format!("http://127.0.0.1:5000/v2/multi/{path}");
        let body = lab.in_network(&["curl", "-sf", "-H", accept, &url]);
        serde_json::from_str::<Value>(body.ok()).unwrap()
    };
    let index = get("manifests/1");
    let of: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(of, ["amd64", "arm64"]);
    let arm = get(&format!("manifests/{}", index["manifests"][1]["digest"].as_str().unwrap()));
    let config = get(&format!("blobs/{}", arm["config"]["digest"].as_str().unwrap()));
    assert_eq!(config["architecture"], "arm64");
    // Files of each, in directories of their own.
    let out = lab.dir().join("out");
    let output = format!("type=local,dest={}", text(&out));
    lab.build(&dir, &[&["--output", &output], &platforms[..]].concat()).ok();
    let made = |name: &str| std::fs::read_to_string(out.join(name).join("made")).unwrap();
    assert_eq!(made("linux_amd64"), "made for amd64\n");
    assert_eq!(made("linux_arm64"), "made for arm64\n");
    // A step of a platform that does not run here says what is missing.
    let foreign = lab.dockerfile("FROM scratch\nCOPY Dockerfile /\nRUN [\"/x\"]\n");
    let refused = lab.build(&foreign, &["--platform", "linux/s390x"]);
    if !Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        assert!(refused.stderr.contains("qemu-user-static"), "{refused:?}");
    }
}

#[test]
fn secrets_stay_where_they_are_asked_for() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let dockerfile = "FROM busybox\n\
        RUN --mount=type=secret,id=file test $(wc -c < /run/secrets/file) = 15 && \
        stat -f -c %T /run/secrets/file | grep -q tmpfs\n\
        RUN --mount=type=secret,id=var,env=TOKEN test ${#TOKEN} = 15 && echo ok > /ok\n";
    let dir = lab.dockerfile(dockerfile);
    let file = lab.dir().join("secret");
    std::fs::write(&file, CANARY).unwrap();
    let (layout, cache) = (lab.dir().join("layout"), lab.dir().join("cache"));
    let secret = format!("id=file,src={}", text(&file));
    let second = format!("id=var,src={}", text(&file));
    let output = format!("type=oci,tar=false,dest={}", text(&layout));
    let to = format!("type=local,mode=max,compression=uncompressed,dest={}", text(&cache));
    let out = lab.build(
        &dir,
        &[
            "-t",
            "127.0.0.1:5000/secret:1",
            "--secret",
            &secret,
            "--secret",
            &second,
            "--output",
            &output,
            "--cache-to",
            &to,
            "--provenance=mode=max",
            "--sbom=true",
            "--build-arg",
            "SOURCE_DATE_EPOCH=1",
        ],
    );
    out.ok();
    assert!(!out.stderr.contains(CANARY) && !out.stdout.contains(CANARY), "{out:?}");
    std::fs::remove_file(&file).unwrap();
    let grep = lab.in_network(&["grep", "-rlF", CANARY, text(lab.dir())]);
    assert_eq!(grep.stdout, "", "the secret is in a file");
    // What is said about the image is beside it, and points to it.
    let index = json(&layout.join("index.json"));
    let index = blob(&layout, index["manifests"][0]["digest"].as_str().unwrap());
    let [image, about] = index["manifests"].as_array().unwrap().as_slice() else {
        panic!("{index}")
    };
    assert_eq!(about["annotations"]["vnd.docker.reference.digest"], image["digest"]);
    assert_eq!(about["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    let manifest = blob(&layout, about["digest"].as_str().unwrap());
    assert_eq!(manifest["subject"]["digest"], image["digest"]);
    let kinds: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["annotations"]["in-toto.io/predicate-type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"]);
    let statement = blob(&layout, manifest["layers"][1]["digest"].as_str().unwrap());
    let digest =
        format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap());
    assert_eq!(digest, image["digest"].as_str().unwrap());
    let args = &statement["predicate"]["invocation"]["parameters"]["args"];
    assert_eq!(args["build-arg:SOURCE_DATE_EPOCH"], "1");
    // A plain build pushes a plain manifest.
    let meta = lab.dir().join("meta");
    let words = ["-t", "127.0.0.1:5000/plain:1", "--push", "--metadata-file", text(&meta)];
    let plain = lab.dockerfile("FROM busybox\nRUN true\n");
    lab.build(&plain, &words).ok();
    let kind = &json(&meta)["containerimage.descriptor"]["mediaType"];
    assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
}

/// Documents of a registry are looked at and put together; no layer moves.
#[test]
fn documents_of_registries_are_put_together() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let name = |name: &str| format!("127.0.0.1:5000/parts/{name}:1");
    for platform in ["amd64", "arm64", "riscv64"] {
        let dockerfile = format!("FROM scratch\nCOPY Dockerfile /{platform}\n");
        let dir = lab.dockerfile(&dockerfile);
        let of = format!("linux/{platform}");
        lab.build(&dir, &["--platform", &of, "-t", &name(platform), "--push"]).ok();
    }
    let tools = |words: &[&str]| lab.estiba(&[&["buildx", "imagetools"], words].concat());
    let (one, two, three, both) = (name("amd64"), name("arm64"), name("riscv64"), name("both"));
    tools(&["create", "--dry-run", &one, &two]).ok();
    assert_ne!(tools(&["inspect", &both]).status, 0, "nothing was to be written");
    tools(&["create", "-t", &both, "--annotation", "index:who=me", &one, &two]).ok();
    let of = || {
        let raw = tools(&["inspect", "--raw", &both]).ok().to_owned();
        let index: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(index["annotations"]["who"], "me", "{raw}");
        let entries = index["manifests"].as_array().unwrap().clone();
        let named = entries.iter().map(|it| it["platform"]["architecture"].as_str().unwrap());
        named.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(), "amd64 arm64");
    let annotated = ["create", "--append", "-t", &both, "--annotation", "index:who=me", &three];
    tools(&annotated).ok();
    assert_eq!(of(), "amd64 arm64 riscv64");
    let shown = tools(&["inspect", &both]).ok().to_owned();
    assert!(shown.contains("application/vnd.oci.image.index.v1+json"), "{shown}");
    assert!(shown.contains("linux/riscv64"), "{shown}");
    assert!(tools(&["create", &one]).stderr.contains("at least one tag"));
    assert!(tools(&["create", "-t", &both]).stderr.contains("no sources"));
}
