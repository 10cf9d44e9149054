//! The Dockerfile language row by row: each instruction, flag, form and predefined argument, with
//! what must be seen of it in the plan.

mod planned;

/// Row, Dockerfile behind `FROM busybox`, and parts that the plan must show.
const ROWS: &[(&str, &str, &[&str])] = &[
    (
        "ADD",
        "ADD --chown=1:2 --chmod=0700 --exclude=x --exclude=y a /b",
        &["copy Input(1) /a /b contents wildcard follow unpack Owner { user: Some(Id(1)), group: \
         Some(Id(2)) } Bits(448) exclude[\"x\", \"y\"]"],
    ),
    ("ADD --link", "ADD --link a /b", &["Merge", "Empty -> Some(0)"]),
    ("ADD --keep-git-dir", "ADD --keep-git-dir https://h/r.git /", &["keep_git_dir: true"]),
    ("ADD --checksum", "ADD --checksum=0123abc https://h/r.git /", &["checksum: \"0123abc\""]),
    ("ADD --unpack", "ADD --unpack https://h/a.tar /", &["/a.tar / unpack"]),
    ("ARG", "ARG a=1\nRUN x", &["\"a=1\"", "ARG a=1", "|1 a=1"]),
    ("CMD exec", "CMD [\"a\", \"b\"]", &["\"Cmd\":[\"a\",\"b\"]", "CMD [\"a\" \"b\"]"]),
    ("CMD shell", "CMD a b", &["\"Cmd\":[\"/bin/sh\",\"-c\",\"a b\"]"]),
    (
        "COPY",
        "COPY --chown=u:g --chmod=u+x --exclude=x a /b",
        &["Name { name: \"u\", within: Input(0) }", "Symbolic(\"u+x\")", "exclude[\"x\"]"],
    ),
    ("COPY --from", "COPY --from=tool /a /b", &["FROM docker.io/library/tool", "/a /b contents"]),
    ("COPY --parents", "COPY --parents a/./b/c /d/", &["/a /d/", "include[\"b/c\"]", "need"]),
    ("ENTRYPOINT exec", "ENTRYPOINT [\"a\"]", &["\"Entrypoint\":[\"a\"]"]),
    ("ENTRYPOINT shell", "ENTRYPOINT a", &["\"Entrypoint\":[\"/bin/sh\",\"-c\",\"a\"]"]),
    ("ENV", "ENV a=b c=d", &["\"a=b\",\"c=d\"", "ENV a=b c=d"]),
    ("ENV legacy", "ENV a b c", &["\"a=b c\"", "LegacyKeyValueFormat"]),
    ("EXPOSE", "EXPOSE 80 81/udp 90-91", &["\"80/tcp\"", "\"81/udp\"", "\"91/tcp\""]),
    ("FROM AS", "FROM debian AS x\nRUN y", &["[x 2/2] RUN y"]),
    ("FROM scratch", "FROM scratch\nCOPY a /", &["Empty -> Some(0)"]),
    ("HEALTHCHECK NONE", "HEALTHCHECK NONE", &["\"Healthcheck\":{\"Test\":[\"NONE\"]}"]),
    (
        "HEALTHCHECK CMD",
        "HEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4s --retries=5 \
         CMD x",
        &[
            "\"Test\":[\"CMD-SHELL\",\"x\"]",
            "\"Interval\":1000000000,\"Timeout\":2000000000,\"StartPeriod\":3000000000,\
             \"StartInterval\":4000000000,\"Retries\":5",
        ],
    ),
    ("LABEL", "LABEL a=b \"c d\"='e f'", &["\"Labels\":{\"a\":\"b\",\"c d\":\"e f\"}"]),
    ("MAINTAINER", "MAINTAINER me", &["MAINTAINER me", "MaintainerDeprecated"]),
    ("ONBUILD", "ONBUILD COPY --from=x a /", &["\"OnBuild\":[\"COPY --from=x a /\"]"]),
    ("RUN", "RUN make all", &["run [\"/bin/sh\", \"-c\", \"make all\"] in /"]),
    ("RUN exec", "RUN [\"make\"]", &["run [\"make\"] in /"]),
    ("SHELL", "SHELL [\"a\", \"b\"]\nRUN c", &["run [\"a\", \"b\", \"c\"]", "\"Shell\":"]),
    ("STOPSIGNAL", "STOPSIGNAL 9", &["\"StopSignal\":\"9\""]),
    ("USER", "USER u:g\nRUN x", &["as \"u:g\"", "\"User\":\"u:g\""]),
    ("VOLUME json", "VOLUME [\"/a b\"]", &["\"Volumes\":{\"/a b\":{}}"]),
    ("VOLUME list", "VOLUME /a /b", &["\"Volumes\":{\"/a\":{},\"/b\":{}}"]),
    ("WORKDIR", "WORKDIR /a\nWORKDIR b\nRUN x", &["in /a/b", "\"WorkingDir\":\"/a/b\""]),
    (
        "run-mount bind",
        "RUN --mount=from=t,src=/s,dst=/d,readwrite x",
        &["mount /d Bind(Bind { input: Some(1), selector: \"/s\", readonly: false, output: \
             None })"],
    ),
    (
        "run-mount cache",
        "RUN --mount=type=cache,id=i,target=/d,ro,sharing=private,mode=0700,uid=1,gid=2 x",
        &[
            "mount /d Cache(CacheMount { id: \"/i\", sharing: Private, readonly: true",
            "DirOwner { uid: 1, gid: 2, mode: 448 }",
        ],
    ),
    (
        "run-mount cache from",
        "RUN --mount=type=cache,target=/d,from=t,source=/s x",
        &["input: Some(1), selector: \"/s\""],
    ),
    (
        "run-mount tmpfs",
        "RUN --mount=type=tmpfs,target=/t,size=1k x",
        &["mount /t Tmpfs { size_bytes: Some(1024) }"],
    ),
    (
        "run-mount secret",
        "RUN --mount=type=secret,id=s,target=/t,required,mode=0444,uid=1,gid=2 x",
        &["mount /t Secret(SecretMount { id: \"s\", uid: 1, gid: 2, mode: 292, required: true })"],
    ),
    (
        "run-mount secret env",
        "RUN --mount=type=secret,id=s,env=E x",
        &["secret env [SecretEnv { id: \"s\", name: \"E\", required: false }]"],
    ),
    (
        "run-mount ssh",
        "RUN --mount=type=ssh,id=a,target=/t,required,mode=0666,uid=1,gid=2 x",
        &[
            "mount /t Ssh(SecretMount { id: \"a\", uid: 1, gid: 2, mode: 438, required: true })",
            "SSH_AUTH_SOCK=/t",
        ],
    ),
    ("run-network default", "RUN --network=default x", &["    Sandbox Sandbox []"]),
    ("run-network none", "RUN --network=none x", &["    None Sandbox []"]),
    ("run-network host", "RUN --network=host x", &["    Host Sandbox []"]),
    ("run-security sandbox", "RUN --security=sandbox x", &["    Sandbox Sandbox []"]),
    ("run-security insecure", "RUN --security=insecure x", &["    Sandbox Insecure []"]),
    ("run-device", "RUN --device=v/c=n,required x", &["{ name: \"v/c=n\", required: true }"]),
    (
        "variable expansion",
        "ENV a=b\nCOPY $a ${a:+/x}\nUSER ${u:-$a}\nSTOPSIGNAL ${s-TERM}",
        &["/b /x contents", "\"User\":\"b\"", "\"StopSignal\":\"TERM\""],
    ),
    ("heredoc RUN", "RUN <<EOF\na\nEOF", &["\"-c\", \"a\\n\"]"]),
    ("heredoc COPY", "COPY <<-EOF /x\n\ta\n\tEOF", &["mkfile /EOF 644 \"a\\n\""]),
    ("heredoc quoted", "COPY <<\"EOF\" /x\n$a\nEOF", &["\"$a\\n\""]),
    ("heredoc shebang", "RUN <<EOF\n#!/bin/x\nEOF", &["run [\"/dev/pipes/EOF\"]"]),
    ("line continuation", "RUN a \\\n# c\n\n b", &["\"a  b\"", "NoEmptyContinuation"]),
    ("multi-stage", "RUN 1\nFROM scratch\nCOPY --from=0 / /", &["[stage-0 2/2] RUN 1"]),
    ("wildcards", "COPY a*/[b-c]?.x /d/", &["/a*/[b-c]?.x /d/ contents wildcard"]),
    (
        "ADD git",
        "ADD git@h:r.git#b:s /x",
        &["remote: \"git@h:r.git\", reference: \"b\", \
         subdir: \"s\""],
    ),
    ("ADD http", "ADD https://h/x /y", &["url: \"https://h/x\"", "copy Input(1) /x /y\n"]),
];

#[test]
fn every_row_is_seen_in_the_plan() {
    for (row, text, parts) in ROWS {
        let described =
            planned::described(format!("FROM busybox\n{text}\n").as_bytes(), &planned::options());
        for part in *parts {
            assert!(described.contains(part), "{row}: no {part:?} in\n{described}");
        }
    }
}

#[test]
fn from_takes_platforms_and_digests() {
    let digest = format!("debian@sha256:{}", "0".repeat(64));
    for (base, want) in [
        ("--platform=linux/arm64 debian", "[] linux/arm64 |"),
        ("--platform=$BUILDPLATFORM debian", "[] linux/amd64 |"),
        (digest.as_str(), "docker.io/library/debian@sha256:00"),
    ] {
        let described =
            planned::described(format!("FROM {base}\nRUN x\n").as_bytes(), &planned::options());
        assert!(described.contains(want), "{base}:\n{described}");
    }
}

#[test]
fn platform_arguments_are_there_when_declared() {
    for (name, want) in [
        ("TARGETPLATFORM", "linux/amd64"),
        ("TARGETOS", "linux"),
        ("TARGETARCH", "amd64"),
        ("TARGETVARIANT", ""),
        ("BUILDPLATFORM", "linux/amd64"),
        ("BUILDOS", "linux"),
        ("BUILDARCH", "amd64"),
        ("BUILDVARIANT", ""),
        ("TARGETSTAGE", "default"),
    ] {
        let text = format!("FROM busybox\nARG {name}\nRUN x\n");
        let described = planned::described(text.as_bytes(), &planned::options());
        assert!(described.contains(&format!("\"{name}={want}\"")), "{name}:\n{described}");
        let text = "FROM busybox\nRUN x\n";
        assert!(!planned::described(text.as_bytes(), &planned::options()).contains(name));
    }
}

#[test]
fn predefined_arguments_need_no_declaration_and_leave_no_trace() {
    let plain = planned::described(b"FROM busybox\nRUN x\n", &planned::options());
    for name in ["HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", "https_proxy", "no_proxy"] {
        let mut options = planned::options();
        options.build_args.insert(name.to_owned(), "value".to_owned());
        let described = planned::described(b"FROM busybox\nRUN x\n", &options);
        let upper = name.to_uppercase();
        assert!(described.contains(&format!("\"{upper}=value\"")), "{described}");
        let history = |text: &str| text.split("target ").nth(1).map(str::to_owned);
        assert_eq!(history(&described), history(&plain), "{name}");
    }
    for name in [
        "BUILDKIT_BUILD_NAME",
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_SYNTAX",
        "BUILDKIT_SBOM_SCAN_CONTEXT",
        "BUILDKIT_SBOM_SCAN_STAGE",
        "BUILDKIT_SCAN_DESTINATION",
        "SOURCE_DATE_EPOCH",
    ] {
        let mut options = planned::options();
        options.build_args.insert(name.to_owned(), "1".to_owned());
        let described = planned::described(b"FROM busybox\nRUN x\n", &options);
        assert_eq!(described, plain, "{name}");
    }
    let mut options = planned::options();
    options.build_args.insert("BUILDKIT_DOCKERFILE_CHECK".into(), "skip=all".into());
    let described = planned::described(b"FROM busybox\nMAINTAINER x\n", &options);
    assert!(!described.contains("check "), "{described}");
}
