//! The builder's face: questions about Dockerfiles, bake files, names for builders, builds that
//! were. Everything through this product's own command line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, binaries, text};
use std::fs;
use std::path::Path;

/// The command line called in a directory.
fn within(lab: &Lab, dir: &Path, words: &[&str]) -> Output {
    let program = binaries().join("estiba");
    let socket = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    let home = format!("HOME={}", lab.dir().display());
    let begin = ["env", "-C", text(dir), &home, &socket, text(&program)];
    lab.in_network(&[&begin[..], words].concat())
}

#[test]
fn questions_are_answered_instead_of_building() {
    let lab = Lab::new();
    let dockerfile = "# base has everything\nFROM busybox AS Base\nARG V=1\n\
        RUN --mount=type=secret,id=s false\nFROM Base AS last\nCMD echo $V\n";
    let dir = lab.dockerfile(dockerfile);
    let dir = text(&dir);
    let checked = lab.estiba(&["build", "--check", dir]);
    assert_eq!(checked.status, 1, "{checked:?}");
    for words in [
        "Check complete, 2 warnings have been found!",
        "WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        "Stage name 'Base' should be lowercase",
        "Dockerfile:6",
        ">>> CMD echo $V",
    ] {
        assert!(checked.stdout.contains(words), "{words:?} in {checked:?}");
    }
    let json = lab.estiba(&["buildx", "build", "--call=lint,format=json", dir]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["warnings"][0]["ruleName"], "StageNameCasing");
    let outline = lab.estiba(&["build", "--call", "outline", "--build-arg", "V=7", dir]);
    assert!(outline.ok().contains("TARGET:   last"), "{outline:?}");
    assert!(outline.ok().contains("V           7"), "{outline:?}");
    assert!(outline.ok().contains("s        false"), "{outline:?}");
    let targets = lab.estiba(&["build", "--call=targets", dir]);
    assert!(targets.ok().contains("has everything") && targets.ok().contains("last (default)"));
    // A comment silences a rule; a clean file is one.
    let silenced = format!("# check=skip=StageNameCasing,JSONArgsRecommended\n{dockerfile}");
    fs::write(Path::new(dir).join("Dockerfile"), silenced).unwrap();
    let clean = lab.estiba(&["build", "--check", dir]);
    assert_eq!(clean.ok(), "Check complete, no warnings found.");
    // With `error=true` what is found fails the build too.
    fs::write(Path::new(dir).join("Dockerfile"), "# check=error=true\nFROM busybox AS Big\n")
        .unwrap();
    lab.estiba(&["build", dir]).fails(1, "lint violation found for rules: StageNameCasing");
    // What cannot be parsed is found as well, from standard input too.
    let broken = lab.estiba_with(&["build", "--check", "-"], b"FROM busybox\nRUUN x\n");
    assert!(broken.status == 1 && broken.stdout.contains("unknown instruction"), "{broken:?}");
    lab.estiba(&["build", "--call=nonsense", dir]).fails(1, "invalid call method");
}

const BAKE: &str = r#"
variable "TAG" { default = "one" }
function "tagged" {
  params = [name]
  result = "${name}:${TAG}"
}
group "default" { targets = ["app", "many"] }
target "base" {
  dockerfile-inline = "FROM busybox\nRUN echo base > /base\nENV FROM_BASE=yes\n"
}
target "app" {
  context = "app"
  contexts = { below = "target:base" }
  args = { WHO = "bake" }
  tags = [tagged("app")]
}
target "many" {
  name = "many-${item}"
  matrix = { item = ["a", "b"] }
  dockerfile-inline = "FROM busybox\nRUN echo ${item} > /item\n"
  tags = ["many:${item}"]
}
"#;

#[test]
fn bake_files_are_built() {
    let lab = Lab::new();
    let app = "FROM below\nARG WHO\nRUN echo $FROM_BASE $WHO | cat /base - > /all\n";
    let dir = lab.context(&[("docker-bake.hcl", BAKE), ("app/Dockerfile", app)]);
    let printed = within(&lab, &dir, &["buildx", "bake", "--print", "--set", "app.args.X=y"]);
    let document: serde_json::Value = serde_json::from_str(printed.ok()).unwrap();
    assert_eq!(document["target"]["app"]["args"]["X"], "y");
    assert_eq!(document["target"]["app"]["tags"][0], "app:one");
    assert_eq!(document["group"]["default"]["targets"][2], "many-b");
    let metadata = lab.dir().join("baked.json");
    let words = ["buildx", "bake", "--progress=plain", "--metadata-file", text(&metadata)];
    let built = within(&lab, &dir, &words);
    assert_eq!(built.status, 0, "{built:?}");
    assert!(
        built.stderr.contains("[app 2/2] RUN") || built.stderr.contains("[app stage"),
        "{built:?}"
    );
    assert_eq!(lab.estiba(&["run", "--rm", "app:one", "cat", "/all"]).ok(), "base\nyes bake");
    assert_eq!(lab.estiba(&["run", "--rm", "many:b", "cat", "/item"]).ok(), "b");
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&metadata).unwrap()).unwrap();
    assert!(written["many-a"]["containerimage.config.digest"].is_string(), "{written}");
    // The name under which the base was kept meanwhile is gone.
    let images = lab.estiba(&["images", "--format", "{{.Repository}}"]);
    assert!(!images.ok().contains("estiba-bake"), "{images:?}");
    // One target, another tag; and one that there is not.
    let words = ["buildx", "bake", "--var", "TAG=two", "many-a"];
    assert_eq!(within(&lab, &dir, &words).status, 0);
    within(&lab, &dir, &["buildx", "bake", "nothing"]).fails(1, "failed to find target nothing");
    let checked = within(&lab, &dir, &["buildx", "bake", "--check", "many-a"]);
    assert!(checked.ok().contains("no warnings found"), "{checked:?}");
}

#[test]
fn builds_that_were_can_be_looked_at() {
    let mut lab = Lab::new();
    let dockerfile = "FROM busybox\nARG API_TOKEN\nRUN echo words-of-a-step\n";
    let dir = lab.dockerfile(dockerfile);
    let dir = text(&dir);
    let metadata = lab.dir().join("metadata");
    let token = "API_TOKEN=canary-token";
    let words = ["build", "--build-arg", token, "--metadata-file", text(&metadata), dir];
    assert_eq!(lab.estiba(&words).status, 0);
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&metadata).unwrap()).unwrap();
    let id = written["buildx.build.ref"].as_str().unwrap().to_owned();
    let bare = id.rsplit('/').next().unwrap().to_owned();
    let named = ["--build-arg", "BUILDKIT_BUILD_NAME=named-by-itself"];
    lab.estiba(&[&["build", "--target", "none"], &named[..], &[dir]].concat()).fails(1, "none");
    let list = |lab: &Lab| lab.estiba(&["buildx", "history", "ls"]).ok().to_owned();
    lab::eventually("both builds are remembered", || list(&lab).lines().count() == 3);
    lab.kill_daemon();
    lab.start_daemon();
    let shown = list(&lab);
    assert!(shown.contains(&bare) && shown.contains("Completed"), "{shown}");
    assert!(shown.contains("Error") && shown.contains("named-by-itself"), "{shown}");
    let one = lab.estiba(&["buildx", "history", "inspect", &id]);
    assert!(one.ok().contains("Build Steps:"), "{one:?}");
    assert!(one.ok().contains("API_TOKEN") && !one.ok().contains("canary-token"), "{one:?}");
    let logs = lab.estiba(&["buildx", "history", "logs", &bare]);
    assert!(logs.stderr.contains("words-of-a-step"), "{logs:?}");
    lab.estiba(&["buildx", "history", "rm", &id]).ok();
    assert!(!list(&lab).contains(&bare));
    lab.estiba(&["buildx", "history", "inspect", &bare]).fails(1, "no record found");
    lab.estiba(&["buildx", "history", "rm", "--all"]).ok();
    assert_eq!(list(&lab).lines().count(), 1);
}

#[test]
fn builds_under_way_are_listed_and_cancelled_ones_remembered() {
    let lab = Lab::new();
    let dir = lab.dockerfile("FROM busybox\nRUN sleep 1000\n");
    let list = |lab: &Lab| lab.estiba(&["buildx", "history", "ls"]).ok().to_owned();
    let going = lab.session(&["build", text(&dir)]);
    lab::eventually("the build is listed", || list(&lab).contains("Running"));
    going.signal(rustix::process::Signal::KILL);
    going.finish();
    lab::eventually("the build was cancelled", || list(&lab).contains("Canceled"));
    assert!(!list(&lab).contains("Running"));
}

#[test]
fn builders_have_names() {
    let lab = Lab::new();
    let call = |words: &[&str]| within(&lab, lab.dir(), &[&["buildx"], words].concat());
    assert_eq!(call(&["create", "--name", "mine", "--use"]).ok(), "mine");
    assert!(call(&["ls"]).ok().contains("mine*"));
    assert!(call(&["inspect"]).ok().contains("Name:     mine"));
    call(&["use", "other"]).fails(1, "no builder \"other\" found");
    call(&["create", "--driver", "kubernetes"]).fails(1, "is not supported");
    assert_eq!(call(&["rm", "mine"]).status, 0);
    assert!(call(&["ls"]).ok().contains("default*"));
    assert!(call(&["version"]).ok().contains("estiba"));
}
