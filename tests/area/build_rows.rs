//! Rows of the Dockerfile language that one build alone does not show (`tests/dockerfiles/SEEN.tsv`
//! names these tests).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Server, archive, text};
use serde_json::Value;

/// `BUILDKIT_CACHE_MOUNT_NS`: the same cache under another namespace is another cache.
#[test]
fn caches_have_namespaces() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nARG N\n\
        RUN --mount=type=cache,target=/c cat /c/* > /seen 2>/dev/null; echo $N > /c/$N\n";
    let dir = lab.dockerfile(dockerfile);
    let seen = |number: &str, namespace: &str| {
        let number = format!("N={number}");
        let namespace = format!("BUILDKIT_CACHE_MOUNT_NS={namespace}");
        let words = ["--build-arg", &number, "--build-arg", &namespace, "-t", "seen"];
        lab.build(&dir, &words).ok();
        let seen = lab.estiba(&["run", "--rm", "seen", "cat", "/seen"]).ok().to_owned();
        seen.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(seen("1", "mine"), Vec::<String>::new());
    assert_eq!(seen("2", "mine"), ["1"]);
    assert_eq!(seen("3", "yours"), Vec::<String>::new());
    assert_eq!(seen("4", "mine"), ["1", "2"]);
}

/// `BUILDKIT_MULTI_PLATFORM`: an index, also around one image.
#[test]
fn one_platform_can_be_an_index() {
    let lab = Lab::new();
    let dir = lab.dockerfile("FROM busybox\nRUN echo x > /x\n");
    let top = |name: &str, words: &[&str]| {
        let layout = lab.dir().join(name);
        let out = format!("type=oci,tar=false,dest={}", text(&layout));
        lab.build(&dir, &[&["-o", &out], words].concat()).ok();
        let index = std::fs::read_to_string(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_str(&index).unwrap();
        index["manifests"][0]["mediaType"].as_str().unwrap().to_owned()
    };
    assert_eq!(top("one", &[]), "application/vnd.oci.image.manifest.v1+json");
    let asked = ["--build-arg", "BUILDKIT_MULTI_PLATFORM=1"];
    assert_eq!(top("index", &asked), "application/vnd.oci.image.index.v1+json");
}

/// `InvalidBaseImagePlatform`: a registry has one image under a name, and it is for elsewhere.
#[test]
fn a_base_of_another_platform_is_told() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let (tar, name) = (archive("busybox"), "127.0.0.1:5000/elsewhere:1");
    lab.estiba(&["import", "--platform", "linux/s390x", text(&tar), name]).ok();
    lab.estiba(&["push", name]).ok();
    lab.estiba(&["rmi", name]).ok();
    let dir = lab.dockerfile(&format!("FROM --platform=linux/amd64 {name}\nCMD [\"x\"]\n"));
    let checked = lab.build(&dir, &["--check"]);
    let told = format!("{}{}", checked.stdout, checked.stderr);
    assert!(told.contains("InvalidBaseImagePlatform"), "{checked:?}");
    assert!(told.contains("linux/s390x"), "{checked:?}");
}
