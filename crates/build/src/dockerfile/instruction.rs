//! What instructions say. Words are as written: quotes, escapes and variables are still in them,
//! because what they expand to depends on the stage.

use super::heredoc::Heredoc;
use super::mount::DeviceFlag;
use crate::graph::{NetworkMode, SecurityMode};
use crate::span::Span;

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Its name as written (`RUN`, `run`).
    pub name: String,
    /// The whole instruction on one line, continuations joined.
    pub original: String,
    /// Its lines.
    pub span: Span,
    /// The comments right before it.
    pub comments: Vec<String>,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// ADD.
    Add(Copy),
    /// ARG.
    Arg(Vec<ArgDefinition>),
    /// CMD.
    Cmd(Command),
    /// COPY.
    Copy(Copy),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// ENV.
    Env(Vec<Pair>),
    /// EXPOSE.
    Expose(Exposed),
    /// FROM.
    From(From),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// LABEL.
    Label(Vec<Pair>),
    /// MAINTAINER.
    Maintainer(String),
    /// ONBUILD.
    OnBuild(OnBuild),
    /// RUN.
    Run(Box<Run>),
    /// SHELL.
    Shell(Vec<String>),
    /// STOPSIGNAL.
    StopSignal(String),
    /// USER.
    User(String),
    /// VOLUME.
    Volume(Vec<String>),
    /// WORKDIR.
    Workdir(String),
}

/// FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image, the stage or `scratch`.
    pub base: String,
    /// The stage's name in lower case.
    pub name: Option<String>,
    /// The stage's name as written.
    pub name_written: Option<String>,
    /// The word `AS` as written.
    pub as_word: Option<String>,
    /// `--platform`.
    pub platform: Option<String>,
}

/// One variable of an ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDefinition {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Option<String>,
}

/// One `name=value` of ENV or LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Left of `=`.
    pub name: String,
    /// Right of it.
    pub value: String,
    /// It was written `name value`.
    pub legacy: bool,
}

/// A command in one of its two forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Exec form: the arguments. Shell form: the text, or nothing.
    pub args: Vec<String>,
    /// It is exec form.
    pub exec: bool,
}

/// RUN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` values as written; see [`super::MountFlag::parse`].
    pub mounts: Vec<String>,
    /// `--network`; `None` when it was not given.
    pub network: Option<NetworkMode>,
    /// `--security`.
    pub security: SecurityMode,
    /// `--device`.
    pub devices: Vec<DeviceFlag>,
}

/// COPY or ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Sources that are no here-documents.
    pub sources: Vec<String>,
    /// Here-documents that become files.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: String,
    /// `--from` (COPY).
    pub from: Option<String>,
    /// `--chown`.
    pub chown: String,
    /// `--chmod`.
    pub chmod: String,
    /// `--link`.
    pub link: bool,
    /// `--parents` (COPY).
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--keep-git-dir` (ADD).
    pub keep_git_dir: Option<bool>,
    /// `--checksum` (ADD).
    pub checksum: String,
    /// `--unpack` (ADD).
    pub unpack: Option<bool>,
}

/// EXPOSE: ports as written, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed(pub Vec<String>);

/// HEALTHCHECK; durations in nanoseconds, zero means inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `NONE`, or `CMD`/`CMD-SHELL` and the command.
    pub test: Vec<String>,
    /// `--interval`.
    pub interval_ns: i64,
    /// `--timeout`.
    pub timeout_ns: i64,
    /// `--start-period`.
    pub start_period_ns: i64,
    /// `--start-interval`.
    pub start_interval_ns: i64,
    /// `--retries`.
    pub retries: i64,
}

/// ONBUILD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBuild {
    /// The instruction to come, here-documents included.
    pub expression: String,
}
