//! What options do to a plan.

use super::*;
use crate::graph::{Change, NetworkMode, Op, OpKind, Pull};
use std::collections::BTreeSet;
use wire::oci::image::{ImageConfig, RootFs};

fn file(text: &str) -> Dockerfile {
    Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap()
}

fn options() -> PlanOptions {
    PlanOptions::new(Platform::new("linux", "amd64", ""))
}

fn config(platform: &Platform) -> ImageConfig {
    ImageConfig {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: Some(platform.variant.clone()).filter(|variant| !variant.is_empty()),
        rootfs: RootFs { diff_ids: vec!["sha256:0".into()], ..RootFs::default() },
        ..ImageConfig::default()
    }
}

/// Plans with every image known; also the images asked for.
fn planned(text: &str, options: &PlanOptions) -> Result<(Plan, Vec<ImageNeed>), PlanError> {
    let file = file(text);
    let mut known = KnownImages::new();
    let mut asked = Vec::new();
    loop {
        match plan(&file, options, &known)? {
            Planning::Done(plan) => return Ok((*plan, asked)),
            Planning::Needs(needs) => {
                assert!(!needs.is_empty());
                asked.extend(needs.keys().cloned());
                for need in needs.into_keys() {
                    let (platform, reference) = (need.platform.clone(), need.reference.clone());
                    let config = config(&platform);
                    known.insert(need, KnownImage { reference, platform, config });
                }
            }
        }
    }
}

fn done(text: &str, options: &PlanOptions) -> Plan {
    planned(text, options).unwrap().0
}

fn failure(text: &str, options: &PlanOptions) -> String {
    planned(text, options).unwrap_err().message
}

fn commands(plan: &Plan) -> Vec<String> {
    let args = plan.graph.ops().iter().filter_map(|op| match &op.kind {
        OpKind::Exec(exec) => exec.args.last().cloned(),
        _ => None,
    });
    args.collect()
}

fn op(plan: &Plan, test: impl Fn(&OpKind) -> bool) -> &Op {
    plan.graph.ops().iter().find(|op| test(&op.kind)).expect("the operation")
}

const STAGES: &str = "FROM a AS One\nRUN 1\nFROM b AS two\nRUN 2\nFROM one\nRUN 3\n";

#[test]
fn targets_by_name_and_number() {
    for (target, want) in [
        (None, vec!["1", "3"]),
        (Some("one"), vec!["1"]),
        (Some("ONE"), vec!["1"]),
        (Some("two"), vec!["2"]),
        (Some("1"), vec!["2"]),
        (Some(""), vec!["1", "3"]),
    ] {
        let options = PlanOptions { target: target.map(str::to_owned), ..options() };
        assert_eq!(commands(&done(STAGES, &options)), want, "{target:?}");
    }
    let options = PlanOptions { target: Some("tow".into()), ..options() };
    let message = "target stage \"tow\" could not be found (did you mean two?)";
    assert_eq!(failure(STAGES, &options), message);
}

#[test]
fn only_needed_images_are_asked_for() {
    let (_, asked) = planned(STAGES, &options()).unwrap();
    let names: Vec<&str> = asked.iter().map(|need| need.reference.as_str()).collect();
    assert_eq!(names, ["docker.io/library/a:latest"]);
    let all = PlanOptions { all_stages: true, ..options() };
    let (plan, asked) = planned(STAGES, &all).unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(commands(&plan), ["1", "3"], "planned for the checks only, not to be built");
    assert_eq!(
        failure("FROM UPPER/Case", &options()).split(':').next().unwrap(),
        "failed to parse stage name \"UPPER/Case\""
    );
}

#[test]
fn platforms_are_planned_side_by_side() {
    let text = "FROM --platform=$BUILDPLATFORM tool AS t\nRUN gen\nFROM base\n\
                ARG TARGETARCH\nCOPY --from=t /x /x\nRUN use $TARGETARCH\nCOPY . /\n";
    let host = Platform::new("linux", "amd64", "");
    let arm = Platform::new("linux", "arm64", "");
    let options = PlanOptions { platforms: vec![host, arm], ..options() };
    let (plan, asked) = planned(text, &options).unwrap();
    let asked: Vec<String> =
        asked.iter().map(|need| format!("{} {}", need.reference, need.platform)).collect();
    assert_eq!(
        asked,
        [
            "docker.io/library/base:latest linux/amd64",
            "docker.io/library/base:latest linux/arm64",
            "docker.io/library/tool:latest linux/amd64"
        ]
    );
    let targets: Vec<String> = plan.targets.iter().map(|t| t.platform.to_string()).collect();
    assert_eq!(targets, ["linux/amd64", "linux/arm64"]);
    assert_eq!(plan.targets[1].config.architecture, "arm64");
    // What both need is there once.
    assert_eq!(commands(&plan).iter().filter(|command| *command == "gen").count(), 1);
    let locals = plan.graph.ops().iter().filter(|op| matches!(op.kind, OpKind::Local(_)));
    assert_eq!(locals.count(), 1);
    let names: Vec<&str> = plan.graph.ops().iter().map(|op| op.meta.name.as_str()).collect();
    assert!(names.contains(&"[linux/arm64 stage-1 3/4] RUN use arm64"), "{names:?}");
}

#[test]
fn named_contexts_replace_images_and_stages() {
    let text = "FROM alpine AS base\nRUN base\nFROM debian:12\nCOPY --from=base /a /b\n\
                COPY --from=extra src/x /x\n";
    let with = |pairs: &[(&str, &str)]| {
        let contexts = pairs.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned()));
        PlanOptions { contexts: contexts.collect(), ..options() }
    };
    let all = [
        ("base", "docker-image://busybox:1"),
        ("debian:12", "oci-layout://store@sha256:00"),
        ("extra", "local:dir"),
    ];
    let (plan, asked) = planned(text, &with(&all)).unwrap();
    assert_eq!(commands(&plan), Vec::<String>::new(), "the stage itself is not built");
    let asked: BTreeSet<_> =
        asked.iter().map(|need| (need.reference.as_str(), need.layout.as_deref())).collect();
    let want = [("debian:12@sha256:00", Some("store")), ("docker.io/library/busybox:1", None)];
    assert_eq!(asked, want.into_iter().collect());
    let OpKind::Local(local) = &op(&plan, |kind| matches!(kind, OpKind::Local(_))).kind else {
        panic!("no local");
    };
    assert_eq!((local.name.as_str(), local.follow.as_slice()), ("dir", &["src/x".to_owned()][..]));
    let git = with(&[("extra", "https://h/r.git#main")]);
    assert!(matches!(
        &op(&done(text, &git), |kind| matches!(kind, OpKind::Git(_))).kind,
        OpKind::Git(git) if git.reference == "main"
    ));
    let alias = with(&[("extra", "target:base")]);
    assert_eq!(commands(&done(text, &alias)), ["base"]);
    let cycle = with(&[("base", "target:base")]);
    assert!(failure(text, &cycle).contains("could not be found"));
    let odd = with(&[("extra", "odd://x")]);
    assert_eq!(failure(text, &odd), "unsupported context source odd for extra");
    let scratch = with(&[("alpine", "docker-image://scratch")]);
    let plan = done("FROM alpine\nCOPY a /", &scratch);
    assert!(plan.graph.ops().iter().all(|op| !matches!(op.kind, OpKind::Image(_))));
}

#[test]
fn caches_can_be_ignored_by_stage() {
    let ignored = |cache: CacheUse| {
        let plan = done(STAGES, &PlanOptions { cache, ..options() });
        let execs = plan.graph.ops().iter().filter(|op| matches!(op.kind, OpKind::Exec(_)));
        execs.map(|op| op.meta.ignore_cache).collect::<Vec<_>>()
    };
    assert_eq!(ignored(CacheUse::All), [false, false]);
    assert_eq!(ignored(CacheUse::None), [true, true]);
    assert_eq!(ignored(CacheUse::Without(["ONE".to_owned()].into())), [true, false]);
}

#[test]
fn arguments_count_only_where_they_are_seen() {
    let digest = |text: &str, pairs: &[(&str, &str)]| {
        let build_args = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let plan = done(text, &PlanOptions { build_args, ..options() });
        let exec = op(&plan, |kind| matches!(kind, OpKind::Exec(_)));
        exec.digest()
    };
    let declared = "FROM a\nARG X\nRUN x\n";
    assert_ne!(digest(declared, &[("X", "1")]), digest(declared, &[("X", "2")]));
    let later = "FROM a\nRUN x\nARG X\n";
    assert_eq!(digest(later, &[("X", "1")]), digest(later, &[("X", "2")]));
    let proxy = [("https_proxy", "http://u:p@h")];
    assert_eq!(digest(later, &proxy), digest(later, &[]), "proxies are no part of a step");
    let args = [("X", "1"), ("Y", "2"), ("NO_PROXY", "h"), ("BUILDKIT_INLINE_CACHE", "1")];
    let build_args = args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    assert_eq!(done(later, &PlanOptions { build_args, ..options() }).unused_args, ["Y"]);
}

#[test]
fn options_reach_steps_and_results() {
    let mut options = PlanOptions {
        labels: [("a".to_owned(), "b".to_owned())].into(),
        network: NetworkMode::None,
        extra_hosts: vec![("h".into(), "1.2.3.4".into())],
        shm_bytes: Some(1 << 20),
        pull: Pull::Always,
        ignore: vec!["x".into()],
        ..options()
    };
    for (name, value) in [
        ("BUILDKIT_CACHE_MOUNT_NS", "ns"),
        ("BUILDKIT_SANDBOX_HOSTNAME", "box"),
        ("SOURCE_DATE_EPOCH", "1700000000"),
        ("BUILDKIT_MULTI_PLATFORM", "1"),
    ] {
        options.build_args.insert(name.into(), value.into());
    }
    let text = "FROM a\nWORKDIR /w\nRUN --mount=type=cache,id=i,target=/c --network=default x\n\
                COPY y /\n";
    let plan = done(text, &options);
    let OpKind::Exec(exec) = &op(&plan, |kind| matches!(kind, OpKind::Exec(_))).kind else {
        panic!("no step");
    };
    assert_eq!((exec.network, exec.hostname.as_str()), (NetworkMode::None, "box"));
    assert_eq!((exec.shm_bytes, exec.extra_hosts.len()), (Some(1 << 20), 1));
    assert!(format!("{:?}", exec.mounts).contains("id: \"ns/i\""));
    let OpKind::File(workdir) = &op(&plan, |kind| matches!(kind, OpKind::File(_))).kind else {
        panic!("no directory");
    };
    let time = 1_700_000_000_000_000_000;
    assert!(
        matches!(workdir.actions[0].change, Change::Mkdir { time_ns: Some(t), .. } if t == time)
    );
    assert!(matches!(&op(&plan, |kind| matches!(kind, OpKind::Image(_))).kind,
        OpKind::Image(image) if image.pull == Pull::Always));
    assert!(matches!(&op(&plan, |kind| matches!(kind, OpKind::Local(_))).kind,
        OpKind::Local(local) if local.exclude == ["x"] && local.follow == ["y"]));
    assert_eq!(plan.targets[0].config.config.labels.as_ref().unwrap()["a"], "b");
    assert!(plan.graph.ops()[0].meta.name.starts_with("[linux/amd64 "));
}

#[test]
fn contexts_may_be_far_away() {
    let git = crate::gitref::parse("https://h/r.git#v1:sub", true).unwrap().unwrap().git;
    let options = PlanOptions { context: ContextSource::Git(git), ..options() };
    let plan = done("FROM scratch\nCOPY . /\n", &options);
    assert!(matches!(&plan.graph.ops()[0].kind, OpKind::Git(git) if git.subdir == "sub"));
}

#[test]
fn history_of_the_legacy_builder() {
    let text = "FROM scratch\nARG a=1\nENV b=2\nCOPY x /y\nRUN make\nCMD [\"c\"]\n";
    let plan = done(text, &PlanOptions { history: History::Legacy, ..options() });
    let history: Vec<_> = plan.targets[0].config.history.iter().collect();
    let texts: Vec<&str> =
        history.iter().map(|entry| entry.created_by.as_deref().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "/bin/sh -c #(nop) ARG a=1",
            "/bin/sh -c #(nop) ENV b=2",
            "/bin/sh -c #(nop) COPY x /y",
            "|1 a=1 /bin/sh -c make",
            "/bin/sh -c #(nop) CMD [\"c\"]",
        ]
    );
    assert!(history.iter().all(|entry| entry.comment.is_none()));
}

#[test]
fn layers_match_history() {
    let text = "FROM a\nWORKDIR /w\nWORKDIR /\nCOPY a b c/\nCOPY --link d e\nRUN x\nENV f=g\n";
    let plan = done(text, &options());
    let layers = plan.targets[0].config.history.iter().filter(|entry| !entry.empty_layer).count();
    assert_eq!(layers, 4);
}

#[test]
fn stages_are_listed() {
    let listed = stages(&file("# b builds it\nFROM x AS b\nFROM --platform=$P b\n"));
    assert_eq!(listed[0].description.as_deref(), Some("builds it"));
    assert_eq!((listed[0].default, listed[1].default), (false, true));
    assert_eq!(listed[1].platform.as_deref(), Some("$P"));
}

#[test]
fn hostile_files_are_bounded() {
    let doubling = format!("FROM scratch\nENV a=xx\n{}", "ENV a=$a$a\n".repeat(64));
    assert!(failure(&doubling, &options()).contains("the expansion is longer than"));
    let chain: String = (0..3000).fold("FROM scratch AS s0\n".to_owned(), |text, i| {
        format!("{text}FROM s{i} AS s{}\n", i + 1)
    });
    assert!(done(&chain, &options()).graph.ops().is_empty());
    let copies: String = (0..1000).fold("FROM scratch AS s0\nCOPY a /\n".to_owned(), |text, i| {
        format!("{text}FROM scratch AS s{}\nCOPY --from=s{i} a /\n", i + 1)
    });
    assert_eq!(done(&copies, &options()).graph.ops().len(), 1002);
    let selfish = "FROM scratch AS a\nCOPY --from=a x /\n";
    assert_eq!(failure(selfish, &options()), "circular dependency detected on stage: a");
    assert_eq!(failure("FROM a\nCOPY --from=7 x /\n", &options()), "invalid stage index 7");
    assert_eq!(failure("ARG x\nFROM $x\n", &options()), "base name ($x) should not be blank");
}

#[test]
fn what_is_scanned_is_said_by_arguments() {
    let text = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=two\nFROM a AS one\nRUN 1\n\
        FROM b AS unneeded\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\n\
        FROM one AS two\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN 2\n\
        FROM two\nCOPY --from=one /a /\nRUN echo $BUILDKIT_SBOM_SCAN_STAGE\n";
    let scanned = |options: &PlanOptions| {
        let plan = done(text, options);
        let scans = plan.targets[0].scans.clone();
        for scan in &scans {
            assert!(plan.graph.op(scan.tree.unwrap().op).is_some(), "{scan:?}");
        }
        scans.into_iter().map(|scan| scan.name).collect::<Vec<_>>()
    };
    let mut options = options();
    assert_eq!(scanned(&options), [""; 0], "nobody looks");
    options.scans = true;
    assert_eq!(scanned(&options), ["two", "context"]);
    let mut given = |name: &str, value: &str| {
        options.build_args.insert(format!("BUILDKIT_SBOM_SCAN_{name}"), value.to_owned());
        scanned(&options)
    };
    assert_eq!(given("STAGE", "true"), ["one", "two", "context"]);
    assert_eq!(given("STAGE", "other,one"), ["one", "context"]);
    assert_eq!(given("CONTEXT", "false"), ["one"]);
    let run = op(&done(text, &options), |kind| matches!(kind, OpKind::Exec(_))).clone();
    let OpKind::Exec(exec) = run.kind else { panic!() };
    assert!(exec.env.iter().all(|entry| !entry.contains("SBOM")), "{:?}", exec.env);
}
