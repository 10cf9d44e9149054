//! table: the flags, arguments and texts of the `plugin` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::plugins;
use crate::flags::Flag;

/// The `plugin` group.
pub(crate) static GROUP: Command = Command {
    name: "plugin",
    tail: "COMMAND",
    short: "Manage plugins",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &CREATE, &DISABLE, &ENABLE, &INSPECT, &INSTALL, &LS, &PUSH, &RM, &SET, &UPGRADE,
    ]),
};

/// `plugin create`
static CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] PLUGIN PLUGIN-DATA-DIR",
    short: "Create a plugin from a rootfs and configuration. Plugin data directory must contain \
            config.json and rootfs directory.",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[Flag::bool("compress", "Compress the context using gzip")]],
    action: remote!(plugins::create),
};

/// `plugin disable`
static DISABLE: Command = Command {
    name: "disable",
    tail: "[OPTIONS] PLUGIN",
    short: "Disable a plugin",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Force the disable of an active plugin").short('f')]],
    action: remote!(plugins::disable),
};

/// `plugin enable`
static ENABLE: Command = Command {
    name: "enable",
    tail: "[OPTIONS] PLUGIN",
    short: "Enable a plugin",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[Flag::int("timeout", "HTTP client timeout (in seconds) (default 30)")]],
    action: remote!(plugins::enable),
};

/// `plugin inspect`
static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] PLUGIN [PLUGIN...]",
    short: "Display detailed information on one or more plugins",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::string("format", text::FORMAT).short('f')]],
    action: remote!(plugins::inspect),
};

/// `plugin install`
static INSTALL: Command = Command {
    name: "install",
    tail: "[OPTIONS] PLUGIN [KEY=VALUE...]",
    short: "Install a plugin",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("alias", "Local name for plugin"),
        Flag::bool("disable", "Do not enable the plugin on install"),
        Flag::bool("disable-content-trust", "Skip image verification (default true)"),
        Flag::bool("grant-all-permissions", "Grant all permissions necessary to run the plugin"),
    ]],
    action: remote!(plugins::install),
};

/// `plugin ls`
static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List plugins",
    long: "",
    aliases: &["plugin ls", "plugin list"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Provide filter values (e.g. \"enabled=true\")").short('f'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("no-trunc", "Don't truncate output"),
        Flag::bool("quiet", "Only display plugin IDs").short('q'),
    ]],
    action: remote!(plugins::list),
};

/// `plugin push`
static PUSH: Command = Command {
    name: "push",
    tail: "[OPTIONS] PLUGIN[:TAG]",
    short: "Push a plugin to a registry",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[Flag::bool("disable-content-trust", "Skip image signing (default true)")]],
    action: remote!(plugins::push),
};

/// `plugin rm`
static RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] PLUGIN [PLUGIN...]",
    short: "Remove one or more plugins",
    long: "",
    aliases: &["plugin rm", "plugin remove"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Force the removal of an active plugin").short('f')]],
    action: remote!(plugins::remove),
};

/// `plugin set`
static SET: Command = Command {
    name: "set",
    tail: "PLUGIN KEY=VALUE [KEY=VALUE...]",
    short: "Change settings for a plugin",
    long: "",
    aliases: &[],
    args: Args::AtLeast(2),
    interspersed: true,
    flags: &[],
    action: remote!(plugins::set),
};

/// `plugin upgrade`
static UPGRADE: Command = Command {
    name: "upgrade",
    tail: "[OPTIONS] PLUGIN [REMOTE]",
    short: "Upgrade an existing plugin",
    long: "",
    aliases: &[],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[&[
        Flag::bool("disable-content-trust", "Skip image verification (default true)"),
        Flag::bool("grant-all-permissions", "Grant all permissions necessary to run the plugin"),
        Flag::bool(
            "skip-remote-check",
            "Do not check if specified remote plugin matches existing plugin image",
        ),
    ]],
    action: remote!(plugins::upgrade),
};
