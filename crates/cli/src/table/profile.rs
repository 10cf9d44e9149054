//! table: the flags, arguments and texts of `profile` and `diagnose`; it never knows what a command
//! does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::profiles;
use crate::flags::Flag;

/// The `profile` group.
pub(crate) static GROUP: Command = Command {
    name: "profile",
    tail: "COMMAND",
    short: "Manage security profiles",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&LEARN]),
};

/// `profile learn`
pub(crate) static LEARN: Command = Command {
    name: "learn",
    tail: "[OPTIONS] CONTAINER",
    short: "Watch a container and write the profile of what it needs",
    long: "Watch a container and write the profile of what it needs.\nA container that does not \
           run is started and watched to its end; with --for, for so long.\nThe profile is \
           enforced by --security-opt profile=FILE.",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::int("for", "Seconds to watch, instead of to the container's end").own(),
        Flag::string("output", "Write to a file, instead of STDOUT").short('o').own(),
    ]],
    action: remote!(profiles::learn),
};

/// `diagnose`
pub(crate) static DIAGNOSE: Command = Command {
    name: "diagnose",
    tail: "[OPTIONS] CONTAINER",
    short: "Say what a container was denied, and which option would allow it",
    long: "Say what a container was denied, and which option would allow it.\nA running container \
           is watched for a while; one that does not run, with --start, from its start on.",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::int("for", "Seconds to watch (default 5)").own(),
        Flag::string("format", text::FORMAT).own(),
        Flag::bool("start", "Start the container and watch it").own(),
    ]],
    action: remote!(profiles::diagnose),
};
