//! What holds for the whole file: ARGs before the first FROM, platform variables, and what build
//! arguments with a meaning to the builder say.

use super::env::Env;
use super::options::PlanOptions;
use super::wrong::Wrong;
use crate::check::{CheckOptions, Checks, rule};
use crate::dockerfile::{ArgDefinition, Dockerfile, From, Instruction, Kind};
use crate::expand::{Expanded, Expander, Variables};
use crate::platform::Platform;
use crate::text::{nearest, parse_bool};
use model::reference::ImageRef;
use std::collections::{BTreeMap, BTreeSet};

/// Build arguments that set steps' proxies without being declared.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The variables of FROM lines.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    pub(super) env: Env,
    /// Names of the ARGs before the first FROM.
    declared: BTreeSet<String>,
}

impl Globals {
    /// The variables for one target platform.
    pub(super) fn new(
        file: &Dockerfile,
        options: &PlanOptions,
        platform: &Platform,
        target: &str,
    ) -> Result<Self, Wrong> {
        Self::with_args(file, options, platform, target, &options.build_args)
    }

    fn with_args(
        file: &Dockerfile,
        options: &PlanOptions,
        platform: &Platform,
        target: &str,
        build_args: &BTreeMap<String, String>,
    ) -> Result<Self, Wrong> {
        let mut env = platform_variables(&options.build_platform, platform, target, build_args);
        let mut declared = BTreeSet::new();
        let expander = Expander::new(file.directives.escape_char());
        for instruction in before_stages(file) {
            let Kind::Arg(args) = &instruction.kind else { continue };
            for ArgDefinition { name, default } in args {
                declared.insert(name.clone());
                let value = match (build_args.get(name), default) {
                    (Some(given), _) => given.clone(),
                    (None, Some(default)) => {
                        let expanded = expander.expand(default, &env);
                        let wrong = |err| Wrong::from((err, instruction.span)).about(default);
                        expanded.map_err(|err| wrong(err.to_string()))?.text
                    }
                    (None, None) => continue,
                };
                env.set(name, &value);
            }
        }
        Ok(Self { env, declared })
    }

    /// Expands a word of a FROM.
    pub(super) fn expand(
        &self,
        word: &str,
        at: &Instruction,
        escape: char,
        checks: &mut Checks,
    ) -> Result<Expanded, Wrong> {
        let expanded = Expander::new(escape).expand(word, &self.env);
        let expanded =
            expanded.map_err(|err| Wrong::from((err.to_string(), at.span)).about(word))?;
        for name in expanded.unmatched.iter().filter(|name| !self.declared.contains(*name)) {
            let mut message = format!("FROM argument '{name}' is not declared");
            let options = self.declared.iter().map(String::as_str).chain(self.env.names());
            if let Some(near) = nearest(name, options, true) {
                message.push_str(&format!(" (did you mean {near}?)"));
            }
            checks.report(&rule::UNDEFINED_ARG_IN_FROM, at, message);
        }
        Ok(expanded)
    }

    /// The check of `--platform`.
    pub(super) fn check_platform(
        &self,
        from: &From,
        expanded: &Expanded,
        at: &Instruction,
        checks: &mut Checks,
    ) {
        let written = from.platform.as_deref().unwrap_or_default();
        let only_target = expanded.matched.iter().map(String::as_str).eq(["TARGETPLATFORM"]);
        if only_target
            && expanded.unmatched.is_empty()
            && self.env.value("TARGETPLATFORM") == Some(&expanded.text)
        {
            let message = format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the \
                 default behavior"
            );
            checks.report(&rule::REDUNDANT_TARGET_PLATFORM, at, message);
        }
        if !expanded.matched.is_empty() || !expanded.unmatched.is_empty() {
            return;
        }
        let Ok(platform) = Platform::parse(&expanded.text, &Platform::of_this_build()) else {
            return;
        };
        let name = from.name.as_deref().unwrap_or_default();
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!(
                "FROM --platform flag should not use constant value {}",
                crate::text::quote(&expanded.text)
            );
            checks.report(&rule::FROM_PLATFORM_FLAG_CONST_DISALLOWED, at, message);
        }
    }
}

/// The instructions before the first FROM.
pub(super) fn before_stages(file: &Dockerfile) -> impl Iterator<Item = &Instruction> {
    let is_from = |instruction: &&Instruction| matches!(instruction.kind, Kind::From(_));
    file.instructions.iter().take_while(move |instruction| !is_from(instruction))
}

/// Base images must be names even when no argument is given.
pub(super) fn check_defaults(file: &Dockerfile, options: &PlanOptions, checks: &mut Checks) {
    let platform = &options.build_platform;
    let none = BTreeMap::new();
    let Ok(globals) = Globals::with_args(file, options, platform, "default", &none) else { return };
    let expander = Expander::new(file.directives.escape_char());
    for instruction in &file.instructions {
        let Kind::From(from) = &instruction.kind else { continue };
        let Ok(expanded) = expander.expand(&from.base, &globals.env) else { return };
        if ImageRef::parse(&expanded.text).is_err() && !is_stage(file, &expanded.text) {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                from.base
            );
            checks.report(&rule::INVALID_DEFAULT_ARG_IN_FROM, instruction, message);
        }
    }
}

fn is_stage(file: &Dockerfile, name: &str) -> bool {
    file.instructions.iter().any(|instruction| match &instruction.kind {
        Kind::From(from) => from.name.as_deref() == Some(&name.to_lowercase()),
        _ => false,
    })
}

/// `TARGET…` and `BUILD…`; build arguments of these names count more.
fn platform_variables(
    build: &Platform,
    target: &Platform,
    stage: &str,
    build_args: &BTreeMap<String, String>,
) -> Env {
    let (build_name, target_name) = (build.to_string(), target.to_string());
    let stage = if stage.is_empty() { "default" } else { stage };
    let mut env = Env::default();
    for (name, value) in [
        ("BUILDPLATFORM", build_name.as_str()),
        ("BUILDOS", &build.os),
        ("BUILDARCH", &build.architecture),
        ("BUILDVARIANT", &build.variant),
        ("TARGETPLATFORM", &target_name),
        ("TARGETOS", &target.os),
        ("TARGETARCH", &target.architecture),
        ("TARGETVARIANT", &target.variant),
        ("TARGETSTAGE", stage),
    ] {
        env.set(name, build_args.get(name).map_or(value, String::as_str));
    }
    env
}

/// `NAME=value` of the proxies among the build arguments, in both casings.
pub(super) fn proxies(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let mut out = BTreeMap::new();
    for (name, value) in build_args {
        let upper = name.to_uppercase();
        if PROXIES.contains(&upper.as_str()) {
            out.insert(upper.to_lowercase(), value);
            out.insert(upper, value);
        }
    }
    out.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Build arguments that nothing takes.
pub(super) fn unused(file: &Dockerfile, build_args: &BTreeMap<String, String>) -> Vec<String> {
    let declared: BTreeSet<&str> = file
        .instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.as_str())),
            _ => None,
        })
        .flatten()
        .collect();
    let known = |name: &str| {
        PROXIES.contains(&name.to_uppercase().as_str())
            || ["BUILDKIT_", "TARGET", "BUILD"].iter().any(|front| name.starts_with(front))
            || ["SOURCE_DATE_EPOCH", crate::solve::failed::ARGUMENT].contains(&name)
    };
    let names = build_args.keys().filter(|name| !declared.contains(name.as_str()));
    names.filter(|name| !known(name)).cloned().collect()
}

/// Which checks run: the build argument, else the directive.
pub(super) fn check_options(
    file: &Dockerfile,
    options: &PlanOptions,
) -> Result<CheckOptions, String> {
    let directive = file.directives.check.as_ref().map(|directive| directive.value.as_str());
    let given = options.build_args.get("BUILDKIT_DOCKERFILE_CHECK").map(String::as_str);
    CheckOptions::parse(given.or(directive).unwrap_or_default()).map_err(|err| err.to_string())
}

/// Whether results are shown and kept per platform.
pub(crate) fn is_multi_platform(options: &PlanOptions) -> bool {
    let argument = options.build_args.get("BUILDKIT_MULTI_PLATFORM");
    let argument = argument.and_then(|value| parse_bool(value));
    options.multi_platform.or(argument).unwrap_or(options.platforms.len() > 1)
}
