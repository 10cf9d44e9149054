//! table: the flags, arguments and texts of the `manifest` commands; it never knows what a command
//! does.

use crate::command::{Action, Args, Command, remote};
use crate::commands::manifest;
use crate::flags::Flag;

/// The `manifest` group.
pub(crate) static GROUP: Command = Command {
    name: "manifest",
    tail: "COMMAND",
    short: "Manage Docker image manifests and manifest lists",
    long: "The **{prog} manifest** command has subcommands for managing image manifests and\n\
           manifest lists. A manifest list allows you to use one name to refer to the same image\n\
           built for multiple architectures.\n\n\
           To see help for a subcommand, use:\n\n    \
           {prog} manifest CMD --help\n\n\
           For full details on using docker manifest lists, see the registry v2 specification.",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&ANNOTATE, &CREATE, &INSPECT, &PUSH, &RM]),
};

/// `manifest annotate`
static ANNOTATE: Command = Command {
    name: "annotate",
    tail: "[OPTIONS] MANIFEST_LIST MANIFEST",
    short: "Add additional information to a local image manifest",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[
        Flag::string("arch", "Set architecture"),
        Flag::string("os", "Set operating system"),
        Flag::strings("os-features", "Set operating system feature"),
        Flag::string("os-version", "Set operating system version"),
        Flag::string("variant", "Set architecture variant"),
    ]],
    action: Action::Local(manifest::annotate),
};

/// `manifest create`
static CREATE: Command = Command {
    name: "create",
    tail: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    short: "Create a local manifest list for annotating and pushing to a registry",
    long: "",
    aliases: &[],
    args: Args::AtLeast(2),
    interspersed: true,
    flags: &[&[
        Flag::bool("amend", "Amend an existing manifest list").short('a'),
        Flag::bool("insecure", "Allow communication with an insecure registry"),
    ]],
    action: remote!(manifest::create),
};

/// `manifest inspect`
static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    short: "Display an image manifest, or manifest list",
    long: "",
    aliases: &[],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[&[
        Flag::bool("insecure", "Allow communication with an insecure registry"),
        Flag::bool("verbose", "Output additional info including layers and platform").short('v'),
    ]],
    action: remote!(manifest::inspect),
};

/// `manifest push`
static PUSH: Command = Command {
    name: "push",
    tail: "[OPTIONS] MANIFEST_LIST",
    short: "Push a manifest list to a repository",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("insecure", "Allow push to an insecure registry"),
        Flag::bool("purge", "Remove the local manifest list after push").short('p'),
    ]],
    action: remote!(manifest::push),
};

/// `manifest rm`
static RM: Command = Command {
    name: "rm",
    tail: "MANIFEST_LIST [MANIFEST_LIST...]",
    short: "Delete one or more manifest lists from local storage",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
    action: Action::Local(manifest::remove),
};
