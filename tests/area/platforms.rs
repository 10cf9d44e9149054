//! Images for several platforms: manifest lists from the command line, indexes that go from a
//! registry into the store and out again whole, archives of them, and deltas. Judges are the stock
//! command line, skopeo and umoci.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lab::{Lab, Session, Setup, archive, binaries, eventually};
use std::fs;
use std::path::Path;

const HOST: &str = "127.0.0.1:5000";

/// A registry of ours in the lab's network, that ends with the test.
struct Registry(Option<Session>);

impl Registry {
    fn start(lab: &Lab) -> Self {
        let program = binaries().join("estiba").to_string_lossy().into_owned();
        let root = lab.dir().join("registry").to_string_lossy().into_owned();
        let words = [&program, "registry", "serve", "--listen", HOST, "--root", &root];
        let session = lab.start_in_network(&words);
        let probe = ["curl", "-s", "-o", "/dev/null", &format!("http://{HOST}/healthz")];
        eventually("the registry answers", || lab.in_network(&probe).status == 0);
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

/// The stock command line in the lab's network, with a home of its own.
fn stock(lab: &Lab, arguments: &[&str]) -> Option<lab::Output> {
    let found = lab.in_network(&["sh", "-c", "docker --version"]);
    if !found.stdout.starts_with("Docker version 28.2") {
        println!("skipped: no Docker 28.2 here");
        return None;
    }
    let home = format!("HOME={}", lab.dir().join("stock").display());
    let engine = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    Some(lab.in_network(&[&["env", &home, &engine, "docker"], arguments].concat()))
}

fn skopeo(lab: &Lab, arguments: &[&str]) -> lab::Output {
    let home = format!("HOME={}", lab.dir().display());
    lab.in_network(&[&["env", &home, "skopeo", "--insecure-policy"], arguments].concat())
}

/// Digest of what a name stands for on the registry.
fn digest(lab: &Lab, name: &str) -> String {
    let url = format!("http://{HOST}/v2/{}", name.replacen(':', "/manifests/", 1));
    let accept = "Accept: application/vnd.oci.image.index.v1+json, \
                  application/vnd.docker.distribution.manifest.list.v2+json, \
                  application/vnd.oci.image.manifest.v1+json";
    let said = lab.in_network(&["curl", "-sfI", "-H", accept, &url]);
    let line = said.ok().lines().find(|l| l.to_lowercase().starts_with("docker-content-digest"));
    line.unwrap_or_else(|| panic!("no digest in {said:?}")).split(' ').nth(1).unwrap().to_owned()
}

/// `x:amd` and `x:arm` on the registry, and `x:multi` that stands for both.
fn multi(lab: &Lab) {
    let busybox = archive("busybox").to_string_lossy().into_owned();
    for (platform, tag) in [("linux/amd64", "amd"), ("linux/arm64/v8", "arm")] {
        let name = format!("{HOST}/x:{tag}");
        let message = format!("for {tag}");
        lab.estiba(&["import", "--platform", platform, "-m", &message, &busybox, &name]).ok();
        lab.estiba(&["push", "-q", &name]).ok();
    }
    let [list, amd, arm] = ["multi", "amd", "arm"].map(|tag| format!("{HOST}/x:{tag}"));
    lab.estiba(&["manifest", "create", &list, &amd, &arm]).ok();
    lab.estiba(&["manifest", "push", "--purge", &list]).ok();
    lab.estiba(&["rmi", &amd, &arm]).ok();
}

#[test]
fn manifest_lists_are_those_of_the_stock_command_line() {
    let lab = Lab::new();
    let _registry = Registry::start(&lab);
    multi(&lab);
    let [list, amd, arm] = ["list", "amd", "arm"].map(|tag| format!("{HOST}/x:{tag}"));
    let create = ["manifest", "create", "--insecure", &list, &amd, &arm];
    let annotate =
        ["manifest", "annotate", "--os-version", "1", "--os-features", "a,b", &list, &arm];
    let steps: [&[&str]; 12] = [
        &create,
        &create,
        &["manifest", "create", "--insecure", "--amend", &list, &amd],
        &annotate,
        &["manifest", "annotate", "--arch", "none", &list, &arm],
        &["manifest", "inspect", &list],
        &["manifest", "inspect", "-v", &list, &arm],
        &["manifest", "push", "--insecure", &list],
        &["manifest", "push", "--insecure", "--purge", &list],
        &["manifest", "inspect", "--insecure", "-v", &list],
        &["manifest", "inspect", "--insecure", &format!("{HOST}/x:none")],
        &["manifest", "rm", &list],
    ];
    let engine = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    let program = binaries().join("estiba").to_string_lossy().into_owned();
    for step in steps {
        let own = [format!("HOME={}", lab.dir().display()), engine.clone(), program.clone()];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let ours = lab.in_network(&[&["env"], &own[..], step].concat());
        let Some(theirs) = stock(&lab, step) else { return };
        assert_eq!(ours.stdout, theirs.stdout, "{step:?}");
        assert_eq!(ours.stderr.trim(), theirs.stderr.trim(), "{step:?}");
        assert_eq!(ours.status, theirs.status, "{step:?}");
        let files = |home: &Path| listing(&home.join(".docker/manifests"));
        assert_eq!(files(lab.dir()), files(&lab.dir().join("stock")), "{step:?}");
    }
}

/// Every file below a directory with its content.
fn listing(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(listing(&path)),
            false => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_index_comes_in_and_goes_out_whole() {
    let lab = Lab::new();
    let _registry = Registry::start(&lab);
    multi(&lab);
    let (name, index) = (format!("{HOST}/x:multi"), digest(&lab, "x:multi"));
    lab.estiba(&["pull", "-q", &name]).ok();
    let id = |words: &[&str]| {
        let all = [&["image", "inspect", "-f", "{{.Architecture}} {{.Id}}"], words].concat();
        lab.estiba(&all).ok().to_owned()
    };
    let amd = id(&[&name]);
    assert!(amd.starts_with("amd64"), "{amd}");
    lab.estiba(&["image", "inspect", "--platform", "linux/arm64", &name])
        .fails(1, "does not provide the specified platform (linux/arm64");
    // What is missing is said, and what is here goes out.
    let other = format!("{HOST}/part:1");
    lab.estiba(&["tag", &name, &other]).ok();
    let said = lab.estiba(&["push", &other]);
    assert!(said.ok().contains("Not all multiplatform-content is present"), "{said:?}");
    assert_ne!(digest(&lab, "part:1"), index);
    lab.estiba(&["rmi", &other]).ok();

    lab.estiba(&["pull", "-q", "--platform", "linux/arm64", &name]).ok();
    assert_eq!(id(&[&name]), amd, "the name stands for this machine's image");
    assert!(id(&["--platform", "linux/arm64", &name]).starts_with("arm64"));
    let listed = lab.estiba(&["images", "-q", &format!("{HOST}/x")]);
    assert_eq!(listed.ok().lines().count(), 1, "{listed:?}");
    assert_eq!(lab.estiba(&["images", "-f", "dangling=true", "-q"]).ok(), "");
    let tree = lab.estiba(&["images", "--tree", &format!("{HOST}/x")]);
    assert!(tree.ok().contains("├─ linux/amd64") && tree.ok().contains("└─ linux/arm64/v8"));
    let again = lab.estiba(&["pull", "--platform", "linux/arm64", &name]);
    assert!(again.ok().contains("Image is up to date"), "{again:?}");
    lab.estiba(&["image", "prune", "-f"]).ok();
    let made = lab.estiba(&["create", "--platform", "linux/arm64", &name, "true"]).ok().to_owned();
    let of = lab.estiba(&["inspect", "-f", "{{.Image}}", &made]).ok().to_owned();
    assert!(id(&["--platform", "linux/arm64", &name]).ends_with(&of));
    lab.estiba(&["rm", &made]).ok();

    let whole = format!("{HOST}/copy/of:2");
    lab.estiba(&["tag", &name, &whole]).ok();
    lab.estiba(&["push", "-q", &whole]).ok();
    assert_eq!(digest(&lab, "copy/of:2"), index);
    let one = format!("{HOST}/one:1");
    lab.estiba(&["tag", &name, &one]).ok();
    lab.estiba(&["push", "-q", "--platform", "linux/arm64", &one]).ok();
    let raw = skopeo(&lab, &["inspect", "--tls-verify=false", "--raw", &format!("docker://{one}")]);
    assert!(raw.ok().contains("\"layers\"") && !raw.ok().contains("\"manifests\""), "{raw:?}");
    let all = ["copy", "-q", "--all", "--src-tls-verify=false"];
    let layout = format!("oci:{}:x", lab.dir().join("layout").display());
    skopeo(&lab, &[&all[..], &[&format!("docker://{whole}"), &layout]].concat()).ok();

    let removed = lab.estiba(&["image", "rm", "--platform", "linux/arm64", &name]);
    assert!(removed.ok().contains("Deleted: "), "{removed:?}");
    lab.estiba(&["image", "rm", "--platform", "linux/amd64", &name]).fails(1, "only platform");
    lab.estiba(&["pull", "-q", "--platform", "linux/arm64", &name]).ok();
    lab.estiba(&["rmi", &name, &whole, &one]).ok();
    let left = lab.estiba(&["images", "-aq", "--no-trunc"]);
    assert_eq!(left.ok().lines().count(), 1, "busybox alone: {left:?}");
}

#[test]
fn archives_hold_all_platforms_or_one() {
    // Without an image that has the same layer: only what was pulled is here as it travels.
    let lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let _registry = Registry::start(&lab);
    multi(&lab);
    let (name, index) = (format!("{HOST}/x:multi"), digest(&lab, "x:multi"));
    for platform in ["linux/amd64", "linux/arm64"] {
        lab.estiba(&["pull", "-q", "--platform", platform, &name]).ok();
    }
    let path = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    let (all, one, layout) = (path("all.tar"), path("one.tar"), path("layout"));
    lab.estiba(&["save", "-o", &all, &name]).ok();
    lab.estiba(&["save", "-o", &one, "--platform", "linux/arm64", &name]).ok();
    lab.estiba(&["save", "-o", &path("none"), "--platform", "linux/s390x", &name])
        .fails(1, "does not provide the specified platform");
    // The archive is an OCI layout that others understand, every blob of it.
    fs::create_dir(&layout).unwrap();
    lab.in_network(&["tar", "-xf", &all, "-C", &layout]).ok();
    let copied = format!("docker://{HOST}/judged:1");
    let from = format!("oci:{layout}");
    let all_same = ["copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false"];
    let words = [&all_same[..], &[&from, &copied]].concat();
    skopeo(&lab, &words).ok();
    assert_eq!(digest(&lab, "judged:1"), index);

    lab.estiba(&["rmi", &name]).ok();
    let loaded = lab.estiba(&["load", "-i", &all]);
    assert!(loaded.ok().contains(&format!("Loaded image: {name}")), "{loaded:?}");
    let pushed = format!("{HOST}/again:1");
    lab.estiba(&["tag", &name, &pushed]).ok();
    lab.estiba(&["push", "-q", &pushed]).ok();
    assert_eq!(digest(&lab, "again:1"), index, "the same out as in");
    lab.estiba(&["rmi", &pushed, &name]).ok();

    let architecture = || {
        let seen = lab.estiba(&["image", "inspect", "-f", "{{.Architecture}}", &name]);
        let seen = seen.ok().to_owned();
        lab.estiba(&["rmi", &name]).ok();
        seen
    };
    lab.estiba(&["load", "-i", &all, "--platform", "linux/arm64"]).ok();
    assert_eq!(architecture(), "arm64");
    lab.estiba(&["load", "-i", &one]).ok();
    assert_eq!(architecture(), "arm64");
    lab.estiba(&["load", "-i", &all, "--platform", "linux/s390x"]).fails(1, "platform");
}

#[test]
fn layers_that_are_here_unpacked_only_are_saved_for_all_platforms_too() {
    let lab = Lab::new();
    let _registry = Registry::start(&lab);
    multi(&lab);
    let name = format!("{HOST}/x:multi");
    for platform in ["linux/amd64", "linux/arm64"] {
        let pulled = lab.estiba(&["pull", "--platform", platform, &name]);
        assert!(pulled.ok().contains("Already exists"), "busybox has the layer: {pulled:?}");
    }
    let all = lab.dir().join("all.tar").to_string_lossy().into_owned();
    lab.estiba(&["save", "-o", &all, &name]).ok();
    lab.estiba(&["rmi", &name]).ok();
    lab.estiba(&["load", "-i", &all]).ok();
    for (platform, architecture) in [("linux/amd64", "amd64"), ("linux/arm64", "arm64")] {
        let inspect =
            ["image", "inspect", "-f", "{{.Architecture}}", "--platform", platform, &name];
        assert_eq!(lab.estiba(&inspect).ok(), architecture);
    }
}

#[test]
fn a_delta_holds_only_what_is_new() {
    let (here, there) = (Lab::new(), Lab::new());
    let id = here.estiba(&["run", "-d", "busybox", "sh", "-c", "head -c 5000000 /dev/urandom > f"]);
    here.estiba(&["wait", id.ok()]).ok();
    here.estiba(&["commit", id.ok(), "grown:1"]).ok();
    let path = |name: &str| here.dir().join(name).to_string_lossy().into_owned();
    let (whole, delta) = (path("whole.tar"), path("delta.tar"));
    here.estiba(&["save", "-o", &whole, "grown:1"]).ok();
    here.estiba(&["save", "-o", &delta, "--since", "busybox", "grown:1"]).ok();
    let bytes = |path: &str| fs::metadata(path).unwrap().len();
    assert!(bytes(&delta) < 5_200_000 && bytes(&whole) > bytes(&delta) + 1_000_000);
    there.estiba(&["load", "-i", &delta]).ok();
    let seen = there.estiba(&["run", "--rm", "grown:1", "sh", "-c", "wc -c < f"]);
    assert_eq!(seen.ok().trim(), "5000000");
    there.estiba(&["rmi", "-f", "grown:1", "busybox"]).ok();
    there.estiba(&["load", "-i", &delta]).fails(1, "archive has no layer");
    here.estiba(&["save", "-o", &delta, "--since", "nothing", "grown:1"]).fails(1, "No such image");
    here.estiba(&["rm", id.ok()]).ok();
}

#[test]
fn umoci_understands_our_layouts_and_we_understand_its() {
    let lab = Lab::new();
    let path = |name: &str| lab.dir().join(name).to_string_lossy().into_owned();
    let (ours, theirs, bundle) = (path("ours"), path("theirs"), path("bundle"));
    let umoci = |arguments: &[&str]| lab.in_network(&[&["umoci"], arguments].concat());
    let tar = path("saved.tar");
    lab.estiba(&["save", "-o", &tar, "busybox"]).ok();
    fs::create_dir(&ours).unwrap();
    lab.in_network(&["tar", "-xf", &tar, "-C", &ours]).ok();
    assert!(umoci(&["ls", "--layout", &ours]).ok().contains("latest"));
    let image = format!("{ours}:latest");
    umoci(&["stat", "--image", &image]).ok();
    umoci(&["unpack", "--image", &image, &bundle]).ok();
    assert!(Path::new(&bundle).join("rootfs/bin/busybox").exists());

    fs::write(Path::new(&bundle).join("rootfs/from-umoci"), "hi").unwrap();
    umoci(&["repack", "--image", &format!("{ours}:changed"), &bundle]).ok();
    umoci(&["config", "--image", &format!("{ours}:changed"), "--config.cmd", "cat"]).ok();
    umoci(&["init", "--layout", &theirs]).ok();
    let copy = ["copy", "-q", &format!("oci:{ours}:changed"), &format!("oci:{theirs}:judge:1")];
    skopeo(&lab, &copy).ok();
    lab.in_network(&["tar", "-cf", &tar, "-C", &theirs, "."]).ok();
    let loaded = lab.estiba(&["load", "-i", &tar]);
    assert!(loaded.ok().contains("Loaded image: judge:1"), "{loaded:?}");
    assert_eq!(lab.estiba(&["run", "--rm", "judge:1", "cat", "/from-umoci"]).ok(), "hi");
}
