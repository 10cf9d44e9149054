//! Builds through the stock client's classic protocol and through our own: every kind of step, the
//! cache, what is left behind, and contexts that lie.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, Setup, binaries, eventually, text};
use std::path::{Path, PathBuf};

/// Where daemons listen that are reached as from another host.
const FAR: &str = "tcp://127.0.0.1:2375";

/// `docker build ARGUMENTS… CONTEXT` as a client without BuildKit; `None` where there is none.
fn classic(lab: &Lab, context: &Path, arguments: &[&str]) -> Option<Output> {
    lab.docker(&["version"])?;
    let host = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    let home = format!("DOCKER_CONFIG={}", lab.dir().join("docker").display());
    let mut words = vec!["env", "DOCKER_BUILDKIT=0", &host, &home, "docker", "build"];
    words.extend(arguments);
    let context = context.to_str().unwrap();
    words.push(context);
    Some(lab.in_network(&words))
}

fn run(lab: &Lab, image: &str, command: &str) -> String {
    lab.estiba(&["run", "--rm", image, "sh", "-c", command]).ok().to_owned()
}

#[test]
fn instructions_become_layers_and_configuration() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\n\
        ARG WHO=nobody\n\
        ENV GREETING=hello LANG=C\n\
        LABEL kind=test\n\
        RUN echo $GREETING $WHO > /greeting\n\
        COPY a.txt /data/\n\
        WORKDIR /work\n\
        RUN pwd > here\n\
        USER 1000:1000\n\
        RUN id -u > /tmp/uid\n\
        EXPOSE 80\n\
        VOLUME /vol\n\
        STOPSIGNAL SIGINT\n\
        HEALTHCHECK --interval=5s CMD true\n\
        SHELL [\"/bin/sh\", \"-ec\"]\n\
        ENTRYPOINT [\"cat\"]\n\
        CMD [\"/greeting\"]\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("a.txt", "content\n")]);
    let Some(out) = classic(&lab, &dir, &["-t", "all:1", "-t", "all:2", "--build-arg", "WHO=me"])
    else {
        return;
    };
    for line in [
        "Step 1/17 : FROM busybox",
        "Step 17/17 : CMD",
        "Successfully tagged all:2",
        " ---> Running in ",
    ] {
        assert!(out.ok().contains(line), "{line} in {}", out.ok());
    }
    assert_eq!(lab.estiba(&["run", "--rm", "all:1"]).ok(), "hello me");
    let cat = |path| lab.estiba(&["run", "--rm", "all:2", path]).ok().to_owned();
    assert_eq!(
        (cat("/data/a.txt"), cat("/work/here"), cat("/tmp/uid")),
        ("content".into(), "/work".into(), "1000".into())
    );
    let format = "{{json .Config}}";
    let config = lab.estiba(&["image", "inspect", "-f", format, "all:1"]);
    for part in [
        "\"User\":\"1000:1000\"",
        "\"80/tcp\":{}",
        "\"/vol\":{}",
        "\"StopSignal\":\"SIGINT\"",
        "\"kind\":\"test\"",
        "GREETING=hello",
    ] {
        assert!(config.ok().contains(part), "{part} in {}", config.ok());
    }
    let history = lab.estiba(&["history", "--no-trunc", "all:1"]);
    assert!(history.ok().contains("echo $GREETING $WHO > /greeting"), "{}", history.ok());
}

#[test]
fn what_did_not_change_comes_from_the_cache() {
    let lab = Lab::new();
    let dockerfile =
        "FROM busybox\nRUN echo a > /a\nCOPY f /f\nRUN cp /f /g\nCMD [\"cat\", \"/g\"]\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("f", "one"), ("other", "x")]);
    let build = |arguments: &[&str]| {
        let arguments = [&["-t", "cached"], arguments].concat();
        let hits = |out: Output| out.ok().matches(" ---> Using cache").count();
        classic(&lab, &dir, &arguments).map(hits)
    };
    let id = || lab.estiba(&["image", "inspect", "-f", "{{.Id}}", "cached"]).ok().to_owned();
    let Some(hits) = build(&[]) else { return };
    assert_eq!(hits, 0);
    let first = id();
    assert_eq!(build(&[]), Some(4));
    assert_eq!(id(), first, "the same build gives the same image");
    // A new time is no change; new content is.
    std::fs::write(dir.join("f"), "one").unwrap();
    assert_eq!(build(&[]), Some(4));
    std::fs::write(dir.join("f"), "two").unwrap();
    assert_eq!(build(&[]), Some(2));
    assert_eq!(lab.estiba(&["run", "--rm", "cached"]).ok(), "two");
    assert_eq!(build(&["--no-cache"]), Some(0));
    assert_eq!(build(&[]), Some(4));
}

#[test]
fn independent_stages_run_at_the_same_time() {
    let lab = Lab::new();
    // Each waits for the other: one after the other they would never end.
    let dockerfile = "FROM busybox AS one\n\
        RUN --mount=type=cache,id=meet,target=/m touch /m/one; while ! test -e /m/two; \
        do sleep 0.1; done; echo 1 > /r\n\
        FROM busybox AS two\n\
        RUN --mount=type=cache,id=meet,target=/m touch /m/two; while ! test -e /m/one; \
        do sleep 0.1; done; echo 2 > /r\n\
        FROM busybox AS unneeded\n\
        RUN exit 9\n\
        FROM busybox\n\
        COPY --from=one /r /one\n\
        COPY --from=two /r /two\n";
    let dir = lab.dockerfile(dockerfile);
    let Some(out) = classic(&lab, &dir, &["-t", "stages"]) else { return };
    out.ok();
    assert_eq!(run(&lab, "stages", "cat /one /two"), "1\n2");
}

#[test]
fn copies_have_owners_modes_patterns_and_archives() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox AS base\n\
        RUN echo worker:x:77:78::/:/bin/sh >> /etc/passwd; mkdir -p /real && ln -s /real /link\n\
        FROM base\n\
        COPY --chown=worker --chmod=640 *.txt /own/\n\
        COPY --chown=5:6 dir /link/\n\
        COPY --parents dir/deep/c.txt /par/\n\
        COPY --exclude=*.log dir /some/\n\
        COPY --link a.txt /linked/\n\
        ADD --chown=9:9 t.tar.gz /un/\n\
        COPY t.tar.gz /packed/\n\
        COPY <<EOT /here\n\
        text\n\
        EOT\n";
    let dir = lab.context(&[
        ("Dockerfile", dockerfile),
        (".dockerignore", "**/secret\n!dir/kept/secret\n"),
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("dir/deep/c.txt", "c"),
        ("dir/x.log", "log"),
        ("dir/secret", "no"),
        ("dir/kept/secret", "yes"),
    ]);
    let tar = ["tar", "-C", dir.to_str().unwrap(), "-czf"];
    let archive = dir.join("t.tar.gz");
    lab.in_network(&[&tar[..], &[archive.to_str().unwrap(), "dir/deep"]].concat()).ok();
    let Some(out) = classic(&lab, &dir, &["-t", "copies"]) else { return };
    out.ok();
    let stat = |path: &str| run(&lab, "copies", &format!("stat -c '%u:%g %a' {path}"));
    assert_eq!(stat("/own/a.txt /own/b.txt"), "77:78 640\n77:78 640");
    assert_eq!(stat("/real/deep/c.txt"), "5:6 644");
    assert_eq!(stat("/un/dir/deep/c.txt"), "9:9 644");
    assert_eq!(
        run(&lab, "copies", "cd /; find par some linked packed -type f | sort"),
        [
            "linked/a.txt",
            "packed/t.tar.gz",
            "par/dir/deep/c.txt",
            "some/deep/c.txt",
            "some/kept/secret",
        ]
        .join("\n")
    );
    assert_eq!(run(&lab, "copies", "cat /here; test -L /link && echo still"), "text\nstill");
}

#[test]
fn mounts_of_steps_leave_nothing_in_the_image() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox AS from\nRUN echo there > /f\nFROM busybox\n\
        RUN --mount=type=cache,target=/var/cache/x echo 1 >> /var/cache/x/n; \
        wc -l < /var/cache/x/n > /count\n\
        RUN --mount=type=cache,target=/var/cache/x echo 2 >> /var/cache/x/n; \
        wc -l < /var/cache/x/n >> /count\n\
        RUN --mount=type=bind,target=/src,rw cat /src/a && touch /src/new\n\
        RUN --mount=type=bind,from=from,source=/f,target=/mnt/f cat /mnt/f > /f\n\
        RUN --mount=type=tmpfs,target=/t grep -q ' /t tmpfs' /proc/mounts\n\
        RUN --network=none ! ip link | grep -q eth0\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("a", "a")]);
    let Some(out) = classic(&lab, &dir, &["-t", "mounts"]) else { return };
    out.ok();
    assert_eq!(run(&lab, "mounts", "cat /count /f"), "1\n2\nthere");
    let left = "ls -d /t /src /mnt/f /var/cache/x 2>/dev/null; true";
    assert_eq!(run(&lab, "mounts", left), "");
    assert!(!dir.join("new").exists());
}

#[test]
fn what_is_wrong_is_said() {
    let lab = Lab::new();
    let cases = [
        ("FROM busybox\nRUN echo said; exit 7\n", 7, "returned a non-zero code: 7"),
        ("FROM busybox\nCOPY missing /x\n", 1, "\"/missing\": not found (Dockerfile:2:6)"),
        ("FROM busybox\nRUNN x\n", 1, "unknown instruction: RUNN"),
        ("FROM busybox\nCOPY --nope a /x\n", 1, "unknown flag: --nope"),
        ("FROM busybox\nUSER ghost\nRUN true\n", 1, "ghost"),
    ];
    for (dockerfile, status, words) in cases {
        let dir = lab.dockerfile(dockerfile);
        let Some(out) = classic(&lab, &dir, &[]) else { return };
        out.fails(status, words);
    }
    let dir = lab.dockerfile("FROM busybox\n");
    if let Some(out) = classic(&lab, &dir, &["--squash"]) {
        out.fails(1, "squash");
    }
}

#[test]
fn our_own_builds_say_what_is_wrong_where_and_what_was_meant() {
    let arguments = ["--host", FAR, "--allow-plain-tcp"].map(str::to_owned).to_vec();
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let circle = "FROM busybox AS a\nCOPY --from=b /x /x\nFROM busybox AS b\nCOPY --from=a /x /x\n";
    let unknown = "unknown instruction: RUNN (did you mean RUN?)";
    let cases = [
        ("FROM busybox\nRUNN x\n", "2:1", "RUNN", unknown),
        (
            "FROM busybox\nCOPY a \\\n  --chwon=1 /x/\nCOPY --chwon=1 a /x\n",
            "4:6",
            "--chwon",
            "unknown flag: --chwon (did you mean chown?)",
        ),
        ("FROM busybox\n\nCOPY a \\\n  missing /x/\n", "4:3", "missing", "/missing\": not found"),
        (circle, "4:13", "a", "circular dependency detected on stage: a"),
        ("FROM --platform=a/b/c/d busybox\n", "1:17", "a/b/c/d", "invalid platform"),
        ("FROM busybox\nUSER ghost\n  RUN true\n", "3:3", "RUN", "ghost"),
        ("FROM 127.0.0.1:1/image\n", "1:6", "127.0.0.1:1/image", "127.0.0.1:1"),
        ("FROM busybox\nSTOPSIGNAL NOPE\n", "2:12", "NOPE", "invalid signal: NOPE"),
    ];
    // With directories as descriptors, and with a session.
    let near = format!("unix://{}", lab.socket().display());
    let (program, home) = (binaries().join("estiba"), format!("HOME={}", lab.dir().display()));
    let program = text(&program);
    for (dockerfile, place, word, words) in cases {
        let dir = lab.dockerfile(dockerfile);
        std::fs::write(dir.join("a"), "a").unwrap();
        let (line, column) = place.split_once(':').unwrap();
        let (line, column): (usize, usize) = (line.parse().unwrap(), column.parse().unwrap());
        for host in [near.as_str(), FAR] {
            let out = lab.in_network(&["env", &home, program, "-H", host, "build", text(&dir)]);
            out.fails(1, words);
            let source = dockerfile.lines().nth(line - 1).unwrap();
            let below = format!("{}{}", " ".repeat(column - 1), "^".repeat(word.len()));
            let shown = format!("{line:4} | >>> {source}\n     |     {below}\n");
            for part in [&format!("Dockerfile:{place}\n"), &shown] {
                assert!(out.stderr.contains(part), "{host}: {part:?} in {}", out.stderr);
            }
        }
    }
    lab.build(&lab.dockerfile("FROM busybox\n"), &["--platform", "a/b/c/d"])
        .fails(1, "\"a/b/c/d\" is an invalid platform");
}

#[test]
fn a_context_reaches_nothing_outside() {
    let lab = Lab::new();
    let outside = lab.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("sentinel"), "host").unwrap();
    let build = |dockerfile: &str| {
        let dir = lab.context(&[("Dockerfile", dockerfile), ("sub/f", "f")]);
        std::os::unix::fs::symlink(&outside, dir.join("out")).unwrap();
        std::os::unix::fs::symlink("../../../..", dir.join("sub/up")).unwrap();
        classic(&lab, &dir, &["-t", "hostile"])
    };
    let up = outside.strip_prefix("/").unwrap().display();
    for dockerfile in [
        "FROM busybox\nCOPY out/sentinel /x\n".to_owned(),
        format!("FROM busybox\nCOPY sub/up/{up}/sentinel /x\n"),
        format!("FROM busybox\nCOPY ../../../../{up}/sentinel /x\n"),
    ] {
        let Some(out) = build(&dockerfile) else { return };
        out.fails(1, "not found");
    }
    // A link in the image leads nowhere but inside the image.
    let link = format!(
        "FROM busybox\nRUN ln -s {} /host\nCOPY sub/f /host/sentinel/\n",
        outside.display()
    );
    build(&link).unwrap();
    assert_eq!(std::fs::read_to_string(outside.join("sentinel")).unwrap(), "host");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_killed_daemon_leaves_nothing_and_keeps_finished_steps() {
    let mut lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN echo first > /a\nRUN echo second; sleep 1000\n";
    let dir = lab.dockerfile(dockerfile);
    if lab.docker(&["version"]).is_none() {
        return;
    }
    let host = format!("DOCKER_HOST=unix://{}", lab.socket().display());
    let path = dir.to_str().unwrap();
    let words = ["env", "DOCKER_BUILDKIT=0", &host, "docker", "build", path];
    let build = lab.start_in_network(&words);
    eventually("the second step runs", || build.so_far().contains("\nsecond\n"));
    lab.kill_daemon();
    lab.start_daemon();
    build.finish();
    nothing_runs(&lab);
    // The client leaves: the step ends with it.
    let build = lab.start_in_network(&words);
    eventually("the second step runs", || build.so_far().contains("\nsecond\n"));
    assert!(build.so_far().contains(" ---> Using cache"), "{}", build.so_far());
    build.signal(rustix::process::Signal::KILL);
    build.finish();
    nothing_runs(&lab);
}

fn nothing_runs(lab: &Lab) {
    let empty = |dir: PathBuf| std::fs::read_dir(dir).map_or(true, |mut dir| dir.next().is_none());
    eventually("steps are removed", || {
        empty(lab.data_root().join("snapshots"))
            && empty(lab.dir().join("run/containers"))
            && empty(lab.dir().join("run/builds"))
            && lab.half_made().is_empty()
    });
    assert_eq!(lab.estiba(&["ps", "-aq"]).ok(), "");
}

#[test]
fn a_date_makes_builds_repeatable() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN mkdir /d && echo x > /d/x\nCOPY f /\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("f", "f")]);
    let arguments = ["--no-cache", "-q", "--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    let Some(first) = classic(&lab, &dir, &arguments) else { return };
    let again = classic(&lab, &dir, &arguments).unwrap();
    assert!(first.ok().starts_with("sha256:"), "{}", first.ok());
    assert_eq!(first.ok(), again.ok());
    let created = lab.estiba(&["image", "inspect", "-f", "{{.Created}}", first.ok()]);
    assert_eq!(created.ok(), "2001-09-09T01:46:40Z");
}

#[test]
fn the_cache_is_accounted_for_and_pruned() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1024 count=1024 2>/dev/null\n";
    let dir = lab.dockerfile(dockerfile);
    let Some(out) = classic(&lab, &dir, &["-t", "big"]) else { return };
    out.ok();
    let format = "{{.Type}} {{.TotalCount}} {{.Size}}";
    let used = || lab.estiba(&["system", "df", "--format", format]).ok().to_owned();
    // What an image has too would not be freed.
    assert!(used().contains("Build Cache 1 0B"), "{}", used());
    lab.estiba(&["rmi", "big"]).ok();
    assert!(used().contains("Build Cache 1 1.0"), "{}", used());
    lab.docker(&["builder", "prune", "-f"]).unwrap().ok();
    assert!(used().contains("Build Cache 0 0B"), "{}", used());
    let out = classic(&lab, &dir, &["-t", "big"]).unwrap();
    assert!(!out.ok().contains("Using cache"));
}

#[test]
fn the_listing_of_the_documentation_builds() {
    let lab = Lab::new();
    let tools = "FROM busybox\n\
        RUN printf '#!/bin/sh\\necho \"$0 $*\" >> /log\\n' > /bin/apk && chmod 755 /bin/apk && \
        cp /bin/apk /bin/dep\n\
        RUN printf '#!/bin/sh\\ntest \"$1\" = build || exit 0\\ncp main.go \"$3\"; \
        chmod 755 \"$3\"\\n' > /bin/go && chmod 755 /bin/go\n";
    let dir = lab.dockerfile(tools);
    let Some(out) = classic(&lab, &dir, &["-t", "golang:1.16-alpine"]) else { return };
    out.ok();
    let listing = "# syntax=docker/dockerfile:1\n\
        FROM golang:1.16-alpine AS build\n\n\
        # Install tools required for project\n\
        RUN apk add --no-cache git\n\
        RUN go get github.com/golang/dep/cmd/dep\n\n\
        COPY Gopkg.lock Gopkg.toml /go/src/project/\n\
        WORKDIR /go/src/project/\n\
        RUN dep ensure -vendor-only\n\n\
        COPY . /go/src/project/\n\
        RUN go build -o /bin/project\n\n\
        FROM scratch\n\
        COPY --from=build /bin/project /bin/project\n\
        ENTRYPOINT [ \"/bin/project\" ]\n\
        CMD [ \"--help\" ]\n";
    let files = [("Dockerfile", listing), ("Gopkg.lock", ""), ("Gopkg.toml", ""), ("main.go", "x")];
    let dir = lab.context(&files);
    classic(&lab, &dir, &["-t", "project"]).unwrap().ok();
    let format = "{{len .RootFS.Layers}} {{.Config.Entrypoint}} {{.Config.Cmd}}";
    let seen = lab.estiba(&["image", "inspect", "-f", format, "project"]);
    assert_eq!(seen.ok(), "1 [/bin/project] [--help]");
}

#[test]
fn a_secret_is_seen_by_its_step_and_kept_nowhere() {
    const CANARY: &str = "canary-3c9f1d7b";
    let lab = Lab::new();
    let dockerfile = "FROM busybox\n\
        RUN --mount=type=secret,id=s cat /run/secrets/s | md5sum > /sum\n\
        RUN --mount=type=secret,id=s,env=VALUE test -n \"$VALUE\" && echo set > /set\n";
    let dir = lab.dockerfile(dockerfile);
    let file = std::env::temp_dir().join(format!("estiba-secret-{}", std::process::id()));
    std::fs::write(&file, CANARY).unwrap();
    let secret = format!("id=s,src={}", file.display());
    let out = lab.estiba(&["build", "-t", "told", "--secret", &secret, dir.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    out.ok();
    assert_eq!(run(&lab, "told", "cat /set; ls /run/secrets 2>/dev/null; wc -w < /sum"), "set\n2");
    let found = lab.in_network(&["grep", "-rla", CANARY, lab.dir().to_str().unwrap()]);
    found.fails(1, "");
}

/// A thousand files of 200 kB, copied, read by a step, and written out: whichever way they come,
/// the daemon holds no more of them than pieces.
#[test]
fn a_big_build_takes_little_memory() {
    let arguments = ["--host", FAR, "--allow-plain-tcp"].map(str::to_owned).to_vec();
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let dir = lab.dockerfile("FROM busybox\nCOPY . /all\nRUN cat /all/x* > /one\n");
    let fill =
        format!("cd {} && head -c 200000000 /dev/urandom | split -a 3 -b 200000", text(&dir));
    lab.in_network(&["sh", "-c", &fill]).ok();
    let near = format!("unix://{}", lab.socket().display());
    let (program, home) = (binaries().join("estiba"), format!("HOME={}", lab.dir().display()));
    for host in [near.as_str(), FAR] {
        let words = ["-H", host, "build", "-q", "-t", "big", text(&dir)];
        lab.in_network(&[&["env", &home, text(&program)], &words[..]].concat()).ok();
        assert_eq!(run(&lab, "big", "wc -c < /one"), "200000000");
        // A program with everything that debuggers want to know is a third of it.
        let peak = lab.daemon_kib("VmHWM") - lab.daemon_kib("RssFile");
        println!("{host}: {peak} KiB");
        assert!(peak < 64 << 10, "{host}: the daemon took {peak} KiB");
        std::fs::write(dir.join("one-more"), host).unwrap();
    }
}
