//! table: the flags, arguments and texts of the `artifact` commands; it never knows what a command
//! does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::artifacts;
use crate::flags::Flag;

/// The `artifact` group.
pub(crate) static GROUP: Command = Command {
    name: "artifact",
    tail: "COMMAND",
    short: "Manage what registries keep besides images",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&ATTACH, &LS, &PULL, &PUSH]),
};

const ANNOTATION: Flag =
    Flag::list("annotation", "Annotate the artifact (\"name=value\")").short('a');

/// `artifact attach`
pub(crate) static ATTACH: Command = Command {
    name: "attach",
    tail: "[OPTIONS] IMAGE [FILE[:TYPE]...]",
    short: "Give a registry files that refer to an image",
    long: "Give a registry files that refer to an image: signatures, bills of materials, reports.\nThe image stays as it is.",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[ANNOTATION, Flag::string("artifact-type", "What the files are, as a media type")]],
    action: remote!(artifacts::attach),
};

/// `artifact ls`
pub(crate) static LS: Command = LIST;

/// `image referrers`: the same.
pub(crate) static REFERRERS: Command = Command { name: "referrers", ..LIST };

const LIST: Command = Command {
    name: "ls",
    tail: "[OPTIONS] IMAGE",
    short: "List what refers to an image of a registry",
    long: "",
    aliases: &["artifact ls", "artifact list", "image referrers"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("artifact-type", "Only artifacts of this type"),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("quiet", "Only show digests").short('q'),
    ]],
    action: remote!(artifacts::list),
};

/// `artifact pull`
pub(crate) static PULL: Command = Command {
    name: "pull",
    tail: "[OPTIONS] NAME[:TAG|@DIGEST]",
    short: "Get the files of an artifact",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("output", "Directory for the files (default \".\")").short('o'),
        Flag::bool("quiet", "Say nothing").short('q'),
    ]],
    action: remote!(artifacts::pull),
};

/// `artifact push`
pub(crate) static PUSH: Command = Command {
    name: "push",
    tail: "[OPTIONS] NAME[:TAG] FILE[:TYPE] [FILE[:TYPE]...]",
    short: "Give a registry files under a name",
    long: "",
    aliases: &[],
    args: Args::AtLeast(2),
    interspersed: true,
    flags: &[&[ANNOTATION, Flag::string("artifact-type", "What the files are, as a media type")]],
    action: remote!(artifacts::push),
};
