//! From logical lines to instructions.

use super::flags::{Flags, Takes};
use super::heredoc::{self, Heredoc};
use super::instruction::{
    ArgDefinition, Command, Copy, Exposed, From, Healthcheck, Instruction, Kind, OnBuild, Pair, Run,
};
use super::lines::{Logical, Reader};
use super::mount::{DeviceFlag, MountFlag};
use super::words::{self, Parts};
use super::{Dockerfile, Fault, MAX_INSTRUCTIONS, ParseError};
use crate::graph::{NetworkMode, SecurityMode};
use crate::span::{Location, Source, Span};
use crate::text::{did_you_mean, parse_duration, quote};
use std::sync::Arc;

/// All instructions, for the nearest right one.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// A check that runs more often than this is a mistake.
const MIN_INTERVAL_NS: i64 = 1_000_000;

type Result<T> = std::result::Result<T, Fault>;

/// Parses a whole text.
pub(super) fn dockerfile(source: &Arc<Source>) -> std::result::Result<Dockerfile, ParseError> {
    let text: &str = &source.text;
    if let Some(at) = text.find('\0') {
        let line = u32::try_from(text[..at].matches('\n').count()).unwrap_or(0) + 1;
        let message = format!("dockerfile parse error on line {line}: NUL character");
        let location = Some(Location::new(source, Span::lines(line, line)));
        return Err(ParseError { message, location });
    }
    let mut reader = Reader::new(text);
    let mut instructions = Vec::new();
    let mut empty_continuations = Vec::new();
    loop {
        let logical = match reader.next() {
            Ok(Some(logical)) => logical,
            Ok(None) => break,
            Err(fault) => return Err(fault.on_line(source, reader.line)),
        };
        if logical.empty_continuation {
            empty_continuations.push(logical.last);
        }
        let escape = reader.directives.escape_char();
        let parsed = instruction(&logical, escape, &mut reader);
        let instruction = parsed.map_err(|fault| fault.within(source, &logical))?;
        instructions.push(instruction);
        if instructions.len() > MAX_INSTRUCTIONS {
            let message = format!("more than {MAX_INSTRUCTIONS} instructions");
            return Err(Fault::new(message).on_line(source, reader.line));
        }
    }
    if instructions.is_empty() {
        return Err(ParseError {
            message: "file with no instructions".to_owned(),
            location: Some(Location::new(source, Span::lines(reader.line, reader.line))),
        });
    }
    let directives = reader.directives;
    Ok(Dockerfile { source: Arc::clone(source), directives, instructions, empty_continuations })
}

/// Parses one instruction that stands for itself.
pub(super) fn trigger(
    text: &str,
    source: &Arc<Source>,
    span: Span,
) -> std::result::Result<Instruction, ParseError> {
    let place = Location::new(source, span);
    let fail = |message: String| ParseError { message, location: Some(place.clone()) };
    let mut reader = Reader::new(text);
    let logical = match reader.next() {
        Ok(Some(logical)) => logical,
        Ok(None) => return Err(fail("onbuild trigger should be a single expression".to_owned())),
        Err(fault) => return Err(fail(fault.message)),
    };
    let parsed = instruction(&logical, '\\', &mut reader);
    let mut instruction = parsed.map_err(|fault| fail(fault.message))?;
    if !matches!(reader.next(), Ok(None)) {
        return Err(fail("onbuild trigger should be a single expression".to_owned()));
    }
    if matches!(instruction.kind, Kind::From(_) | Kind::OnBuild(_) | Kind::Maintainer(_)) {
        let name = instruction.name.to_uppercase();
        return Err(fail(format!("{name} isn't allowed as an ONBUILD trigger")));
    }
    instruction.span = span;
    Ok(instruction)
}

impl Fault {
    fn on_line(self, source: &Arc<Source>, line: u32) -> ParseError {
        ParseError {
            message: format!("dockerfile parse error on line {line}: {}", self.message),
            location: Some(self.place(source, Span::lines(line, line))),
        }
    }

    fn within(self, source: &Arc<Source>, logical: &Logical) -> ParseError {
        ParseError {
            message: format!("dockerfile parse error on line {}: {}", logical.first, self.message),
            location: Some(self.place(source, Span::lines(logical.first, logical.last))),
        }
    }

    fn place(&self, source: &Arc<Source>, span: Span) -> Location {
        Location::new(source, span).pointing_at(&self.word)
    }
}

/// One instruction and, from `reader`, its here-documents.
fn instruction(logical: &Logical, escape: char, reader: &mut Reader<'_>) -> Result<Instruction> {
    let parts = words::split(&logical.text, escape);
    let mut heredocs = Vec::new();
    if logical.text.contains("<<") && takes_heredocs(&parts, escape)? {
        heredocs = heredoc::find(&logical.text);
        heredoc::fill(&mut heredocs, std::iter::from_fn(|| reader.raw()))?;
    }
    let last = reader.line;
    let text = logical.text.trim();
    Ok(Instruction {
        name: parts.name.to_owned(),
        original: text.to_owned(),
        span: Span::lines(logical.first, last),
        comments: logical.comments.clone(),
        kind: kind(&parts, text, heredocs, escape)?,
    })
}

/// ADD, COPY, RUN and their ONBUILDs, but not in exec form.
fn takes_heredocs(parts: &Parts<'_>, escape: char) -> Result<bool> {
    match parts.name.to_ascii_uppercase().as_str() {
        "ADD" | "COPY" | "RUN" => Ok(words::json(parts.rest)?.is_none()),
        "ONBUILD" if !parts.rest.is_empty() => {
            let inner = words::split(parts.rest, escape);
            let simple = !inner.name.eq_ignore_ascii_case("ONBUILD");
            Ok(simple && takes_heredocs(&inner, escape)?)
        }
        _ => Ok(false),
    }
}

fn kind(parts: &Parts<'_>, text: &str, heredocs: Vec<Heredoc>, escape: char) -> Result<Kind> {
    let name = parts.name.to_ascii_uppercase();
    let no_flags = || Flags::parse(&parts.flags, &[]);
    let one = || match parts.rest {
        "" => Err(Fault::new(format!("{name} requires exactly one argument"))),
        rest => no_flags().map(|_| rest.to_owned()),
    };
    Ok(match name.as_str() {
        "ADD" => Kind::Add(copy(parts, &heredocs, true)?),
        "ARG" => no_flags().and_then(|_| args(&words::words(parts.rest, escape)).map(Kind::Arg))?,
        "CMD" => no_flags().and_then(|_| command(parts.rest).map(Kind::Cmd))?,
        "COPY" => Kind::Copy(copy(parts, &heredocs, false)?),
        "ENTRYPOINT" => no_flags().and_then(|_| command(parts.rest).map(Kind::Entrypoint))?,
        "ENV" => no_flags().and_then(|_| pairs(parts.rest, "ENV", escape).map(Kind::Env))?,
        "EXPOSE" => no_flags().and_then(|_| expose(parts.rest).map(Kind::Expose))?,
        "FROM" => Kind::From(from(parts)?),
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(parts)?),
        "LABEL" => no_flags().and_then(|_| pairs(parts.rest, "LABEL", escape).map(Kind::Label))?,
        "MAINTAINER" => Kind::Maintainer(one()?),
        "ONBUILD" => no_flags().and_then(|_| on_build(parts, text, &heredocs, escape))?,
        "RUN" => Kind::Run(Box::new(run(parts, heredocs)?)),
        "SHELL" => no_flags().and_then(|_| shell(parts.rest).map(Kind::Shell))?,
        "STOPSIGNAL" => Kind::StopSignal(one()?),
        "USER" => Kind::User(one()?),
        "VOLUME" => no_flags().and_then(|_| volumes(parts.rest).map(Kind::Volume))?,
        "WORKDIR" => Kind::Workdir(one()?),
        _ => return Err(unknown(parts.name)),
    })
}

fn unknown(name: &str) -> Fault {
    Fault::at(did_you_mean(format!("unknown instruction: {name}"), name, NAMES, false), name)
}

fn from(parts: &Parts<'_>) -> Result<From> {
    let flags = Flags::parse(&parts.flags, &[("platform", Takes::Value)])?;
    let words = words::plain(parts.rest);
    let platform = flags.value("platform").map(str::to_owned);
    let (base, as_word, name) = match words.as_slice() {
        [base] => (base, None, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (base, Some(word), Some(name)),
        _ => return Err(Fault::new("FROM requires either one or three arguments")),
    };
    if let Some(name) = name.filter(|name| !is_stage_name(&name.to_lowercase())) {
        let message = format!(
            "invalid name for build stage: {}, name can't start with a number or contain symbols",
            quote(name)
        );
        return Err(Fault::at(message, name));
    }
    Ok(From {
        base: base.clone(),
        name: name.map(|name| name.to_lowercase()),
        name_written: name.cloned(),
        as_word: as_word.cloned(),
        platform,
    })
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'))
}

fn args(words: &[String]) -> Result<Vec<ArgDefinition>> {
    if words.is_empty() {
        return Err(Fault::new("ARG requires at least one argument"));
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(Fault::at("ARG names can not be blank", word)),
            Some((name, value)) => {
                Ok(ArgDefinition { name: name.to_owned(), default: Some(value.to_owned()) })
            }
            None => Ok(ArgDefinition { name: word.clone(), default: None }),
        })
        .collect()
}

fn pairs(text: &str, instruction: &str, escape: char) -> Result<Vec<Pair>> {
    let pairs = words::pairs(text, instruction, escape)?;
    if pairs.is_empty() {
        return Err(Fault::new(format!("{instruction} requires at least one argument")));
    }
    pairs
        .into_iter()
        .map(|(name, value, legacy)| match name.as_str() {
            "" => Err(Fault::new(format!("{instruction} names can not be blank"))),
            _ => Ok(Pair { name, value, legacy }),
        })
        .collect()
}

fn command(text: &str) -> Result<Command> {
    Ok(match words::json(text)? {
        Some(args) => Command { args, exec: true },
        None if text.is_empty() => Command::default(),
        None => Command { args: vec![text.to_owned()], exec: false },
    })
}

fn run(parts: &Parts<'_>, heredocs: Vec<Heredoc>) -> Result<Run> {
    const KNOWN: [(&str, Takes); 4] = [
        ("mount", Takes::Values),
        ("network", Takes::Value),
        ("security", Takes::Value),
        ("device", Takes::Values),
    ];
    let flags = Flags::parse(&parts.flags, &KNOWN)?;
    let network = match flags.value("network") {
        None => None,
        Some("default") => Some(NetworkMode::Sandbox),
        Some("none") => Some(NetworkMode::None),
        Some("host") => Some(NetworkMode::Host),
        Some(other) => {
            let message = format!("invalid network mode {}", quote(other));
            let message = did_you_mean(message, other, ["default", "none", "host"], true);
            return Err(Fault::at(message, other));
        }
    };
    let security = match flags.value("security") {
        None | Some("sandbox") => SecurityMode::Sandbox,
        Some("insecure") => SecurityMode::Insecure,
        Some(other) => {
            let message = format!("security {} is not valid", quote(other));
            let message = did_you_mean(message, other, ["sandbox", "insecure"], true);
            return Err(Fault::at(message, other));
        }
    };
    let mounts = flags.values("mount");
    for mount in &mounts {
        MountFlag::source_stage(mount)?;
    }
    let devices = flags.values("device");
    let devices = devices.iter().map(|value| DeviceFlag::parse(value)).collect::<Result<_>>()?;
    let command = command(parts.rest)?;
    Ok(Run { command, heredocs, mounts, network, security, devices })
}

fn copy(parts: &Parts<'_>, heredocs: &[Heredoc], is_add: bool) -> Result<Copy> {
    const SHARED: [(&str, Takes); 4] = [
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Bool),
        ("exclude", Takes::Values),
    ];
    const ADD: [(&str, Takes); 3] =
        [("keep-git-dir", Takes::Bool), ("checksum", Takes::Value), ("unpack", Takes::Bool)];
    const COPY: [(&str, Takes); 2] = [("from", Takes::Value), ("parents", Takes::Bool)];
    let name = if is_add { "ADD" } else { "COPY" };
    let own: &[_] = if is_add { &ADD } else { &COPY };
    let flags = Flags::parse(&parts.flags, &[&SHARED, own].concat())?;
    let words = match words::json(parts.rest)? {
        Some(words) => words,
        None => words::plain(parts.rest),
    };
    let Some((dest, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty())
    else {
        return Err(Fault::new(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could \
             not be determined"
        )));
    };
    if heredoc::parse(dest).is_some() {
        let message = format!("{name} cannot accept a heredoc as a destination");
        return Err(Fault::at(message, dest));
    }
    let opened = |word: &String| heredoc::parse(word).filter(|_| !heredocs.is_empty());
    let docs = sources.iter().filter_map(opened);
    let docs = docs.map(|doc| match heredocs.iter().find(|filled| filled.name == doc.name) {
        Some(filled) => filled.clone(),
        None => doc,
    });
    Ok(Copy {
        heredocs: docs.collect(),
        sources: sources.iter().filter(|word| opened(word).is_none()).cloned().collect(),
        dest: dest.clone(),
        from: flags.value("from").filter(|from| !from.is_empty()).map(str::to_owned),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.truth("link").unwrap_or(false),
        parents: flags.truth("parents").unwrap_or(false),
        exclude: flags.values("exclude"),
        keep_git_dir: flags.truth("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.truth("unpack"),
    })
}

fn expose(text: &str) -> Result<Exposed> {
    let mut ports = words::plain(text);
    if ports.is_empty() {
        return Err(Fault::new("EXPOSE requires at least one argument"));
    }
    ports.sort();
    Ok(Exposed(ports))
}

fn volumes(text: &str) -> Result<Vec<String>> {
    let volumes = match words::json(text)? {
        Some(volumes) => volumes,
        None => words::plain(text),
    };
    if volumes.is_empty() {
        return Err(Fault::new("VOLUME requires at least one argument"));
    }
    let trimmed = volumes.iter().map(|volume| match volume.trim() {
        "" => Err(Fault::new("VOLUME specified can not be an empty string")),
        volume => Ok(volume.to_owned()),
    });
    trimmed.collect()
}

fn shell(text: &str) -> Result<Vec<String>> {
    match words::json(text)? {
        Some(words) if !words.is_empty() => Ok(words),
        None if !text.is_empty() => {
            Err(Fault::new("SHELL requires the arguments to be in JSON form"))
        }
        _ => Err(Fault::new("SHELL requires at least one argument")),
    }
}

fn healthcheck(parts: &Parts<'_>) -> Result<Healthcheck> {
    const KNOWN: [(&str, Takes); 5] = [
        ("interval", Takes::Value),
        ("timeout", Takes::Value),
        ("start-period", Takes::Value),
        ("start-interval", Takes::Value),
        ("retries", Takes::Value),
    ];
    let flags = Flags::parse(&parts.flags, &KNOWN)?;
    let (word, rest) = match parts.rest.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (parts.rest, ""),
    };
    let test = match word.to_uppercase().as_str() {
        "" => return Err(Fault::new("HEALTHCHECK requires at least one argument")),
        "NONE" if rest.is_empty() => {
            return Ok(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        }
        "NONE" => return Err(Fault::new("HEALTHCHECK NONE takes no arguments")),
        "CMD" => {
            let Command { args, exec } = command(rest)?;
            if args.is_empty() {
                return Err(Fault::new("Missing command after HEALTHCHECK CMD"));
            }
            let kind = if exec { "CMD" } else { "CMD-SHELL" };
            [vec![kind.to_owned()], args].concat()
        }
        other => {
            let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", quote(other));
            return Err(Fault::at(message, word));
        }
    };
    let retries = match flags.value("retries") {
        None | Some("") => 0,
        Some(text) => match text.parse::<i32>() {
            Ok(retries) if retries < 0 => {
                return Err(Fault::at(format!("--retries cannot be negative ({retries})"), text));
            }
            Ok(retries) => retries.into(),
            Err(_) => {
                return Err(Fault::at(
                    format!("invalid value for --retries: {}", quote(text)),
                    text,
                ));
            }
        },
    };
    Ok(Healthcheck {
        test,
        interval_ns: interval(&flags, "interval")?,
        timeout_ns: interval(&flags, "timeout")?,
        start_period_ns: interval(&flags, "start-period")?,
        start_interval_ns: interval(&flags, "start-interval")?,
        retries,
    })
}

fn interval(flags: &Flags, name: &str) -> Result<i64> {
    let Some(text) = flags.value(name).filter(|text| !text.is_empty()) else { return Ok(0) };
    match parse_duration(text) {
        Some(0) => Ok(0),
        Some(ns) if ns >= MIN_INTERVAL_NS => Ok(ns),
        Some(_) => {
            Err(Fault::at(format!("Interval {} cannot be less than 1ms", quote(name)), text))
        }
        None => Err(Fault::at(format!("time: invalid duration {}", quote(text)), text)),
    }
}

fn on_build(parts: &Parts<'_>, text: &str, heredocs: &[Heredoc], escape: char) -> Result<Kind> {
    if parts.rest.is_empty() {
        return Err(Fault::new("ONBUILD requires at least one argument"));
    }
    let inner = words::split(parts.rest, escape).name;
    match inner.to_ascii_uppercase().as_str() {
        "ONBUILD" => {
            let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
            return Err(Fault::new(message));
        }
        name @ ("MAINTAINER" | "FROM") => {
            return Err(Fault::at(format!("{name} isn't allowed as an ONBUILD trigger"), inner));
        }
        name if !NAMES.contains(&name) => return Err(unknown(inner)),
        _ => {}
    }
    let mut expression = text[parts.name.len()..].trim_start().to_owned();
    for doc in heredocs {
        expression.push('\n');
        expression.push_str(&doc.content);
        expression.push_str(&doc.name);
    }
    Ok(Kind::OnBuild(OnBuild { expression }))
}
