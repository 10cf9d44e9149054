//! Each question has the answer that BuildKit's clients read.

use super::*;
use crate::dockerfile::Dockerfile;
use crate::frontend::{self, PlanOptions};
use crate::platform::Platform;

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap()
}

fn options() -> PlanOptions {
    PlanOptions::new(Platform::new("linux", "amd64", ""))
}

#[test]
fn names_go_both_ways() {
    for (call, name, _) in CALLS {
        assert_eq!((Call::parse(name), call.name()), (Some(call), name));
    }
    assert_eq!(Call::parse("frontend.nonsense"), None);
    assert_eq!(describe().json.as_array().unwrap().len(), 4);
}

#[test]
fn encoding() {
    let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
    for (plain, encoded) in pairs {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}

#[test]
fn targets_with_what_is_said_of_them() {
    let file = parse("# base is the first\nFROM a AS base\nFROM base\nFROM base AS last\n");
    let answer = targets(&file);
    assert_eq!(
        answer.text,
        "TARGET           DESCRIPTION\nbase             is the first\nlast (default)\n"
    );
    let list = answer.json["targets"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!(list[0]["description"], "is the first");
    assert_eq!(list[2]["default"], true);
    assert_eq!(list[2]["location"]["ranges"][0]["start"]["line"], 4);
}

#[test]
fn an_outline_lists_what_the_target_takes() {
    let file = parse(
        "ARG BASE=busybox\nARG UNUSED=1\nFROM $BASE AS build\n# V is the version\nARG V=1\n\
         ARG W=${V}.2\nARG API_TOKEN=x\nRUN --mount=type=secret,id=s,required \
         --mount=type=cache,target=/c --mount=type=ssh make\n\
         FROM scratch AS other\nARG NOT=1\nFROM build AS last\n",
    );
    let mut options = options();
    options.build_args.insert("V".to_owned(), "7".to_owned());
    let found = frontend::outline(&file, &options).unwrap();
    let answer = outline(&file, &found);
    let lines: Vec<&str> = answer.text.lines().collect();
    assert_eq!(
        lines,
        [
            "TARGET:   last",
            "",
            "BUILD ARG   VALUE     DESCRIPTION",
            "BASE        busybox",
            "V           7         is the version",
            "W           7.2",
            "API_TOKEN   ****",
            "",
            "SECRET   REQUIRED",
            "s        true",
            "",
            "SSH       REQUIRED",
            "default   false",
            "",
            "CACHE ID",
            "/c",
            "",
        ]
    );
    assert_eq!(answer.json["secrets"][0]["required"], true);
    options.target = Some("nowhere".to_owned());
    assert!(frontend::outline(&file, &options).is_err());
}

#[test]
fn findings_name_rule_place_and_lines() {
    let file = parse("FROM scratch AS Big\nCOPY a /\n");
    let planned = frontend::plan(&file, &options(), &frontend::KnownImages::new()).unwrap();
    let frontend::Planning::Done(plan) = planned else { panic!("no image is needed") };
    let answer = lint(&file.source, &plan.warnings, None);
    assert_eq!(answer.status, 1);
    assert!(answer.text.starts_with(
        "\nWARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/\
         stage-name-casing/\nStage name 'Big' should be lowercase\n\nDockerfile:1\n"
    ));
    assert!(answer.text.contains("   1 | >>> FROM scratch AS Big\n"));
    let warning = &answer.json["warnings"][0];
    assert_eq!(warning["ruleName"], "StageNameCasing");
    assert_eq!(warning["location"]["ranges"][0]["start"]["line"], 1);
    assert_eq!(answer.json["sources"][0]["filename"], "Dockerfile");
    let clean = lint(&file.source, &[], None);
    assert_eq!((clean.status, clean.text.as_str()), (0, ""));
    let broken = lint(&file.source, &[], Some(("no such stage", None)));
    assert_eq!(
        (broken.status, &broken.json["buildError"]["message"]),
        (1, &"no such stage".into())
    );
}
