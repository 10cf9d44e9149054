//! table: the flags, arguments and texts of the `system` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::system;
use crate::flags::Flag;

/// The `system` group.
pub(crate) static GROUP: Command = Command {
    name: "system",
    tail: "COMMAND",
    short: "Manage Docker",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&DF, &DIAL_STDIO, &EVENTS, &INFO, &PRUNE]),
};

/// `system df`
pub(crate) static DF: Command = Command {
    name: "df",
    tail: "[OPTIONS]",
    short: "Show docker disk usage",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("verbose", "Show detailed information on space usage").short('v'),
    ]],
    action: remote!(system::df),
};

/// `system dial-stdio`
pub(crate) static DIAL_STDIO: Command = Command {
    name: "dial-stdio",
    tail: "",
    short: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: remote!(system::dial_stdio),
};

/// `system events`
pub(crate) static EVENTS: Command = Command {
    name: "events",
    tail: "[OPTIONS]",
    short: "Get real time events from the server",
    long: "",
    aliases: &["system events", "events"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Filter output based on conditions provided").short('f'),
        Flag::string("format", text::FORMAT),
        Flag::string("since", "Show all events created since timestamp"),
        Flag::string("until", "Stream events until this timestamp"),
    ]],
    action: remote!(system::events),
};

/// `system info`
pub(crate) static INFO: Command = Command {
    name: "info",
    tail: "[OPTIONS]",
    short: "Display system-wide information",
    long: "",
    aliases: &["system info", "info"],
    args: Args::None,
    interspersed: true,
    flags: &[&[Flag::string("format", text::FORMAT).short('f')]],
    action: remote!(system::info),
};

/// `system prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "[OPTIONS]",
    short: "Remove unused data",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Remove all unused images not just dangling ones").short('a'),
        Flag::filter("filter", "Provide filter values (e.g. \"label=<key>=<value>\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
        Flag::bool("volumes", "Prune anonymous volumes"),
    ]],
    action: remote!(system::prune),
};
