//! Each check finds what it is for, in its own words, and can be told not to.

use super::*;
use crate::dockerfile::Dockerfile;
use crate::frontend::{KnownImage, KnownImages, PlanOptions, Planning, plan};
use crate::platform::Platform;
use std::collections::BTreeSet;
use wire::oci::image::ImageConfig;

/// What all checks find in a file; images are there for amd64 only.
fn found(text: &str) -> Vec<(&'static str, String, u32)> {
    let file = Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
    let mut options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    options.all_stages = true;
    options.ignore = vec!["*.log".to_owned(), "secret".to_owned()];
    let mut known = KnownImages::new();
    let warnings = loop {
        match plan(&file, &options, &known) {
            Ok(Planning::Done(plan)) => break plan.warnings,
            Err(err) => break err.warnings,
            Ok(Planning::Needs(needs)) => {
                for need in needs.into_keys() {
                    let platform = Platform::new("linux", "amd64", "");
                    let config = ImageConfig::default();
                    let reference = need.reference.clone();
                    known.insert(need, KnownImage { reference, platform, config });
                }
            }
        }
    };
    let line = |warning: &Warning| warning.location.as_ref().unwrap().start().line;
    warnings.into_iter().map(|w| (w.rule, w.message.clone(), line(&w))).collect()
}

/// A file, and what is found in it: rule, line, words.
const CASES: &[(&str, &str, u32, &str)] = &[
    ("FROM x AS Big\n", "StageNameCasing", 1, "Stage name 'Big' should be lowercase"),
    ("FROM x as b\n", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("FROM x\nRUN a \\\n\n b\n", "NoEmptyContinuation", 4, "Empty continuation line"),
    (
        "FROM x\nrun a\nRUN b\n",
        "ConsistentInstructionCasing",
        2,
        "Command 'run' should match the case of the command majority (uppercase)",
    ),
    (
        "FROM x AS a\nFROM x AS a\n",
        "DuplicateStageName",
        2,
        "Duplicate stage name \"a\", stage names should be unique",
    ),
    (
        "FROM x AS context\n",
        "ReservedStageName",
        1,
        "Stage name should not use the same name as reserved stage \"context\"",
    ),
    (
        "FROM x\nENTRYPOINT a\n",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS \
         signals",
    ),
    (
        "FROM x\nMAINTAINER m\n",
        "MaintainerDeprecated",
        2,
        "Maintainer instruction is deprecated in favor of using label",
    ),
    (
        "ARG VERSION=1\nFROM x:${VERSOIN:-1}\n",
        "UndefinedArgInFrom",
        2,
        "FROM argument 'VERSOIN' is not declared (did you mean VERSION?)",
    ),
    (
        "FROM x\nWORKDIR a\n",
        "WorkdirRelativePath",
        2,
        "Relative workdir \"a\" can have unexpected results if the base image changes",
    ),
    (
        "FROM x\nLABEL a=$PAHT\n",
        "UndefinedVar",
        2,
        "Usage of undefined variable '$PAHT' (did you mean $PATH?)",
    ),
    (
        "FROM x\nCMD [\"a\"]\nCMD [\"b\"]\n",
        "MultipleInstructionsDisallowed",
        2,
        "Multiple CMD instructions should not be used in the same stage because only the last one \
         will be used",
    ),
    (
        "FROM x\nENV a b\n",
        "LegacyKeyValueFormat",
        2,
        "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
    ),
    (
        "FROM --platform=linux/arm64 x AS arm64\n",
        "InvalidBaseImagePlatform",
        1,
        "Base image x was pulled with platform \"linux/amd64\", expected \"linux/arm64\" for \
         current build",
    ),
    (
        "FROM --platform=${TARGETPLATFORM} x\n",
        "RedundantTargetPlatform",
        1,
        "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the \
         default behavior",
    ),
    (
        "FROM x\nENV API_KEY=1\n",
        "SecretsUsedInArgOrEnv",
        2,
        "Do not use ARG or ENV instructions for sensitive data (ENV \"API_KEY\")",
    ),
    (
        "ARG TAG\nFROM x:${TAG}\n",
        "InvalidDefaultArgInFrom",
        2,
        "Default value for ARG x:${TAG} results in empty or invalid base image name",
    ),
    (
        "FROM --platform=linux/amd64 x\n",
        "FromPlatformFlagConstDisallowed",
        1,
        "FROM --platform flag should not use constant value \"linux/amd64\"",
    ),
    (
        "FROM x\nCOPY a.log /\n",
        "CopyIgnoredFile",
        2,
        "Attempting to Copy file \"a.log\" that is excluded by .dockerignore",
    ),
    (
        "# check=experimental=InvalidDefinitionDescription\n# other words\nFROM x AS a\n",
        "InvalidDefinitionDescription",
        3,
        "Comment for FROM should follow the format: `# a <description>`",
    ),
    (
        "FROM x\nEXPOSE 80/TCP\n",
        "ExposeProtoCasing",
        2,
        "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
    ),
    (
        "FROM x\nEXPOSE 80:80\n",
        "ExposeInvalidFormat",
        2,
        "EXPOSE instruction should not define an IP address or host-port mapping, found '80:80'",
    ),
];

#[test]
fn every_check_finds_what_it_is_for() {
    for (text, rule, line, message) in CASES {
        assert_eq!(found(text), [(*rule, (*message).to_owned(), *line)], "{text}");
    }
    let tried: BTreeSet<&str> = CASES.iter().map(|(_, rule, ..)| *rule).collect();
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(tried, all, "one case per rule");
    assert_eq!(RULES.len(), 22);
}

#[test]
fn every_check_can_be_skipped() {
    for (text, rule, ..) in CASES.iter().filter(|(_, rule, ..)| !rule.contains("Description")) {
        assert_eq!(found(&format!("# check=skip={rule}\n{text}")), [], "{rule}");
        assert_eq!(found(&format!("# check=skip=all\n{text}")), [], "{rule}");
    }
    assert_eq!(found("FROM x\n# check=skip=JSONArgsRecommended\nCMD a\n"), []);
    assert_eq!(found("# check=skip=A;experimental=B\nFROM x\nMAINTAINER m\n").len(), 1);
}

#[test]
fn what_is_fine_is_left_alone() {
    for text in [
        "FROM x AS a\nRUN a\n",
        "from x as a\nrun a\n",
        "FROM x\nSHELL [\"/bin/bash\"]\nCMD a\n",
        "FROM x\nWORKDIR /a\nWORKDIR b\n",
        "FROM x\nARG a\nLABEL b=$a\n",
        "FROM x\nARG PUBLIC_KEY\nENV KEYBOARD=1 TOKEN_FILE=x MONKEY=1\n",
        "FROM x\nCOPY a.txt /\nADD b /\n",
        "FROM x AS a\nCOPY --from=a2 a.log /\n",
        "ARG TAG=1\nFROM x:${TAG}\n",
        "FROM --platform=$BUILDPLATFORM x\n",
        "FROM --platform=linux/amd64 x AS build-amd64\n",
        "FROM x\nEXPOSE 80/tcp 81\n",
        "# a words\nFROM x AS a\n",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn options_are_read_strictly() {
    let error = CheckOptions::parse("skip=all;error=true").unwrap();
    assert!(error.error);
    for bad in ["skip", "foo=bar", "error=maybe"] {
        assert!(CheckOptions::parse(bad).is_err(), "{bad}");
    }
    let file = Dockerfile::parse("Dockerfile", b"# check=error=true\nFROM x\nMAINTAINER m\n");
    let mut options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    options.contexts.insert("x".into(), "docker-image://scratch".into());
    let failed = plan(&file.unwrap(), &options, &KnownImages::new()).unwrap_err();
    assert_eq!(failed.message, "lint violation found for rules: MaintainerDeprecated");
    assert_eq!(failed.warnings.len(), 1);
}
