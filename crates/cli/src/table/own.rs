//! table: commands that exist only at the top level; it never knows what a command does.

use super::text;
use crate::command::{Args, Command, remote};
use crate::commands::{auth, images, inspect, system};
use crate::flags::Flag;

/// `login`
pub(crate) static LOGIN: Command = Command {
    name: "login",
    tail: "[OPTIONS] [SERVER]",
    short: "Authenticate to a registry",
    long: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[&[
        Flag::string("password", "Password or Personal Access Token (PAT)").short('p'),
        Flag::bool("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag::bool("plaintext", "Store the credentials unencrypted, for programs that need it")
            .own(),
        Flag::string("username", "Username").short('u'),
    ]],
    action: remote!(auth::login),
};

/// `logout`
pub(crate) static LOGOUT: Command = Command {
    name: "logout",
    tail: "[SERVER]",
    short: "Log out from a registry",
    long: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[],
    action: remote!(auth::logout),
};

/// `search`
pub(crate) static SEARCH: Command = Command {
    name: "search",
    tail: "[OPTIONS] TERM",
    short: "Search Docker Hub for images",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Filter output based on conditions provided").short('f'),
        Flag::string("format", "Pretty-print search using a Go template"),
        Flag::int("limit", "Max number of search results"),
        Flag::bool("no-trunc", "Don't truncate output"),
    ]],
    action: remote!(images::search),
};

/// `version`
pub(crate) static VERSION: Command = Command {
    name: "version",
    tail: "[OPTIONS]",
    short: "Show the Docker version information",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[Flag::string("format", text::FORMAT).short('f')]],
    action: remote!(system::version),
};

/// `inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] NAME|ID [NAME|ID...]",
    short: "Return low-level information on Docker objects",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::FORMAT).short('f'),
        Flag::bool("size", "Display total file sizes if the type is container").short('s'),
        Flag::string("type", "Only inspect objects of the given type"),
    ]],
    action: remote!(inspect::any),
};
