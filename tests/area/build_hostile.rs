//! Builds that lie: images with traps where tools are looked for, mounts that lead elsewhere,
//! images that pass for steps, addresses with passwords (laws A5, A6, A7, D8 and D9, in builds).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Server, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What must not come to light.
const CANARY: &str = "canary-7d2c41f0";

/// Every file below a directory, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = vec![dir.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rest.push(path.clone());
            }
            found.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
    }
    found
}

/// What unpacks, resolves and copies is the builder's own, or a process that has nothing: programs,
/// libraries and services of names that an image brings are not even looked at.
#[test]
fn nothing_of_an_image_runs_but_its_steps() {
    let lab = Lab::new();
    let traps = "FROM busybox AS trap\n\
        RUN for name in tar gtar gzip gunzip unpigz xz unxz zstd bzip2 git cp chown mount; do \
            for dir in /bin /sbin /usr/bin /usr/sbin /usr/local/bin; do mkdir -p $dir; \
            rm -f $dir/$name; printf '#!/bin/sh\\necho $0 >> /ran\\n' > $dir/$name; \
            chmod 755 $dir/$name; done; done; \
            mkdir -p /etc /lib/x86_64-linux-gnu; echo 'passwd: evil' > /etc/nsswitch.conf; \
            echo garbage > /lib/x86_64-linux-gnu/libnss_evil.so.2; \
            echo /evil.so > /etc/ld.so.preload; echo worker:x:77:78::/:/bin/sh >> /etc/passwd\n\
        FROM trap\n\
        ADD c.tar.gz /gz/\n\
        ADD c.tar.xz /xz/\n\
        COPY --chown=worker f /f\n\
        COPY --from=trap --chown=worker --parents /etc/./nsswitch.conf /copied/\n\
        RUN test ! -e /ran && stat -c %u:%g /f > /owner\n";
    let dir = lab.context(&[("Dockerfile", traps), ("f", "f\n")]);
    for (option, name) in [("-czf", "c.tar.gz"), ("-cJf", "c.tar.xz")] {
        let archive = dir.join(name);
        lab.in_network(&["tar", "-C", text(&dir), option, text(&archive), "f"]).ok();
    }
    lab.build(&dir, &["-t", "trapped"]).ok();
    let seen = lab.estiba(&["run", "--rm", "trapped", "cat", "/gz/f", "/xz/f", "/owner"]);
    assert_eq!(seen.ok(), "f\nf\n77:78");
}

/// Sources and targets of mounts are resolved in what they are of, and what is put away after a
/// step lies in the step's own root.
#[test]
fn mounts_of_steps_lead_nowhere_else() {
    let lab = Lab::new();
    let outside = lab.dir().join("outside");
    std::fs::create_dir_all(outside.join("b/c")).unwrap();
    std::fs::write(outside.join("sentinel"), CANARY).unwrap();
    let before = files(&outside);
    let (to, up) = (text(&outside), format!("../../../../../../../..{}", text(&outside)));
    let look = "cat /m/sentinel; touch /m/evil; true";
    for dockerfile in [
        // Links that a step before has left in a cache.
        format!(
            "FROM busybox\nRUN --mount=type=cache,id=t,target=/c ln -sfn {to} /c/sub\n\
             RUN --mount=type=cache,id=t,source=sub,target=/m {look}\n"
        ),
        format!(
            "FROM busybox\nRUN --mount=type=cache,id=u,target=/c ln -sfn {up} /c/sub\n\
             RUN --mount=type=cache,id=u,source=sub,target=/m {look}\n"
        ),
        format!("FROM busybox\nRUN --mount=type=cache,id=../../x,source={up},target=/m {look}\n"),
        // Links of other stages, and of the context.
        format!(
            "FROM busybox AS s\nRUN ln -s {to} /link\nFROM busybox\n\
             RUN --mount=from=s,source=/link,target=/m,rw {look}\n"
        ),
        format!(
            "FROM busybox AS s\nRUN ln -s {to} /link\nFROM busybox\n\
             COPY --from=s /link/sentinel /m/\nRUN {look}\n"
        ),
        format!("FROM busybox\nRUN --mount=type=bind,source=out,target=/m,rw {look}\n"),
        format!("FROM busybox\nRUN --mount=type=bind,source={up},target=/m,rw {look}\n"),
        // Targets, and working directories, behind links of the image.
        format!("FROM busybox\nRUN ln -s {to} /m\nRUN --mount=type=tmpfs,target=/m {look}\n"),
        format!("FROM busybox\nRUN ln -s {to} /m\nWORKDIR /m/made\nRUN {look}\n"),
        format!("FROM busybox\nRUN ln -s {to} /m\nCOPY f /m/copied\nADD a.tar /m/\nRUN {look}\n"),
        // An archive whose second member lies behind its first, a link.
        format!("FROM busybox\nADD a.tar /m/\nRUN {look}\n"),
        // A place of a mount that leads elsewhere by the time that it is put away.
        format!(
            "FROM busybox\n\
             RUN --mount=type=tmpfs,target=/a/b/c mv /a /away; ln -s {to} /a; true\nRUN {look}\n"
        ),
    ] {
        let dir = lab.context(&[("Dockerfile", &dockerfile), ("f", "f\n")]);
        symlink(&outside, dir.join("out")).unwrap();
        archive_behind_a_link(&lab, &dir, &outside);
        let built = lab.build(&dir, &["--no-cache"]);
        assert!(!built.stderr.contains(CANARY), "{dockerfile}: {built:?}");
        assert_eq!(files(&outside), before, "{dockerfile}: {built:?}");
    }
}

/// `a.tar`: a link `sub` out of its tree, then `sub/evil`.
fn archive_behind_a_link(lab: &Lab, dir: &Path, outside: &Path) {
    let parts = lab.dir().join("parts");
    let _ = std::fs::remove_dir_all(&parts);
    std::fs::create_dir(&parts).unwrap();
    symlink(outside, parts.join("sub")).unwrap();
    std::fs::write(parts.join("evil"), "evil").unwrap();
    let archive = dir.join("a.tar");
    let tar = ["tar", "-C", text(&parts)];
    lab.in_network(&[&tar[..], &["-cf", text(&archive), "sub"]].concat()).ok();
    let within = "--transform=s,^evil,sub/evil,";
    lab.in_network(&[&tar[..], &["-rf", text(&archive), within, "evil"]].concat()).ok();
}

/// A step is known by what it does and what it does it to, never by what an image says of itself;
/// a name that means something else by now gives something else.
#[test]
fn no_image_stands_in_for_a_step() {
    let lab = Lab::new();
    let good = "FROM busybox\nRUN echo good > /f\n";
    let shown = |image: &str| lab.estiba(&["run", "--rm", image, "cat", "/f"]).ok().to_owned();
    let forget = || lab.estiba(&["builder", "prune", "-af"]).ok().to_owned();
    lab.build(&lab.dockerfile(good), &["-t", "good"]).ok();
    let history = config_of(&lab, "good").1["history"].clone();
    lab.estiba(&["rmi", "good"]).ok();
    forget();
    // An image on the same base whose history says that it is that step.
    lab.build(&lab.dockerfile("FROM busybox\nRUN echo evil > /f\n"), &["-t", "evil"]).ok();
    let (dir, mut config) = config_of(&lab, "evil");
    config["history"] = history;
    load(&lab, &dir, &config);
    forget();
    for classic in [false, true] {
        let dir = lab.dockerfile(good);
        if classic {
            let host = format!("DOCKER_HOST=unix://{}", lab.socket().display());
            let words = ["env", "DOCKER_BUILDKIT=0", &host, "docker", "build", "-t", "built"];
            if lab.docker(&["version"]).is_none() {
                eprintln!("skipped: no docker command line here");
                continue;
            }
            let built = lab.in_network(&[&words[..], &[text(&dir)]].concat());
            assert!(!built.ok().contains("Using cache"), "{built:?}");
        } else {
            let built = lab.build(&dir, &["-t", "built"]);
            assert!(built.status == 0 && !built.stderr.contains("CACHED"), "{built:?}");
        }
        assert_eq!(shown("built"), "good");
        lab.estiba(&["rmi", "built"]).ok();
        forget();
    }
    // The same words upon a base whose name has moved, and for another platform.
    let user = lab.dockerfile("FROM base\nRUN cat /f > /copy && cp /copy /f\n");
    for (name, want) in [("poison", "evil"), ("busybox", "")] {
        lab.estiba(&["tag", name, "base"]).ok();
        let built = lab.build(&user, &["-t", "user"]);
        match want {
            "" => built.fails(1, "exit code: 1"),
            want => assert_eq!(shown("user"), want, "{built:?}"),
        }
    }
    let empty = lab.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    for platform in ["amd64", "arm64"] {
        let words = ["--platform", &format!("linux/{platform}"), "-t", platform];
        lab.build(&empty, &words).ok();
        let said = lab.estiba(&["image", "inspect", "-f", "{{.Architecture}}", platform]);
        assert_eq!(said.ok(), platform);
    }
}

/// An image saved into a directory of its own, and its configuration.
fn config_of(lab: &Lab, image: &str) -> (PathBuf, Value) {
    let dir = lab.dir().join(format!("saved-{image}"));
    std::fs::create_dir(&dir).unwrap();
    let archive = dir.join("saved.tar");
    lab.estiba(&["save", "-o", text(&archive), image]).ok();
    lab.in_network(&["tar", "-C", text(&dir), "-xf", text(&archive)]).ok();
    let manifest = read(&dir.join("manifest.json"));
    let config = read(&dir.join(manifest[0]["Config"].as_str().unwrap()));
    (dir, config)
}

/// Loads the saved image as `poison`, with another configuration.
fn load(lab: &Lab, dir: &Path, config: &Value) {
    let manifest = read(&dir.join("manifest.json"));
    let poisoned = json!([{
        "Config": "config.json", "RepoTags": ["poison:latest"], "Layers": manifest[0]["Layers"]
    }]);
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.join("manifest.json"), poisoned.to_string()).unwrap();
    let archive = lab.dir().join("poison.tar");
    let parts = ["manifest.json", "config.json", "blobs"];
    let tar = ["tar", "-C", text(dir), "-cf", text(&archive)];
    lab.in_network(&[&tar[..], &parts].concat()).ok();
    assert!(lab.estiba(&["load", "-i", text(&archive)]).ok().contains("poison:latest"));
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A password in an address goes to the server that it is for, and into nothing that is kept or
/// shown.
#[test]
fn addresses_are_kept_and_shown_without_their_passwords() {
    let lab = Lab::new();
    let web = lab.dir().join("web");
    std::fs::create_dir(&web).unwrap();
    let dir = lab.context(&[("Dockerfile", "FROM busybox\nCOPY --from=more / /more\nCOPY f /\n")]);
    std::fs::write(dir.join("f"), "f\n").unwrap();
    let archive = web.join("c.tar.gz");
    lab.in_network(&["tar", "-C", text(&dir), "-czf", text(&archive), "."]).ok();
    let words = ["python3", "-m", "http.server", "-d", text(&web), "-b", "127.0.0.1", "8000"];
    let probe = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8000/c.tar.gz"];
    let _server = Server::start(&lab, &words, &probe);
    let at = |port: u16| format!("http://me:{CANARY}@127.0.0.1:{port}/c.tar.gz");
    let layout = lab.dir().join("layout");
    let out = format!("type=oci,tar=false,dest={}", text(&layout));
    let more = format!("more={}", at(8000));
    let words = ["--provenance=mode=max", "-o", &out, "--build-context", &more, "-t", "x"];
    let build = |address: &str, words: &[&str]| {
        lab.estiba(&[&["build", "--progress=plain"], words, &[address]].concat())
    };
    let built = build(&at(8000), &words);
    assert_eq!(built.status, 0, "{built:?}");
    // Nobody listens there, and git is told to find nothing.
    let silent = build(&at(1), &[]);
    let nowhere = build(&format!("http://me:{CANARY}@127.0.0.1:8000/none.git"), &[]);
    assert!(silent.status != 0 && nowhere.status != 0, "{silent:?} {nowhere:?}");
    let history = lab.estiba(&["buildx", "history", "ls", "--no-trunc"]);
    for shown in [&built, &silent, &nowhere, &history] {
        assert!(!format!("{shown:?}").contains(CANARY), "{shown:?}");
    }
    let about = lab.in_network(&["grep", "-rlF", "127.0.0.1:8000/c.tar.gz", text(&layout)]);
    assert_ne!(about.stdout, "", "where it came from is said");
    let found = lab.in_network(&["grep", "-rlaF", CANARY, text(lab.dir())]);
    assert_eq!(found.stdout, "", "the password is in a file");
}
